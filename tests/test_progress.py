"""What a user sees of a running training: plain lines without a terminal, a live display with one, the log file."""

from __future__ import annotations

import errno
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from labtrain import events
from labtrain.clock import SimulatedClock
from labtrain.errors import Interrupted, RunError
from labtrain.events import (
    AblationStarted,
    Commissioning,
    Counted,
    Listener,
    RunFinished,
    RunStarted,
    ShotsArrived,
    StepDone,
    TrialFinished,
    TrialStarted,
)
from labtrain.ledger import Cost
from labtrain.logfile import LogFile
from labtrain.methods.method import Metrics
from labtrain.pace import Pace
from labtrain.progress import Progress

LOG = logging.getLogger("labtrain")


@pytest.fixture(autouse=True)
def bare_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test runner's own handlers hide what a user would see; nothing of ours may stay behind."""
    monkeypatch.setattr(LOG, "hasHandlers", lambda: bool(LOG.handlers))
    yield
    assert LOG.handlers == [] and LOG.level == logging.NOTSET


def metrics(step: int, accuracy: float = 0.9) -> Metrics:
    return Metrics(step, 10, f"layer {1 + (step > 5)}", (0.5 / step, float("nan")), accuracy, "validation")


def trial(clock: SimulatedClock, listener: Listener, index: int = 0, count: int = 2) -> None:
    """A trial of 41 s: 10 steps of 1 s digital work, 100 shots at 0.1 s in steps 1 and 6, 10 s tests, one ablation."""
    listener(TrialStarted(index, count, 7 + index, 300, 0, ablations=1))
    shots = 0
    for step in range(1, 11):
        if step in (1, 6):
            for _ in range(10):
                clock.sleep(1.0)
                shots += 10
                listener(ShotsArrived(10, shots))
        clock.sleep(1.0)
        cost = Cost(shots=shots, seconds_physics=0.1 * shots, seconds_digital=float(step))
        listener(StepDone(index, metrics(step), cost))
    listener(events.Testing(index))
    for _ in range(10):
        clock.sleep(1.0)
        shots += 10
        listener(ShotsArrived(10, shots))
    listener(AblationStarted(index, "no_skip"))
    clock.sleep(1.0)
    listener(TrialFinished(index, 7 + index, 0.973, {"no_skip": 0.912}))


def plain(quiet: bool = False) -> tuple[SimulatedClock, io.StringIO, Progress]:
    clock, out = SimulatedClock(), io.StringIO()
    return clock, out, Progress(quiet, clock, Console(file=out, width=40))


def test_commissioning_is_shown_and_logged_if_it_takes_its_time(tmp_path: Path) -> None:
    clock, out, progress = plain()
    with progress, LogFile(tmp_path, clock) as logged:
        for done in range(10, 60, 10):
            clock.sleep(0.9)
            for listener in (progress, logged):
                listener(Commissioning(done, 50))
        progress(TrialStarted(0, 1, 0, 300, 0))
    assert out.getvalue() == "commissioning, shots 30 of 50, 0:00:03 elapsed\n"
    (line,) = (tmp_path / "log.txt").read_text().splitlines()
    assert line.endswith("INFO rig commissioned with 50 shots")


def test_what_is_only_counted_is_shown_with_its_pace_and_the_time_left(tmp_path: Path) -> None:
    clock, out, progress = plain()
    with progress, LogFile(tmp_path, clock, cadence_s=20.0) as logged:
        for done in range(0, 1001, 100):
            for listener in (progress, logged):
                listener(Counted("recording", done, 1000))
            clock.sleep(5.0)
    assert out.getvalue().splitlines() == [
        "recording, shots 100 of 1,000, 20/s, 0:00:05 elapsed, 0:00:45 left",
        "recording, shots 300 of 1,000, 20/s, 0:00:15 elapsed, 0:00:35 left",
        "recording, shots 500 of 1,000, 20/s, 0:00:25 elapsed, 0:00:25 left",
        "recording, shots 700 of 1,000, 20/s, 0:00:35 elapsed, 0:00:15 left",
        "recording, shots 900 of 1,000, 20/s, 0:00:45 elapsed, 0:00:05 left",
    ]
    counts = [line.rpartition("INFO ")[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert counts == [f"recording: {done} of 1000 shots" for done in (0, 400, 800, 1000)]


def test_what_is_over_soon_is_not_told() -> None:
    clock, out, progress = plain()
    with progress:
        for done in range(0, 20, 5):
            progress(Counted("measuring", done, 15))
            clock.sleep(0.5)
    assert out.getvalue() == ""


def test_what_is_counted_has_a_bar() -> None:
    clock, out = SimulatedClock(), io.StringIO()
    progress = Progress(clock=clock)
    for done in (0, 50):
        progress(Counted("exporting", done, 100, "waveforms"))
        clock.sleep(3.0)
    Console(file=out, width=100).print(progress._view())
    bar, times = out.getvalue().splitlines()
    assert bar.startswith("exporting  ━") and "waveforms 50 of 100" in bar
    assert times.startswith("0:00:06 elapsed, 0:00:03 left")


# --- progress ---------------------------------------------------------------------------------------------------------


def test_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = SimulatedClock()
    with Progress(clock=clock) as progress:
        trial(clock, progress, 0)
        trial(clock, progress, 1)
    seen = capsys.readouterr()
    assert seen.out == ""  # stdout is left to results
    lines = seen.err.splitlines()
    assert "\x1b" not in seen.err
    finished = [line for line in lines if "test accuracy" in line]
    assert finished == [
        "trial 0 (1 of 2), seed 7: test accuracy 97.3 % (no skip 91.2) in 41.0 s",
        "trial 1 (2 of 2), seed 8: test accuracy 97.3 % (no skip 91.2) in 41.0 s",
    ]
    others = [line for line in lines if line not in finished]
    minutes = [re.search(r" 0:0(\d):(\d\d) elapsed", line) for line in others]
    times = [60 * int(found[1]) + int(found[2]) for found in minutes if found]
    assert times == [0, 10, 20, 30, 40, 40, 50, 60, 70, 80, 81]  # every ten seconds, and each ablation
    assert others[0] == "trial 0 (1 of 2), seed 7, measuring, shots 0 of 300, -/s, 0:00:00 elapsed"
    assert others[2] == (
        "trial 0 (1 of 2), seed 7, layer 1, step 5 of 10, loss layer 1 0.1, layer 2 -, accuracy 90.0 % (validation), "
        "shots 150 of 300, 10/s, 0:00:20 elapsed, about 0:01:20 left for the whole run"
    )
    assert others[5] == (
        "trial 0 (1 of 2), seed 7, ablation 1 of 1: no skip, 0:00:40 elapsed, about 0:01:00 left for the whole run"
    )


def test_a_line_is_never_wrapped_and_class_names_are_no_markup() -> None:
    _, out, progress = plain()
    with progress:
        progress(TrialStarted(0, 1, 0, 10, 0))
        progress(TrialFinished(0, 0, 1.0, {"[bold]": 0.5}))
    assert out.getvalue().splitlines()[-1] == "trial 0 (1 of 1), seed 0: test accuracy 100.0 % ([bold] 50.0) in 0.0 s"


def test_unknown_accuracy_and_loss_are_dashes() -> None:
    clock, out, progress = plain()
    with progress:
        progress(TrialStarted(0, 1, 0, 10, 0))
        clock.sleep(11)
        progress(StepDone(0, metrics(1, float("nan")), Cost(shots=5)))
    assert "loss layer 1 0.5, layer 2 -, accuracy - (validation)" in out.getvalue()


def test_quiet_shows_warnings_alone() -> None:
    clock, out, progress = plain(quiet=True)
    with progress:
        trial(clock, progress)
        LOG.warning("the rig has drifted by %d %%", 3)
        LOG.info("not this")
    LOG.warning("after the end")
    assert out.getvalue() == "warning: the rig has drifted by 3 %\n"


def test_warnings_go_to_whoever_has_set_up_logging() -> None:
    _, out, progress = plain()
    mine = logging.NullHandler()
    LOG.addHandler(mine)
    try:
        with progress:
            LOG.warning("once")
    finally:
        LOG.removeHandler(mine)
    assert out.getvalue() == ""


def shown(progress: Progress) -> str:
    """What the live display shows now, 80 columns wide."""
    console = Console(file=io.StringIO(), width=80)
    console.print(progress._view())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_run_folder_is_told_at_once() -> None:
    _, out, progress = plain()
    with progress:
        progress(RunStarted(Path("runs/2026-02-01_12-00-00_acoustic")))
    assert out.getvalue() == "run folder: runs/2026-02-01_12-00-00_acoustic\n"


def test_more_shots_than_planned_are_a_count_alone() -> None:
    _, out, progress = plain()
    with progress:
        progress(TrialStarted(0, 1, 0, 120, 120))  # goes on, tests again
        assert re.search(r"shots +120 +-/s", shown(progress))
        progress(ShotsArrived(24, 144))
        progress(TrialStarted(0, 1, 0, 30_400, 42_600))
        assert re.search(r"shots +42,600 +-/s", shown(progress)) and "30,400" not in shown(progress)
    assert "measuring, shots 120, -/s" in out.getvalue()


def test_long_ablations_are_told_one_by_one_and_no_time_is_made_up() -> None:
    clock, out, progress = plain()
    with progress:
        progress(TrialStarted(0, 1, 0, 10, 0))
        for name in ("off", "random"):
            progress(AblationStarted(0, name))
            clock.sleep(5.0)
        assert re.search(r"ablations +1 done", shown(progress))
        progress(TrialStarted(0, 1, 0, 10, 0, ablations=2))
        progress(StepDone(0, metrics(10), Cost(shots=10, seconds_digital=8.0)))
        progress(AblationStarted(0, "off"))
        assert "about 0:00:16 left" in shown(progress)  # each trains the network again: 8 s
        clock.sleep(2.0)
        progress(AblationStarted(0, "random"))
        assert "about 0:00:02 left" in shown(progress)  # as long as the one before
        clock.sleep(60.0)
        assert "left" not in shown(progress)
    assert "ablation 1: off, 0:00:00 elapsed\n" in out.getvalue()
    assert "ablation 2: random, 0:00:05 elapsed\n" in out.getvalue()
    assert "ablation 2 of 2: random, 0:00:12 elapsed, about 0:00:02 left for the whole run\n" in out.getvalue()


def test_live_display_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock, out = SimulatedClock(), io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, legacy_windows=False, _environ={"TERM": "xterm"})
    with Progress(clock=clock, console=console) as progress:
        views: list[str] = []

        def watched(event: events.Event) -> None:
            progress(event)
            views.append(shown(progress))

        trial(clock, watched)
        print("a script's own output")
    testing, ablating, saved = views[-3:]
    lines = testing.splitlines()
    assert lines[0] == "trial 0 (1 of 2), seed 7, testing"
    assert re.fullmatch(r"steps  ━{28}    10 of 10", lines[1].rstrip())
    assert re.fullmatch(r"shots  ━{28}  300 of 300  10/s", lines[2])
    assert lines[3] == "loss layer 1 0.05, layer 2 -   accuracy 90.0 % (validation)"
    assert lines[4] == "0:00:40 elapsed, about 0:01:00 left for the whole run"
    assert [" ".join(line.split()) for line in ablating.splitlines()] == [
        "trial 0 (1 of 2), seed 7, ablation 1 of 1: no skip",
        "ablations 0 of 1 done",  # without colours an empty bar is blank
        "0:00:40 elapsed, about 0:01:00 left for the whole run",
    ]
    assert "seed 7, saved" in saved and "1 of 1 done" in saved
    assert "0:00:41 elapsed, 0:00:41 left for the whole run" in saved
    assert max(len(line) for view in views for line in view.splitlines()) <= 80
    assert out.getvalue().count("test accuracy 97.3 %") == 1
    assert out.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()  # the cursor is back
    assert "own output" in capsys.readouterr().out


# --- pace -------------------------------------------------------------------------------------------------------------


def test_time_left_before_anything_is_known() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    assert pace.left_s() is None
    pace(TrialStarted(0, 2, 0, 300, 0))
    assert pace.left_s() is None


def test_time_left_in_the_first_trial_counts_shots_and_steps() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    pace(TrialStarted(0, 2, 0, 300, 0))
    clock.sleep(10.0)
    pace(ShotsArrived(100, 100))
    assert pace.left_s() == pytest.approx(20.0 + 30.0)  # shots alone are known: 200 here, 300 in the next trial
    pace(StepDone(0, metrics(1), Cost(shots=100, seconds_physics=10.0, seconds_digital=2.0)))
    assert pace.left_s() == pytest.approx((20.0 + 9 * 2.0) + (30.0 + 10 * 2.0))
    assert not pace.sure


def test_whole_trials_are_the_measure_of_the_next_ones() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    trial(clock, pace, 0, count=3)
    assert pace.sure and pace.left_s() == pytest.approx(2 * 41.0)
    pace(TrialStarted(1, 3, 1, 300, 0))
    clock.sleep(11.0)
    assert pace.left_s() == pytest.approx(30.0 + 41.0)
    pace(ShotsArrived(100, 100))
    pace(StepDone(1, metrics(5), Cost(shots=100, seconds_physics=30.0, seconds_digital=15.0)))
    assert pace.left_s() == pytest.approx((200 * 0.3 + 5 * 3.0 + 1.0) + 41.0)  # three times slower than before
    clock.sleep(100.0)
    pace(AblationStarted(1, "off"))
    assert pace.left_s() == pytest.approx(1.0 + 41.0)
    clock.sleep(100.0)
    assert pace.left_s() == pytest.approx(41.0)  # late, but never less than nothing


def test_a_resumed_trial_is_no_measure_of_whole_ones() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    pace(TrialStarted(3, 5, 0, 300, 200))
    assert (pace.shots, pace.shots_per_s()) == (200, None)
    clock.sleep(10.0)
    pace(ShotsArrived(50, 250))
    pace(StepDone(3, metrics(10), Cost(shots=250, seconds_physics=50.0, seconds_digital=20.0)))
    assert pace.left_s() == pytest.approx(10.0 + (60.0 + 20.0))
    pace(TrialFinished(3, 0, 0.9, {}))
    assert not pace.sure and pace.left_s() == pytest.approx(80.0)


def test_shots_per_second_are_recent_ones() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    pace(TrialStarted(0, 1, 0, 10_000, 0))
    for i in range(1, 101):
        clock.sleep(0.1)
        pace(ShotsArrived(10, 10 * i))
    assert pace.shots_per_s() == pytest.approx(100.0, rel=0.01)
    for i in range(1, 201):
        clock.sleep(0.1)
        pace(ShotsArrived(1, 1000 + i))
    assert pace.shots_per_s() == pytest.approx(10.0, rel=0.01)
    clock.sleep(60.0)
    assert pace.shots_per_s() is None  # nothing is being measured
    clock.sleep(60.0)
    pace(ShotsArrived(240, 1440))  # chunks rarer than the window
    assert pace.shots_per_s() == pytest.approx(240 / 120, rel=0.2)


def test_steps_without_shots_have_no_rate() -> None:
    clock = SimulatedClock()
    pace = Pace(clock)
    pace(TrialStarted(0, 1, 0, 200, 0))
    for step, shots in ((1, 100), (2, 0), (3, 100)):
        if shots:
            clock.sleep(5.0)
            pace(ShotsArrived(shots, pace.shots + shots))
            assert pace.shots_per_s() == pytest.approx(20.0)
        clock.sleep(1.0)
        pace(StepDone(0, metrics(step), Cost(shots=pace.shots)))
        assert (pace.shots_per_s() is None) == (shots == 0)


# --- log file ---------------------------------------------------------------------------------------------------------


def test_log_file_tells_the_story(tmp_path: Path) -> None:
    clock = SimulatedClock(1_769_860_800.0)
    with LogFile(tmp_path, clock) as log:
        log(RunStarted(tmp_path, resumed=True, changes=("trials.count 1 -> 2",)))
        trial(clock, log)
        log(RunFinished(2, 0.97, 0.004))
        LOG.warning("the rig has drifted")
        LOG.debug("too fine")
    LOG.error("after the end")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "run goes on",
        "changed: trials.count 1 -> 2",
        "trial 0 (1 of 2), seed 7 begins: at most 300 shots",
        "trial 0: step 1 of 10, layer 1, loss layer 1 0.5, layer 2 -, accuracy 90.0 % (validation), 100 shots",
        "trial 0: step 6 of 10, layer 2, loss layer 1 0.0833333, layer 2 -, accuracy 90.0 % (validation), 200 shots",
        "trial 0: step 10 of 10, layer 2, loss layer 1 0.05, layer 2 -, accuracy 90.0 % (validation), 200 shots",
        "trial 0: testing",
        "trial 0: ablation 1 of 1: no skip",
        "trial 0 finished: test accuracy 97.3 %, no skip 91.2 %",
        "run finished: test accuracy 97.0 %, mean of 2 trials, sd 0.4",
        "the rig has drifted",
    ]
    assert lines[0].startswith("2026-01-31T12:00:00.000Z INFO ")
    assert lines[-1].startswith("2026-01-31T12:00:41.000Z WARNING ")


def test_long_stages_are_logged_at_a_cadence(tmp_path: Path) -> None:
    clock = SimulatedClock()
    with LogFile(tmp_path, clock, cadence_s=30.0) as log:
        for step in range(1, 101):
            clock.sleep(1.0)
            log(StepDone(0, Metrics(step, 1000, "readout", (0.5,), 0.5, "training"), Cost()))
    steps = re.findall(r"step (\d+) of", (tmp_path / "log.txt").read_text(encoding="utf-8"))
    assert steps == ["1", "31", "61", "91"]


def test_a_resumed_run_continues_its_log(tmp_path: Path) -> None:
    for shots in (0, 200):
        with LogFile(tmp_path, SimulatedClock()) as log:
            log(TrialStarted(0, 1, 0, 300, shots))
    first, second = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert "trial 0 (1 of 1), seed 0 begins" in first and "seed 0 goes on after 200 shots: at most 300" in second


def test_how_a_run_ended_is_logged_and_shown_by_the_caller_alone(tmp_path: Path) -> None:
    _, out, progress = plain()
    with pytest.raises(Interrupted), progress, LogFile(tmp_path, SimulatedClock()):
        raise Interrupted("stopped by Ctrl-C, everything measured is kept")
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert text.endswith("ERROR Interrupted: stopped by Ctrl-C, everything measured is kept\n")
    assert out.getvalue() == ""
    with pytest.raises(ZeroDivisionError), LogFile(tmp_path, SimulatedClock()):
        1 / 0  # noqa: B018
    assert "Traceback" in (tmp_path / "log.txt").read_text(encoding="utf-8")


class FullDisk(io.StringIO):
    def flush(self) -> None:  # as with a real file: writing fills a buffer, flushing and closing fail
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_sentence_and_hides_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.FileHandler, "_open", lambda self: FullDisk())
    kept = "the disk is full; nothing is lost up to the last chunk"
    with pytest.raises(RunError) as error, LogFile(tmp_path, SimulatedClock()) as log:
        log(events.Testing(0))
    assert str(error.value) == f"{tmp_path}: {kept}: free space, then `labtrain resume {tmp_path}`"
    with pytest.raises(Interrupted), LogFile(tmp_path, SimulatedClock()):
        raise Interrupted("stopped")


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be used"), LogFile(tmp_path / "gone", SimulatedClock()):
        pass

"""Runs on disk: what was logged comes back to the last bit, and every way it can fail is one sentence."""

from __future__ import annotations

import errno
import os
import random
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labtrain import rundb, storage
from labtrain.clock import RealClock, SimulatedClock
from labtrain.errors import RunError
from labtrain.layer import Layer, LayerInfo, Recorded, Shots
from labtrain.ownership import network_share
from labtrain.runlist import list_runs
from labtrain.runs import Run, diff_config
from labtrain.storage import pack, read_arrays, unpack, write_arrays

CONFIG = {"training": {"theta": 4, "epochs": 100, "rates": [1e-3, 1e-4]}, "rig": {"kind": "acoustic"}}
TEXT = "training: {theta: 4, epochs: 100}  # \u00b5\r\n"


def create(folder: Path, clock: SimulatedClock | None = None) -> Run:
    clock = clock or SimulatedClock(1000.0)
    return Run.create(folder, config_text=TEXT, config=CONFIG, provenance={"seed": 1}, clock=clock)


def reopen(folder: Path, *, write: bool = True) -> Run:
    return Run.open(folder, write=write, clock=SimulatedClock(2000.0))


def shots(n: int, seed: int = 0, *, sigma: bool = True) -> Shots:
    rng = np.random.default_rng(seed)
    noise = rng.random((n, 3)) if sigma else None
    return Shots(rng.random((n, 4)), rng.standard_normal((n, 3)), noise, rng.integers(1, 3, n), 12.5)


def same(a: Shots, b: Shots) -> None:
    assert a.x.tobytes() == b.x.tobytes() and a.x.shape == b.x.shape
    assert a.y.tobytes() == b.y.tobytes() and a.y.shape == b.y.shape
    assert (a.sigma is None) == (b.sigma is None)
    if a.sigma is not None and b.sigma is not None:
        assert a.sigma.tobytes() == b.sigma.tobytes() and a.sigma.shape == b.sigma.shape
    assert a.attempts.tolist() == b.attempts.tolist() and a.attempts.dtype == b.attempts.dtype
    assert a.started_s == b.started_s


# --- what comes back --------------------------------------------------------------------------------------------------


def test_a_run_keeps_what_it_was_made_with(tmp_path: Path) -> None:
    create(tmp_path / "deep" / "run").close()
    with reopen(tmp_path / "deep" / "run", write=False) as run:
        assert (run.config, run.config_text, run.provenance, run.created_s) == (CONFIG, TEXT, {"seed": 1}, 1000.0)
        assert (run.folder / "config.yaml").read_bytes() == TEXT.encode()


def test_shots_come_back_bit_for_bit(tmp_path: Path) -> None:
    clock = SimulatedClock(1000.0)
    with create(tmp_path / "run", clock) as run:
        run.append("cavity", 3, shots(5, 1), {"shot": 5}, {"temperature_c": 21.5}, trial=2)
        clock.sleep(1.0)
        run.append("fibre", "test", shots(1, 2, sigma=False), {"shot": 6})
        run.append("fibre", "test", shots(0), {"shot": 6})
    with reopen(tmp_path / "run", write=False) as run:
        first, second = run.chunks()
        same(first.shots, shots(5, 1))
        same(second.shots, shots(1, 2, sigma=False))
        assert (first.time_s, first.trial, first.layer, first.step) == (1000.0, 2, "cavity", 3)
        assert (first.state, first.environment) == ({"shot": 5}, {"temperature_c": 21.5})
        assert (second.time_s, second.trial, second.layer, second.step) == (1001.0, 0, "fibre", "test")
        assert second.environment is None
        assert (run.shots_count(), run.shots_count("cavity"), run.shots_count("none")) == (6, 5, 0)
        assert [len(chunk) for chunk in run.shots("fibre")] == [1]


def test_many_chunks_come_back_in_order(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        for step in range(150):  # more than one page of the reader
            run.append("a" if step % 3 else "b", step, shots(1, step), {})
        assert [chunk.step for chunk in run.chunks()] == list(range(150))
        assert [chunk.step for chunk in run.chunks("b")] == list(range(0, 150, 3))


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | hnp.arrays(st.sampled_from([np.float64, np.int64, np.uint64, np.bool_]), hnp.array_shapes(min_dims=0, max_side=3))
)
states = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def alike(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@given(states)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_survives_the_disk(tmp_path: Path, state: object) -> None:
    text, arrays = pack(state)
    digest = write_arrays(tmp_path / "state.npz", arrays)
    assert alike(state, unpack(text, read_arrays(tmp_path / "state.npz", digest)))


@pytest.mark.parametrize("state", [{1: 2}, {"__array__": "a0"}, np.array([None]), {"x": object()}, {"x": 1j}])
def test_a_state_that_would_not_come_back_is_refused(state: object) -> None:
    with pytest.raises(TypeError):
        pack(state)


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_generators_go_on_where_they_were(tmp_path: Path, kind: type[np.random.BitGenerator]) -> None:
    generator = np.random.Generator(kind(7))
    generator.random(11)
    with create(tmp_path / "run") as run:
        run.checkpoint(1, {}, {"rng": generator.bit_generator.state, "rate": np.float64(0.1), "tuple": (1, 2)})
        step, state = run.last_checkpoint() or pytest.fail("no checkpoint")
    again = np.random.Generator(kind(0))
    again.bit_generator.state = state["rng"]
    assert again.random(5).tolist() == generator.random(5).tolist()
    assert (step, state["rate"], state["tuple"]) == (1, 0.1, [1, 2])


def test_checkpoints_use_two_files_in_turn(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        assert run.last_checkpoint() is None
        for step in range(5):
            before = {path.name: path.read_bytes() for path in run.folder.glob("checkpoint.*")}
            run.checkpoint(step, {"loss": 0.5}, {"w": np.full(3, float(step))})
            after = {path.name: path.read_bytes() for path in run.folder.glob("checkpoint.*")}
            assert [name for name in after if before.get(name) != after[name]] == [f"checkpoint.{'AB'[step % 2]}.npz"]
        last = run.last_checkpoint()
        assert last is not None and last[0] == 4 and last[1]["w"].tolist() == [4.0, 4.0, 4.0]
        assert [row.step for row in run.metrics()] == [0, 1, 2, 3, 4]
        assert run._db.rows("SELECT step FROM checkpoints") == [(3,), (4,)]  # what was overwritten is named no more


def test_a_checkpoint_killed_before_its_commit_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path / "run") as run:
        run.checkpoint(1, {}, {"w": np.ones(3)})
        run.checkpoint(2, {}, {"w": np.ones(3) * 2})
        with monkeypatch.context() as patch:
            patch.setattr(run, "_transaction", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run.checkpoint(3, {}, {"w": np.ones(3) * 3})
        assert alike(run.last_checkpoint()[1], {"w": np.ones(3) * 2})  # type: ignore[index]
        run.checkpoint(3, {}, {"w": np.ones(3) * 3})
        assert alike(run.last_checkpoint()[1], {"w": np.ones(3) * 3})  # type: ignore[index]


def test_metrics_of_a_replayed_step_replace_their_own_entry(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.log_metrics(0, 1, {"loss": 0.1 + 0.2})
        run.log_metrics(0, 2, {"loss": float("nan")})
        run.log_metrics(1, 1, {"loss": 3.0})
        run.log_metrics(0, 1, {"loss": 4.0})
        assert [(row.trial, row.step) for row in run.metrics()] == [(0, 1), (0, 2), (1, 1)]
        assert run.metrics()[0].value == {"loss": 4.0} and np.isnan(run.metrics()[1].value["loss"])


def test_trials_keep_results_and_arrays(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.save_trial(0, {"accuracy": 0.9}, {"layer0.weights": np.eye(2)})
        run.save_trial(1, {"accuracy": 0.8}, {"layer0.weights": np.eye(3)})
        run.save_trial(0, {"accuracy": 0.95}, {"layer0.weights": np.eye(4)})
    with reopen(tmp_path / "run", write=False) as run:
        assert run.trials() == {0: {"accuracy": 0.95}, 1: {"accuracy": 0.8}}
        assert run.trial_state(0)["layer0.weights"].tolist() == np.eye(4).tolist()
        with pytest.raises(RunError) as caught:
            run.trial_state(7)
        assert str(caught.value) == f"{run.folder}: trial 7 is not in this run; saved trials: 0, 1"


def test_notes_go_in_while_another_trains(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run, reopen(tmp_path / "run", write=False) as reader:
        run.append("a", 0, shots(2), {})
        reader.note("moved a cable")
        run.note("gain 3", kind="rig")
        run.log_environment({"temperature_c": 20.0})
        assert reader.notes() == [(2000.0, "note", "moved a cable"), (1000.0, "rig", "gain 3")] == run.notes()
        assert reader.environment() == [(1000.0, {"temperature_c": 20.0})]
        assert (reader.shots_count(), reader.status) == (2, "running")


def test_status_tells_the_killed_from_the_running(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    assert reopen(run.folder, write=False).status == run.status == "running"
    run.close()
    assert reopen(run.folder, write=False).status == "interrupted"
    with reopen(run.folder) as run:
        run.mark("finished")
        with pytest.raises(ValueError, match="allowed running, finished"):
            run.mark("done")
    assert reopen(run.folder, write=False).status == "finished"


# --- replay -----------------------------------------------------------------------------------------------------------


class Counting(Layer):
    """Answers depend on the shot number, so a shot measured twice or a state not restored would show."""

    name = "counter"

    def __init__(self) -> None:
        self.shot, self.measured = 0, 0

    @property
    def info(self) -> LayerInfo:
        return LayerInfo(4, 3, 0.0, 4, "V", "f", True)

    def _measure(self, x: np.ndarray) -> object:  # type: ignore[override]
        for start in range(0, len(x), 4):
            part = x[start : start + 4]
            y = part[:, :3] + self.shot + np.arange(len(part))[:, None]
            self.shot += len(part)
            self.measured += len(part)
            yield Shots(part, y, None, np.ones(len(part), np.int64), float(self.shot))

    def state(self) -> dict[str, int]:
        return {"shot": self.shot}

    def restore(self, state: dict[str, int]) -> None:
        self.shot = state["shot"]


def train(run: Run, layer: Counting, steps: int, *, every: int, stop_after: int | None = None) -> list[float]:
    """A training in miniature: each step depends on all answers so far."""
    total, first = 0.0, 0
    if (last := run.last_checkpoint()) is not None:
        first, total = last[1]["step"], last[1]["total"]
        layer.restore(last[1]["layer"])
    count = 0

    def sink(name: str, chunk: Shots, state: dict[str, int]) -> None:
        nonlocal count
        run.append(name, step, chunk, state)
        count += 1
        if count == stop_after:
            raise KeyboardInterrupt

    recorded = Recorded(layer, sink, run.replay)
    for step in range(first, steps):
        drive = np.random.default_rng([step, int(total)]).random((10, 4))
        total += float(recorded.forward(drive).sum())
        run.log_metrics(0, step, {"total": total})
        if (step + 1) % every == 0:
            run.checkpoint(step, {}, {"step": step + 1, "total": total, "layer": layer.state()})
    return [row.value["total"] for row in run.metrics()]


@pytest.mark.parametrize("stop_after", range(1, 19))
def test_resuming_measures_only_what_is_missing(tmp_path: Path, stop_after: int) -> None:
    with create(tmp_path / "whole") as run:
        expected = train(run, Counting(), 6, every=2)
    with create(tmp_path / "run") as run, pytest.raises(KeyboardInterrupt):
        train(run, Counting(), 6, every=2, stop_after=stop_after)
    with reopen(tmp_path / "run") as run:
        logged, layer = run.shots_count(), Counting()
        assert train(run, layer, 6, every=3) == expected  # the cadence may change: checkpoints in mid-replay
        assert layer.measured == 60 - logged and run.shots_count() == 60
        assert list(run.replay("counter", np.zeros((1, 4)))) == []


def test_a_checkpoint_in_mid_replay_stands_at_the_replayed_chunk(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        for step in range(3):
            run.append("a", step, shots(2, step), {"shot": step})
    with reopen(tmp_path / "run") as run:
        ((_, state),) = run.replay("a", shots(2, 0).x)
        run.checkpoint(0, {}, state)
    with reopen(tmp_path / "run") as run:
        assert [state for _, state in run.replay("a", np.vstack([shots(2, 1).x, shots(2, 2).x]))] == [
            {"shot": 1},
            {"shot": 2},
        ]


def test_shots_outside_training_are_not_replayed(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.append("a", 0, shots(2, 0), {})
        run.append("a", "evaluate", shots(3, 1), {}, replayable=False)
        run.append("a", 1, shots(2, 2), {})
    with reopen(tmp_path / "run") as run:
        run.append("a", "evaluate", shots(3, 3), {}, replayable=False)
        drives = np.vstack([shots(2, 0).x, shots(2, 2).x, shots(2, 4).x])
        assert [len(chunk) for chunk, _ in run.replay("a", drives)] == [2, 2]
        run.append("a", 2, shots(1, 4), {})
        assert run.shots_count() == 11


def test_replay_refuses_other_drives(tmp_path: Path) -> None:
    x = shots(2, 1).x
    with create(tmp_path / "run") as run:
        run.append("a", 0, shots(3, 0), {})
        run.checkpoint(0, {}, {})
        run.append("a", 7, shots(2, 1), {})
    other = x.copy()
    other[1, 2] = np.nextafter(x[1, 2], 2.0)
    cases = [
        ("a", other, 4, f"{float(other[1, 2])!r} on input 2, logged was {float(x[1, 2])!r}"),
        ("b", x, 3, "layer 'b', logged was 'a'"),
        ("a", x[:1], 3, "drives of shape (1, 4), logged were (2, 4)"),
        ("a", x[:, :3], 3, "drives of shape (2, 3), logged were (2, 4)"),
    ]
    for layer, asked, shot, what in cases:
        with reopen(tmp_path / "run") as run, pytest.raises(RunError) as caught:
            list(run.replay(layer, asked))
        assert str(caught.value) == (
            f"{run.folder}: at shot {shot} (layer 'a', step 7) the resumed training asks {what}; "
            "resume with the config, data and labtrain version of the run, or start a new run"
        )


def test_measuring_past_unreplayed_shots_is_refused(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        run.append("a", 0, shots(2), {})
    with reopen(tmp_path / "run") as run:
        with pytest.raises(RunError, match="logged shots after chunk 0 have not been replayed"):
            run.append("a", 0, shots(2), {})
        assert run.shots_count() == 2


# --- what can be wrong ------------------------------------------------------------------------------------------------


def sentence(folder: Path, *, write: bool = False) -> str:
    with pytest.raises(RunError) as caught:
        reopen(folder, write=write)
    return str(caught.value)


@pytest.mark.parametrize("write", [False, True])
def test_a_folder_that_is_no_run(tmp_path: Path, write: bool) -> None:
    folder = tmp_path / "run"
    assert sentence(folder, write=write) == f"{folder}: no such run folder; `labtrain runs` lists the runs there are"
    folder.mkdir()
    assert sentence(folder, write=write) == (
        f"{folder}: not a run folder (it has no run.db); `labtrain runs` lists the runs there are"
    )
    for make in (lambda: (folder / "run.db").touch(), lambda: foreign(folder / "run.db")):
        make()
        assert sentence(folder, write=write) == (
            f"{folder}: not a run folder (its run.db was not made by labtrain); "
            "`labtrain runs` lists the runs there are"
        )
    assert not (folder / "lock").exists()


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other(x)")
    connection.close()


@pytest.mark.parametrize("write", [False, True])
def test_a_garbage_database(tmp_path: Path, write: bool) -> None:
    create(tmp_path / "run").close()
    (tmp_path / "run" / "run.db").write_bytes(b"garbage " * 2000)
    assert sentence(tmp_path / "run", write=write) == (
        f"{tmp_path / 'run'}: run.db is corrupt (file is not a database); "
        "restore the folder from a backup or start a new run"
    )


def test_a_truncated_database(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        for step in range(50):
            run.append("a", step, shots(100, step), {})
    path = tmp_path / "run" / "run.db"
    os.truncate(path, path.stat().st_size - 5 * 4096 - 1000)
    with pytest.raises(RunError) as caught, reopen(tmp_path / "run", write=False) as run:
        list(run.chunks())
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: run.db is corrupt (database disk image is malformed); "
        "restore the folder from a backup or start a new run"
    )


@pytest.mark.parametrize("write", [False, True])
def test_a_newer_version(tmp_path: Path, write: bool) -> None:
    create(tmp_path / "run").close()
    connection = sqlite3.connect(tmp_path / "run" / "run.db")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert sentence(tmp_path / "run", write=write) == (
        f"{tmp_path / 'run'}: made by a newer labtrain (schema 7, this one reads 1); update labtrain"
    )


def test_a_run_in_use(tmp_path: Path) -> None:
    with create(tmp_path / "run"):
        assert sentence(tmp_path / "run", write=True) == (
            f"{tmp_path / 'run'}: in use by process {os.getpid()} on {socket.gethostname()}; "
            "wait until it ends (`labtrain runs` shows it)"
        )
        (tmp_path / "run" / "lock.json").write_text("torn")
        assert "in use by another process;" in sentence(tmp_path / "run", write=True)
    reopen(tmp_path / "run").close()


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError) as caught:
        create(tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: exists already; choose another name, or go on with it: "
        f"`labtrain resume {tmp_path / 'run'}`"
    )
    assert list((tmp_path / "run").iterdir()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    with reopen(tmp_path / "run", write=False) as run:
        for write in (
            lambda: run.append("a", 0, shots(1), {}),
            lambda: run.checkpoint(0, {}, {}),
            lambda: run.save_trial(0, {}, {}),
            lambda: run.mark("failed"),
        ):
            with pytest.raises(RunError, match="opened for reading"):
                write()
    assert not list((tmp_path / "run").glob("*.npz"))


@pytest.mark.parametrize("name", ["checkpoint.A.npz", "trial-000.A.npz"])
def test_damaged_arrays_are_named(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "run") as run:
        run.checkpoint(0, {}, {"w": np.zeros(9)})
        run.save_trial(0, {}, {"w": np.zeros(9)})
        read = run.last_checkpoint if name.startswith("checkpoint") else lambda: run.trial_state(0)
        path = run.folder / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(RunError) as caught:
            read()
        remedy = "restore it from a backup or start a new run"
        assert str(caught.value) == f"{path}: damaged, its SHA-256 is not that in run.db; {remedy}"
        path.unlink()
        with pytest.raises(RunError) as caught:
            read()
        assert str(caught.value) == f"{path}: missing, though run.db names it; {remedy}"


def full(folder: Path) -> str:
    return (
        f"{folder}: the disk is full; nothing is lost up to the last chunk: free space, then `labtrain resume {folder}`"
    )


def test_a_full_disk_while_logging(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        pages = run._db.rows("PRAGMA page_count")[0][0]
        run._db.rows(f"PRAGMA max_page_count = {pages + 40}")
        kept = 0
        with pytest.raises(RunError) as caught:
            for step in range(1000):
                run.append("a", step, shots(20, step), {})
                kept += 1
        assert str(caught.value) == full(run.folder)
        run._db.rows("PRAGMA max_page_count = 100000")
        run.append("a", kept, shots(20, kept), {})
    with reopen(tmp_path / "run") as run:
        logged = list(run.shots())
    assert kept > 5 and len(logged) == kept + 1
    for step, chunk in enumerate(logged):
        same(chunk, shots(20, step))


def test_a_full_disk_while_writing_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path / "run") as run:
        run.checkpoint(0, {}, {"w": np.zeros(9)})

        def fsync(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(storage.os, "fsync", fsync)
            for write in (lambda: run.checkpoint(1, {}, {}), lambda: run.save_trial(1, {}, {})):
                with pytest.raises(RunError) as caught:
                    write()
                assert str(caught.value) == full(run.folder)
        assert run.last_checkpoint()[0] == 0  # type: ignore[index]
        assert not list(run.folder.glob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_device_that_is_really_full(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        (run.folder / "checkpoint.A.npz.tmp").symlink_to("/dev/full")
        with pytest.raises(RunError) as caught:
            run.checkpoint(0, {}, {"w": np.zeros(9)})
        assert str(caught.value) == full(run.folder)
        run.checkpoint(0, {}, {"w": np.zeros(9)})


def test_a_failed_create_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundb, "_TABLES", "CREATE TABLE meta(x); nonsense")
    with pytest.raises(sqlite3.OperationalError):
        create(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


MOUNTS = [
    ("/", "ext4", "rw"),
    ("/mnt/nas", "nfs4", "rw,hard"),
    ("/mnt/nas/disk", "ext4", "rw"),
    ("/home", "autofs", "rw"),
    ("/home", "fuse.sshfs", "rw"),
    ("/fuse", "fuse.ext2", "rw"),
]
WINDOWS = [("C:\\", "NTFS", "rw,fixed"), ("Z:\\", "", "rw,remote"), ("D:\\", "", "cdrom")]


@pytest.mark.parametrize(
    ("path", "share"),
    [
        (PurePosixPath("/data/run"), None),
        (PurePosixPath("/mnt/nas/run"), "/mnt/nas, nfs4"),
        (PurePosixPath("/mnt/nasty/run"), None),
        (PurePosixPath("/mnt/nas/disk/run"), None),
        (PurePosixPath("/home/me/run"), "/home, fuse.sshfs"),
        (PurePosixPath("/fuse/run"), None),
        (PureWindowsPath(r"C:\runs\a"), None),
        (PureWindowsPath(r"z:\runs\a"), "Z:\\, remote drive"),
        (PureWindowsPath(r"\\nas\lab\runs"), r"\\nas\lab"),
        (PureWindowsPath(r"\\?\C:\runs"), None),
    ],
)
def test_network_shares_are_recognised(path: PurePosixPath | PureWindowsPath, share: str | None) -> None:
    mounts = MOUNTS if isinstance(path, PurePosixPath) else WINDOWS
    assert network_share(path, mounts) == share


def test_a_run_on_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path / "old").close()
    monkeypatch.setattr("labtrain.ownership.network_share", lambda *_: "/mnt/nas, nfs4")
    for folder, use in ((tmp_path / "run", create), (tmp_path / "old", reopen)):
        with pytest.raises(RunError) as caught:
            use(folder)
        assert str(caught.value) == (
            f"{folder}: lies on a network share (/mnt/nas, nfs4), where a run's database is not safe; "
            "choose a local disk with `--runs DIR` and copy the run afterwards"
        )
    assert not (tmp_path / "run").exists()


def test_differences_of_configs_are_named() -> None:
    new = {
        "training": {"theta": 8, "epochs": 300, "rates": [1e-3], "schedule": "joint"},
        "rig": {"kind": "acoustic", "gain": None},
    }
    lines = [
        "training.theta: 4 -> 8",
        "training.rates: [0.001, 0.0001] -> [0.001]",
        "rig.gain: not set -> null",
        'training.schedule: not set -> "joint"',
    ]
    assert sorted(diff_config(CONFIG, new, {"training.epochs"})) == sorted(lines)
    assert diff_config(CONFIG, new, {"training"}) == ["rig.gain: not set -> null"]
    assert diff_config(CONFIG, new, {"training", "rig"}) == []
    assert diff_config({"a": {"b": 1}}, {"a": {"bc": 1, "b": 1.0}}, {"a.b"}) == ["a.bc: not set -> 1"]
    assert diff_config({"a": {}, "b": True, "c": (1, 2)}, {"a": {}, "b": True, "c": [1, 2]}, ()) == []


def test_a_changed_config_is_adopted_or_refused(tmp_path: Path) -> None:
    longer = {**CONFIG, "training": {**CONFIG["training"], "epochs": 300}}  # type: ignore[dict-item]
    wrong = {**longer, "rig": {"kind": "optical"}}
    with create(tmp_path / "run") as run:
        with pytest.raises(RunError) as caught:
            run.adopt_config("new", wrong, {"training.epochs"})
        assert str(caught.value) == (
            f'{run.folder}: the config differs from the one this run began with (rig.kind: "acoustic" -> "optical"); '
            "resume with the old values, or start a new run"
        )
        assert run.config == CONFIG and run.config_text == TEXT
        assert run.adopt_config(TEXT, CONFIG, ()) == []
        assert run.adopt_config("new", longer, {"training.epochs"}) == ["training.epochs: 100 -> 300"]
        assert run.config == longer and (run.folder / "config.yaml").read_text() == "new" == run.config_text
        assert [(note.kind, note.text) for note in run.notes()] == [("config", "training.epochs: 100 -> 300")]


def test_broken_runs_are_listed_with_their_reason(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        list_runs(tmp_path / "none", RealClock())
    missing = tmp_path / "none"
    assert str(caught.value) == f"{missing}: no such folder; name the folder that holds the run folders with --runs DIR"
    with create(tmp_path / "c") as run:
        run.append("a", 0, shots(7), {})
        run.save_trial(0, {}, {})
        run.mark("finished")
    (tmp_path / "a").mkdir()
    create(tmp_path / "b").close()
    (tmp_path / "b" / "run.db").write_bytes(b"x" * 5000)
    (tmp_path / "file").touch()
    create(tmp_path / "folder-of-runs" / "d").close()
    a, b, c = list_runs(tmp_path, RealClock())
    assert (a.status, b.status) == ("broken", "broken")
    assert "not a run folder (it has no run.db)" in a.problem and "run.db is corrupt" in b.problem
    assert (c.folder.name, c.status, c.created_s, c.shots, c.trials, c.problem) == ("c", "finished", 1000.0, 7, 1, "")
    assert c.size_bytes > 4096


# --- kill -9 ----------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
import numpy as np
from labtrain.clock import RealClock
from labtrain.layer import Shots
from labtrain.runs import Run

folder = Path(sys.argv[1])
if folder.exists():
    run = Run.open(folder, write=True, clock=RealClock())
else:
    run = Run.create(folder, config_text="", config={}, provenance={}, clock=RealClock())
last = run.last_checkpoint()
i = 0 if last is None else last[1]["i"]
while True:
    x = np.random.default_rng(i).random((4, 20))
    done = list(run.replay("a", x))
    if not done:
        run.append("a", i, Shots(x, x + i, None, np.ones(4, np.int64), float(i)), {"i": i})
        print("chunk", i, flush=True)
    i += 1
    if i % 5 == 0:
        run.checkpoint(i, {"i": i}, {"i": i, "w": np.full(50_000, float(i))})
        print("checkpoint", i, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder, rng = tmp_path / "run", random.Random(20240607)
    known, checkpoint = 0, 0
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = [child.stdout.readline()]
        time.sleep(rng.uniform(0.0, 0.3))
        child.kill()
        said += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        acknowledged = [line.split() for line in said if line.endswith("\n")]
        measured = [int(number) for kind, number in acknowledged if kind == "chunk"]
        assert measured == list(range(known, known + len(measured)))  # nothing logged before was measured again
        checkpoint = max([checkpoint, *(int(number) for kind, number in acknowledged if kind == "checkpoint")])
        with reopen(folder, write=False) as run:
            assert run.status == "interrupted"
            logged = list(run.chunks())
            # One chunk, and one checkpoint, may be kept whose word did not get out.
            assert len(logged) in (known + len(measured), known + len(measured) + 1)
            known = len(logged)
            assert [chunk.step for chunk in logged] == list(range(known))
            for chunk in logged:
                x = np.random.default_rng(int(chunk.step)).random((4, 20))
                same(chunk.shots, Shots(x, x + chunk.step, None, np.ones(4, np.int64), float(chunk.step)))
            step, state = run.last_checkpoint() or (0, {"i": 0, "w": np.zeros(50_000)})
            assert step in (checkpoint, checkpoint + 5) and state["i"] == step
            assert (state["w"] == step).all()
    assert checkpoint > 0

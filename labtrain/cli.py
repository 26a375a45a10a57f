"""The command line: thin commands over jobs and inference. One sentence for every error, the exit code of its kind."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from labtrain.cli_common import ConfigFile, Json, RunFolder, Runs, Set, TraceIo, finish, print_json, show
from labtrain.cli_compare import compare
from labtrain.cli_devices import devices_app
from labtrain.cli_lab import lab
from labtrain.cli_new import new_app
from labtrain.cli_twin import twin_app
from labtrain.errors import InputError, Interrupted, LabtrainError


class _Commands(typer.core.TyperGroup):
    """All commands; Ctrl-C, which typer would end without a word, is told in a sentence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # A guard says what it was; without one nothing has been measured yet.
            raise Interrupted(str(error) or "stopped before anything was measured") from None


app = typer.Typer(
    name="labtrain",
    cls=_Commands,
    help="Train neural networks made of sound, microwaves and light, on the rig itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="Check configuration files.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(new_app, name="new")
app.add_typer(twin_app, name="twin")


@app.command()
def train(
    config: ConfigFile,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    trace_io: TraceIo = None,
    as_json: Json = False,
) -> None:
    """Train a network as a configuration file says, in a new run folder."""
    from labtrain import experiment, jobs
    from labtrain.progress import Progress

    loaded = experiment.load(config, set_)
    with Progress() as progress:
        summary = jobs.train(loaded, runs, [progress], trace_io=trace_io)
    finish(summary, as_json)


@app.command()
def resume(run: RunFolder, set_: Set = [], trace_io: TraceIo = None, as_json: Json = False) -> None:  # noqa: B006
    """Go on with a run that was broken off; with --set training.epochs=300, beyond its end.

    A recording goes beyond its end with --set record.shots=20000.
    """
    from labtrain import jobs, recording
    from labtrain.clock import RealClock
    from labtrain.progress import Progress
    from labtrain.runs import Run

    with Run.open(run, write=False, clock=RealClock()) as opened:
        recorded = opened.kind == "recording"
    with Progress() as progress:
        summary = (recording if recorded else jobs).resume(run, set_, [progress], trace_io=trace_io)
    finish(summary, as_json, recorded)


@app.command()
def runs(root: Runs = Path("runs"), as_json: Json = False) -> None:
    """List the runs in a folder, the broken ones included."""
    from labtrain.clock import RealClock
    from labtrain.report import runs_table
    from labtrain.runlist import list_runs

    found = list_runs(root, RealClock())
    if as_json:
        print_json(
            [
                {"run": str(r.folder), "status": r.status, "trials": r.trials, "shots": r.shots,
                 "bytes": r.size_bytes, "problem": r.problem, "kind": r.kind}
                for r in found
            ]
        )  # fmt: skip
    elif found:
        show(runs_table(found))
    else:
        print(f"no runs in {root}")


@app.command()
def evaluate(run: RunFolder, trace_io: TraceIo = None, as_json: Json = False) -> None:
    """Measure the test rows of a finished run anew, with the weights it ended with."""
    from labtrain import inference
    from labtrain.report import evaluation_table

    rows = inference.evaluate(run, trace_io=trace_io)
    if as_json:
        print_json(rows)
    else:
        show(evaluation_table(rows))


@app.command()
def predict(
    run: RunFolder,
    rows: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="CSV",
            help="rows to predict: a header, and the columns and units of the training table; others are ignored",
        ),
    ],
    trial: Annotated[int, typer.Option(help="the trial whose network predicts, counted from 0")] = 0,
    trace_io: TraceIo = None,
    as_json: Json = False,
) -> None:
    """Predict the rows of a CSV file with a trained network; prints CSV: row, label, margin.

    Columns are named as in the table of the training, in the same units
    (F0, F1, F2, F3 in Hz for peterson-barney); logarithms are taken here.

    The margin is the lead of the winning label's score over the second best,
    in the unit of the score; it is no probability.
    """
    from labtrain import inference

    predictions = inference.predict(run, rows, trial, trace_io=trace_io)
    if as_json:
        print_json([{"row": p.row, "label": p.label, "margin": p.margin} for p in predictions])
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["row", "label", "margin"])
    writer.writerows([p.row, p.label, f"{p.margin:.4f}"] for p in predictions)


@app.command()
def plan(config: ConfigFile, set_: Set = [], as_json: Json = False) -> None:  # noqa: B006
    """Say what a configuration will cost, in shots, hours and disk, before anything runs."""
    from labtrain import experiment, jobs
    from labtrain.report import plan_table

    planned = jobs.plan(experiment.load(config, set_))
    if as_json:
        print_json(planned)
    else:
        show(plan_table(planned))


@app.command()
def note(run: RunFolder, text: Annotated[str, typer.Argument(help="for instance: moved a cable")]) -> None:
    """Add a note to a run; works while it is training."""
    from labtrain.clock import RealClock
    from labtrain.runs import Run

    if not text.strip():
        raise InputError('the note is empty; write it in quotes: labtrain note RUN "moved a cable"')
    with Run.open(run, write=False, clock=RealClock()) as opened:
        opened.note(text)
    print(f"{run}: noted: {text}")


@app.command()
def notes(run: RunFolder, as_json: Json = False) -> None:
    """List what was noted in a run: notes, changes of its configuration, evaluations; times in UTC."""
    from labtrain.clock import RealClock
    from labtrain.report import notes_table
    from labtrain.runs import Run

    with Run.open(run, write=False, clock=RealClock()) as opened:
        found = opened.notes()
    if as_json:
        print_json([{"time_s": note.time_s, "kind": note.kind, "text": note.text} for note in found])
    elif found:
        show(notes_table(found))
    else:
        print(f"no notes in {run}")


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="a ready configuration, for instance acoustic")],
    to: Annotated[Path | None, typer.Option(help="file to write; default: NAME.yaml")] = None,
) -> None:
    """Copy a ready configuration into this folder."""
    from labtrain.limits import did_you_mean
    from labtrain.ready import ready

    known = ready()
    if name not in known:
        raise InputError(
            f"no ready configuration {name!r}{did_you_mean(name, known)}; there are: {', '.join(sorted(known))}"
        )
    target = to or Path(f"{name}.yaml")
    if target.exists():
        raise InputError(f"{target}: exists already; choose another name with --to FILE")
    try:
        target.write_text(known[name].read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); choose another place with --to FILE"
        ) from None
    after = f"edit it from top to bottom, then: labtrain config check {target}"
    print(f"{target} written; next: {after if name.endswith('-lab') else f'labtrain train {target}'}")


@config_app.command()
def check(config: ConfigFile, set_: Set = []) -> None:  # noqa: B006
    """Check a configuration file; every error with its line, all at once."""
    from labtrain import experiment, jobs

    jobs.check(experiment.load(config, set_))
    print(f"{config}: good")


@config_app.command()
def schema() -> None:
    """Print the JSON schema of configuration files, for editors that complete and check YAML."""
    from labtrain.config import schema_json
    from labtrain.experiment import Experiment

    print(json.dumps(schema_json(Experiment), indent=2))


def _version(wanted: bool) -> None:
    if wanted:
        from labtrain import __version__

        print(f"labtrain {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    """Options that come before a command."""
    del version


app.command()(compare)
app.registered_commands += lab.registered_commands + devices_app.registered_commands


def main() -> None:
    """Entry point; a user's mistake ends in one sentence on stderr and never in a traceback."""
    try:
        app()
    except LabtrainError as error:
        print(f"labtrain: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

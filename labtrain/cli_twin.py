"""Commands of digital twins: fit one to what was recorded, judge it on what it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from labtrain.cli_common import ConfigFile, Json, Set, print_json, show
from labtrain.errors import InputError

twin_app = typer.Typer(help="Fit or measure digital twins, and judge them.", no_args_is_help=True)

Source = Annotated[
    Path, typer.Argument(metavar="RUN|NPZ", help="run folder, or .npz file with arrays x and y", show_default=False)
]
LayerName = Annotated[str | None, typer.Option(help="layer of the run, where shots of several are logged")]


@twin_app.command()
def fit(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="FILE", help=".npz file to write", show_default=False)],
    kind: Annotated[Literal["wave", "multiport", "residual"], typer.Option(help="of twin, see below")] = "wave",
    rows: Annotated[int | None, typer.Option(min=1, help="earliest rows to fit; default: nine tenths")] = None,
    half_life: Annotated[
        float | None, typer.Option(help="rows after which a pair counts half, for a rig that drifts")
    ] = None,
    modes: Annotated[
        int | None, typer.Option(help="of a multiport: through which its pixels couple; default: 4")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of what begins random; default: 0")] = None,
    layer: LayerName = None,
    as_json: Json = False,
) -> None:
    """Fit a twin to the earliest rows of a recording, and judge it on those after them.

    wave: amplitudes behind a linear wave system, as of the acoustic rig.
    multiport: pixels of a metasurface that couple, as of the microwave rig.
    residual: the wave twin and a small network for what it misses; needs
    the extra torch.

    The file holds the twin and its errors on the rows behind the fitted ones,
    which rig: recorded replays as noise (rig.twin).
    """
    from labtrain.events import Counted
    from labtrain.progress import Progress
    from labtrain.twins.fitting import fit_twin

    options = {"half_life": half_life, "modes": modes, "seed": seed}
    fits: dict[str, tuple[str, ...]] = {"wave": ("half_life",), "multiport": ("half_life", "modes", "seed")}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in fits.get(kind, ("half_life", "seed")):
            raise InputError(f"--{name.replace('_', '-')}: a {kind} twin has no such option; leave it out")
    with Progress() as progress:
        if kind == "wave":
            found = fit_twin(source, out, kind, rows, layer, **given)
        else:
            unit = "outputs" if kind == "multiport" else "epochs"
            found = fit_twin(
                source, out, kind, rows, layer,
                lambda done, planned: progress(Counted("fitting", done, planned, unit)), **given,
            )  # fmt: skip
    _tell(found, as_json)


@twin_app.command()
def measure(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(metavar="FILE", help=".npz file to write", show_default=False)],
    layer: Annotated[int, typer.Option(min=0, help="number of the rig's layer, counted from 0")] = 0,
    steps: Annotated[int, typer.Option(min=3, help="of the reference's phase, for each Hadamard pattern")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of the random patterns")] = 0,
    set_: Set = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Measure the transmission matrix of an optical rig by phase stepping, and keep it as a twin.

    Takes (steps + 1) shots for each input, and some; at the exposure of the
    configuration, of which the section rig alone is looked at. Halves of the
    inputs show Hadamard patterns while the other half's phase is stepped, then
    random patterns. 64 more patterns judge what it predicts.

    The twin is one of the layer, for training.twin, rig: recorded and twin
    judge, and holds its errors, which rig: recorded replays as noise.
    """
    from labtrain import measuring
    from labtrain.progress import Progress
    from labtrain.twin_measuring import measure_twin
    from labtrain.twin_report import measured_text

    with Progress() as progress:
        found = measure_twin(measuring.load(config, set_), out, layer, steps, seed, [progress])
    if as_json:
        print_json(found)
    else:
        print(measured_text(found))


@twin_app.command()
def judge(
    twin: Annotated[
        Path, typer.Argument(metavar="FILE", help="twin that labtrain twin fit or measure wrote", show_default=False)
    ],
    source: Source,
    rows: Annotated[
        str, typer.Option(metavar="A:B", help="rows A to B - 1, from 0; either may be left out; default: all")
    ] = ":",
    layer: LayerName = None,
    as_json: Json = False,
) -> None:
    """Judge a twin on rows of a recording; take some that it was not fitted to.

    R2 is 1 - (RMSE / RMSE of a constant)^2, the constant being the mean of
    these very rows: below 0 the twin is worse. Repeatability is the scatter of
    the rig itself, told where the recording has it (sigma, or drives that
    recur); no twin can be expected to come below it.
    """
    from labtrain.twins.fitting import judge_twin

    _tell(judge_twin(twin, source, _rows(rows), layer), as_json)


def _rows(text: str) -> tuple[int | None, int | None]:
    """First and end of ``A:B``."""
    first, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (int(first) if first.strip() else None), (int(end) if end.strip() else None)
    except ValueError:
        raise InputError(f"--rows {text}: not two numbers with a colon between; as in --rows 8500:9300") from None


def _tell(found: dict[str, Any], as_json: bool) -> None:
    from labtrain.twin_report import twin_table

    if as_json:
        print_json(found)
    else:
        show(twin_table(found))

"""Commands of the laboratory: what measures, surveys, serves, silences and talks, without training anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from labtrain.cli_common import ConfigFile, Json, RunFolder, Runs, Set, TraceIo, finish, print_json, show

lab = typer.Typer()


@lab.command()
def measure(
    config: ConfigFile,
    rows: Annotated[
        Path,
        typer.Option("--input", metavar="CSV", help="drives: a column for each input, numbers from 0 to 1"),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV file to write; default: standard output")
    ] = None,
    layer: Annotated[int, typer.Option(min=0, help="number of the rig's layer, counted from 0")] = 0,
    set_: Set = [],  # noqa: B006
    trace_io: TraceIo = None,
    as_json: Json = False,
) -> None:
    """Measure the drives of a CSV file on a rig, as they are; prints CSV.

    Of the configuration the section rig alone is looked at. The header of the
    input may be left out.

    Columns of the output: shot, counted from 0 in the order of the input;
    x1, ..., as the instruments were really told; y1 (unit), ...;
    sigma1 (unit), ... where the rig tells it; attempts. Rows are written as
    they arrive: what stands there stays after Ctrl-C or an error.

    With --json: the same as lists by column; with --out a summary alone.
    """
    from contextlib import nullcontext
    from dataclasses import asdict

    from labtrain import measuring
    from labtrain.progress import Progress

    loaded = measuring.load(config, set_)
    kept: dict[str, Any] = {}

    def keep(_: Any, shots: Any) -> None:
        for name in ("x", "y", "sigma", "attempts"):
            if (values := getattr(shots, name)) is not None:
                kept.setdefault(name, []).extend(values.tolist())

    with measuring.new_file(out) if out is not None else nullcontext(sys.stdout) as file:
        take = keep if as_json and out is None else measuring.CsvShots(file)
        # Rows on the same terminal show by themselves how far it is.
        with Progress(quiet=out is None and not as_json and sys.stdout.isatty()) as progress:
            try:
                done = measuring.measure(loaded, rows, take, layer, [progress], trace_io=trace_io)
            except BaseException:
                if kept:
                    print_json(kept)
                raise
    if as_json:
        print_json(asdict(done) | kept | ({"out": str(out)} if out is not None else {}))


@lab.command()
def record(
    config: ConfigFile,
    shots: Annotated[
        int | None, typer.Option(min=1, help="random drives to measure; default: record.shots, 10000")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the drives; default: record.seed, 0")] = None,
    layer: Annotated[
        int | None, typer.Option(min=0, help="number of the rig's layer; default: record.layer, 0")
    ] = None,
    set_: Set = [],  # noqa: B006
    runs: Runs = Path("runs"),
    trace_io: TraceIo = None,
    as_json: Json = False,
) -> None:
    """Measure random drives in a new run folder, which ends with pairs.npz: x, y and what else is known.

    Of the configuration the sections rig, run and record alone are looked at.
    A recording that was broken off goes on with: labtrain resume RUN.
    """
    from labtrain import recording
    from labtrain.progress import Progress

    asked = {"shots": shots, "seed": seed, "layer": layer}
    options = [f"record.{name}={value}" for name, value in asked.items() if value is not None]
    loaded = recording.load(config, [*set_, *options])
    with Progress() as progress:
        summary = recording.record(loaded, runs, [progress], trace_io=trace_io)
    finish(summary, as_json, recorded=True)


@lab.command()
def export(
    run: RunFolder,
    format_: Annotated[
        Literal["netcdf", "csv", "wav"], typer.Option("--format", help="wav: raw waveforms kept with it")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file, or folder for wav; default: in the run folder")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write all logged shots of a run as NetCDF or CSV, a file for each layer, or its waveforms as WAV."""
    from labtrain import export as exporting
    from labtrain.progress import Progress

    with Progress() as progress:
        exported = exporting.export(run, format_, out, [progress])
    if as_json:
        print_json([{"path": str(e.path), "layer": e.layer, "shots": e.shots, "y_unit": e.y_unit} for e in exported])
    else:
        print(*exported, sep="\n")


@lab.command()
def survey(
    config: ConfigFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder for survey.yaml and survey.html; default: survey-NAME")
    ] = None,
    tones: Annotated[
        int | None, typer.Option(min=1, help="sound: tones to propose; default: as many as the configuration has")
    ] = None,
    band: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="sound: where they may lie, in Hz; default: 150 1100"),
    ] = None,
    exposure: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="light: shortest and longest allowed, in s; default: 1,000 x either way"),
    ] = None,
    mean: Annotated[
        float | None, typer.Option(help="light: mean of the speckle, as a share of the full count; default: 0.1")
    ] = None,
    saturated: Annotated[
        float | None, typer.Option(help="light: share of saturated pixels to expose for, instead of --mean")
    ] = None,
    watch: Annotated[
        int | None, typer.Option(help="light: shots for which one pattern is watched; default: 1024")
    ] = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="light: measure the transmission matrix too, about 4 shots an input")
    ] = False,
    set_: Set = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Survey a new rig and propose settings, each with its reason.

    Sound: plays for about a minute: silence, each speaker alone, a sweep of
    each, shots at rising levels and again and again. Names dead speakers and
    microphones, hum, resonances and nodes; proposes tones, level, settling and
    averaging. Never louder than the limits in rig.audio, nor than a shot at
    rig.shot.level.

    Light: finds the exposure, then looks at dark frames, contrast, grains,
    phases, single inputs and drift. Says whether the shutter is closed.
    """
    from labtrain import experiment
    from labtrain.progress import Progress
    from labtrain.rigs.speckle.procedure import request
    from labtrain.survey import Sound, run_survey
    from labtrain.survey_page import survey_json, survey_text

    loaded = experiment.load(config, set_)
    sound = None if tones is None and band is None else Sound(tones, band)
    light = request(exposure_s=exposure, mean=mean, saturated=saturated, watch_shots=watch, matrix=matrix or None)
    with Progress() as progress:
        done = run_survey(loaded, out or Path(f"survey-{config.stem}"), sound, light, [progress])
    if as_json:
        print_json(survey_json(done))
    else:
        show(survey_text(done))


@lab.command()
def calibrate(
    config: ConfigFile,
    microphone: Annotated[int, typer.Option(help="the one that the calibrator is on, from 1")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV file, for rig.audio.sensitivity_file; other rows in it stay")
    ],
    level_db: Annotated[float, typer.Option("--level-db", help="of the calibrator, in dB SPL")] = 94.0,
    hz: Annotated[float, typer.Option("--hz", help="of the calibrator")] = 1000.0,
    set_: Set = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Calibrate a microphone with a sound calibrator; the speakers stay silent.

    Of the configuration the section rig alone is looked at.
    """
    from dataclasses import asdict

    from labtrain import measuring
    from labtrain.calibrating import calibrate as calibrating

    found = calibrating(measuring.load(config, set_), microphone, out, level_db, hz)
    if as_json:
        print_json(asdict(found) | {"microphone": microphone, "out": str(out)})
    else:
        print(
            f"microphone {microphone}: {found.pascal_full_scale:.4g} Pa at full scale ({found.hz:.1f} Hz, "
            f"{found.clear_db:.0f} dB above the rest); {out} written"
        )


@lab.command()
def emulate(
    config: ConfigFile,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="write a config that uses the emulators")] = None,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0: all of them")] = "127.0.0.1",
    port: Annotated[
        list[str], typer.Option(metavar="NAME=NUMBER", help="TCP port of an instrument, as in vna=5025; default: any")
    ] = [],  # noqa: B006
    transport: Annotated[
        list[str],
        typer.Option(metavar="NAME=KIND", help="of an instrument: socket, hislip, vxi11, or pty for serial ones"),
    ] = [],  # noqa: B006
    dialect: Annotated[
        list[str],
        typer.Option(metavar="NAME=DRIVER", help="another instrument in its place, as in vna=keysight-ena"),
    ] = [],  # noqa: B006
    timing: Annotated[
        bool, typer.Option("--timing", help="answers take as long as those of the instruments (rig.real_time)")
    ] = False,
    fault: Annotated[
        list[str], typer.Option(metavar="NAME: FAULT", help='what goes wrong, as in "vna: late 2.5 s at 7"')
    ] = [],  # noqa: B006
    set_: Set = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="one line of JSON once everything listens")] = False,
) -> None:
    """Serve the emulators of a rig's instruments to other programs, until Ctrl-C.

    Prints a configuration that uses them: the given one with other addresses.
    On Linux serial instruments get a pseudo-terminal, unless --port names them.
    Speakers and microphones become a sound card on a running JACK server.
    Instruments that speak SCPI also listen as VISA clients want it that know
    INSTR resources alone: --transport vna=hislip, or vxi11.

    Faults: late 2.5 s, no reply, truncated 100 bytes, garbage, disconnect,
    reboot, error -230; then "at" or "from", and the number of the message:
    "vna: reboot at 20", "metasurface: late 2 s from 5 of Pattern".
    Of a sound card: dropout, clip, slip, repeat, hum, mute, as in
    "audio: dropout 40 frames at 2.5 s of 3", the third playback.
    """
    from labtrain import emulate as emulation
    from labtrain import emulate_options as options

    def ready(serving: emulation.Serving) -> None:
        if out is not None:
            serving.write(out)
        if as_json:
            print_json({"addresses": serving.addresses, "config": serving.config})
        elif out is not None:
            print(*serving.listing(), f"{out} written; next, elsewhere: labtrain train {out}", sep="\n", flush=True)
        else:
            print(*(f"# {line}" for line in serving.listing()), serving.config, sep="\n", end="", flush=True)

    loaded = options.load(config, [*set_, *(["rig.real_time=true"] if timing else [])], dialect)
    ports, transports = options.parse_ports(port), options.parse_transports(transport)
    faults = options.parse_faults(loaded, fault)
    emulation.emulate(loaded, ready, host=host, ports=ports, transports=transports, faults=faults)


@lab.command()
def safe(
    config: ConfigFile,
    grace: Annotated[float, typer.Option(min=0, help="seconds a process may take to end by itself")] = 5.0,
    set_: Set = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Make the instruments of a configuration safe: end whoever uses them, then switch them off.

    Works from another terminal, during a run, after a crash, and with nobody there. Exit code 4 if something may
    still be on; it is named, and the others are safe.
    """
    from labtrain import stop

    stopping = stop.prepare(config, set_, grace, tell=lambda done: None if as_json else print(done, flush=True))
    try:
        stopping.carry_out()
    finally:
        if as_json:
            ended, instruments = stopping.ended, stopping.instruments
            print_json({"ended": [e.as_dict() for e in ended], "instruments": [i.as_dict() for i in instruments]})
    if not as_json and not any(not done.simulated for done in stopping.instruments):
        print(f"{config}: all of this rig is simulated, there is nothing to switch off")


@lab.command()
def talk(
    address: Annotated[str, typer.Argument(help="tcp://host:port, a serial port or URL, a VISA resource")],
    visa: Annotated[str, typer.Option(help="VISA library: @py, @ivi, or the path of one")] = "@py",
    baud: Annotated[int, typer.Option(min=1, help="of a serial port")] = 115_200,
    end: Annotated[str, typer.Option(help="what ends a line, in both directions")] = r"\n",
    timeout: Annotated[float, typer.Option(min=0.001, help="longest silence within an answer, in seconds")] = 5.0,
    trace_io: TraceIo = None,
) -> None:
    """Talk to an instrument: type what it understands, see what it answers.

    Lines can also come from a file or a pipe: answers alone go to the standard
    output then, and the exit code is 3 if a question had none.
    """
    from labtrain import talk as console

    console.talk(address, visa=visa, baud=baud, end=end, timeout_s=timeout, trace_io=trace_io)

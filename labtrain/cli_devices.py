"""Commands about devices: what is connected, and which drivers there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labtrain.cli_common import Json, print_json, show

if TYPE_CHECKING:
    from labtrain.backends import Missing
    from labtrain.devices import Found
    from labtrain.discover import Tell
    from labtrain.driver_list import DriverDetails, ListedDriver

devices_app = typer.Typer()

PATIENT_S = 2.0  # before it is shown how far it is


@devices_app.command()
def discover(
    host: Annotated[
        list[str],
        typer.Option(metavar="ADDRESS[:PORT]", help="also ask there: a host, or an address of any form; repeatable"),
    ] = [],  # noqa: B006
    visa: Annotated[str, typer.Option(help="VISA library: @py, @ivi, or the path of one")] = "@py",
    ask_serial: Annotated[
        bool, typer.Option("--ask-serial", help="ask serial ports *IDN? too; this may reset or move something")
    ] = False,
    try_: Annotated[
        list[str],
        typer.Option("--try", metavar="DRIVER", help="let this driver ask serial ports in its own way; repeatable"),
    ] = [],  # noqa: B006
    baud: Annotated[int, typer.Option(min=1, help="of serial ports, for *IDN?")] = 115_200,
    timeout: Annotated[float, typer.Option(min=0.05, max=60, help="for each address, in seconds")] = 2.0,
    missing: Annotated[
        bool, typer.Option("--missing", help="which ways to instruments are missing here, and how to get them")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what is connected, which driver fits, and the lines of YAML for it.

    VISA resources and what --host names are asked *IDN?, once; nothing is set.
    Instruments on plain TCP sockets cannot be listed: name their host. Serial
    ports are listed with what USB tells of them. An instrument that another
    labtrain process uses is not asked.
    """
    from labtrain import backends
    from labtrain.discover import Asking
    from labtrain.discover import discover as look

    asking = Asking(visa, host, ask_serial, try_, baud, timeout)
    with _patience() as tell:
        found, remarks = look(asking, tell)
    lacking = backends.missing()
    if as_json:
        lacks = [{"what": m.what, "reaches": m.reaches, "how": m.how} for m in lacking]
        print_json({"devices": [device.as_dict() for device in found], "remarks": remarks, "missing": lacks})
        return
    for part in discovered(found, remarks, lacking, missing or not found):
        show(part, least=width_of(found))


@devices_app.command()
def drivers(
    name: Annotated[
        str | None,
        typer.Argument(help="one of them, with its keys; or an instrument, for its driver", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """List all drivers: instruments, and what each was tried on.

    With a driver's name: its keys, with defaults and meanings. With anything
    else, a model or a part of its name: the drivers that fit. On a pipe each
    driver has one line.
    """
    from labtrain import driver_list, registry

    found = None if name is None or name in registry.names("drivers") else driver_list.search(name)
    if name is not None and not found:
        details = driver_list.details(name)
        if as_json:
            print_json(details.as_dict())
        else:
            for part in _described(details):
                show(part)
        return
    found = found or driver_list.driver_list()
    if as_json:
        print_json([driver.as_dict() for driver in found])
    elif sys.stdout.isatty():
        show(drivers_table(found))
    else:
        print(drivers_lines(found))


# -- for people --------------------------------------------------------------------------------------------------


def _table(*columns: str, **options: Any) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, **options)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


DESCRIPTION = 30  # least width of what an instrument is


def width_of(found: list[Found]) -> int:
    """At which no address is broken, to be copied in one piece."""
    return sum(max((len(getattr(device, key)) for device in found), default=0) for key in ("kind", "address")) + (
        max((len(name) for device in found for name in device.drivers), default=0) + DESCRIPTION + 9
    )


def discovered(
    found: list[Found], remarks: list[str], missing: list[Missing], tell_missing: bool = False
) -> Iterator[Any]:
    """What is printed; the ways that are missing in one line unless they are to be told."""
    from rich.text import Text

    if found:
        table = _table("kind", "address", "what it is", "driver")
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        for device in found:
            told = "; ".join(filter(None, [device.told, device.note]))
            table.add_row(device.kind, *map(Text, (device.address, told, ", ".join(device.drivers) or "-")))
        yield table
    else:
        yield Text("nothing is connected that can be listed; name the host of an instrument with --host")
    fitting = [device for device in found if device.drivers]
    if fitting:
        yield Text("\nto copy into the section of an instrument:")
        for device in fitting:
            yield Text("\n" + "\n".join(f"  {line}" for line in device.lines()), no_wrap=True, overflow="ignore")
    for remark in remarks:
        yield Text(f"\n{remark}")
    if missing and not tell_missing:
        ways = "1 way to instruments is" if len(missing) == 1 else f"{len(missing)} ways to instruments are"
        yield Text(f"\n{ways} missing here: labtrain discover --missing")
    elif missing:
        yield Text("\nways to instruments that are missing here:")
        table = _table("what", "for", "how")
        for lack in missing:
            table.add_row(*map(Text, (lack.what, lack.reaches, lack.how)))
        yield table


def drivers_table(found: list[ListedDriver]) -> Any:
    """For a screen: under a heading for each kind."""
    from rich.text import Text

    from labtrain.driver_list import by_kind

    table = _table("driver", "instruments", "tried on", expand=True)
    table.columns[0].no_wrap = True
    table.columns[1].ratio, table.columns[2].ratio = 4, 3
    for number, (kind, drivers) in enumerate(by_kind(found).items()):
        if number:
            table.add_row()
        table.add_row(Text(kind, "bold"))
        for driver in drivers:
            name, *rest = _driver_row(driver)
            table.add_row(f"  {name}", *map(Text, rest))
            for column, told in zip(table.columns[1:], rest, strict=True):
                column.min_width = max(column.min_width or 0, *map(len, told.split()))  # words stay whole
    return table


def drivers_lines(found: list[ListedDriver]) -> str:
    """For other programs: a line a driver, whatever its length, under a heading for each kind."""
    from labtrain.driver_list import by_kind

    rows = {kind: [_driver_row(driver) for driver in drivers] for kind, drivers in by_kind(found).items()}
    widths = [max(len(row[i]) for some in rows.values() for row in some) for i in (0, 1)]
    lines = []
    for kind, some in rows.items():
        lines += [kind, *(f"  {name:{widths[0]}}  {told:{widths[1]}}  {tried}" for name, told, tried in some)]
    return "\n".join(lines)


def _driver_row(driver: ListedDriver) -> tuple[str, str, str]:
    """Name, instruments and what it was tried on; where it comes from if that is not labtrain."""
    told = driver.problem or driver.models
    if driver.extra:
        told += f' (pip install "labtrain[{driver.extra}]")'
    if not driver.origin.startswith("labtrain "):
        told += f" (from {driver.origin or 'a package that does not tell its name'})"
    return driver.name, told, driver.tried_on or "-"


def _described(details: DriverDetails) -> Iterator[Any]:
    from rich.text import Text

    driver = details.driver
    facts = {
        "kind": driver.kind,
        "instruments": driver.models,
        "from": driver.origin,
        "tried on": driver.tried_on,
        "needs": driver.extra and f'pip install "labtrain[{driver.extra}]"',
        "at address sim": details.emulator,
        "USB": ", ".join(details.usb_ids),
        "if not safe": details.by_hand,
    }
    yield Text(f"{driver.name}: {details.about}\n")
    table = _table("", "", show_header=False)
    for told, value in facts.items():
        if value:
            table.add_row(told, Text(value))
    yield table
    table = _table("key", "default", "meaning")
    table.columns[0].no_wrap = True
    for key in details.keys:
        table.add_row(*map(Text, (key.name, "-" if key.default is None else key.default, key.meaning)))
    yield Text("")
    yield table


@contextmanager
def _patience() -> Iterator[Tell]:
    """A bar on stderr for what takes longer than a moment, where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from labtrain.clock import RealClock

    clock, console = RealClock(), Console(stderr=True)
    began_s = clock.monotonic()
    bar = Progress(TextColumn("{task.description}"), BarColumn(28), console=console, transient=True)
    task = bar.add_task("looking", total=None)

    def tell(what: str, done: int, of: int) -> None:
        bar.update(task, description=f"{what}: {done} of {of}", completed=done, total=of)
        if sys.stderr.isatty() and clock.monotonic() - began_s > PATIENT_S:
            bar.start()

    try:
        yield tell
    finally:
        if bar.live.is_started:  # stop() alone would write a line
            bar.stop()

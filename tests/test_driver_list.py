"""The list of drivers: all of them, the broken ones of other packages too, and the table of the documentation."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from labtrain import __version__, registry
from labtrain.cli_devices import drivers_lines, drivers_table
from labtrain.driver_list import ListedDriver, by_kind, details, driver_list, listed, search, table_of_the_docs
from labtrain.drivers.sensors.scpi_sensor import ScpiSensor
from labtrain.errors import InputError
from labtrain.yaml_lines import Tree

ROOT = Path(__file__).resolve().parent.parent

PLUGIN = '''
"""A driver of another package."""
from typing import Literal
from labtrain.drivers.sensors.scpi_sensor import ScpiSensor

class Barometer(ScpiSensor):
    """Tells the pressure of the air."""

    class Config(ScpiSensor.Config):
        """Settings."""
        driver: Literal["barometer"] = "barometer"

    MODELS_TOLD = "Acme barometers"
    TRIED_ON = "Acme B1, firmware 3"
    EXTRA = ""
    USB_IDS = ((0x1234, 0xABCD),)

class Unfinished(ScpiSensor):
    """It has no Config of its own."""

class NoDriver:
    pass
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a driver that works and four that do not."""
    (tmp_path / "acme_drivers.py").write_text(PLUGIN)
    (tmp_path / "acme_broken.py").write_text("import a_package_that_there_is_not\n")
    about = tmp_path / "acme_drivers-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-drivers\nVersion: 1.2\n")
    names = {
        "barometer": "acme_drivers:Barometer",
        "broken": "acme_broken:Driver",
        "gone": "acme_drivers:Gone",
        "unfinished": "acme_drivers:Unfinished",
        "no-driver": "acme_drivers:NoDriver",
    }
    lines = "\n".join(f"{name} = {value}" for name, value in names.items())
    (about / "entry_points.txt").write_text(f"[labtrain.drivers]\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("acme_drivers", "acme_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_every_driver_of_labtrain_is_listed_whole() -> None:
    found = {driver.name: driver for driver in driver_list()}
    assert set(registry.BUILT_IN["drivers"]) <= set(found)
    for name in registry.BUILT_IN["drivers"]:
        driver = found[name]
        assert driver.problem == "", driver.problem
        assert driver.models and driver.tried_on
        assert driver.kind != "other", f"{name}: no kind of KINDS in labtrain/driver_list.py fits"
        assert driver.origin == f"labtrain {__version__}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("keysight-pna", "network analyser"),
        ("open-source-ris", "metasurface"),
        ("audio", "sound"),
        ("slmsuite-slm", "light modulator"),
        ("slmsuite-camera", "camera"),
        ("python-switch", "illumination"),
        ("scpi-sensor", "sensor"),
        ("scpi-power-meter", "power meter"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert listed(name).kind == kind


def test_extras() -> None:
    assert (listed("nidaqmx").extra, listed("keysight-pna").extra) == ("daq", "")
    assert (listed("slmsuite-slm").extra, listed("slmsuite-camera").extra) == ("optics", "optics")


def test_a_driver_of_another_package(plugin: None) -> None:
    driver = listed("barometer")
    assert (driver.origin, driver.kind, driver.problem) == ("acme-drivers 1.2", "sensor", "")
    assert (driver.models, driver.tried_on) == ("Acme barometers", "Acme B1, firmware 3")
    assert details("barometer").usb_ids == ("1234:abcd",)
    assert details("barometer").about == "Tells the pressure of the air. A driver of another package."


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "broken",
            "driver 'broken' (acme_broken:Driver) cannot be imported: No module named 'a_package_that_there_is_not'",
        ),
        ("gone", "driver 'gone' (acme_drivers:Gone) cannot be imported: module 'acme_drivers' has no attribute 'Gone'"),
        ("unfinished", "driver 'unfinished': its Config needs driver: Literal['unfinished'] = 'unfinished'"),
        (
            "no-driver",
            "driver 'no-driver' is <class 'acme_drivers.NoDriver'>, not a class derived from "
            "labtrain.drivers.device.Device",
        ),
    ],
)
def test_what_is_broken_is_a_row_with_its_error(plugin: None, name: str, problem: str) -> None:
    (driver,) = [driver for driver in driver_list() if driver.name == name]
    assert (driver.origin, driver.problem, driver.kind) == ("acme-drivers 1.2", problem, "")
    with pytest.raises(InputError) as caught:
        details(name)
    assert str(caught.value) == problem


def test_an_unknown_driver() -> None:
    with pytest.raises(InputError, match=re.escape("unknown driver 'scpi-senso' (did you mean scpi-sensor?)")):
        details("scpi-senso")


@pytest.mark.parametrize("name", registry.BUILT_IN["drivers"])
def test_details_have_every_key_with_its_default(name: str) -> None:
    found = details(name)
    fields = registry.resolve("drivers", name).Config.model_fields
    assert [key.name for key in found.keys] == [key for key in fields if key != "driver"]
    for key in found.keys:
        assert key.meaning
        default = fields[key.name].get_default(call_default_factory=True)
        if key.default is None:
            assert default is None or fields[key.name].is_required()
        else:
            assert "\n" not in key.default
            tree = Tree("default")
            tree.read(f"key: {key.default}")
            assert not tree.problems
            plain = list(default) if isinstance(default, tuple) else default
            assert tree.data["key"] == (plain.model_dump(mode="json") if hasattr(plain, "model_dump") else plain)


def test_details_of_a_sensor() -> None:
    found = details("scpi-sensor")
    assert found.emulator == ScpiSensor.EMULATOR
    assert found.about.startswith("A sensor, or several in one instrument")
    ends = next(key for key in found.keys if key.name == "question_end")
    assert (ends.default, ends.meaning) == (r'"\n"', "what ends a question")


def test_the_table_of_the_documentation_is_that_of_the_drivers() -> None:
    """The page's rows under "Which instruments", in order; what is missing or wrong is printed to be pasted."""
    page = (ROOT / "docs" / "instruments.md").read_text(encoding="utf-8")
    _, _, section = page.partition("\n## Which instruments\n")
    section = section.partition("\n## ")[0]
    rows = re.findall(r"^\| `.*$", section, re.MULTILINE)
    assert "\n".join(rows) == table_of_the_docs(), f"rows to paste into docs/instruments.md:\n{table_of_the_docs()}"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "labtrain", "drivers", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ZNB20", ["rohde-schwarz"]),
        ("znb 20", ["rohde-schwarz"]),
        ("N5222", ["keysight-pna"]),
        ("n5222b", ["keysight-pna"]),
        ("NanoVNA-H4", ["nanovna"]),
        ("nano vna", ["nanovna", "nanovna-v2"]),
        ("SNA5012", ["siglent-sna"]),
        ("Siglent Technologies,SNA5012A,1,2", ["siglent-sna"]),
        ("vna-v", ["nanovna-v2"]),
        ("power meter", ["scpi-power-meter"]),
        ("Holoeye", ["slmsuite-slm"]),
        ("basler", ["slmsuite-camera"]),
        ("M5180", ["copper-mountain"]),
        ("nothing", []),
        ("-", []),
        (" ", []),
        ("(", [name for name in registry.BUILT_IN["drivers"] if "(" in listed(name).models]),
    ],
)
def test_what_an_instrument_is_called_leads_to_its_driver(text: str, names: list[str]) -> None:
    assert [driver.name for driver in search(text)] == names


@pytest.fixture
def of_all_sorts() -> list[ListedDriver]:
    return [
        ListedDriver("a", "sensor", "words " * 20 + "near-field-ris-controllers", "labtrain 1.0", "emulator"),
        ListedDriver("b-driver", "network analyser", "Acme", "acme-drivers 1.2", "Acme B1"),
        ListedDriver("c", origin="acme-drivers 1.2", problem="it lacks Config"),
        ListedDriver("d", "sensor", "boards", "labtrain 1.0", "stand-in", extra="daq"),
    ]


def test_lines_for_other_programs(of_all_sorts: list[ListedDriver]) -> None:
    lines = [re.sub("  +", "  ", line) for line in drivers_lines(of_all_sorts).splitlines()]
    assert lines == [
        "network analyser",
        "  b-driver  Acme (from acme-drivers 1.2)  Acme B1",
        "sensor",
        f"  a  {'words ' * 20}near-field-ris-controllers  emulator",
        '  d  boards (pip install "labtrain[daq]")  stand-in',
        "broken",
        "  c  it lacks Config (from acme-drivers 1.2)  -",
    ]
    assert list(by_kind(of_all_sorts)) == ["network analyser", "sensor", "broken"]


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_screen_words_stay_whole(width: int) -> None:
    console = Console(width=width, record=True, quiet=False, file=io.StringIO())
    console.print(drivers_table(driver_list()))
    told = console.export_text().splitlines()
    assert max(map(len, told)) <= width
    words = {word for driver in driver_list() for word in f"{driver.name} {driver.models} {driver.tried_on}".split()}
    assert not words - set(" ".join(told).split())
    assert [line.strip() for line in told if re.fullmatch(r"[a-z ]+?\s*", line) and line[0] != " "][1:] == [
        "network analyser", "metasurface", "sound", "light modulator", "camera", "illumination", "power meter", "sensor"
    ]  # fmt: skip


def test_the_command_has_a_line_for_each() -> None:
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    for name in registry.BUILT_IN["drivers"]:
        (line,) = re.findall(rf"^  {name} .*$", done.stdout, re.MULTILINE)
        assert listed(name).models in line and line.endswith(listed(name).tried_on)


def test_the_command_finds_the_driver_of_an_instrument() -> None:
    done = command("ZNB20")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("network analyser\n  rohde-schwarz  Rohde")
    assert [row["name"] for row in json.loads(command("ZNB20", "--json").stdout)] == ["rohde-schwarz"]


def test_the_command_in_json() -> None:
    rows = json.loads(command("--json").stdout)
    assert {row["name"] for row in rows} >= set(registry.BUILT_IN["drivers"])
    one = json.loads(command("scpi-sensor", "--json").stdout)
    assert one["kind"] == "sensor"
    assert {"name": "baud", "default": "9600", "meaning": "of a serial port"} in one["keys"]


def test_the_command_for_one() -> None:
    done = command("scpi-power-meter")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "start_energy" in done.stdout
    assert command("nothing").returncode == 2

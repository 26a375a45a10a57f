"""The list of drivers: all of them, the broken ones of other packages too, and the table of the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labtrain import __version__, registry
from labtrain.driver_list import details, driver_list, listed, table_of_the_docs
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
        ("scpi-sensor", "sensor"),
        ("scpi-power-meter", "power meter"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert listed(name).kind == kind


def test_extras() -> None:
    assert (listed("nidaqmx").extra, listed("keysight-pna").extra) == ("daq", "")


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


def test_the_command_lists_them_on_a_page() -> None:
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert all(re.search(rf"^{name} ", done.stdout, re.MULTILINE) for name in registry.BUILT_IN["drivers"])


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

"""The documentation stays true: every key with its default, every link, every file it names."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labtrain import registry
from labtrain.clock import SimulatedClock
from labtrain.config import Registered, Section, loads
from labtrain.drivers.metasurface.metasurface import LinkedMetasurfaceConfig, MetasurfaceConfig
from labtrain.drivers.vna.vna import VnaConfig
from labtrain.errors import ConfigError, InputError, LabtrainError
from labtrain.experiment import Experiment
from labtrain.ledger import Cost
from labtrain.sim.cavity import AcousticParameters
from labtrain.trainer import ABLATION_KEYS, summarise
from labtrain.yaml_lines import Tree

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
EVERY: dict[str, type[Section]] = {
    "`driver`: every network analyser": VnaConfig,
    "`driver`: every metasurface": LinkedMetasurfaceConfig,
}
REQUIRED, LEFT_OUT = "required", "-"


def schema(model: type[Section], prefix: str, tag: str = "") -> dict[str, Any]:
    """Dotted key -> default of everything under a section; its tag is what the heading says."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if any(isinstance(item, Registered) for item in field.metadata):
            found[f"{prefix}{name}"] = REQUIRED if field.is_required() else field.default  # keys: under its own heading
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= schema(field.annotation, f"{prefix}{name}.")
        elif name != tag:
            default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
            found[f"{prefix}{name}"] = list(default) if isinstance(default, tuple) else default
    return found


def expected() -> dict[str, dict[str, Any]]:
    """Heading of docs/configuration.md -> the keys that a reader must find under it."""
    found: dict[str, dict[str, Any]] = {}
    for name, field in Experiment.model_fields.items():
        tags = [item for item in field.metadata if isinstance(item, Registered)]
        if tags:
            for choice in registry.names(tags[0].kind):
                config = tags[0].config(choice)
                found[f"`{name}`: `{tags[0].tag}: {choice}`"] = schema(config, f"{name}.", tags[0].tag)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found[f"`{name}`"] = schema(field.annotation, f"{name}.")
        else:
            found[f"`{name}`"] = {name: list(field.default) if isinstance(field.default, tuple) else field.default}
    for driver in registry.names("drivers"):
        found[f"`driver: {driver}`"] = schema(Registered("drivers", "driver").config(driver), "", "driver")
    return found | {heading: schema(config, "", "driver") for heading, config in EVERY.items()}


def documented() -> dict[str, dict[str, Any]]:
    """The same as docs/configuration.md has it."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for part in text.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| (.+?) \|$", body, re.MULTILINE)
        found[heading] = {key: value(default) for key, default, _ in rows}
    common = found.pop("`dataset`: every type")
    for heading, keys in found.items():
        if heading.startswith("`dataset`"):
            found[heading] = common | keys
        elif heading.startswith("`driver: "):
            found[heading] = of_every(heading.split("`")[1].removeprefix("driver: "), found) | keys
    return found


def of_every(driver: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Keys that are documented for all drivers of its kind, as far as it has them."""
    config = Registered("drivers", "driver").config(driver)
    kind = VnaConfig if issubclass(config, VnaConfig) else MetasurfaceConfig
    if not issubclass(config, kind):
        return {}
    heading = next(heading for heading, of in EVERY.items() if issubclass(of, kind))
    return {key: default for key, default in found[heading].items() if key in config.model_fields}


def value(default: str) -> Any:
    if default in (REQUIRED, LEFT_OUT):
        return None if default == LEFT_OUT else REQUIRED
    tree = Tree("default")
    tree.read(f"key: {default.strip('`')}")
    assert not tree.problems
    return tree.data["key"]


def test_every_section_is_documented() -> None:
    assert sorted(documented()) == sorted(expected())


@pytest.mark.parametrize("heading", expected())
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    assert documented().get(heading) == expected()[heading]


def test_the_example_loads_and_the_error_is_quoted_right() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    example, notes = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    loads(example, Experiment, "lab.yaml")
    assert loads(example + notes, Experiment, "lab.yaml").value.run.notes["gain_knob"] == "12"
    (quoted,) = re.findall(r"`(lab\.yaml:\d+: .+?)`", text)
    with pytest.raises(ConfigError) as caught:
        loads(example.replace("  epochs: 40", "  theta: four"), Experiment, "lab.yaml")
    assert str(caught.value) == quoted


def test_the_rig_of_the_contributing_guide_works() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    rig = names["EchoRig"](names["EchoRig"].Config(type="echo"), SimulatedClock())
    assert rig.config.repeats == 1
    with rig:
        assert rig.layers[0].forward([[0.0, 0.1, 0.2, 1.0]]).tolist() == [[0.0, 0.1, 0.2, 1.0]]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:labtrain|drivers|rigs|config|tests|docs|benchmarks)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_modules_that_are_named_can_be_imported() -> None:
    for page in PAGES:
        for name in re.findall(r"`(labtrain(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8")):
            folders = name.replace(".", "/").replace("labtrain/configs", "config")
            folders = re.sub(r"^labtrain/(?=rigs|drivers)", "", folders)
            assert (ROOT / folders).is_dir() or (ROOT / f"{folders}.py").is_file() or name in registry_groups(), name


def registry_groups() -> set[str]:
    return {f"labtrain.{kind}" for kind in registry.BUILT_IN}


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_every_key_of_the_summary_is_documented() -> None:
    cost = Cost().as_dict()
    trial = {
        "seed": 0, "accuracy": 1.0, "confusion": [[1]], "ablations": {}, "test_values_held_at_border": 0,
        "drive_clipped_share": [0.0], "train_cost": cost, "test_cost": cost,
    }  # fmt: skip
    keys = {key for key in summarise(["a"], [trial]) if key not in {f"{name}_sd" for name in ABLATION_KEYS.values()}}
    text = (ROOT / "docs/runs.md").read_text(encoding="utf-8")
    table = text.partition("## `summary.json`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", table, re.MULTILINE)
    assert {key for names, _ in rows for key in re.findall(r"`(\w+)`", names)} == keys | {
        "shots_commission",
        "seconds",
        "run",
    }
    (parts,) = (meaning for names, meaning in rows if names == "`cost`")
    assert set(re.findall(r"`(\w+)`", parts)) == set(cost)


def test_the_limits_of_the_tones_are_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"Bins that keep clear of the mains: ([\d,\sand]+)\.", text)
    allowed = []
    for tone in range(1, 60):
        with suppress(InputError):
            AcousticParameters(tone_bins=(tone,))
            allowed.append(tone)
    assert [int(number) for number in re.findall(r"\d+", told)] == allowed


def test_exit_codes_are_documented() -> None:
    text = (ROOT / "docs/runs.md").read_text(encoding="utf-8")
    codes, classes = {0}, [LabtrainError]
    while classes:
        error = classes.pop()
        codes.add(error.exit_code)
        classes += error.__subclasses__()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes

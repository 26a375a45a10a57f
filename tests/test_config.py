"""Configuration files: exact sentences for every mistake, overrides, round trips."""

# ruff: noqa: E501 - sentences stay in one piece

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from labtrain import registry
from labtrain.config import InputPath, Loaded, Registered, Section, dump, load, loads, schema_json
from labtrain.errors import ConfigError
from labtrain.limits import Limit


class Speaker(Section):
    x: float
    max_volts: float = Field(1.0, gt=0, le=5)


class RigConfig(Section):
    speakers: tuple[Speaker, ...] = Field(min_length=1)


class Acoustic:
    class Config(RigConfig):
        type: Literal["acoustic"] = "acoustic"
        position: tuple[float, float, float] = (0.0, 0.0, 0.0)
        rate_hz: float = 48_000.0

        @field_validator("rate_hz")
        @classmethod
        def _within(cls, value: float) -> float:
            return Limit(8e3, 96e3, "Hz").check(value, who="acoustic", what="rate", remedy="set rig.rate_hz")


class PhyLL:
    class Config(Section):
        method: Literal["phyll"] = "phyll"
        theta: float = Field(4.0, gt=0)
        epochs: int = Field(ge=1)
        schedule: Literal["joint", "layerwise"] = "joint"
        skip: bool = True
        negatives: int | tuple[int, ...] = 1
        note: str = ""


class Ridge:
    class Config(Section):
        method: Literal["ridge"] = "ridge"
        strength: float = Field(1.0, alias="lambda")


class Bare:
    """Registered without a Config."""


class Lab(Section):
    name: str = "run"
    rig: Annotated[Section, Registered("rigs")]
    training: Annotated[Section, Registered("methods", tag="method")]
    data: InputPath | None = None

    @model_validator(mode="after")
    def _named(self) -> Lab:
        if self.name == "forbidden":
            raise ValueError("the name is taken; choose another")
        return self


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("local_plugins")
    for found in (Acoustic, PhyLL, Ridge, Bare):
        setattr(module, found.__name__, found)
    monkeypatch.setitem(sys.modules, "local_plugins", module)
    monkeypatch.setitem(registry.BUILT_IN, "rigs", {"acoustic": "local_plugins:Acoustic"})
    methods = {"phyll": "local_plugins:PhyLL", "ridge": "local_plugins:Ridge"}
    monkeypatch.setitem(registry.BUILT_IN, "methods", methods)


GOOD = """\
# a lab
rig:
  type: acoustic
  speakers:
    - x: 1e-3
    - {x: 2, max_volts: 3}
training:
  method: phyll
  epochs: 10
"""


def errors(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, Lab, "folder/lab.yaml", overrides)
    return str(caught.value).splitlines()


def lab(text: str = GOOD, *overrides: str) -> Loaded[Lab]:
    return loads(text, Lab, "folder/lab.yaml", overrides)


def test_values_and_where_they_were_set() -> None:
    loaded = lab(GOOD, "training.theta=8", "training.theta=9", "rig.speakers.1.x=0.5")
    rig, training = loaded.value.rig, loaded.value.training
    assert isinstance(rig, Acoustic.Config) and isinstance(training, PhyLL.Config)
    assert [(speaker.x, speaker.max_volts) for speaker in rig.speakers] == [(1e-3, 1.0), (0.5, 3.0)]
    assert (training.theta, training.epochs) == (9.0, 10)
    assert loaded.text == GOOD and loaded.overrides[0] == "training.theta=8"
    keys = ("training.epochs", "rig", "rig.speakers.1", "rig.speakers.1.x", "training.theta", "rig.position", "no.such")
    assert [loaded.where(key) for key in keys] == [
        "lab.yaml:9",
        "lab.yaml:2",
        "lab.yaml:6",
        "--set rig.speakers.1.x",
        "--set training.theta",
        "lab.yaml",
        "lab.yaml",
    ]


def test_every_error_at_once_sorted_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_DATA", raising=False)
    text = """\
data: ${LAB_DATA}/vowels.csv
rig:
  type: acoustic
  speakers:
    - max_volts: 9
    - x: .inf
      max_vlots: 3
  position: [1, 2]
training:
  method: phyll
  theta: -1
  schedule: joiny
  theta: 3
  skip: yes
  negatives: many
  note: 3
colour: red
"""
    options = ("training.thta=8", "training.note={", "rig.speakers.2.x=1", "rig.type.x=1", "theta", "a..b=1")
    assert errors(text, *options) == [
        "lab.yaml:1: data: environment variable LAB_DATA is not set; set it, or give a default: ${LAB_DATA:-folder}",
        "lab.yaml:5: rig.speakers.0.x: required key is missing",
        "lab.yaml:5: rig.speakers.0.max_volts: 9 is not allowed, must be at most 5",
        "lab.yaml:6: rig.speakers.1.x: inf is not allowed, must be a finite number",
        "lab.yaml:7: rig.speakers.1.max_vlots: unknown key (did you mean max_volts?)",
        "lab.yaml:8: rig.position.2: required entry is missing",
        "lab.yaml:9: training.epochs: required key is missing",
        "lab.yaml:11: training.theta: -1 is not allowed, must be greater than 0",
        "lab.yaml:12: training.schedule: 'joiny' is not allowed, must be 'joint' or 'layerwise' (did you mean joint?)",
        "lab.yaml:13: training.theta: duplicate key, first set in line 11",
        "lab.yaml:14: training.skip: 'yes' is not allowed, must be true or false",
        "lab.yaml:15: training.negatives: 'many' is not allowed, must be a whole number or a list",
        "lab.yaml:16: training.note: 3 is not allowed, must be text",
        "lab.yaml:17: colour: unknown key, known: data, name, rig, training",
        "--set training.thta=8: unknown key (did you mean theta?)",
        "--set training.note={: not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
        "--set rig.speakers.2.x=1: rig.speakers has 2 entries, numbered from 0",
        "--set rig.type.x=1: rig.type is 'acoustic', not a section",
        "--set theta: needs the form section.key=value, for example training.epochs=50",
        "--set a..b=1: needs the form section.key=value, for example training.epochs=50",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "rig: {type: acustic}",
            "lab.yaml:1: rig.type: unknown rig 'acustic' (did you mean acoustic?); known: acoustic",
        ),
        ("rig:\n  speakers: []", "lab.yaml:1: rig.type: required key is missing, known: acoustic"),
        ("rig: {type: 3}", "lab.yaml:1: rig.type: 3 is not allowed, must be the name of a rig"),
        ("rig:", "lab.yaml:1: rig: an empty value is not allowed, must be a mapping with a key type"),
        ("rig: acoustic", "lab.yaml:1: rig: 'acoustic' is not allowed, must be a mapping with a key type"),
        (
            "rig: {type: acoustic, speakers: []}",
            "lab.yaml:1: rig.speakers: a list of 0 is not allowed, must be a list of at least 1",
        ),
        ("rig: {type: acoustic, speakers: 3}", "lab.yaml:1: rig.speakers: 3 is not allowed, must be a list"),
        ("rig: {type: acoustic, speakers: [3]}", "lab.yaml:1: rig.speakers.0: 3 is not allowed, must be a mapping"),
        (
            "rig:\n  type: acoustic\n  position: [1, 2, 3, 4]",
            "lab.yaml:3: rig.position: a list of 4 is not allowed, must be a list of at most 3",
        ),
        ("training: {epochs: true}", "lab.yaml:1: training.method: required key is missing, known: phyll, ridge"),
    ],
)
def test_registered_sections_and_lists(text: str, sentence: str) -> None:
    assert sentence in errors(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("true", "true"),
        ("3.5", "3.5"),
        ("'3'", "'3'"),
        ("1_000", "'1_000'"),
        ("12:30:00", "'12:30:00'"),
        ("on", "'on'"),
        ("", "an empty value"),
    ],
)
def test_only_whole_numbers_are_whole_numbers(value: str, shown: str) -> None:
    text = GOOD.replace("epochs: 10", f"epochs: {value}")
    assert errors(text) == [f"lab.yaml:9: training.epochs: {shown} is not allowed, must be a whole number"]


@pytest.mark.parametrize("value", ["true", "'8'", "no", "2026-01-31", "0b11"])
def test_nothing_but_a_number_is_a_number(value: str) -> None:
    shown = value if value == "true" else repr(value.strip("'"))
    assert errors(GOOD, f"training.theta={value}") == [
        f"--set training.theta={value}: {shown} is not allowed, must be a number"
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 1e-3),
        ("1e3", 1e3),
        ("1E5", 1e5),
        ("2.e-4", 2e-4),
        (".5e3", 500.0),
        ("+3", 3.0),
        ("010", 10.0),
        ("0x10", 16.0),
        ("7", 7.0),
    ],
)
def test_numbers_as_a_lab_writes_them(written: str, value: float) -> None:
    training = lab(GOOD, f"training.theta={written}").value.training
    assert isinstance(training, PhyLL.Config) and training.theta == value


def test_an_integral_float_is_a_whole_number() -> None:
    training = lab(GOOD, "training.epochs=3.0").value.training
    assert isinstance(training, PhyLL.Config) and training.epochs == 3 and isinstance(training.epochs, int)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "config file {path} is empty; `labtrain init NAME` writes a complete one"),
        ("# nothing\n", "config file {path} is empty; `labtrain init NAME` writes a complete one"),
        ("# x\n- 1\n", "lab.yaml:2: the file must be a mapping of sections (key: value)"),
        ("rig\n", "lab.yaml:1: the file must be a mapping of sections (key: value)"),
        ("rig:\n\ttype: x\n", "lab.yaml:2:1: not valid YAML: a tab; indent with spaces"),
        ("rig: a: b\n", "lab.yaml:1:7: not valid YAML: mapping values are not allowed here"),
        (
            "a: 1\nrig: 'x\n\n",
            "lab.yaml:4:1: not valid YAML: while scanning a quoted scalar (line 2), found unexpected end of stream",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "lab.yaml:2:1: not valid YAML: expected a single document in the stream (line 1), but found another document",
        ),
        ("a: 1\nb: \0\n", "lab.yaml:2:4: not valid YAML: the character #x0000 is not allowed"),
        ("a: *b\n", "lab.yaml:1:4: not valid YAML: found undefined alias 'b'"),
    ],
)
def test_files_that_are_not_a_config(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(ConfigError) as caught:
        load(path, Lab)
    assert str(caught.value) == sentence.format(path=path)


def test_missing_file_suggests_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "acoustic.yaml").write_text("a: 1")
    asked = tmp_path / "acustic.yaml"
    with pytest.raises(ConfigError) as caught:
        load(asked, Lab)
    assert str(caught.value) == f"config file {asked} does not exist (did you mean acoustic.yaml?)"
    with pytest.raises(ConfigError) as caught:
        load("nope.yaml", Lab)
    assert str(caught.value) == "config file nope.yaml does not exist"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, Lab)
    assert str(caught.value) == f"config file {tmp_path} is a folder, needs a YAML file"


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("acoustic.yaml", "; labtrain init acoustic writes it"),
        ("acoustic", "; labtrain init acoustic writes acoustic.yaml"),
        ("here/microwave-lab.yaml", "; labtrain init microwave-lab --to here/microwave-lab.yaml writes it"),
    ],
)
def test_missing_file_with_the_name_of_a_ready_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text("a: 1")  # not unlike acoustic.yaml
    with pytest.raises(ConfigError) as caught:
        load(Path(asked), Lab)
    assert str(caught.value) == f"config file {Path(asked)} does not exist{remedy}"


def test_a_name_without_its_ending_suggests_the_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acoustic.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"acoustic does not exist \(did you mean acoustic.yaml\?\)"):
        load("acoustic", Lab)


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path, Lab).text == GOOD
    path.write_bytes(b"name: x\nnote: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(path, Lab)
    assert str(caught.value) == "lab.yaml:2: byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_paths_start_at_the_file_and_know_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DATA", "measured")
    monkeypatch.setenv("LAB_EMPTY", "")
    monkeypatch.delenv("LAB_NONE", raising=False)
    path = tmp_path / "config" / "lab.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)

    def data(text: str) -> Path | None:
        return load(path, Lab, [f"data='{text}'"]).value.data

    assert data("../vowels.csv") == tmp_path / "vowels.csv"
    assert data("${LAB_DATA}/v.csv") == tmp_path / "config" / "measured" / "v.csv"
    assert data("${LAB_NONE:-../shared}/v.csv") == tmp_path / "shared" / "v.csv"
    assert data("${LAB_EMPTY:-x}") == tmp_path / "config" / "x"
    assert data(str(tmp_path / "a.csv")) == tmp_path / "a.csv"
    assert errors(GOOD, "data=3") == ["--set data=3: 3 is not allowed, must be a path"]
    assert errors(GOOD, "data=''") == ["--set data='': '' is not allowed, must be a path"]


def test_overrides_create_sections_and_change_types() -> None:
    loaded = lab(GOOD.split("training:")[0], "training.method=ridge", "training.lambda=1e-2")
    assert loaded.value.training == Ridge.Config.model_validate({"lambda": 0.01})
    assert errors(GOOD, "training.method=ridge") == [
        "lab.yaml:9: training.epochs: a key of phyll, not of ridge; delete it",
    ]
    replaced = lab(GOOD, "training={method: ridge}")
    assert [replaced.where(key) for key in ("training.method", "training.epochs")] == ["--set training", "lab.yaml"]
    assert errors(GOOD, "training={method: ridge, lambd: 2}", "trainng.theta=1") == [
        "--set training={method: ridge, lambd: 2}: training.lambd: unknown key (did you mean lambda?)",
        "--set trainng.theta=1: trainng: unknown key (did you mean training?)",
    ]


@pytest.mark.parametrize("option", ["data=", "data= ", "training.epochs="])
def test_an_option_without_a_value_is_an_error(option: str) -> None:
    assert errors(GOOD, option) == [f"--set {option}: needs a value; null stands for none"]
    assert lab(GOOD, "data=x", "data=null").value.data is None


def test_errors_of_validators_keep_their_words() -> None:
    assert errors("name: forbidden\n" + GOOD) == ["lab.yaml:1: the name is taken; choose another"]
    assert errors(GOOD, "rig.rate_hz=1") == [
        "lab.yaml:2: acoustic: asked rate 1 Hz, allowed 8 kHz to 96 kHz; set rig.rate_hz"
    ]


def test_a_plugin_without_config_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN["methods"], "bare", "local_plugins:Bare")
    assert errors(GOOD, "training={method: bare}") == [
        "--set training={method: bare}: training.method: method 'bare' has no Config that is a labtrain.config.Section"
    ]


def test_schema_offers_every_registered_config() -> None:
    schema = schema_json(Lab)

    def choices(section: str) -> list[dict[str, Any]]:
        """The alternatives, spelled out: some versions of pydantic refer to a definition instead."""
        definitions = {f"#/$defs/{name}": body for name, body in schema["$defs"].items()}
        offered = schema["properties"][section]["oneOf"]
        return [{**definitions.get(choice.get("$ref"), {}), **choice} for choice in offered]

    phyll, ridge = choices("training")
    assert (phyll["title"], ridge["title"]) == ("phyll", "ridge")
    assert phyll["properties"]["method"]["const"] == "phyll" and "lambda" in ridge["properties"]
    assert "method" in phyll["required"] and "method" in ridge["required"]
    assert choices("rig")[0]["properties"]["speakers"]["items"] == {"$ref": "#/$defs/Speaker"}
    assert schema["$defs"]["Speaker"]["properties"]["max_volts"]["maximum"] == 5


def test_sections_can_be_built_in_python() -> None:
    built = Lab(rig=Acoustic.Config(speakers=(Speaker(x=0.0),)), training=Ridge.Config())
    assert loads(dump(built), Lab).value == built


def test_dump_is_complete_and_in_order() -> None:
    assert (
        dump(lab().value)
        == """\
name: run
rig:
  type: acoustic
  speakers:
  - x: 0.001
    max_volts: 1.0
  - x: 2.0
    max_volts: 3.0
  position: [0.0, 0.0, 0.0]
  rate_hz: 48000.0
training:
  method: phyll
  theta: 4.0
  epochs: 10
  schedule: joint
  skip: true
  negatives: 1
  note: ''
data: null
"""
    )

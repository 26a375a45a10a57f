"""Data sets: what they hold, how they are split, and the exact sentence for everything that can be wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain import config as yaml
from labtrain.config import Registered, Section
from labtrain.datasets import (
    CsvTable,
    Digits,
    Parity,
    PetersonBarney,
    SplitOptions,
    Table,
    Vowels,
    XorTones,
    read_rows,
    split,
)
from labtrain.errors import ConfigError, DataError, MissingExtra
from labtrain.registry import BUILT_IN, resolve

GOOD = "who,kind,F1,F2\nanna,a,1,10\nanna,b,2,20\nbert,a,3,30\nbert,b,4,40\n"


class Top(Section):
    dataset: Annotated[Section, Registered("datasets")]


def table_of(tmp_path: Path, text: str | bytes, **settings: object) -> Table:
    path = tmp_path / "mine.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    options = {"type": "csv", "path": path, "label": "kind", "features": ("F1", "F2"), **settings}
    return CsvTable(CsvTable.Config(**options)).load()


def told(tmp_path: Path, text: str | bytes, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        table_of(tmp_path, text, **settings)
    return str(caught.value)


def measured(name: str) -> Path:
    folder = Path(os.environ.get("LABTRAIN_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in {folder}; set LABTRAIN_DATA to the folder of the measured data")
    return folder / name


# Built-in and measured tables


def test_peterson_barney_holds_76_speakers_with_every_vowel_twice() -> None:
    table = PetersonBarney(PetersonBarney.Config(type="peterson-barney")).load()
    assert table.features.shape == (1520, 4)
    assert table.feature_names == ("log F0", "log F1", "log F2", "log F3")
    assert table.classes == ("aa", "ae", "ah", "ao", "eh", "er", "ih", "iy", "uh", "uw")
    assert table.groups is not None
    pairs, counts = np.unique(np.column_stack([table.groups, table.labels]), axis=0, return_counts=True)
    assert len(pairs) == 76 * 10
    assert set(counts) == {2}


@pytest.mark.parametrize(
    ("speakers", "vowel", "published"),  # table II of the paper: F0, F1, F2, F3 in Hz
    [
        (range(33), "iy", (136, 270, 2290, 3010)),
        (range(33), "aa", (124, 730, 1090, 2440)),
        (range(33), "er", (133, 490, 1350, 1690)),
        (range(33, 61), "iy", (235, 310, 2790, 3310)),
        (range(33, 61), "uw", (231, 370, 950, 2670)),
        (range(61, 76), "ae", (251, 1010, 2320, 3320)),
    ],
)
def test_peterson_barney_has_the_published_means(speakers: range, vowel: str, published: tuple[int, ...]) -> None:
    table = PetersonBarney(PetersonBarney.Config(type="peterson-barney")).load()
    assert table.groups is not None
    numbers = [line.split(",")[2] for line in _builtin_text().splitlines()[1:]]
    order = sorted(set(numbers), key=int)
    assert [order[g] for g in table.groups] == numbers  # groups are the speakers' numbers, less one
    rows = np.isin(table.groups, speakers) & (table.labels == table.classes.index(vowel))
    np.testing.assert_allclose(np.exp(table.features[rows]).mean(axis=0), published, rtol=0.03)


def _builtin_text() -> str:
    return files("labtrain.data").joinpath("peterson_barney.csv").read_bytes().decode().replace("\r\n", "\n")


def test_the_provenance_names_the_checksum_of_the_table() -> None:
    digest = hashlib.sha256(_builtin_text().encode()).hexdigest()
    assert digest in files("labtrain.data").joinpath("peterson_barney.md").read_text(encoding="utf-8")


def test_peterson_barney_is_split_by_speaker() -> None:
    config = PetersonBarney.Config(type="peterson-barney", validation_fraction=0.25)
    table = PetersonBarney(config).load()
    parts = split(table, config, seed=3)
    assert table.groups is not None
    speakers = [set(table.groups[rows]) for rows in (parts.train, parts.validation, parts.test)]
    assert [len(s) for s in speakers] == [46, 15, 15]  # 76 -> 61 + 15, 61 -> 46 + 15
    assert len(set.union(*speakers)) == 76
    first = np.random.default_rng(3).permutation(76)[:46]
    assert speakers[0] == set(first)


def test_vowels_and_their_published_splits() -> None:
    config = Vowels.Config(type="vowels", path=measured("vowels.csv"))
    table = Vowels(config).load()
    assert table.features.shape == (258, 12)
    assert table.classes == ("ae", "ah", "aw", "er", "ih", "iy", "uw")
    assert table.feature_names[:4] == ("F1_steady", "F2_steady", "F3_steady", "F1_20")
    assert table.features[0].tolist() == [678, 2293, 2861, 681, 2295, 2868, 711, 2160, 2867, 705, 1968, 2906]
    assert table.groups is not None
    assert len(set(table.groups)) == 48
    for seed in range(10):
        parts = split(table, config, seed)
        order = np.random.default_rng(seed).permutation(258)
        np.testing.assert_array_equal(parts.train, order[:206])
        np.testing.assert_array_equal(parts.test, order[206:])
        assert len(parts.validation) == 0


def test_vowels_refuse_an_utterance_without_speaker(tmp_path: Path) -> None:
    path = tmp_path / "vowels.csv"
    header = ["utterance", "vowel", *Vowels.FEATURES]
    rows = [["w01ae", "ae", *["500"] * 12], ["01", "ih", *["500"] * 12]]
    path.write_text("\n".join(",".join(cells) for cells in [header, *rows]))
    with pytest.raises(DataError) as caught:
        Vowels(Vowels.Config(type="vowels", path=path)).load()
    assert str(caught.value) == (
        "vowels.csv:3: column utterance holds '01', needs a speaker and a vowel such as w01ae; "
        "correct or remove the row"
    )


def test_digits() -> None:
    pytest.importorskip("sklearn")
    table = Digits(Digits.Config(type="digits")).load()
    assert table.features.shape == (1797, 64)
    assert table.feature_names[9] == "pixel 1,1"
    assert table.classes == tuple("0123456789")


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra) as caught:
        Digits(Digits.Config(type="digits")).load()
    assert str(caught.value) == (
        'data set digits needs scikit-learn, which is not installed; run: pip install "labtrain[ml]"'
    )


@pytest.mark.parametrize("name", sorted(BUILT_IN["datasets"]))
def test_every_registered_data_set_has_a_config_with_split_options(name: str) -> None:
    found = resolve("datasets", name)
    assert issubclass(found.Config, SplitOptions)
    assert found.Config.model_fields["type"].annotation.__args__ == (name,)


def test_importing_data_sets_imports_no_extra() -> None:
    code = "import sys, labtrain.datasets; assert 'sklearn' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# xor-tones


def xor(**settings: object) -> Table:
    return XorTones(XorTones.Config(type="xor-tones", **settings)).load()  # type: ignore[arg-type]


def linear_accuracy(x: np.ndarray, labels: np.ndarray) -> float:
    """Held-out accuracy of least squares on one-hot labels: half of the rows fit, the others judge."""
    half = len(x) // 2
    design = np.column_stack([np.ones(len(x)), x])
    weights = np.linalg.lstsq(design[:half], np.eye(labels.max() + 1)[labels[:half]], rcond=None)[0]
    return float(((design[half:] @ weights).argmax(axis=1) == labels[half:]).mean())


@pytest.mark.parametrize("values", ["binary", "uniform"])
@pytest.mark.parametrize("classes", [2, 8])
def test_xor_tones_is_balanced_and_out_of_reach_of_a_linear_readout(values: str, classes: int) -> None:
    distractors = 10 if classes == 2 else 6
    tables = [xor(classes=classes, values=values, distractors=distractors, seed=seed) for seed in range(20)]
    for table in tables:
        counts = np.bincount(table.labels, minlength=classes)
        assert np.abs(counts - 2000 / classes).max() < 4.5 * np.sqrt(2000 / classes * (1 - 1 / classes))
    for bit in range(len(tables[0].classes[0])):
        accuracy = [linear_accuracy(table.features, table.labels >> bit & 1) for table in tables]
        assert abs(np.mean(accuracy) - 0.5) < 0.02
    cross_terms = np.sign(tables[0].features[:, 0::2] * tables[0].features[:, 1::2])
    assert linear_accuracy(cross_terms, tables[0].labels) == 1.0
    if classes == 8:  # above 1/8, see the docstring, yet far from the task
        assert np.mean([linear_accuracy(table.features, table.labels) for table in tables]) < 0.2


@pytest.mark.parametrize("values", ["binary", "uniform"])
def test_xor_tones_is_linear_in_the_cross_terms_of_its_tones(values: str) -> None:
    table = xor(classes=8, values=values, distractors=6)
    places = [tuple(int(word) for word in name.split()[1::2]) for name in table.feature_names]
    assert places[:6] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    bits = np.column_stack([table.features[:, 2 * k] * table.features[:, 2 * k + 1] < 0 for k in range(3)])
    assert [table.classes[i] for i in table.labels] == ["".join("01"[int(b)] for b in row) for row in bits]
    assert np.abs(table.features).max() <= 1.0
    assert np.abs(table.features).min() >= (1.0 if values == "binary" else 0.1)


def test_xor_tones_fills_the_live_inputs_of_the_measured_cavity() -> None:
    table = xor(live_tones=(0, 1, 2))
    assert table.feature_names[:2] == ("speaker 0 tone 0", "speaker 1 tone 0")
    assert table.inputs is not None
    assert table.inputs[:2] == (0, 5)
    assert set(table.inputs) == set(range(20)) - {3, 4, 8, 9, 13, 14, 18, 19}
    assert table.inputs == xor().inputs  # the same task on a rig whose tones are all live


def test_xor_tones_repeats_no_binary_row() -> None:
    assert len(np.unique(xor().features, axis=0)) == 2000


def test_xor_tones_takes_the_pair_it_is_told() -> None:
    table = xor(classes=8, pair=(3, 1), distractors=6)
    assert table.feature_names[:4] == ("speaker 3 tone 0", "speaker 1 tone 0", "speaker 3 tone 1", "speaker 1 tone 1")
    bits = np.column_stack([table.features[:, 2 * k] * table.features[:, 2 * k + 1] < 0 for k in range(3)])
    assert [table.classes[i] for i in table.labels] == ["".join("01"[int(b)] for b in row) for row in bits]


def test_xor_tones_distractors_keep_off_the_signals_tones_if_told() -> None:
    table = xor(distractors_share_tone=False)
    tones = [int(name.split()[-1]) for name in table.feature_names]
    assert tones[:2] == [0, 0]
    assert 0 not in tones[2:]


def test_xor_tones_repeats_with_its_seed_alone() -> None:
    assert xor(seed=1).fingerprint == xor(seed=1).fingerprint
    assert xor(seed=1).fingerprint != xor(seed=2).fingerprint


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "classes: 8, live_tones: [0, 1, 2]",
            "asked 10 distractors, allowed 0 to 6: 4 speakers x 3 live tones, less 6 inputs of the signal",
        ),
        ("classes: 8, live_tones: [0, 1]", "8 classes need 3 live tones, there are 2"),
        ("live_tones: [0, 5]", "live_tones [0, 5] must be distinct and from 0 to 4"),
        ("live_tones: [1, 1]", "live_tones [1, 1] must be distinct and from 0 to 4"),
        ("pair: [2, 2]", "pair [2, 2] must be two speakers from 0 to 3"),
        ("pair: [0, 4]", "pair [0, 4] must be two speakers from 0 to 3"),
        (
            "speakers: 16, distractors: 66",
            "68 binary inputs, allowed at most 62; ask for fewer distractors or set values: uniform",
        ),
        ("rows: 5000", "asked 5000 rows, allowed 1 to 4096: 12 binary inputs have no more patterns"),
        (
            "distractors_share_tone: false, live_tones: [0, 1]",
            "asked 10 distractors, allowed 0 to 4: 4 speakers x 2 live tones, less 1 tones of the signal",
        ),
    ],
)
def test_xor_tones_that_do_not_fit_the_rig(keys: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        yaml.loads(f"dataset: {{type: xor-tones, {keys}}}\n", Top, "lab.yaml")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("lab.yaml:1: dataset")


# parity


def parity(**settings: object) -> Table:
    return Parity(Parity.Config(type="parity", **settings)).load()  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [(0, 1), (3, 1), (0, 1, 2), (1, 2, 0, 3)])
def test_parity_is_balanced_and_out_of_reach_of_a_linear_readout(of: tuple[int, ...]) -> None:
    tables = [parity(of=of, seed=seed) for seed in range(20)]
    for table in tables:
        assert set(np.unique(table.features)) == {0.0, 1.0}
        assert abs(table.labels.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(table))
        assert table.feature_names == ("bit 0", "bit 1", "bit 2", "bit 3")
    # Of 16 patterns a plane through chance differences gets 6 to 10 right: a table deviates by 5 points or more.
    assert abs(np.mean([linear_accuracy(table.features, table.labels) for table in tables]) - 0.5) < 0.05
    product = (1 - 2 * tables[0].features[:, of]).prod(axis=1, keepdims=True)
    assert linear_accuracy(product, tables[0].labels) == 1.0
    assert {tables[0].classes[i] for i in tables[0].labels[product[:, 0] < 0]} == {"odd"}


def test_parity_groups_are_its_patterns() -> None:
    table = parity(bits=10)
    assert table.groups is not None
    patterns = np.unique(table.features, axis=0)
    assert len(np.unique(np.column_stack([table.groups, table.features]), axis=0)) == len(patterns)
    assert len(np.unique(table.groups)) == len(patterns)
    options = Parity.Config(type="parity")
    parts = split(table, options, 0)
    assert len(parts.test) == 200  # by rows unless told otherwise
    unseen = split(table, options.model_copy(update={"split_by": "group"}), 0)
    assert not set(table.groups[unseen.train]) & set(table.groups[unseen.test])


def test_parity_repeats_with_its_seed_alone() -> None:
    assert parity(seed=1).fingerprint == parity(seed=1).fingerprint
    assert parity(seed=1).fingerprint != parity(seed=2).fingerprint


@pytest.mark.parametrize("of", ["[0, 4]", "[1, 1]", "[-1, 0]"])
def test_parity_of_bits_that_do_not_exist(of: str) -> None:
    with pytest.raises(ConfigError) as caught:
        yaml.loads(f"dataset: {{type: parity, of: {of}}}\n", Top, "lab.yaml")
    assert str(caught.value) == f"lab.yaml:1: dataset: of {of} must be distinct bits from 0 to 3"


# CSV: what is read


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD.replace("\n", "\r\n") + "\r\n\r\n",
        GOOD.replace("anna,a", " anna , a "),
        GOOD.replace("bert,a", '"bert","a"'),
        GOOD.rstrip("\n"),
    ],
    ids=["plain", "bom", "crlf", "bom-crlf-blank-lines", "spaces", "quotes", "no-last-newline"],
)
def test_the_same_table_in_every_accepted_dialect(tmp_path: Path, text: str) -> None:
    table = table_of(tmp_path, text, group="who")
    assert table.classes == ("a", "b")
    assert table.labels.tolist() == [0, 1, 0, 1]
    assert table.features.tolist() == [[1, 10], [2, 20], [3, 30], [4, 40]]
    assert table.features.dtype == np.float64
    assert table.groups is not None
    assert table.groups.tolist() == [0, 0, 1, 1]


def test_logarithms_other_delimiters_and_column_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, GOOD.replace(",", ";"), delimiter=";", features=("F2", "F1"), log=True)
    assert table.feature_names == ("log F2", "log F1")
    np.testing.assert_allclose(table.features[3], np.log([40, 4]))
    assert table.groups is None


def test_numeric_classes_are_sorted_by_value(tmp_path: Path) -> None:
    table = table_of(tmp_path, "kind,F1,F2\n10,1,1\n9,1,1\nx,1,1\n-1,1,1\n")
    assert table.classes == ("-1", "9", "10", "x")


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=2))
@settings(max_examples=50, deadline=None)
def test_numbers_are_read_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[list[float]]) -> None:
    lines = [f"{'ab'[i % 2]},{a!r},{b!r}" for i, (a, b) in enumerate(values)]
    table = table_of(tmp_path_factory.mktemp("csv"), "\n".join(["kind,F1,F2", *lines]))
    assert table.features.tolist() == values


# CSV: what is refused, and how it is said


@pytest.mark.parametrize(
    ("text", "settings", "sentences"),
    [
        (
            GOOD.replace("2,20", "two,20"),
            {},
            ["mine.csv:3: column F1 holds 'two', needs a number; correct or remove the row"],
        ),
        (
            GOOD.replace("2,20", "nan,20"),
            {},
            ["mine.csv:3: column F1 holds 'nan', needs a finite number; correct or remove the row"],
        ),
        (
            GOOD.replace("2,20", "2,-inf"),
            {},
            ["mine.csv:3: column F2 holds '-inf', needs a finite number; correct or remove the row"],
        ),
        (
            GOOD.replace("2,20", "2,1e999"),
            {},
            ["mine.csv:3: column F2 holds '1e999', needs a finite number; correct or remove the row"],
        ),
        (
            GOOD.replace("2,20", "2,1_0"),
            {},
            ["mine.csv:3: column F2 holds '1_0', needs a number; correct or remove the row"],
        ),
        (GOOD.replace("2,20", "2,"), {}, ["mine.csv:3: column F2 is empty, needs a number; fill in or remove the row"]),
        (
            GOOD.replace(",", ";").replace("2;20", "2;2,5"),
            {"delimiter": ";"},
            ["mine.csv:3: column F2 holds '2,5', needs a number; write a decimal point"],
        ),
        (
            GOOD.replace("2,20", "0,20"),
            {"log": True},
            [
                "mine.csv:3: column F1 holds '0', needs a number above 0 for its logarithm; correct or remove the row",
            ],
        ),
        (
            GOOD.replace("anna,b", "anna, "),
            {},
            ["mine.csv:3: column kind is empty, needs a label; fill in or remove the row"],
        ),
        (
            GOOD.replace("anna,b", ",b"),
            {"group": "who"},
            ["mine.csv:3: column who is empty, needs the name of a group; fill in or remove the row"],
        ),
        (
            GOOD,
            {"label": "kinds"},
            [
                "mine.csv:1: no column kinds (did you mean kind?); "
                "correct the header, or the name under dataset in the config"
            ],
        ),
        (
            GOOD,
            {"features": ("F1", "pitch")},
            [
                "mine.csv:1: no column pitch, there are who, kind, F1, F2; "
                "correct the header, or the name under dataset in the config"
            ],
        ),
        (
            GOOD.replace(",", ";"),
            {"features": ("F2",)},
            [
                f"mine.csv:1: no column {name}, all is one column when separated by ','; "
                "correct the header, or the name under dataset in the config"
                for name in ("kind", "F2")
            ],
        ),
        (GOOD.replace("2,20", "2,20,5"), {}, ["mine.csv:3: 5 values, the header has 4 columns; correct the row"]),
        (GOOD.replace("F2", "F1"), {"features": ("F1",)}, ["mine.csv:1: column F1 appears 2 times; rename the others"]),
        ("", {}, ["mine.csv: the file is empty; give a header line and one line for each row"]),
        ("\ufeff\r\n\r\n", {}, ["mine.csv: the file is empty; give a header line and one line for each row"]),
        ("kind,F1,F2\n", {}, ["mine.csv:1: a header and no rows; add one line for each row"]),
        (
            GOOD.replace("anna,b", "ann\xe9,b").encode("latin-1"),
            {},
            ["mine.csv:3: byte 0xe9 is not UTF-8; save the file as UTF-8"],
        ),
        (
            GOOD.replace("anna,b", '"anna,b'),
            {},
            ["mine.csv:3: not readable as CSV (unexpected end of data); check the quotation marks"],
        ),
        (
            GOOD.replace(",b,", ",a,"),
            {},
            ["mine.csv: the 4 rows hold 1 class, 'a', training needs at least two; add rows of another class"],
        ),
        (
            'who,kind,F1,F2\n"a\nb",a,1,x\ncarl,b,,20\n',
            {},
            [
                "mine.csv:2: column F2 holds 'x', needs a number; correct or remove the row",
                "mine.csv:4: column F1 is empty, needs a number; fill in or remove the row",
            ],
        ),
    ],
)
def test_sentences(tmp_path: Path, text: str | bytes, settings: dict[str, object], sentences: list[str]) -> None:
    assert told(tmp_path, text, **settings).split("\n") == sentences


def test_the_first_ten_errors_of_a_file_in_the_order_of_its_lines(tmp_path: Path) -> None:
    rows = "".join(f"anna,{'' if i == 3 else 'ab'[i % 2]},x,{i}\n" for i in range(14))
    lines = told(tmp_path, "who,kind,F1,F2\n" + rows).split("\n")
    assert len(lines) == 11
    assert [line.split(":")[1] for line in lines[:10]] == ["2", "3", "4", "5", "5", "6", "7", "8", "9", "10"]
    assert lines[10] == "mine.csv: and 5 more like these"


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "vowels.csv").write_text(GOOD)
    for path, hint in ((tmp_path / "vowel.csv", f" (did you mean {tmp_path / 'vowels.csv'}?)"), (Path("x/q.csv"), "")):
        with pytest.raises(DataError) as caught:
            CsvTable(CsvTable.Config(type="csv", path=path, label="kind", features=("F1",))).load()
        assert str(caught.value) == f"data file {path} does not exist{hint}; correct dataset.path"
    with pytest.raises(DataError) as caught:
        Vowels(Vowels.Config(type="vowels", path=tmp_path)).load()
    assert str(caught.value) == f"data file {tmp_path} is a folder, needs a CSV file; correct dataset.path"


def test_a_column_named_twice_in_the_config() -> None:
    text = "dataset:\n  {type: csv, path: a.csv, label: kind, features: [F1, kind]}\n"
    with pytest.raises(ConfigError) as caught:
        yaml.loads(text, Top, "lab.yaml")
    assert "column kind is named twice among label, features and group; name each once" in str(caught.value)


# Rows for a prediction


def test_read_rows_takes_the_features_in_their_order_and_ignores_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\ufeffkind,F2,F1,log F3\n,10,1,0.5\n\n?,20,2,0.25\n", encoding="utf-8")
    rows, features = read_rows(path, ("log F1", "F2", "log F3"))
    assert rows == ["rows.csv:2", "rows.csv:4"]
    np.testing.assert_allclose(features, [[0.0, 10, 0.5], [np.log(2), 20, 0.25]])


def test_read_rows_tells_every_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("F2,F1\n10,0\n20,nan\n")
    with pytest.raises(DataError) as caught:
        read_rows(path, ("log F1", "F2", "F3"))
    assert str(caught.value).split("\n") == [
        "rows.csv:1: no column F3, there are F2, F1; add the column: the network was trained with it",
        "rows.csv:2: column F1 holds '0', needs a number above 0 for its logarithm; correct or remove the row",
        "rows.csv:3: column F1 holds 'nan', needs a finite number; correct or remove the row",
    ]
    with pytest.raises(DataError) as caught:
        read_rows(tmp_path / "row.csv", ("F1",))
    assert str(caught.value) == (
        f"data file {tmp_path / 'row.csv'} does not exist (did you mean {path}?); correct --input"
    )


# Splits and tables


def made(n: int, groups: int | None = None, classes: int = 2) -> Table:
    labels = np.arange(n) % classes
    names = tuple("abcdefgh"[:classes])
    dealt = None if groups is None else np.arange(n) // classes % groups
    return Table(np.zeros((n, 1)), labels, names, ("F1",), dealt, "made")


@given(
    n=st.integers(40, 200),
    groups=st.none() | st.integers(10, 20),
    test=st.floats(0.1, 0.4),
    validation=st.floats(0.1, 0.3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_every_row_is_in_one_part_and_no_group_in_two(
    n: int, groups: int | None, test: float, validation: float, seed: int
) -> None:
    table = made(n, groups)
    try:
        parts = split(table, SplitOptions(test_fraction=test, validation_fraction=validation), seed)
    except DataError as error:  # few rows of a class can all fall outside the training part
        assert "has no training row" in str(error)
        return
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(rows) == list(range(n))
    if table.groups is not None:
        met = [set(table.groups[part]) for part in (parts.train, parts.validation, parts.test)]
        assert sum(map(len, met)) == len(set.union(*met))


def test_validation_is_the_tail_of_the_training_part() -> None:
    parts = split(made(100), SplitOptions(validation_fraction=0.25), seed=7)
    order = np.random.default_rng(7).permutation(100)
    np.testing.assert_array_equal(parts.train, order[:60])
    np.testing.assert_array_equal(parts.validation, order[60:80])
    np.testing.assert_array_equal(parts.test, order[80:])


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        (
            made(20),
            SplitOptions(split_by="group"),
            "made: asked a split by group, the table has no groups; set dataset.split_by to rows, or name "
            "the column of the groups",
        ),
        (
            made(20),
            SplitOptions(test_fraction=0.01),
            "made: test_fraction 0.01 of 20 rows leaves none for test; change dataset.test_fraction or add rows",
        ),
        (
            made(20, groups=2),
            SplitOptions(test_fraction=0.9),
            "made: test_fraction 0.9 of 2 groups leaves none for train; change dataset.test_fraction or add groups",
        ),
        (
            made(20),
            SplitOptions(validation_fraction=0.01),
            "made: validation_fraction 0.01 of 20 rows leaves none for validation; change "
            "dataset.validation_fraction or add rows",
        ),
        (
            Table(np.zeros((4, 1)), np.array([0, 0, 0, 1]), ("a", "b"), ("F1",), np.array([0, 1, 2, 3]), "made"),
            SplitOptions(test_fraction=0.25),
            "made: class 'b' has no training row in the split by group of seed 1; add rows of it, lower "
            "dataset.test_fraction or use other seeds",
        ),
    ],
)
def test_splits_that_cannot_be(table: Table, options: SplitOptions, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        split(table, options, seed=1)
    assert str(caught.value) == sentence


def test_tables_that_cannot_be() -> None:
    labels = np.array([0, 1])
    for arguments, sentence in (
        (
            (np.zeros((2, 1)), np.array([0, 0]), ("a",), ("F1",), None, "mine"),
            "mine: the 2 rows hold 1 class, 'a', training needs at least two; add rows of another class",
        ),
        (
            (np.zeros((3, 1)), labels, ("a", "b"), ("F1",), None, "mine"),
            "mine: features have shape (3, 1), needed (2, 1)",
        ),
        (
            (np.array([[0.0], [np.nan]]), labels, ("a", "b"), ("F1",), None, "mine"),
            "mine: F1 of row 1 is nan, needs a number",
        ),
    ):
        with pytest.raises(DataError) as caught:
            Table(*arguments)  # type: ignore[arg-type]
        assert str(caught.value) == sentence


def test_a_table_knows_its_contents_by_fingerprint() -> None:
    table = made(20)
    moved = Table(table.features + 1e-12, table.labels, table.classes, table.feature_names, None, "made")
    assert made(20).fingerprint == table.fingerprint
    assert moved.fingerprint != table.fingerprint

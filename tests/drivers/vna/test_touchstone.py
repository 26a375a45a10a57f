"""Touchstone files and offline calibration, against scikit-rf itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import skrf

from labtrain.drivers.vna import touchstone
from labtrain.drivers.vna.touchstone import OfflineCalibration
from labtrain.errors import DataError, InputError, MissingExtra

F = np.linspace(5.15e9, 5.875e9, 11)
F[5] += 1 / 3  # a number without end
TWO_PORT = ("S11", "S21", "S12", "S22")


def numbers(seed: int, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def file(path, matrix) -> str:
    skrf.Network(f=F, f_unit="Hz", s=matrix, z0=50).write_touchstone(filename=path.name, dir=str(path.parent))
    return str(path)


# -- files -------------------------------------------------------------------------------------------------------


def test_two_ports_read_back_to_the_last_bit(tmp_path):
    sweep = numbers(0, 4, 11)
    names = ("S22", "S21", "S11", "S12")
    path = touchstone.write(tmp_path / "shot 7.dat", F, sweep, names, "first line\nsecond line")
    assert path == tmp_path / "shot 7.s2p"
    network = skrf.Network(str(path))
    assert network.f.tolist() == F.tolist()
    for row, name in zip(sweep, names, strict=True):
        assert network.s[:, int(name[1]) - 1, int(name[2]) - 1].tolist() == row.tolist()
    assert path.read_text().splitlines()[:3] == ["!first line", "!second line", "# Hz S RI R 50.0 "]


def test_a_reflection_is_a_one_port(tmp_path):
    for name in ("S11", "S22"):
        path = touchstone.write(tmp_path / "reflection", F, numbers(1, 1, 11), (name,))
        assert path.suffix == ".s1p"
        assert skrf.Network(str(path)).s[:, 0, 0].tolist() == numbers(1, 1, 11)[0].tolist()
    assert path.read_text().startswith("!measured: S22\n")


def test_what_was_not_measured_is_named_in_the_file(tmp_path):
    path = touchstone.write(tmp_path / "transmission", F, numbers(2, 1, 11), ("S21",))
    assert path.suffix == ".s2p"
    assert path.read_text().startswith("!not measured, written as 0: S11, S12, S22\n")
    s = skrf.Network(str(path)).s
    assert s[:, 1, 0].tolist() == numbers(2, 1, 11)[0].tolist()
    assert not s[:, 0].any() and not s[:, 1, 1].any()


def test_three_ports(tmp_path):
    path = touchstone.write(tmp_path / "more", F, numbers(3, 2, 11), ("S31", "S32"))
    assert path.suffix == ".s3p"
    np.testing.assert_array_equal(skrf.Network(str(path)).s[:, 2, 1], numbers(3, 2, 11)[1])


def test_without_scikit_rf_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skrf", None)
    wanted = 'Touchstone files need scikit-rf, which is not installed; run: pip install "labtrain[rf]"'
    for use in (lambda: touchstone.write(tmp_path / "x", F, numbers(0, 1, 11), ("S11",)),
                lambda: OfflineCalibration("one-port", [])):  # fmt: skip
        with pytest.raises(MissingExtra) as caught:
            use()
        assert str(caught.value) == wanted


# -- calibration -------------------------------------------------------------------------------------------------


def one_port(tmp_path):
    """Short, open and load behind an error box, as files; and what turns an actual reflection into a measured one."""
    box = numbers(4, 3, 11) * 0.1 + np.array([[0.05], [0.9], [0.1]])

    def measured(actual):
        directivity, tracking, match = box
        return directivity + tracking * actual / (1 - match * actual)

    standards = []
    for name, value in (("short", -1.0), ("open", 1.0), ("load", 0.0)):
        actual = np.full(11, value, dtype=np.complex128)
        standards.append(
            (file(tmp_path / f"{name} measured.s1p", measured(actual)[:, None, None]),
             file(tmp_path / f"{name} ideal.s1p", actual[:, None, None]))
        )  # fmt: skip
    return standards, measured


def test_one_port_takes_the_error_box_away(tmp_path):
    standards, measured = one_port(tmp_path)
    actual = 0.3 * numbers(5, 11)
    for name in ("S11", "S22"):
        corrected = OfflineCalibration("one-port", standards).apply(F, measured(actual)[None], (name,))
        assert corrected.shape == (1, 11) and corrected.dtype == np.complex128
        np.testing.assert_allclose(corrected[0], actual, atol=1e-12)


def solt(tmp_path):
    """Standards seen through two error boxes, as scikit-rf cascades them."""
    boxes = [skrf.Network(f=F, f_unit="Hz", s=0.1 * numbers(seed, 11, 2, 2), z0=50) for seed in (6, 7)]
    for box in boxes:
        box.s[:, 0, 1] += 0.9
        box.s[:, 1, 0] += 0.9
    standards = []
    for name, reflection in (("short", -1.0), ("open", 1.0), ("load", 0.0), ("thru", None)):
        s = np.zeros((11, 2, 2), dtype=np.complex128)
        if reflection is None:
            s[:, 0, 1] = s[:, 1, 0] = 1
        else:
            s[:, 0, 0] = s[:, 1, 1] = reflection
        ideal = skrf.Network(f=F, f_unit="Hz", s=s, z0=50)
        seen = boxes[0] ** ideal ** boxes[1]
        standards.append((file(tmp_path / f"{name} seen.s2p", seen.s), file(tmp_path / f"{name}.s2p", s)))
    return standards, boxes


@pytest.mark.parametrize("names", [TWO_PORT, ("S22", "S21", "S12", "S11")])
def test_solt_takes_both_error_boxes_away(tmp_path, names):
    standards, boxes = solt(tmp_path)
    actual = skrf.Network(f=F, f_unit="Hz", s=0.3 * numbers(8, 11, 2, 2), z0=50)
    seen = (boxes[0] ** actual ** boxes[1]).s
    sweep = [seen[:, int(name[1]) - 1, int(name[2]) - 1] for name in names]
    corrected = OfflineCalibration("solt", standards).apply(F, sweep, names)
    for row, name in zip(corrected, names, strict=True):
        np.testing.assert_allclose(row, actual.s[:, int(name[1]) - 1, int(name[2]) - 1], atol=1e-10)


def test_what_does_not_fit_is_told(tmp_path):
    standards, measured = one_port(tmp_path)
    two, _ = solt(tmp_path)
    other = tmp_path / "other.s1p"
    skrf.Network(f=F[:7], f_unit="Hz", s=np.zeros((7, 1, 1)), z0=50).write_touchstone(
        filename=other.name, dir=str(tmp_path)
    )
    broken = tmp_path / "broken.s1p"
    broken.write_text("# Hz S RI R 50\n1 2\n")
    calibration = OfflineCalibration("one-port", standards)
    same = (
        "7 points from 5.15 GHz to 5.585 GHz, the first standard 11 points from 5.15 GHz to 5.875 GHz; "
        "record all at the same frequencies"
    )
    for use, kind, sentence in (
        (lambda: OfflineCalibration("one-port", standards[:2]), DataError,
         "calibration one-port: 2 standards, needs at least 3"),
        (lambda: OfflineCalibration("solt", two[:3]), DataError, "calibration solt: 3 standards, needs at least 4"),
        (lambda: OfflineCalibration("solt", two[::-1]), DataError,
         "calibration solt: the last standard must transmit, and no other; put the thru last"),
        (lambda: OfflineCalibration("solt", [*two[:3], two[0]]), DataError,
         "calibration solt: the last standard must transmit, and no other; put the thru last"),
        (lambda: OfflineCalibration("solt", [standards[0], *two[1:]]), DataError,
         f"calibration solt: {standards[0][0]} has 1 ports, needs 2; record the standards with that many"),
        (lambda: OfflineCalibration("one-port", [*standards[:2], (other, standards[2][1])]), DataError,
         f"calibration one-port: {other} has {same}"),
        (lambda: calibration.apply(F[:7], measured(F)[None, :7], ("S11",)), DataError,
         f"calibration one-port: the sweep has {same}"),
        (lambda: calibration.apply(F, measured(F)[None], ("S21",)), InputError,
         "calibration one-port: got S21, needs one reflection, S11; set rig.vna.s_parameters"),
        (lambda: OfflineCalibration("solt", two).apply(F, numbers(9, 3, 11), TWO_PORT[:3]), InputError,
         "calibration solt: got S11, S21, S12, needs S11, S21, S12, S22; set rig.vna.s_parameters"),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            use()
        assert str(caught.value) == sentence
    for unreadable in (tmp_path / "none.s1p", broken):
        with pytest.raises(DataError) as caught:
            OfflineCalibration("one-port", [*standards[:2], (unreadable, standards[2][1])])
        told = str(caught.value)
        assert told.startswith(f"calibration one-port: cannot read {unreadable} as a Touchstone file (")

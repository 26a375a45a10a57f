"""Modulators and cameras through slmsuite: its own simulated devices as real ones, and everything that can be wrong."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends import slmsuite_models
from labtrain.drivers.backends.slmsuite_models import KNOWN, OURS, arguments, key_of
from labtrain.drivers.metasurface import library_calls
from labtrain.drivers.optics import SlmsuiteCamera, SlmsuiteSlm
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkRefused, LinkTimeout, MissingExtra

pytest.importorskip("slmsuite", reason='slmsuite is not installed; run: pip install "labtrain[optics]"')
benches = importlib.import_module("tests.rigs.benches")

SLM, CAMERA = "tests.rigs.benches:BenchSlm", "tests.rigs.benches:BenchCamera"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches.BenchSlm, "broken", "")
    monkeypatch.setattr(benches.BenchCamera, "world", None)
    monkeypatch.setattr(benches.BenchCamera, "dimmed", 1.0)


def slm(**keys: Any) -> SlmsuiteSlm:
    return SlmsuiteSlm.make("slm", SlmsuiteSlm.Config(**{"model": SLM, "cell_pixels": 12, **keys}), SimulatedClock())


def camera(**keys: Any) -> SlmsuiteCamera:
    return SlmsuiteCamera.make("camera", SlmsuiteCamera.Config(**{"model": CAMERA, **keys}), SimulatedClock())


# -- which classes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*KNOWN["slm"].values(), *KNOWN["camera"].values()])
def test_short_names_are_classes_of_slmsuite(path: str) -> None:
    """Looked up in the source: to import it takes what its maker sells."""
    module, _, name = path.partition(":")
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    assert {base.id for base in found.bases if isinstance(base, ast.Name)} & {"SLM", "Camera"}


def test_the_descriptions_name_all_short_names() -> None:
    for driver, kind in ((SlmsuiteSlm, "slm"), (SlmsuiteCamera, "camera")):
        told = driver.Config.model_fields["model"].description
        assert told is not None and all(f"{name}" in told for name in KNOWN[kind])


@pytest.mark.parametrize(
    ("driver", "model", "told"),
    [
        (SlmsuiteSlm, "hololens", "model 'hololens' is not known (did you mean holoeye?); known: sim, hamamatsu"),
        (SlmsuiteCamera, "Baslr", "model 'Baslr' is not known (did you mean basler?); known: sim, alliedvision"),
        (SlmsuiteCamera, "my module:Camera", "or any class as module:Class"),
        (SlmsuiteCamera, "module:", "is not known"),
    ],
)
def test_models_that_are_none(driver: Any, model: str, told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        driver.Config(model=model)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            "tests.rigs.benches:BenchSlim",
            "slm (tests.rigs.benches:BenchSlim): module tests.rigs.benches has no BenchSlim (did you mean BenchSlm?); "
            "correct rig.slm.model",
        ),
        ("no_such_module:Slm", "no_such_module cannot be imported (No module named 'no_such_module'); install what it"),
        (CAMERA, "BenchCamera of tests.rigs.benches is not derived from slmsuite's SLM; correct rig.slm.model"),
        ("tests.rigs.benches:PARAMETERS", "PARAMETERS of tests.rigs.benches is not derived from slmsuite's SLM"),
    ],
)
def test_classes_that_are_not_found(model: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        slm(model=model).check()


def test_a_makers_module_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cursed_slm.py").write_text("raise OSError('no SDK here.')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"cursed_slm cannot be imported \(no SDK here\); install what it needs, or"):
        slm(model="cursed_slm:Slm").check()


def test_without_slmsuite_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slmsuite", None)
    told = (
        "slm (holoeye): modulators and cameras need slmsuite, which is not installed; run: pip install "
        '"labtrain[optics]"'
    )
    with pytest.raises(MissingExtra) as caught:
        slm(model="holoeye").open()
    assert str(caught.value) == told

    def broken(name: str) -> Any:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(slmsuite_models, "import_module", broken)
    with pytest.raises(MissingExtra, match=r"slmsuite cannot be imported \(libGL.so.1: cannot open shared object"):
        slm(model="holoeye").check()


def test_one_key_for_one_device() -> None:
    first, same, other = ({"serial": "A", "bits": 8}, {"bits": 12, "serial": "A"}, {"serial": "B"})
    assert key_of("camera", "basler", first) == key_of("camera", "basler", same)
    assert key_of("camera", "basler", first) != key_of("camera", "basler", other)
    assert key_of("camera", KNOWN["camera"]["basler"], first) == key_of("camera", "basler", first)
    assert slm().canonical == f"slm:{SLM.lower()}{{}}"


@pytest.mark.parametrize(
    ("kind", "model", "first", "second", "same"),
    [
        ("slm", "meadowlark", {}, {"slm_number": 1}, True),
        ("slm", KNOWN["slm"]["santec"], {"display_number": 2}, {"slm_number": 1}, True),
        ("slm", "holoeye", {"name": "left"}, {"name": "right"}, True),
        ("slm", "holoeye", {}, {"preselect": None}, True),
        ("camera", "webcam", {}, {"identifier": 0}, True),
        ("camera", "webcam", {}, {"identifier": 1}, False),
        ("camera", "mmcore", {"config": "a"}, {"config": "b"}, False),
        ("slm", "remote", {"name": "left"}, {"name": "right"}, False),
        ("slm", "remote", {"name": "left"}, {"name": "left", "host": "localhost"}, True),
    ],
)
def test_what_is_not_said_or_is_but_a_name_is_no_other_device(
    kind: Any, model: str, first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    assert (key_of(kind, model, first) == key_of(kind, model, second)) is same


def test_defaults_of_slmsuite_that_tell_devices_apart_are_those_of_this_version() -> None:
    for kind, model, module in (
        ("slm", "meadowlark", "meadowlark"), ("slm", "santec", "santec"), ("camera", "webcam", "webcam")
    ):  # fmt: skip
        source = find_spec(f"slmsuite.hardware.{kind}s.{module}")
        assert source is not None and source.origin is not None
        tree = ast.parse(Path(source.origin).read_text(encoding="utf-8"))
        made = {
            argument.arg: ast.literal_eval(default)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == "__init__"
            for argument, default in zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            if isinstance(default, ast.Constant)
        }
        told = slmsuite_models._WHICH_DEFAULT[model]
        assert told == {name: made[name] for name in told}


# -- options -----------------------------------------------------------------------------------------------------


def test_arguments_are_those_of_a_class_and_of_its_bases() -> None:
    accepted, required = arguments(benches.BenchCamera)
    assert {"kept", "stuck", "bounds", "noise", "exposure_bounds_s", "rot", "averaging"} <= set(accepted)
    assert required == [] and not {"slm", "self", "options", "kwargs"} & set(accepted)
    from slmsuite.hardware.slms.simulated import SimulatedSLM

    accepted, required = arguments(SimulatedSLM)
    assert required == ["resolution"] and {"resolution", "gamma_sim", "wav_design_um"} <= set(accepted)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            lambda: slm(options={"wav": 0.6}),
            f"slm ({SLM}): BenchSlm takes no wav (did you mean wav_um?); it takes wav_um, serial, ",
        ),
        (lambda: slm(options={"settle_time_s": 1}), "rig.slm.options.settle_time_s is not set here: the rig waits"),
        (lambda: camera(options={"averaging": 4}), "frames are averaged by the rig (rig.camera.frames); leave it out"),
        (
            lambda: slm(model="slmsuite.hardware.slms.simulated:SimulatedSLM"),
            "SimulatedSLM needs resolution; set rig.slm.options.resolution",
        ),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_opens(made: Any, told: str) -> None:
    before = benches.BenchSlm.latest
    for act in ("check", "open"):
        with pytest.raises(InputError, match=re.escape(told)):
            getattr(made(), act)()
    assert benches.BenchSlm.latest is before
    assert set(OURS["camera"]) <= set(arguments(benches.BenchCamera)[0])


def test_wavelength_and_option_are_not_both_given() -> None:
    with pytest.raises(ValidationError, match=r"wavelength_nm and options.wav_um both say which light it is; keep one"):
        SlmsuiteSlm.Config(wavelength_nm=633, options={"wav_um": 0.633})


# -- opening -----------------------------------------------------------------------------------------------------


def test_what_opens() -> None:
    device = slm(wavelength_nm=532, options={"serial": "Q", "wav_design_um": 0.633})
    with device:
        assert device.identity == "BenchSlm bench-Q, 120 x 160 pixels of 8 bits" and device.emulated
        assert device.frames.radians == pytest.approx(2 * np.pi * 0.633 / 0.532 * 255 / 256)
        assert device.frames.levels == 256
        made = benches.BenchSlm.latest
        with camera(exposure_s=1e-3) as eye:
            assert eye.identity == "BenchCamera cam-7, 110 x 130 pixels of 10 bits" and eye.emulated
            assert (eye.shape, eye.top_count) == ((110, 130), 1023)
    assert made.closed and benches.BenchCamera.latest.closed


def test_what_does_not_open() -> None:
    with pytest.raises(
        LinkRefused,
        match=r"BenchSlm of slmsuite did not open: .*; check that it is switched on and connected, that its maker's "
        r"software is installed, and rig.slm.options$",
    ):
        slm(options={"wav_um": "red"}).open()
    device = slm(options={"wav_um": "red"})
    device.drop()
    device.close()
    device.safe()  # never opened


# -- a modulator -------------------------------------------------------------------------------------------------


def test_levels_are_shown_as_they_are() -> None:
    with slm() as device:
        device.arrange((8, 8), 129, np.pi)
        made = benches.BenchSlm.latest
        made.source["phase"] = np.ones(made.shape)  # a wavefront correction is slmsuite's, not ours
        steps = np.random.default_rng(0).integers(0, 129, (8, 8))
        device.show(steps)
        np.testing.assert_array_equal(made.shown[-1].dtype, np.uint8)
        block = steps.repeat(12, axis=0).repeat(12, axis=1)
        np.testing.assert_array_equal(made.shown[-1][12:108, 32:128], block)
        rim = made.shown[-1].copy()
        rim[12:108, 32:128] = 0
        assert not rim.any()
        assert device.settings()["corner"] == [12, 32] and device.settings()["levels"] == [0, 128]
    assert not made.shown[-1].any(), "safe() is a blank pattern"


def test_a_measured_response(tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    table.write_text("level,phase_rad\n0,0\n100,1.0\n200,4.0\n255,4.1\n")
    with slm(lut_file=table) as device:
        device.arrange((8, 8), 4, 3.0)
        assert device.levels_of_steps.tolist() == [0, 100, 133, 167]
        with pytest.raises(InputError, match=r"its phase reaches 4.1 rad \(.*lut.csv\), asked 6.283"):
            device.arrange((8, 8), 4, 2 * np.pi)
        with pytest.raises(InputError, match=r"steps are amplitudes, which rig.slm.lut_file is not about"):
            device.arrange((8, 8), 4, None)


def test_amplitudes_use_all_levels() -> None:
    with slm() as device:
        device.arrange((8, 8), 4, None)
        assert device.levels_of_steps.tolist() == [0, 85, 170, 255]
        with pytest.raises(InputError, match=r"has 256 levels, asked 300; set rig.world.levels to 256 or less"):
            device.arrange((8, 8), 300, None)


@pytest.mark.parametrize(
    ("keys", "cells", "told"),
    [
        (
            {"cell_pixels": 16},
            (8, 8),
            "8 x 8 cells of 16 x 16 pixels are 128 x 128, which does not fit on its 120 x 160 pixels; set "
            "rig.slm.cell_pixels to 15 or less",
        ),
        (
            {"left": 70},
            (8, 8),
            "8 x 8 cells of 12 x 12 pixels are 96 x 96, which does not fit on its 120 x 160 pixels from left 70 on; "
            "set rig.slm.left to 64 or less",
        ),
        ({"cell_pixels": 1}, (121, 8), "ask for fewer cells (rig.world.slm_shape)"),
        ({"cell_pixels": 2, "top": 0}, (70, 8), "set rig.slm.cell_pixels to 1 or less"),
    ],
)
def test_cells_that_do_not_fit(keys: dict[str, int], cells: tuple[int, int], told: str) -> None:
    with slm(**keys) as device, pytest.raises(InputError, match=re.escape(told)):
        device.arrange(cells, 4, 1.0)


def test_a_modulator_that_fails() -> None:
    device = slm()
    device.open()
    device.arrange((8, 8), 4, 1.0)
    benches.BenchSlm.broken = "USB gone.\nand more"
    with pytest.raises(
        LinkClosed,
        match=r"^slm \(tests.*\): a pattern failed, its library says: USB gone; check its connection$",
    ):
        device.safe()
    device.drop()
    assert not device.is_open


# -- a camera ----------------------------------------------------------------------------------------------------


@pytest.fixture
def modulator() -> Any:
    with slm() as device:
        device.arrange((8, 8), 129, np.pi)
        yield device


def test_frames_of_a_region_are_those_of_the_world(modulator: SlmsuiteSlm) -> None:
    steps = np.random.default_rng(0).integers(0, 129, (8, 8)).astype(np.uint16)
    with camera(region=(40, 50, 12, 12)) as eye:
        assert eye.shape == (12, 12)
        eye.expose(1e-3)
        modulator.show(steps)
        frames = eye.new_frames(2)
        world = benches.BenchCamera.world
        made = benches.BenchCamera.latest
        # One frame is thrown away.
        expected = [world.frames(steps[None], made._shot, exposure_s=1e-3, frame=2 + n)[0] for n in range(2)]
        np.testing.assert_array_equal(frames, expected)
        assert frames.dtype == np.uint16


def test_a_region_beyond_the_sensor(modulator: SlmsuiteSlm) -> None:
    with pytest.raises(
        InputError,
        match=re.escape(
            "asked region [100, 50, 12, 12] (top, left, rows, columns), its sensor has 110 x 130 pixels; set "
            "rig.camera.region"
        ),
    ):
        camera(region=(100, 50, 12, 12)).open()
    assert benches.BenchCamera.latest.closed


def test_a_window_that_snaps_is_cut_and_one_that_misses_is_refused(
    modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.arange(110 * 130, dtype=np.uint16).reshape(110, 130) % 1000
    monkeypatch.setattr(benches.BenchCamera, "set_woi", lambda self, woi=None: (48, 16, 40, 16))  # x, w, y, h
    monkeypatch.setattr(benches.BenchCamera, "get_image", lambda self, *a, **k: whole[40:56, 48:64])
    with camera(region=(41, 50, 12, 12)) as eye:
        np.testing.assert_array_equal(eye.read(1)[0], whole[41:53, 50:62])
    with pytest.raises(InputError, match=re.escape("it reads [40, 48, 16, 16], which does not contain it")):
        camera(region=(38, 50, 12, 12)).open()

    def refuses(self: Any, woi: Any = None) -> Any:
        raise ValueError("Width must be a multiple of 16.")

    monkeypatch.setattr(benches.BenchCamera, "set_woi", refuses)
    told = "its window refuses (Width must be a multiple of 16); many want multiples of 4 or 16: set rig.camera.region"
    with pytest.raises(InputError, match=re.escape(told)):
        camera(region=(40, 50, 12, 12)).open()


def test_an_exposure_is_refused_outside_the_cameras_and_told_where_it_makes_another(
    modulator: SlmsuiteSlm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with camera() as eye:
        with pytest.raises(InputError, match=r"asked an exposure of 2 s, allowed 1e-05 s to 1 s; set rig.camera.exp"):
            eye.expose(2.0)
        assert eye.expose(1.0004e-3) == pytest.approx(1e-3)
        assert not [record for record in caplog.records if record.name == "labtrain"]
        monkeypatch.setattr(benches.BenchCamera, "_get_exposure_hw", lambda self: 2e-3)
        assert eye.expose(1e-3) == 2e-3
        assert "asked an exposure of 0.001 s, it made 0.002 s of it" in caplog.text


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (
            np.full((110, 130), 5000.0),
            "a frame with counts from 5000 to 5000 came, needed whole numbers from 0 to 1023",
        ),
        (np.full((110, 130), 0.5), "counts from 0.5 to 0.5 came"),
        (np.full((110, 130), np.nan), "counts from nan to nan came"),
        (np.zeros((3, 110, 130)), "a frame of shape (3, 110, 130) came, needed (rows, columns)"),
        (np.zeros((10, 10)), "a frame of shape (10, 10) came, needed (110, 130)"),
    ],
)
def test_frames_that_are_none(
    modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch, frame: np.ndarray, told: str
) -> None:
    monkeypatch.setattr(benches.BenchCamera, "get_image", lambda self, *a, **k: frame)
    with camera() as eye, pytest.raises(InstrumentError, match=re.escape(told)):
        eye.read(1)


def test_nothing_is_repeated_behind_our_back_and_errors_are_sentences(
    modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(self: Any, *a: Any, **k: Any) -> Any:
        tried.append(1)
        raise RuntimeError("frame timeout: 0x10")

    with camera() as eye:
        monkeypatch.setattr(benches.BenchCamera, "_get_image_hw", fails)
        with pytest.raises(LinkTimeout, match=r"a frame took longer than allowed: frame timeout: 0x10; check its conn"):
            eye.read(1)
    assert len(tried) == 1


def test_a_library_that_hangs_does_not_hang_us(modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    try:
        eye = camera(timeout_s=0.05)
        eye.open()
        monkeypatch.setattr(benches.BenchCamera, "flush", lambda self, timeout_s=1: go.wait(20))
        eye.frames.exposure_s = -0.4  # less waiting: 0.25 s
        with pytest.raises(
            LinkTimeout, match=r"its library has not come back from flushing within .* s; check its conn"
        ):
            eye.flush()
        with pytest.raises(LinkClosed, match=r"its library still hangs in flushing; open it again"):
            eye.read(1)
        eye.drop()
        with pytest.raises(
            LinkTimeout, match=r"its library still hangs in flushing; restart the device and the program"
        ):
            eye.open()
    finally:
        go.set()
    again = camera()
    again.open()
    again.close()


def test_opening_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    go, made = threading.Event(), benches.BenchSlm.__init__

    def slow(self: Any, *args: Any, **options: Any) -> None:
        go.wait(20)
        made(self, *args, **options)

    monkeypatch.setattr(benches.BenchSlm, "__init__", slow)
    device = slm(open_timeout_s=0.05)
    with pytest.raises(
        LinkTimeout, match=r"did not open within 0.05 s; check that it is switched on and connected, or"
    ):
        device.open()
    go.set()
    calls = device.frames._object._left
    assert calls.ended(20) and benches.BenchSlm.latest.closed, "what opened too late is closed"


def test_who_breaks_off_while_it_opens_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    go, made, begun = threading.Event(), benches.BenchSlm.__init__, []

    def slow(self: Any, *args: Any, **options: Any) -> None:
        begun.append(self)
        go.wait(20)
        made(self, *args, **options)

    def ctrl_c(timeout_s: float) -> Any:
        while not begun:
            yield 0.01
        raise KeyboardInterrupt

    monkeypatch.setattr(benches.BenchSlm, "__init__", slow)
    device = slm(timeout_s=0.05)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(library_calls, "slices", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            device.open()
    with pytest.raises(LinkTimeout, match=r"its library still hangs in opening; restart the device and the program"):
        device.open()
    assert len(begun) == 1, "its library is not called from a second thread"
    go.set()
    assert device.frames._object._left.ended(20) and begun[0].closed


def test_a_device_is_closed_late_if_a_call_before_hangs(
    modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun = threading.Event(), threading.Event()
    eye = camera(timeout_s=0.05)
    eye.open()
    made, calls = eye.frames._object.made, eye.frames._object._calls

    def read() -> None:
        with suppress(Exception):
            eye.frames.frame()

    waiter = threading.Thread(target=read)
    monkeypatch.setattr(benches.BenchCamera, "_get_image_hw", lambda self, timeout_s: (begun.set(), go.wait(20)))
    waiter.start()  # as of somebody who was interrupted
    assert begun.wait(20)
    with pytest.raises(LinkTimeout, match=r"has not come back from closing"):
        eye.close()
    go.set()
    waiter.join()
    assert calls.ended(20) and made.closed


def test_calls_come_from_one_thread(modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    write = benches.BenchSlm._set_phase_hw

    def noted(self: Any, display: Any) -> None:
        seen.add(threading.current_thread().name)
        write(self, display)

    monkeypatch.setattr(benches.BenchSlm, "_set_phase_hw", noted)
    modulator.safe()
    other = threading.Thread(target=modulator.safe)
    other.start()
    other.join()
    assert seen == {"labtrain slm"}


def test_a_camera_of_too_many_bits_is_closed_again(modulator: SlmsuiteSlm, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(self: Any, value: int) -> None:
        """It says what it likes."""

    monkeypatch.setattr(benches.BenchCamera, "bitdepth", property(lambda self: 24, touched), raising=False)
    with pytest.raises(InputError, match="its pixels have 24 bits, allowed 1 to 16"):
        camera().open()
    assert benches.BenchCamera.latest.closed


def test_a_modulator_of_too_many_bits_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(self: Any, value: int) -> None:
        """It says what it likes."""

    monkeypatch.setattr(benches.BenchSlm, "bitdepth", property(lambda self: 24, touched), raising=False)
    with pytest.raises(InputError, match="its pixels have 24 bits, allowed 1 to 16"):
        slm().open()
    assert benches.BenchSlm.latest.closed

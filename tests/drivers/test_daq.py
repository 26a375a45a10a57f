"""The NI driver against a stand-in for nidaqmx: exact to the sample, 0 V at every exit, errors in one sentence."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from labtrain.clock import RealClock
from labtrain.drivers.backends.daq_stream import DaqStream
from labtrain.drivers.daq import NiDaq
from labtrain.errors import (
    InstrumentError,
    LabtrainError,
    LinkClosed,
    LinkRefused,
    MissingExtra,
    UnsafeError,
)
from tests.drivers import fake_nidaqmx as fake

RATE = 50_000.0
BLOCK, AHEAD = 1000, 5000  # of 20 ms and 100 ms
WIRE = 7  # ticks that the fake's wires delay


def usb_6363(**options: Any) -> fake.Device:
    given: dict[str, Any] = {"ao": 4, "ai": 32, "ao_v": (5.0, 10.0), "ai_v": (1.0, 5.0, 10.0), "ai_single": 2e6}
    return fake.Device("Dev1", "USB-6363", **(given | options))


def usb_4431() -> fake.Device:
    return fake.Device(
        "Dev2", "USB-4431", ao=2, ai=4, ao_v=(3.5,), ao_rate=96e3, ai_single=102.4e3, ai_multi=102.4e3,
        simultaneous=True, iepe=(0.0, 0.0021), delta_sigma=True, divider_of=1e15,
    )  # fmt: skip


def compact_daq() -> tuple[fake.Device, ...]:
    return (
        fake.Device("cDAQ1", "cDAQ-9174", ao=0, ai=0),
        fake.Device("cDAQ1Mod1", "NI 9263", ao=4, ai=0, ao_rate=100e3, chassis="cDAQ1"),
        fake.Device(
            "cDAQ1Mod2", "NI 9234", ao=0, ai=4, ai_v=(5.0,), ai_single=51.2e3, ai_multi=51.2e3, simultaneous=True,
            iepe=(0.0, 0.002), chassis="cDAQ1", divider_of=51.2e3,
        ),
    )  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake.World]:
    """A USB-6363, its outputs wired to its inputs of the same number."""
    found = fake.World(usb_6363())
    found.wires = {f"Dev1/ai{i}": (f"Dev1/ao{i}", 1.0, WIRE) for i in range(4)}
    fake.install(monkeypatch, found)
    yield found
    assert found.tasks == [], "tasks left open"


def daq(**keys: Any) -> NiDaq:
    given: dict[str, Any] = {
        "device": "Dev1",
        "rate_hz": RATE,
        "speakers": (1, 2),
        "microphones": (1, 2),
        "timeout_s": 1,
    }
    config = NiDaq.Config(**(given | keys))
    return NiDaq.make("audio", config, RealClock())


def sentence(act: Callable[[], object]) -> str:
    with pytest.raises(LabtrainError) as caught:
        act()
    return str(caught.value)


def noise(frames: int, channels: int = 2) -> np.ndarray:
    # float32: what a stream carries
    return np.random.default_rng(frames).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32).astype(np.float64)


def wait_until_ended(device: NiDaq) -> str:
    """What a recording raises once the stream has died."""
    return sentence(lambda: device.record(device.stream.now, 10 * round(RATE)))


# -- samples ---------------------------------------------------------------------------------------------------------


def test_every_playback_is_exact_and_equally_late(world: fake.World) -> None:
    with daq(loopback={"output": 4, "input": 4}, max_rms=0.6) as device:
        late = AHEAD + WIRE
        for frames in [1, 7, 999, 1000, 1001, 2500, *range(300, 330)]:
            out, mark = noise(frames), np.linspace(-0.25, 0.25, frames, dtype=np.float32).astype(np.float64)
            start = device.play(out, mark)
            came = device.record(start, late + frames)
            assert (came[late:, :2] == out).all() and (came[late:, 2] == mark).all()
            assert not came[:late].any()
    assert device.stream.late == 0


def test_playbacks_without_a_gap_stay_without(world: fake.World) -> None:
    with daq(max_rms=0.6) as device:
        parts = [noise(frames) for frames in (3000, 1, 1234)]
        starts = [device.play(part) for part in parts]
        whole = np.concatenate(parts)
        assert starts == [starts[0], starts[0] + 3000, starts[0] + 3001]
        came = device.record(starts[0], AHEAD + WIRE + len(whole))
        assert (came[AHEAD + WIRE :] == whole).all()


def test_a_program_that_is_late_within_the_buffer_loses_nothing(world: fake.World) -> None:
    with daq(max_rms=0.6) as device:
        out = noise(20_000)
        start = device.play(out)
        world.stalls.append(AHEAD - BLOCK)
        assert (device.record(start, AHEAD + WIRE + len(out))[AHEAD + WIRE :] == out).all()


def test_a_longer_buffer_is_more_latency(world: fake.World) -> None:
    with daq(buffer_s=0.2) as device:
        start = device.play(np.full((10, 2), 0.5))
        assert np.flatnonzero(device.record(start, 12_000)[:, 0])[0] == 10_000 + WIRE


def test_one_clock_the_outputs_armed_first(world: fake.World) -> None:
    with daq() as device:
        assert world.events == ["start ao", "start ai"]
        ao, ai = sorted(world.tasks, key=lambda task: task.kind, reverse=True)
        assert ao.timing.source == "/Dev1/ai/SampleClock"
        assert ao.triggers.start_trigger.source == "/Dev1/ai/StartTrigger"
        assert (ao.names, ai.names) == (["Dev1/ao0", "Dev1/ao1"], ["Dev1/ai0", "Dev1/ai1"])
        assert device.identity == "USB-6363 01A2B3C4"


def test_outputs_that_start_too_late_never_play(world: fake.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is as strict as the hardware: in the wrong order the trigger is missed."""
    start, held = fake.Task.start, []

    def swapped(task: fake.Task) -> None:
        if task.kind == "ao" and task.timing.rate and not held:
            held.append(task)
        else:
            start(task)
            if task.kind == "ai":
                start(held[0])

    monkeypatch.setattr(fake.Task, "start", swapped)
    with daq() as device:
        assert wait_until_ended(device) == (
            "audio (Dev1): its sample clock stands still (NI-DAQmx -200292); check rig.audio.output_clock, and that no "
            "other program resets the device"
        )


def test_modules_share_the_clock_of_their_chassis(world: fake.World) -> None:
    world.devices = {device.name: device for device in compact_daq()}
    world.wires = {"cDAQ1Mod2/ai0": ("cDAQ1Mod1/ao1", 0.25, 3)}
    keys: dict[str, Any] = {"speakers": (2,), "microphones": (1,), "rate_hz": 51_200.0}
    with daq(device="cdaq1mod1", input_device="cDAQ1Mod2", input_range_v=5.0, iepe_ma=2.0, **keys) as device:
        ao = next(task for task in world.tasks if task.kind == "ao")
        assert ao.timing.source == "/cDAQ1/ai/SampleClock"
        start, out = device.play(np.full((100, 1), 0.5)), round(0.1 * 51_200) + 3
        assert (device.record(start, out + 100)[out:] == 0.5 * 10 * 0.25 / 5).all()  # 5 V, a quarter of it, of 5 V


def test_a_delta_sigma_board_clocks_itself_and_feeds_microphones_alone(world: fake.World) -> None:
    world.devices = {"Dev2": usb_4431()}
    keys: dict[str, Any] = {"device": "Dev2", "speakers": (1,), "microphones": (1, 2), "output_range_v": 3.5}
    assert sentence(daq(**keys).open) == (
        "audio (Dev2): the outputs cannot take the clock or the trigger of the inputs (Specified route cannot be "
        "satisfied, because the hardware does not support it, -89136); set rig.audio.output_clock to own on a "
        "delta-sigma board, or use inputs of the same box"
    )
    keys |= {"rate_hz": 48_000.0, "output_clock": "own", "iepe_ma": 2.1, "loopback": {"output": 2, "input": 3}}
    with daq(**keys):
        ai = next(task for task in world.tasks if task.kind == "ai")
        feeds = [(round(c.ai_excit_val, 9), c.ai_excit_src, c.ai_coupling) for c in ai.ai_channels._made]
        fed = (0.0021, fake.ExcitationSource.INTERNAL, fake.Coupling.AC)
        assert feeds == [fed, fed, (0.0, None, None)]
        assert next(task for task in world.tasks if task.kind == "ao").timing.source == ""


# -- silence ---------------------------------------------------------------------------------------------------------


def steps(world: fake.World, output: str = "Dev1/ao0") -> float:
    """Largest step of an output, in volts a tick."""
    return float(np.abs(np.diff(world.played(output))).max())


def test_closing_fades_out_and_leaves_0_v(world: fake.World) -> None:
    with daq(max_rms=0.9) as device:
        device.play(np.full((50_000, 2), 0.5))
        device.record(device.stream.now, 3 * AHEAD)
        assert world.volts["Dev1/ao0"] == 5.0
    assert world.volts == {"Dev1/ao0": 0.0, "Dev1/ao1": 0.0}
    assert world.events[-1] == "write [0.0, 0.0]"
    played = world.played("Dev1/ao0")
    fade = played[np.flatnonzero(played == 5.0)[-1] :]
    assert 0 < -np.diff(fade).min() < 0.05 and len(fade) > 500 and fade[-1] == 0.0, "10 ms, all of it heard"


def test_safe_returns_when_the_outputs_are_silent(world: fake.World) -> None:
    with daq(max_rms=0.9) as device:
        device.play(np.full((50_000, 2), 0.5))
        device.record(device.stream.now, 3 * AHEAD)
        device.safe()
        assert world.volts["Dev1/ao0"] == 0.0
        assert device.stream.is_open and world.events[-1] == "start ai"


def test_an_exception_leaves_0_v(world: fake.World) -> None:
    with pytest.raises(KeyboardInterrupt), daq(max_rms=0.9) as device:
        device.play(np.full((50_000, 2), 0.5))
        device.record(device.stream.now, 3 * AHEAD)
        raise KeyboardInterrupt
    assert world.volts == {"Dev1/ao0": 0.0, "Dev1/ao1": 0.0}
    assert steps(world) == 5.0  # its beginning, which nobody faded in
    assert not any(thread.name == "audio daq" for thread in threading.enumerate())


def test_outputs_that_ran_dry_are_set_to_0_v_at_once(world: fake.World) -> None:
    with daq(max_rms=0.9) as device:
        device.play(np.full((50_000, 2), 0.5))
        device.record(device.stream.now, 3 * AHEAD)
        world.stalls.append(AHEAD + 2 * BLOCK)
        assert wait_until_ended(device) == (
            "audio (Dev1): samples for the outputs came too late (NI-DAQmx -200290); set rig.audio.buffer_s above 0.1, "
            "or close other programs"
        )
        assert world.volts == {"Dev1/ao0": 0.0, "Dev1/ao1": 0.0}
        assert world.played("Dev1/ao0")[-1] == 5.0, "they held it"
    with device:  # and may be opened again
        device.transfer(np.zeros((10, 2)))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            -200279,
            "samples of the inputs were not fetched in time (NI-DAQmx -200279); close other programs, or lower "
            "rig.audio.rate_hz",
        ),
        (-50405, "is gone (NI-DAQmx -50405); check its cable and power, and look into NI MAX"),
        (-200332, f"the stream broke off ({fake.MESSAGES[-200332][:-1]}, -200332); open it again"),
    ],
)
def test_why_it_ended(world: fake.World, code: int, why: str) -> None:
    with daq() as device:
        world.breaks.append(code)
        assert wait_until_ended(device) == f"audio (Dev1): {why}"
        assert world.events[-1] == "write [0.0, 0.0]"


def test_a_clock_that_stands_still_ends_it(world: fake.World) -> None:
    with daq() as device:
        world.frozen = True
        assert wait_until_ended(device).startswith("audio (Dev1): its sample clock stands still (NI-DAQmx -200284)")


def test_unplugged_it_says_what_nobody_could_make_safe(world: fake.World) -> None:
    unsafe = (
        "audio (Dev1): 0 V could not be written to Dev1/ao0, Dev1/ao1, which may hold a voltage; switch "
        "the amplifiers off"
    )
    device = daq()
    device.open()
    world.unplugged = True
    assert wait_until_ended(device) == (
        "audio (Dev1): is gone (NI-DAQmx -201003); check its cable and power, and look into NI MAX; then 0 V could not "
        "be written to its outputs (Device cannot be accessed, -201003)"
    )
    assert sentence(device.safe) == unsafe
    world.unplugged = False  # plugged in again
    device.safe()
    assert world.events[-1] == "write [0.0, 0.0]"
    device.close()
    device.open()
    world.unplugged = True
    with pytest.raises(InstrumentError) as caught:
        device.close()
    assert str(caught.value) == unsafe and not device.is_open


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"device": "Dev11"},
            "audio (Dev11): NI-DAQmx has no device Dev11 (did you mean Dev1?), but Dev1 (USB-6363), Dev2 (USB-4431), "
            "cDAQ1 (cDAQ-9174), cDAQ1Mod1 (NI 9263), cDAQ1Mod2 (NI 9234); set rig.audio.device to a name in NI MAX",
        ),
        (
            {"speakers": (1, 5)},
            "audio (Dev1): output channel 5 would be Dev1/ao4, Dev1 (USB-6363) has ao0 to ao3, channels 1 to 4; set "
            "rig.audio.speakers or rig.audio.loopback.output",
        ),
        (
            {"microphones": (33,)},
            "audio (Dev1): input channel 33 would be Dev1/ai32, Dev1 (USB-6363) has ai0 to ai31, channels 1 to 32; set "
            "rig.audio.microphones or rig.audio.loopback.input",
        ),
        (
            {"device": "cDAQ1"},
            "audio (cDAQ1): cDAQ1 (cDAQ-9174) has no analog outputs; set rig.audio.device to a device or module that "
            "has them",
        ),
        (
            {"device": "cDAQ1Mod1"},
            "audio (cDAQ1Mod1): cDAQ1Mod1 (NI 9263) has no analog inputs; set rig.audio.input_device to a device or "
            "module that has them",
        ),
        (
            {"rate_hz": 48_000.0},
            "audio (Dev1): asked a sample rate of 48 kHz, the clock of Dev1 (USB-6363) would give 48.0076812 kHz; set "
            "rig.audio.rate_hz to 48007.68123, 50000, 40000 or 62500",
        ),
        (
            {"rate_hz": 600_000.0},
            "audio (Dev1): asked a sample rate of 600 kHz, Dev1 (USB-6363) does at most 500 kHz with 2 inputs; set "
            "rig.audio.rate_hz",
        ),
        (
            {"rate_hz": 1_500_000.0, "microphones": (1,)},
            "audio (Dev1): asked a sample rate of 1.5 MHz, Dev1 (USB-6363) does at most 1 MHz with 2 outputs; set "
            "rig.audio.rate_hz",
        ),
        (
            {"output_range_v": 7.0},
            "audio (Dev1): asked a range of +-7 V, Dev1 (USB-6363) has +-5 V or +-10 V; set rig.audio.output_range_v",
        ),
        (
            {"input_range_v": 0.5},
            "audio (Dev1): asked a range of +-0.5 V, Dev1 (USB-6363) has +-1 V, +-5 V or +-10 V; set "
            "rig.audio.input_range_v",
        ),
        (
            {"iepe_ma": 4.0},
            "audio (Dev1): asked an IEPE current of 4 mA, Dev1 (USB-6363) supplies none; leave rig.audio.iepe_ma out "
            "and feed the microphones from a conditioner",
        ),
        (
            {"device": "Dev2", "speakers": (1,), "output_range_v": 3.5, "iepe_ma": 2.0},
            "audio (Dev2): asked an IEPE current of 2 mA, Dev2 (USB-4431) supplies 2.1 mA; set rig.audio.iepe_ma",
        ),
        (
            {"device": "cDAQ1Mod1", "input_device": "cDAQ1Mod2", "input_range_v": 5.0, "output_clock": "own"},
            "audio (cDAQ1Mod1): outputs with a clock of their own would drift from the inputs of cDAQ1Mod2; set "
            "rig.audio.output_clock to input",
        ),
        (
            {"input_device": "cDAQ1Mod2", "input_range_v": 5.0, "rate_hz": 51_200.0},
            "audio (Dev1): the outputs cannot take the clock or the trigger of the inputs (Specified route cannot be "
            "satisfied, because the hardware does not support it, -89136); set rig.audio.output_clock to own on a "
            "delta-sigma board, or use inputs of the same box",
        ),
        (
            {"terminal_config": "pseudodiff"},
            "audio (Dev1): NI-DAQmx refuses (Requested value is not a supported value for this property, -200077); "
            "check channels, ranges and terminal_config of rig.audio",
        ),
    ],
)  # fmt: skip
def test_what_the_device_lacks_is_refused(world: fake.World, keys: dict[str, Any], told: str) -> None:
    for device in (usb_4431(), *compact_daq()):
        world.devices[device.name] = device
    assert sentence(daq(**keys).open) == told


def test_what_is_in_use_missing_or_off_is_refused(world: fake.World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.reserved.add("Dev1")
    with pytest.raises(LinkRefused) as busy:
        daq().open()
    assert str(busy.value) == (
        "audio (Dev1): is in use by another program (The specified resource is reserved, -50103); close that, test "
        "panels of NI MAX too"
    )
    world.reserved.clear()
    world.unplugged = True
    with pytest.raises(LinkRefused) as off:
        daq().open()
    assert str(off.value) == (
        "audio (Dev1): is listed but does not answer (Device cannot be accessed, -201003); plug it in, switch it on, "
        "and look into NI MAX (rig.audio.device)"
    )
    world.unplugged = False
    world.devices.clear()
    assert sentence(daq().open) == (
        "audio (Dev1): NI-DAQmx has no device at all; plug it in, and look for it in NI MAX (rig.audio.device)"
    )
    world.devices["Dev1"] = usb_6363(clocked=False)
    assert sentence(daq().open) == (
        "audio (Dev1): outputs of Dev1 (USB-6363) have no sample clock, so they cannot play; set rig.audio.device to "
        "another device"
    )
    world.library = False
    with pytest.raises(MissingExtra) as library:
        daq().open()
    assert str(library.value) == (
        "audio (Dev1): NI devices need the NI-DAQmx driver, which is not installed; get it from ni.com/downloads (for "
        "Windows and Linux)"
    )
    monkeypatch.setitem(sys.modules, "nidaqmx.errors", None)
    with pytest.raises(MissingExtra) as package:
        daq().open()
    assert str(package.value) == (
        'audio (Dev1): NI devices need nidaqmx, which is not installed; run: pip install "labtrain[daq]"'
    )


def test_a_start_that_fails_half_way_leaves_0_v(world: fake.World, monkeypatch: pytest.MonkeyPatch) -> None:
    start = fake.Task.start

    def broken(task: fake.Task) -> None:
        if task.kind == "ai":
            fake.fail(-50103)
        start(task)

    monkeypatch.setattr(fake.Task, "start", broken)
    with pytest.raises(LinkRefused):
        daq().open()
    assert world.events == ["start ao", "start ao", "write [0.0, 0.0]"]


# -- the driver ------------------------------------------------------------------------------------------------------


def test_limits_hold(world: fake.World) -> None:
    with daq(max_peak=0.3) as device:
        with pytest.raises(UnsafeError) as caught:
            device.play(np.full((100, 2), 0.4))
        assert str(caught.value) == (
            "audio (Dev1): speaker 1 (output 1) would get peak 0.4 of full scale, allowed 0.3 (rig.audio.max_peak); "
            "lower rig.shot.level"
        )
        device.record(device.stream.now, 3 * AHEAD)
    assert not world.played("Dev1/ao0").any()


def test_what_the_microphones_hear_silences_it(world: fake.World) -> None:
    with daq(max_rms=0.9, pascal_full_scale=20.0, max_spl_db=94.0) as device:
        told = sentence(lambda: device.transfer(np.full((200_000, 2), 0.5)))
        assert "dB SPL, allowed 94 dB (rig.audio.max_spl_db)" in told
        device.safe()
        assert world.volts["Dev1/ao0"] == 0.0


def test_ranges_scale(world: fake.World) -> None:
    with daq(output_range_v=5.0, input_range_v=1.0) as device:
        start = device.play(np.full((100, 2), 0.1))
        assert device.record(start, AHEAD + WIRE + 1)[-1].tolist() == pytest.approx([0.5, 0.5])
        assert world.played("Dev1/ao0").max() == pytest.approx(0.5)


def test_what_it_is_called(world: fake.World) -> None:
    device = daq(device="DEV1")
    assert (device.name, device.where, device.canonical) == ("audio (DEV1)", "rig.audio.device", "daq:dev1")
    assert not device.emulated
    world.devices["Dev1"].is_simulated = True
    with device:
        assert device.emulated, "NI MAX simulates it"
        assert device.settings()["rate_hz"] == RATE


def test_sim_is_in_this_process() -> None:
    class Wire:
        n_out = n_in = 2

        def process(self, out: np.ndarray) -> np.ndarray:
            return out

        def connected(self) -> None:
            pass

    config = NiDaq.Config(speakers=(1, 2), microphones=(1, 2))
    with NiDaq.make("audio", config, RealClock(), Wire()) as device:
        assert device.canonical is None and not device.emulated
        assert device.transfer(np.array([[0.1, 0.2]])) == pytest.approx(np.array([[0.1, 0.2]]))


# -- the stand-in ----------------------------------------------------------------------------------------------------

REAL = {
    fake.Task: "nidaqmx:Task",
    fake.AIChannelCollection: "nidaqmx.task.collections:AIChannelCollection",
    fake.AOChannelCollection: "nidaqmx.task.collections:AOChannelCollection",
    fake.AIChannel: "nidaqmx.task.channels:AIChannel",
    fake.Timing: "nidaqmx.task:Timing",
    fake.StartTrigger: "nidaqmx.task.triggering:StartTrigger",
    fake.InStream: "nidaqmx.task:InStream",
    fake.OutStream: "nidaqmx.task:OutStream",
    fake.AnalogMultiChannelReader: "nidaqmx.stream_readers:AnalogMultiChannelReader",
    fake.AnalogMultiChannelWriter: "nidaqmx.stream_writers:AnalogMultiChannelWriter",
    fake.System: "nidaqmx.system:System",
    fake.Device: "nidaqmx.system:Device",
    fake.PhysicalChannelCollection: "nidaqmx.system._collections.physical_channel_collection:PhysicalChannelCollection",
    fake.DaqError: "nidaqmx.errors:DaqError",
    fake.DaqNotFoundError: "nidaqmx.errors:DaqNotFoundError",
}
# What the driver calls or sets; everything else in the fake's classes is how they work inside.
USED = {
    fake.Task: "__init__ __enter__ __exit__ start stop close ai_channels ao_channels timing triggers in_stream "
    "out_stream",
    fake.AIChannel: "ai_coupling ai_excit_src ai_excit_voltage_or_current ai_excit_val ai_term_cfg",
    fake.Timing: "cfg_samp_clk_timing samp_clk_rate",
    fake.InStream: "",
    fake.OutStream: "output_buf_size regen_mode",
    fake.AIChannelCollection: "add_ai_voltage_chan",
    fake.AOChannelCollection: "add_ao_voltage_chan",
    fake.StartTrigger: "cfg_dig_edge_start_trig",
    fake.PhysicalChannelCollection: "channel_names",
    fake.Device: "name product_type serial_num is_simulated ao_physical_chans ai_physical_chans ao_voltage_rngs "
    "ai_voltage_rngs ao_max_rate ao_samp_clk_supported ai_max_single_chan_rate ai_max_multi_chan_rate "
    "ai_simultaneous_sampling_supported ai_current_int_excit_discrete_vals compact_daq_chassis_device",
}


def real(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("ours", REAL, ids=lambda ours: ours.__name__)
def test_the_stand_in_has_the_signatures_of_nidaqmx(ours: type) -> None:
    pytest.importorskip("nidaqmx")
    theirs = real(REAL[ours])
    public = [n for n in vars(ours) if not n.startswith("_") or n == "__init__"]
    for name in USED[ours].split() if ours in USED else public:
        assert hasattr(theirs, name), name
        mine = vars(ours).get(name)
        if inspect.isfunction(mine):
            taken = inspect.signature(getattr(theirs, name)).parameters
            for parameter in inspect.signature(mine).parameters.values():
                if parameter.name in taken:
                    default = taken[parameter.name].default
                    same = parameter.default is parameter.empty or str(parameter.default) == str(default)
                    assert same or "Unset" in str(default) or parameter.default == default, (name, parameter)
                else:
                    pytest.fail(f"{name} has no parameter {parameter.name}")


@pytest.mark.parametrize("ours", fake.CONSTANTS, ids=lambda ours: ours.__name__)
def test_the_stand_in_has_the_constants_of_nidaqmx(ours: Any) -> None:
    pytest.importorskip("nidaqmx")
    theirs = getattr(import_module("nidaqmx.constants"), ours.__name__)
    assert {member.name: member.value for member in ours}.items() <= {m.name: m.value for m in theirs}.items()


def test_the_codes_mean_what_they_are_taken_for() -> None:
    pytest.importorskip("nidaqmx")
    codes = import_module("nidaqmx.error_codes").DAQmxErrors
    from labtrain.drivers.backends import daq_checks

    def names(found: set[int]) -> set[str]:
        return {codes(code).name for code in found}

    assert all("UNDERFLOW" in name or "REGEN" in name for name in names(daq_checks.TOO_LATE))
    assert all("OVER" in name or "NO_LONGER" in name for name in names(daq_checks.OVERRUN))
    assert names(daq_checks.BUSY) == {
        "PAL_RESOURCE_RESERVED", "RESOURCE_ALREADY_RESERVED", "RESOURCE_RESERVED_WITH_CONFLICTING_SETTINGS"
    }  # fmt: skip
    assert names(daq_checks.NO_TICK) == {"SAMPLES_NOT_YET_AVAILABLE", "SAMPLES_CAN_NOT_YET_BE_WRITTEN"}
    assert {codes(code).name for code in fake.MESSAGES}  # all of them exist


def test_without_the_driver_library_the_real_package_says_what_to_install() -> None:
    pytest.importorskip("nidaqmx")
    stream = DaqStream("audio", "Dev1", RealClock(), outputs=(1,), inputs=(1,), rate_hz=RATE)
    try:
        stream.open()
    except MissingExtra as error:
        assert "get it from ni.com/downloads" in str(error)
    except LinkRefused as error:  # somebody develops on a machine that has it
        assert "NI-DAQmx" in str(error)
    else:
        stream.close()


def test_nothing_is_imported_before_it_is_opened(world: fake.World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "nidaqmx"]:
        monkeypatch.setitem(sys.modules, name, None)
    daq()
    with pytest.raises(LinkClosed):
        daq().stream.play(np.zeros((1, 2)))

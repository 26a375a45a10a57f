"""The OpenRIS driver: bytes on the wire, what it cannot know, and how it stays in step."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.emulators.metasurface.openris import OpenRisEmulator
from labtrain.drivers.metasurface.openris import QUESTION, SILENCE_S, OpenRis
from labtrain.drivers.testing import Pixels
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkDesync, LinkRefused, LinkTimeout
from tests.surfaces import Cable


class Real:
    """A server that is none of ours: what is no pattern it drops."""

    def __init__(self, emulator: OpenRisEmulator, answer: bytes = b"") -> None:
        self.emulator, self.answer = emulator, answer

    def connected(self) -> list[Reply]:
        return []

    def receive(self, data: bytes) -> list[Reply]:
        if data == QUESTION:
            return [(0.0, self.answer)] if self.answer else []
        return self.emulator.receive(data)


class Bench:
    def __init__(self, tiles: int = 1, **config: object) -> None:
        self.clock = SimulatedClock()
        self.world = Pixels(1536)
        self.server = OpenRisEmulator(self.world, self.clock)
        self.cable = Cable(self.server)
        made = OpenRis.Config.model_validate({"tiles": tiles, **config})
        self.surface = OpenRis.make("metasurface", made, self.clock, emulator=self.cable)


def test_the_bytes_on_the_wire() -> None:
    bench = Bench(tiles=2)
    with bench.surface as surface:
        states = np.arange(1024) % 2
        surface.set_pattern(states)
        assert bench.cable.heard == [
            QUESTION,
            b"01" + b" ".join([b"0", b"1"] * 256),
            b"02" + b" ".join([b"0", b"1"] * 256),
        ]
        assert bench.world.pattern[:1024].tolist() == states.tolist()
    assert not bench.world.pattern.any()


def test_both_polarisations_of_a_cell_move_together_if_grouped() -> None:
    bench = Bench(tiles=3, group=[1, 2])
    with bench.surface as surface:
        assert surface.n_pixels == 768 and surface.shape == (48, 32)
        surface.set_pattern(np.arange(768) == 300)
        assert np.flatnonzero(bench.world.pattern).tolist() == [600, 601]


def test_it_is_not_read_back_and_says_so() -> None:
    bench = Bench()
    with bench.surface as surface:
        assert surface.reads_back == "never"
        surface.set_pattern(np.ones(512))
        surface.check(np.ones(512))
        with pytest.raises(InstrumentError) as caught:
            assert surface.pattern is None
        assert str(caught.value) == "metasurface (sim): this controller does not tell which pattern it shows"
    Bench(verify="never")
    with pytest.raises(InputError) as refused:
        Bench(verify="first")
    assert str(refused.value) == (
        "metasurface (sim): asked to read back patterns (first), this controller cannot be read; remove "
        "rig.metasurface.verify, or set never"
    )


def test_silence_tells_the_real_one() -> None:
    bench = Bench()
    bench.cable.emulator = Real(bench.server)
    with bench.surface as surface:
        assert not surface.emulated and bench.clock.monotonic() == pytest.approx(SILENCE_S + 0.05)
        surface.set_pattern(np.ones(512))
        assert bench.world.pattern[:512].all()
    with Bench().surface as surface:
        assert surface.emulated


def test_what_answers_something_else_is_none() -> None:
    bench = Bench()
    bench.cable.emulator = Real(bench.server, b"ERR 1\r\n")
    with pytest.raises(LinkRefused) as caught, bench.surface:
        pass
    assert str(caught.value) == (
        "metasurface (sim): not an OpenRIS, which does not answer what it does not understand; this one says "
        "b'ERR 1\\r\\n'; correct rig.metasurface.address"
    )


def test_a_late_answer_is_left_behind_with_its_connection() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [lambda replies: [(delay + 3.0, data) for delay, data in replies]]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(np.ones(512))
        with pytest.raises(LinkDesync) as caught:
            surface.set_pattern(np.zeros(512))
        assert str(caught.value) == (
            "metasurface (sim): left an earlier pattern without an answer, which could not be told from the next one; "
            "open it again"
        )
        surface.drop()
        surface.open()
        surface.set_pattern(np.arange(512) == 3)
        assert np.flatnonzero(bench.world.pattern).tolist() == [3]


def test_the_safe_state_takes_a_new_connection_where_it_must() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [lambda replies: []]
        with pytest.raises(LinkTimeout):
            surface.set_pattern(np.ones(512))
        assert bench.world.pattern[:512].all()
        surface.safe()
        assert not bench.world.pattern.any()
        surface.set_pattern(np.ones(512))


def test_a_pattern_that_arrived_damaged_is_told() -> None:
    bench = Bench()
    with bench.surface as surface:
        bench.cable.trouble = [lambda replies: [(0.0, b"b"), (0.0, None)]]
        with pytest.raises(LinkClosed, match="found fewer than 512 bits in '011 1 1 1 1"):
            surface.set_pattern(np.ones(512))
        surface.drop()
        surface.open()
        surface.set_pattern(np.ones(512))


def test_a_plan_counts_tiles() -> None:
    assert Bench(tiles=3).surface.write_s == 3 * Bench().surface.write_s

"""What every metasurface does: pixels, groups, checks before a byte leaves, reading back, the safe state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.drivers.metasurface.metasurface import States
from labtrain.drivers.metasurface.open_source_ris import OpenSourceRis
from labtrain.errors import InputError, LinkDesync
from tests.surfaces import Bench


def test_a_pattern_reaches_the_pixels_of_the_world() -> None:
    bench = Bench(40, n_pixels=40)
    states = np.random.default_rng(0).integers(0, 2, 40)
    with bench.surface as surface:
        surface.set_pattern(states)
        assert bench.world.pattern.tolist() == states.tolist()
        assert surface.pattern.tolist() == states.tolist()
        assert (surface.n_pixels, surface.bits) == (40, 1)


@pytest.mark.parametrize("states", [[True] + [False] * 2, [1.0, 0.0, 0.0], (1, 0, 0), np.array([1, 0, 0], np.uint8)])
def test_states_may_come_as_any_whole_numbers(states: object) -> None:
    bench = Bench(n_pixels=3)
    with bench.surface as surface:
        surface.set_pattern(states)  # type: ignore[arg-type]
        assert bench.world.pattern.tolist() == [1] + [0] * 255


def test_groups_are_numbered_row_by_row_and_the_rest_is_held_at_0() -> None:
    bench = Bench(group=(2, 3))  # 8 x 5 groups; the last column of elements belongs to none
    with bench.surface as surface:
        assert surface.n_pixels == 40
        surface.set_pattern(np.arange(40) == 6)
        assert np.argwhere(bench.world.pattern.reshape(16, 16)).tolist() == [
            [2, 3], [2, 4], [2, 5], [3, 3], [3, 4], [3, 5]
        ]  # fmt: skip
        surface.set_pattern(np.ones(40))
        grid = bench.world.pattern.reshape(16, 16)
        assert grid[:, :15].all()
        assert not grid[:, 15].any()
        assert surface.pattern.tolist() == [1] * 40


@given(st.data())
def test_what_is_written_is_read_back_whatever_the_groups(data: st.DataObject) -> None:
    group = data.draw(st.tuples(st.integers(1, 16), st.integers(1, 16)))
    exist = (16 // group[0]) * (16 // group[1])
    n_pixels = data.draw(st.integers(1, exist))
    states = data.draw(st.lists(st.integers(0, 1), min_size=n_pixels, max_size=n_pixels))
    bench = Bench(group=group, n_pixels=n_pixels, verify="every")
    with bench.surface as surface:
        surface.set_pattern(states)
        assert surface.pattern.tolist() == states
        assert bench.world.pattern.sum() == sum(states) * group[0] * group[1]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"n_pixels": 300},
            "metasurface (sim): asked 300 pixels, there are 256 (16 x 16 elements); set rig.metasurface.n_pixels",
        ),
        (
            {"n_pixels": 40, "group": [4, 4]},
            "metasurface (sim): asked 40 pixels, there are 16 (16 x 16 elements in groups of 4 x 4); "
            "set rig.metasurface.n_pixels",
        ),
        (
            {"group": [1, 17]},
            "metasurface (sim): asked groups of 1 x 17 elements, the surface has 16 x 16; set rig.metasurface.group",
        ),
        (
            {"n_pixels": 3, "default_pattern": [0, 1]},
            "metasurface (sim): asked a pattern of 2 states, needs one for each of 3 pixels; "
            "see rig.metasurface.default_pattern",
        ),
        (
            {"default_pattern": 2},
            "metasurface (sim): asked state 2 of pixel 0, allowed whole numbers 0 to 1; "
            "see rig.metasurface.default_pattern",
        ),
    ],
)
def test_a_config_that_does_not_fit_the_surface_is_refused_before_it_is_opened(
    config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        Bench(**config)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (
            [0, 1],
            "metasurface (sim): asked a pattern of 2 states, needs one for each of 3 pixels; "
            "see rig.metasurface.n_pixels",
        ),
        (
            [[0, 1, 0]],
            "metasurface (sim): asked a pattern of the shape (1, 3), needs one for each of 3 pixels; "
            "see rig.metasurface.n_pixels",
        ),
        (
            [0, 2, 0],
            "metasurface (sim): asked state 2 of pixel 1, allowed whole numbers 0 to 1; see rig.metasurface.n_pixels",
        ),
        (
            [0, 1, -1],
            "metasurface (sim): asked state -1 of pixel 2, allowed whole numbers 0 to 1; see rig.metasurface.n_pixels",
        ),
        (
            [0.5, 1, 0],
            "metasurface (sim): asked state 0.5 of pixel 0, allowed whole numbers 0 to 1; see rig.metasurface.n_pixels",
        ),
        (
            [0, np.nan, 0],
            "metasurface (sim): asked state nan of pixel 1, allowed whole numbers 0 to 1; see rig.metasurface.n_pixels",
        ),
        (
            ["0", "1", "0"],
            "metasurface (sim): asked state '0' of pixel 0, allowed whole numbers 0 to 1; see rig.metasurface.n_pixels",
        ),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused_before_a_byte_leaves(states: object, sentence: str) -> None:
    bench = Bench(n_pixels=3)
    with bench.surface as surface:
        bench.cable.heard.clear()
        with pytest.raises(InputError) as caught:
            surface.set_pattern(states)  # type: ignore[arg-type]
        assert bench.cable.heard == []
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("verify", "read"), [("never", 0), ("first", 1), ("every", 3)])
def test_patterns_are_read_back_as_often_as_asked(verify: str, read: int) -> None:
    bench = Bench(verify=verify)
    with bench.surface as surface:
        for _ in range(3):
            surface.set_pattern(np.ones(256))
        assert bench.cable.heard.count(b"?Pattern\n") == read


def test_a_surface_opened_again_is_read_back_again() -> None:
    bench = Bench()
    for _ in range(2):
        with bench.surface as surface:
            surface.set_pattern(np.ones(256))
    assert bench.cable.heard.count(b"?Pattern\n") == 2


def test_a_pattern_that_reads_back_differently_is_told_and_may_be_repeated() -> None:
    bench = Bench(verify="every")
    with bench.surface as surface:
        bench.cable.trouble = [lambda _: [(0.0, b"#OK\n")], lambda _: [(0.0, b"#0XFFFB" + b"F" * 60 + b"\n")]]
        with pytest.raises(LinkDesync) as caught:
            surface.set_pattern(np.ones(256))
        surface.set_pattern(np.ones(256))
    assert str(caught.value) == (
        "metasurface (sim): read back another pattern than was written, 1 of 256 elements differ, the first is element "
        "14 (wrote 1, read 0); check cable and supply (rig.metasurface.address)"
    )


def test_it_waits_until_the_surface_has_settled() -> None:
    bench = Bench(settle_s=0.25)
    with bench.surface as surface:
        before = bench.clock.monotonic()
        surface.set_pattern(np.zeros(256))
        assert bench.clock.monotonic() - before == 0.25


def test_leaving_sets_the_default_pattern() -> None:
    bench = Bench(n_pixels=3, default_pattern=(0, 1, 0))
    with pytest.raises(ZeroDivisionError), bench.surface as surface:
        surface.set_pattern([1, 1, 1])
        raise ZeroDivisionError
    assert np.flatnonzero(bench.world.pattern).tolist() == [1]


def test_a_default_pattern_may_be_one_state_for_all() -> None:
    bench = Bench(n_pixels=3, default_pattern=1)
    with bench.surface:
        pass
    assert np.flatnonzero(bench.world.pattern).tolist() == [0, 1, 2]


def test_a_surface_that_was_never_opened_is_left_alone() -> None:
    bench = Bench()
    bench.surface.safe()
    assert bench.cable.heard == []


class Storing(OpenSourceRis):
    """Keeps a sequence beside the controller, to try what every metasurface does with one."""

    sequence_capacity = 3

    def _store(self, elements: States) -> None:
        self.kept = elements

    def _show(self, index: int) -> None:
        self._write(self.kept[index])


def storing(**config: object) -> tuple[Storing, Bench]:
    bench = Bench(n_pixels=3, **config)
    return Storing(bench.link, bench.config, bench.clock), bench


SEQUENCE = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_a_stored_sequence_is_shown_by_number_and_settles_like_any_pattern() -> None:
    surface, bench = storing(settle_s=0.25, verify="every")
    with surface:
        surface.set_sequence(SEQUENCE)
        assert surface.stored == 3 and bench.clock.monotonic() == 0.0
        for index in (2, 0, 1):
            surface.show(index)
            assert surface.pattern.tolist() == SEQUENCE[index]
        assert bench.clock.monotonic() == 0.75
        bench.cable.trouble = [lambda _: [(0.0, b"#OK\n")], lambda _: [(0.0, b"#0X" + b"0" * 64 + b"\n")]]
        with pytest.raises(LinkDesync, match="read back another pattern"):
            surface.show(1)


@pytest.mark.parametrize(
    ("sequence", "sentence"),
    [
        ([], "asked a sequence of the shape (0,), needs (patterns, 3); see rig.metasurface.n_pixels"),
        ([0, 1, 0], "asked a sequence of the shape (3,), needs (patterns, 3); see rig.metasurface.n_pixels"),
        (
            [[0, 1, 0]] * 4,
            "asked a sequence of 4 patterns, the controller stores up to 3; store fewer at a time",
        ),
        (
            [[0, 1, 0], [0, 2, 0]],
            "asked state 2 of pixel 1 in pattern 1 of the sequence, allowed whole numbers 0 to 1; see "
            "rig.metasurface.n_pixels",
        ),
        (
            [[0, 1]],
            "asked a pattern of 2 states in pattern 0 of the sequence, needs one for each of 3 pixels; see "
            "rig.metasurface.n_pixels",
        ),
    ],
)
def test_a_sequence_that_does_not_fit_is_refused_and_the_one_before_stays(sequence: object, sentence: str) -> None:
    surface, bench = storing()
    with surface:
        surface.set_sequence(SEQUENCE)
        bench.cable.heard.clear()
        with pytest.raises(InputError) as caught:
            surface.set_sequence(sequence)  # type: ignore[arg-type]
        assert str(caught.value) == f"metasurface (sim): {sentence}"
        assert bench.cable.heard == [] and surface.stored == 3


@pytest.mark.parametrize("index", [-1, 3])
def test_a_number_that_is_not_stored_is_refused(index: int) -> None:
    surface, bench = storing()
    with surface:
        surface.set_sequence(SEQUENCE)
        bench.cable.heard.clear()
        with pytest.raises(InputError) as caught:
            surface.show(index)
        assert bench.cable.heard == []
    assert str(caught.value) == (
        f"metasurface (sim): asked pattern {index} of the sequence, 0 to 2 are stored; call set_sequence() first"
    )


@pytest.mark.parametrize("what", ["set_pattern", "safe", "reopen", "failed store"])
def test_a_sequence_is_given_up_when_something_else_was_set(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, _ = storing()
    with surface:
        surface.set_sequence(SEQUENCE)
        if what == "set_pattern":
            surface.set_pattern([0, 0, 0])
        elif what == "safe":
            surface.safe()
        elif what == "reopen":
            surface.drop()
            surface.open()
        else:
            monkeypatch.setattr(surface, "_store", lambda elements: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                surface.set_sequence(SEQUENCE)
        with pytest.raises(InputError, match="none is stored; call set_sequence"):
            surface.show(0)


def test_a_controller_that_stores_none_says_so() -> None:
    with Bench(n_pixels=3).surface as surface:
        assert (surface.sequence_capacity, surface.stored) == (0, 0)
        with pytest.raises(InputError) as caught:
            surface.set_sequence(SEQUENCE)
    assert str(caught.value) == (
        "metasurface (sim): asked to store a sequence, this controller stores none; call set_pattern() instead"
    )

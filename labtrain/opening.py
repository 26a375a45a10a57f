"""From a configuration to the rig that it names; errors on the way tell the line of the file that they are about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from labtrain.asking import at_terminal
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.errors import InputError, InstrumentError, RunError, UnsafeError
from labtrain.experiment import registered
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.safety import NotMadeSafe

_SETTING = re.compile(r"\b(?:disturbances|rig|record|dataset|encoding|network|training|trials|run)(?:\.\w+)+")


class HasRig(Protocol):
    """A configuration with a section ``rig``."""

    @property
    def rig(self) -> RigConfig: ...


def open_rig(
    experiment: HasRig,
    clock: Clock | None = None,
    trace_io: Path | None = None,
    config_file: Path | None = None,
) -> Rig:
    """The rig that a configuration names, not opened yet: use it in a ``with`` block.

    Parameters
    ----------
    trace_io : path, optional
        File to which every byte to and from the instruments is written, see labtrain.drivers.trace.
    config_file : path, optional
        Where the experiment comes from, for errors that say how to stop whoever uses the rig already.
    """
    rig: Rig = registered("rigs", experiment.rig)(experiment.rig, clock or RealClock())
    rig.trace_io, rig.config_file, rig.ask = trace_io, config_file, at_terminal()
    return rig


def check_trace(rig: Rig) -> None:
    """Refuse a trace of a rig that has nothing to trace, rather than leave its file out in silence."""
    if rig.trace_io is not None and not rig.instruments:
        raise InputError(
            f"--trace-io {rig.trace_io}: this rig exchanges no bytes with instruments; leave the option out"
        )


@contextmanager
def naming_lines(loaded: Loaded[Any]) -> Iterator[None]:
    """Add to an error about a setting where that setting stands, and what stands there if a variable is in it."""
    try:
        yield
    except (RunError, NotMadeSafe):
        raise  # about a run folder, in which "run.db" is no setting; about devices that may still emit
    except (InputError, InstrumentError, UnsafeError) as error:
        keys = [match.group() for match in _SETTING.finditer(str(error))]
        if not keys:
            raise
        set_by_user = (key for key in keys if loaded.where(key) != loaded.source.name)
        where = loaded.remedy(next(set_by_user, keys[0]))
        number = where.rpartition(":")[2]
        line = loaded.text.splitlines()[int(number) - 1].strip() if number.isdigit() else ""
        raise type(error)(f"{error} ({where}{': ' + line if '${' in line else ''})") from error.__cause__

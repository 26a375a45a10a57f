"""Trace, a file with every byte that went to and from the instruments (``--trace-io FILE``).

One line a transfer, its fields separated by one space::

    2026-02-03T10:11:12.123456Z vna > b'*IDN?\\n'
    2026-02-03T10:11:12.124891Z vna < b'Keysight Technologies,N5222B,MY61420123,A.16.25.10\\n'
    2026-02-03T10:11:17.126002Z vna - resynchronise

time (UTC), instrument, direction (``>`` to it, ``<`` from it, ``-`` a remark) and the bytes as a Python literal: all of
them on that line however many, so that ``ast.literal_eval`` gives them back. :func:`read_trace` does so. What one line
holds is what the computer sent or got at once; a message may spread over several lines. A line that begins with ``#``
says when a program began to write.
"""

from __future__ import annotations

import ast
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from labtrain.clock import Clock
from labtrain.errors import InputError

log = logging.getLogger("labtrain")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINE = re.compile(r"(?P<time>\S+Z) (?P<who>\S+) (?P<direction>[<>-]) (?P<rest>.*)")


class Trace:
    """Appends to a file; links of several threads may share one. The constructor stores, :meth:`open` opens.

    Parameters
    ----------
    path : str or path
        Written on after what is there.
    clock : Clock
        Tells the times.
    """

    def __init__(self, path: str | Path, clock: Clock) -> None:
        self.path, self.clock = Path(path), clock
        self._file: TextIO | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the file; an open one stays as it is.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        with self._lock:
            if self._file is not None:
                return
            try:
                self._file = self.path.open("a", encoding="ascii", newline="\n")
                self._file.write(f"# labtrain trace, {self._time()}: time, instrument, direction, bytes\n")
                self._file.flush()
            except OSError as error:
                raise InputError(
                    f"{self.path}: the trace cannot be written ({error.strerror}); choose another file with --trace-io"
                ) from None

    def close(self) -> None:
        """Close the file; a closed one stays closed."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def note(self, who: str, direction: str, data: bytes) -> None:
        """Write one line, at once; after :meth:`close`, nothing.

        A disk that is full must not keep an instrument from being made safe: then the trace ends with a warning.

        Parameters
        ----------
        who : str
            Name of the instrument.
        direction : str
            ``>`` to the instrument, ``<`` from it, ``-`` remark.
        data : bytes
        """
        shown = data.decode("ascii", "backslashreplace") if direction == "-" else repr(data)
        line = f"{self._time()} {who.replace(' ', '_') or '?'} {direction} {' '.join(shown.splitlines())}\n"
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                log.warning("%s: the trace ends here, it cannot be written (%s)", self.path, error.strerror)
                self._file = None

    def _time(self) -> str:
        return f"{_EPOCH + timedelta(seconds=self.clock.now()):%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass(frozen=True)
class Transfer:
    """One line of a trace; `time_s` in seconds since 1970-01-01 UTC, `direction` as of :meth:`Trace.note`."""

    time_s: float
    who: str
    direction: str
    data: bytes


def read_trace(path: str | Path) -> Iterator[Transfer]:
    """The transfers of a trace in their order, every byte recovered.

    Raises
    ------
    InputError
        At a line that no trace has; the last one may be cut short by a crash and is then left out.
    """
    lines = Path(path).read_text(encoding="ascii", errors="replace").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        if line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        try:
            if found is None:
                raise ValueError
            rest = found["rest"]
            data = rest.encode() if found["direction"] == "-" else ast.literal_eval(rest)
            time = (datetime.fromisoformat(found["time"]) - _EPOCH).total_seconds()
        except (ValueError, SyntaxError):
            raise InputError(f"{path}:{number}: not a line of a trace: {line[:60]!r}") from None
        yield Transfer(time, found["who"], found["direction"], data)

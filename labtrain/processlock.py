"""A file that one process at a time may hold, and a note beside it of who holds it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock


class Held(Exception):
    """Somebody else has the lock; `owner` is the note, empty if there is none that can be read."""

    def __init__(self, owner: dict[str, Any]) -> None:
        super().__init__(owner)
        self.owner = owner


class ProcessLock:
    """The operating system frees the lock however its owner ends; the note is for messages alone.

    Parameters
    ----------
    path : Path
        The lock itself, in a folder that exists; the note is beside it, with the ending ``.json``.
    everybody : bool
        Whether other users of this computer may take the lock too, once it is free.
    patience_s : float
        How long to try; enough to outlast the probe of :meth:`held` in another process.
    """

    def __init__(self, path: Path, *, everybody: bool = False, patience_s: float = 1.0) -> None:
        options: dict[str, Any] = {"mode": 0o666} if everybody else {}
        # A rig may be closed in another thread than the one that opened it, as at the end of the interpreter.
        self._lock = filelock.FileLock(str(path), thread_local=False, **options)
        self._patience_s = patience_s
        self._note = path.with_name(path.name.removesuffix(".lock") + ".json")

    def acquire(self, about: Mapping[str, Any] | None = None) -> None:
        """Take the lock and leave a note: ``pid``, ``host`` and what `about` adds.

        Raises
        ------
        Held
            If it is not free within `patience_s`.
        OSError
            If the folder cannot be written to.
        """
        try:
            self._lock.acquire(timeout=self._patience_s)
        except filelock.Timeout:
            raise Held(self.owner()) from None
        try:
            self.tell(about or {})
        except BaseException:
            self._lock.release()
            raise

    def tell(self, about: Mapping[str, Any]) -> None:
        """Write the note anew; only for the owner."""
        text = json.dumps({"pid": os.getpid(), "host": platform.node(), **about})
        temporary = self._note.with_name(f"{self._note.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        # "x" never follows a link that another user has put there.
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(self._note)

    def release(self) -> None:
        """Free the lock; a free one stays free."""
        if self._lock.is_locked:
            with suppress(OSError):  # a stale note is harmless: the lock decides
                self._note.unlink(missing_ok=True)
            self._lock.release()

    def held(self) -> bool:
        """Whether somebody, be it this process, holds the lock at this moment."""
        if self._lock.is_locked:
            return True
        try:
            with self._lock.acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True
        except OSError:  # a read-only medium: nobody can be holding it
            return False

    def owner(self) -> dict[str, Any]:
        """The note; empty if there is none that can be read."""
        try:
            found = json.loads(self._note.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else {}

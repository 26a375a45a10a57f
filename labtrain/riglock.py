"""One process owns an instrument: a lock for each real address, whatever the configurations that name it are called.

The lock is the operating system's, so it is free once its owner has ended, however that came about. It holds among all
users of this computer; another computer that reaches the same instrument through the network does not see it.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import localtime, strftime
from types import TracebackType
from typing import Any, Self

import psutil

from labtrain.clock import Clock
from labtrain.errors import InstrumentError
from labtrain.processlock import Held, ProcessLock

_COMMAND_LENGTH = 80  # characters of a command line that an error shows


@dataclass(frozen=True)
class Holder:
    """Who holds an instrument.

    Parameters
    ----------
    pid : int
    command : str
        As typed: ``labtrain train lab.yaml``.
    user : str
    since_s : float
        Seconds since 1970-01-01 UTC.
    host : str
    run : str
        Run folder that the instrument measures for; empty if there is none, or none yet.
    argv : tuple of str
        Of the process, as the operating system lists it.
    created_s : float
        When the process began; with `argv` it tells it from a later one with the same number.
    """

    pid: int
    command: str
    user: str
    since_s: float
    host: str = ""
    run: str = ""
    argv: tuple[str, ...] = ()
    created_s: float = 0.0

    @classmethod
    def of(cls, note: Mapping[str, Any]) -> Holder | None:
        """From the note beside the lock; None if it does not say."""
        with suppress(KeyError, TypeError, ValueError):
            return cls(
                int(note["pid"]), str(note["command"]), str(note["user"]), float(note["since_s"]), str(note["host"]),
                str(note.get("run") or ""), tuple(map(str, note["argv"])), float(note["created_s"]),
            )  # fmt: skip
        return None

    def told(self, now_s: float) -> str:
        """``process 1234 (labtrain train lab.yaml, user anna, since 21:04)``, in local time."""
        today = strftime("%x", localtime(now_s)) == strftime("%x", localtime(self.since_s))
        since = strftime("%H:%M" if today else "%Y-%m-%d %H:%M", localtime(self.since_s))
        return f"process {self.pid} ({self.command}, user {self.user}, since {since})"


class InstrumentLock:
    """The right to talk to one instrument; nothing is taken before :meth:`acquire`, or before a ``with`` block.

    Parameters
    ----------
    who : str
        Name of the instrument in errors.
    address : str
        As configured, for errors.
    clock : Clock
    canonical : str, optional
        The same for all ways to write the address; default: the address.
    config_file : Path, optional
        For errors: what to hand to ``labtrain safe``.
    folder : Path, optional
        Where locks are kept; default: the folder that all users of this computer share.
    """

    def __init__(
        self,
        who: str,
        address: str,
        clock: Clock,
        *,
        canonical: str | None = None,
        config_file: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        self.who, self.address, self._clock, self._config_file = who, address, clock, config_file
        self._canonical = canonical or address
        self._folder = folder or lock_folder()
        digest = hashlib.sha256(self._canonical.encode()).hexdigest()[:20]
        self._lock = ProcessLock(self._folder / f"{digest}.lock", everybody=True, patience_s=0.2)
        self._about: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """For errors: ``vna (tcp://10.0.0.5:5025)``."""
        return f"{self.who} ({self.address})"

    def acquire(self) -> None:
        """Take the instrument.

        Raises
        ------
        InstrumentError
            Naming who holds it, or saying why it cannot be locked.
        """
        self._about = about_this_process() | {"address": self.address, "since_s": self._clock.now()}
        try:
            _share(self._folder)
            self._lock.acquire(self._about)
        except Held as held:
            raise InstrumentError(self._in_use(Holder.of(held.owner))) from None
        except OSError as error:
            raise InstrumentError(
                f"{self.name}: cannot be locked against other programs ({error.filename or self._folder}: "
                f"{error.strerror or error}); let all users of this computer write to {self._folder}"
            ) from None

    def serve(self, run: Path) -> None:
        """Note down the run that the instrument now measures for."""
        self._about["run"] = str(run.absolute())
        with suppress(OSError):  # the note is for messages alone
            self._lock.tell(self._about)

    def release(self) -> None:
        """Give the instrument back; doing so twice is harmless."""
        self._lock.release()

    def held(self) -> bool:
        """Whether somebody, be it this process, has the instrument at this moment."""
        return self._folder.is_dir() and self._lock.held()

    def holder(self) -> Holder | None:
        """Who has the instrument, as far as it is known; meaningless unless it is :meth:`held`."""
        return Holder.of(self._lock.owner())

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _in_use(self, holder: Holder | None) -> str:
        if holder is not None and holder.pid == os.getpid():
            return f"{self.name}: in use by this process already; close what has it open first"
        by = "another process" if holder is None else holder.told(self._clock.now())
        config = self._config_file or "CONFIG"
        return f"{self.name}: in use by {by}; wait, or stop it with: labtrain safe {config}"


def lock_folder() -> Path:
    """The folder for locks that all users of this computer share and that nobody tidies up while a run lasts."""
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "labtrain" / "locks"
    # /tmp loses files that are some days old; not every system lets everybody write to /run/lock.
    base = Path("/run/lock")
    with suppress(OSError):
        if base.stat().st_mode & stat.S_IWOTH:
            return base / "labtrain"
    return Path("/tmp/labtrain-locks")


def in_use(folder: Path | None = None) -> list[tuple[str, Holder | None]]:
    """Every instrument that a process of this computer has at this moment: address as configured, and holder.

    Parameters
    ----------
    folder : Path, optional
        As of :class:`InstrumentLock`.
    """
    found = []
    for path in sorted((folder or lock_folder()).glob("*.lock")):
        lock = ProcessLock(path, everybody=True)
        if lock.held():
            note = lock.owner()
            found.append((str(note.get("address") or ""), Holder.of(note)))
    return found


def _share(folder: Path) -> None:
    """Make the folder, open to everybody: a lock that one user left behind must be another one's to take."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        # What a user makes in ProgramData is read-only for the others; S-1-5-32-545 are all users of this computer.
        icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "icacls.exe"
        subprocess.run([icacls, folder, "/grant", "*S-1-5-32-545:(OI)(CI)M"], capture_output=True, check=False)
    else:
        # Not sticky: there, file locks of other users are refused (fs.protected_regular, and filelock by itself).
        folder.chmod(0o777)


def about_this_process() -> dict[str, Any]:
    """What a note tells of its owner: ``command``, ``user``, ``argv``, ``created_s``."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    # `python -m labtrain` runs labtrain/__main__.py
    name = "labtrain" if path.parent.name == "labtrain" and path.suffix == ".py" else path.name or "python"
    command = shlex.join([name, *arguments])
    if len(command) > _COMMAND_LENGTH:
        command = f"{command[: _COMMAND_LENGTH - 3]}..."
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    process = psutil.Process()
    return {"command": command, "user": user, "argv": process.cmdline(), "created_s": process.create_time()}

"""A run on disk: every shot the moment it arrives, checkpoints, metrics, trials, notes, environment.

A run is a folder: ``run.db`` (SQLite), ``config.yaml`` (the exact text), ``checkpoint.A.npz`` and ``checkpoint.B.npz``
(the arrays of the last two checkpoints, written alternately), ``trial-000.A.npz`` (final arrays of each trial; ``.B``
after it has gone on further), ``lock``.

Shots commit before anyone uses them. A checkpoint first puts its arrays on disk under the name that the *previous*
checkpoint does not use, then names file, hash and the last chunk it has seen in one transaction: whenever the process
is killed, the last committed checkpoint is whole. To resume is to restore it and to take the chunks logged since
from :meth:`Run.replay`; only shots that were never logged are measured.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from labtrain.checkpoints import Checkpoints
from labtrain.clock import Clock
from labtrain.config import Section, loads
from labtrain.errors import ConfigError, RunError, RunExists
from labtrain.ownership import RunLock, refuse_network_share
from labtrain.rundb import Database
from labtrain.storage import disk_errors, write_bytes

STATUSES = ("running", "finished", "interrupted", "failed")


class Note(NamedTuple):
    """A line that a person, or labtrain itself, added to the run."""

    time_s: float
    kind: str
    text: str


class Run(Checkpoints):
    """A run folder, open. Made by :meth:`create` or :meth:`open`; close it, or use it in a ``with`` block.

    Use it in the thread that opened it. Every error of the disk is a RunError of one sentence.
    """

    # --- life ---------------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, folder: Path, *, config_text: str, config: dict[str, Any], provenance: dict[str, Any], clock: Clock
    ) -> Run:
        """Make a new run folder, its parents included, and hold its lock.

        Parameters
        ----------
        config_text : str
            The effective configuration, kept byte for byte in ``config.yaml``.
        config : dict
            The same, parsed: JSON values only.
        provenance : dict
            Versions, git commit, seeds, command line: JSON values only.

        Raises
        ------
        RunError
            If the folder exists, lies on a network share, or cannot be written.
        """
        refuse_network_share(folder)
        with disk_errors(folder):
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                raise RunExists(
                    f"{folder}: exists already; choose another name, or go on with it: `labtrain resume {folder}`"
                ) from None
            lock = RunLock(folder)
            lock.acquire()
            try:
                write_bytes(folder / "config.yaml", config_text.encode())
                database = Database.create(
                    folder, created_s=clock.now(), status="running", config=config, config_text=config_text,
                    provenance=provenance,
                )  # fmt: skip
            except BaseException:
                lock.release()
                shutil.rmtree(folder, ignore_errors=True)  # made a moment ago, by us, and holds nothing yet
                raise
        return cls(folder, database, lock, clock)

    @classmethod
    def open(cls, folder: Path, *, write: bool, clock: Clock) -> Run:
        """Open an existing run; its log stands where its last checkpoint left it, ready to be replayed.

        Parameters
        ----------
        write : bool
            True to measure and train: takes the lock. False to read, which works while another process trains;
            :meth:`note` works then too.

        Raises
        ------
        RunError
            If the folder is missing, is not a run, is corrupt, of a newer version, or (to write) in use.
        """
        Database.open(folder, write=False).close()  # a folder that is no run gets no lock file
        if not write:
            return cls(folder, Database.open(folder, write=False), None, clock)
        refuse_network_share(folder)
        lock = RunLock(folder)
        with disk_errors(folder):
            lock.acquire()
        try:
            database = Database.open(folder, write=True)
        except BaseException:
            lock.release()
            raise
        run = cls(folder, database, lock, clock)
        try:
            run._rewind()
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Release database and lock."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- notes, environment, status -----------------------------------------------------------------------------------

    def note(self, text: str, kind: str = "note") -> None:
        """Add a line with a time stamp; works while another process trains."""
        database = self._db if self._lock is not None else Database.open(self.folder, write=True)
        try:
            with database.transaction() as connection:
                connection.execute(
                    "INSERT INTO notes(time_s, kind, text) VALUES (?, ?, ?)", (self._clock.now(), kind, text)
                )
        finally:
            if database is not self._db:
                database.close()

    def notes(self) -> list[Note]:
        return [Note(*row) for row in self._db.rows("SELECT time_s, kind, text FROM notes ORDER BY id")]

    def log_environment(self, readings: dict[str, Any]) -> None:
        """Keep readings of the room (temperature, humidity, ...) with a time stamp; JSON values, units in the names."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO environment(time_s, value) VALUES (?, ?)", (self._clock.now(), json.dumps(readings))
            )

    def environment(self) -> list[tuple[float, dict[str, Any]]]:
        """(time in s, readings), oldest first."""
        rows = self._db.rows("SELECT time_s, value FROM environment ORDER BY id")
        return [(time_s, json.loads(value)) for time_s, value in rows]

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``interrupted`` or ``failed``; a run whose process died counts as interrupted."""
        status = str(self._db.meta("status"))
        if status == "running" and self._lock is None and not RunLock(self.folder).held():
            return "interrupted"
        return status

    def mark(self, status: str) -> None:
        """Set the status; opening and closing leave it as it is."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r}, allowed {', '.join(STATUSES)}")
        self._writing()
        self._db.set_meta(status=status)

    @property
    def created_s(self) -> float:
        """When the run was made, seconds since 1970-01-01 UTC."""
        return float(self._db.meta("created_s"))

    # --- config -------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration, parsed."""
        config: dict[str, Any] = self._db.meta("config")
        return config

    @property
    def kind(self) -> str:
        """``training``, or ``recording`` for random drives that were measured and nothing else."""
        return "recording" if "record" in self.config else "training"

    @property
    def config_text(self) -> str:
        """The effective configuration as text."""
        return str(self._db.meta("config_text"))

    @property
    def provenance(self) -> dict[str, Any]:
        provenance: dict[str, Any] = self._db.meta("provenance")
        return provenance

    @property
    def commissioned(self) -> dict[str, Any] | None:
        """What the rig measured once, before the run's first shot; None if that has not been done."""
        rows = self._db.rows("SELECT value FROM meta WHERE key = 'commissioned'")
        return json.loads(rows[0][0]) if rows else None

    def keep_commissioned(self, values: dict[str, Any]) -> None:
        """Keep what the rig's commissioning gave, JSON values, for all that is measured later."""
        self._writing()
        self._db.set_meta(commissioned=values)

    def config_changes(
        self, config: dict[str, Any], allowed: Iterable[str], schema: type[Section] | None = None
    ) -> list[str]:
        """How a configuration differs from the run's, one line a key.

        Parameters
        ----------
        schema : type, optional
            Of both. Keys that the labtrain that began the run did not know then have their defaults, which are what it
            did without them.

        Raises
        ------
        RunError
            If anything but the allowed keys differs; names what.
        """
        began = self.config if schema is None else self._read_by(schema)
        if wrong := diff_config(began, config, allowed):
            raise RunError(
                f"{self.folder}: the config differs from the one this run began with ({'; '.join(wrong)}); "
                "resume with the old values, or start a new run"
            )
        return diff_config(began, config, ())

    def _read_by(self, schema: type[Section]) -> dict[str, Any]:
        """The run's configuration as a schema reads it; as it is where that knows other keys or values by now."""
        try:
            value = loads(self.config_text, schema, self.folder / "config.yaml").value
        except ConfigError:
            return self.config
        read: dict[str, Any] = json.loads(value.model_dump_json())
        return read

    def adopt_config(
        self, config_text: str, config: dict[str, Any], allowed: Iterable[str], schema: type[Section] | None = None
    ) -> list[str]:
        """Go on with a changed configuration; differences are returned and noted. Raises as :meth:`config_changes`."""
        self._writing()
        changes = self.config_changes(config, allowed, schema)
        if changes:
            with disk_errors(self.folder):  # the file first: a resume starts from it and adopts what a kill left out
                write_bytes(self.folder / "config.yaml", config_text.encode())
            self._db.set_meta(config=config, config_text=config_text)
            self.note("; ".join(changes), kind="config")
        return changes


def diff_config(old: dict[str, Any], new: dict[str, Any], allowed: Iterable[str]) -> list[str]:
    """Lines like ``training.theta: 4 -> 8`` for every value that differs and lies under no allowed key.

    Parameters
    ----------
    old, new : dict
        Parsed configurations.
    allowed : iterable of str
        Dotted keys that may differ, with everything under them.
    """
    before, after = _flat(json.loads(json.dumps(old))), _flat(json.loads(json.dumps(new)))
    free = tuple(allowed)
    return [
        f"{key}: {before.get(key, 'not set')} -> {after.get(key, 'not set')}"
        for key in {**before, **after}
        if before.get(key) != after.get(key) and not any(f"{key}.".startswith(f"{name}.") for name in free)
    ]


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Dotted key -> JSON text of each leaf; a list of another length is another value as a whole."""
    if isinstance(value, dict) and value:
        return {path: text for name, item in value.items() for path, text in _flat(item, f"{key}.{name}").items()}
    return {key.removeprefix("."): json.dumps(value)}

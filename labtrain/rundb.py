"""The SQLite file inside a run folder: schema, identity, transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labtrain.errors import RunError
from labtrain.storage import disk_errors

NAME = "run.db"
SCHEMA = 1
APPLICATION_ID = 0x4C616254  # "LabT": tells a run from other SQLite files
BUSY_S = 10.0

# step has no type on purpose: integers stay integers, names stay names.
_TABLES = f"""
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE chunks(id INTEGER PRIMARY KEY, time_s REAL NOT NULL, trial INTEGER NOT NULL, layer TEXT NOT NULL, step,
    replayable INTEGER NOT NULL, n INTEGER NOT NULL, x BLOB NOT NULL, y BLOB NOT NULL, sigma BLOB,
    attempts BLOB NOT NULL, started_s REAL NOT NULL, state TEXT NOT NULL, environment TEXT);
CREATE TABLE checkpoints(id INTEGER PRIMARY KEY, time_s REAL NOT NULL, step, chunk INTEGER NOT NULL,
    state TEXT NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE metrics(id INTEGER PRIMARY KEY, time_s REAL NOT NULL, trial INTEGER NOT NULL, step,
    value TEXT NOT NULL, UNIQUE(trial, step));
CREATE TABLE trials(trial INTEGER PRIMARY KEY, time_s REAL NOT NULL, results TEXT NOT NULL,
    state TEXT NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE notes(id INTEGER PRIMARY KEY, time_s REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE environment(id INTEGER PRIMARY KEY, time_s REAL NOT NULL, value TEXT NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA};
"""
_SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


class Database:
    """One connection to a run's database; every error of the disk or of SQLite leaves as a RunError.

    Write-ahead log, synchronous NORMAL: a commit survives the death of the process. Durable transactions also
    survive a power loss, and with them everything committed before.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection

    @classmethod
    def create(cls, folder: Path, **meta: Any) -> Database:
        """Make ``run.db`` in a folder that has none, with its first meta values, in one transaction."""
        with disk_errors(folder):
            database = cls(folder, cls._connect(folder, "rwc"))
            try:
                mode = database.rows("PRAGMA journal_mode = WAL")[0][0]
                if mode != "wal":
                    raise RunError(
                        f"{folder}: this disk allows no write-ahead log (SQLite offers {mode!r}); "
                        "choose another one with `--runs DIR`"
                    )
                with database.transaction(durable=True) as connection:
                    for statement in _TABLES.split(";"):
                        connection.execute(statement)
                    connection.executemany(_SET_META, _json_items(meta))
            except BaseException:
                database.close()
                raise
        return database

    @classmethod
    def open(cls, folder: Path, *, write: bool) -> Database:
        """Open the database of an existing run and check that this version can read it."""
        if not folder.exists():
            raise RunError(f"{folder}: no such run folder; `labtrain runs` lists the runs there are")
        if not (folder / NAME).is_file():
            raise RunError(f"{folder}: not a run folder (it has no {NAME}); `labtrain runs` lists the runs there are")
        with disk_errors(folder):
            database = cls(folder, cls._connect(folder, "rw" if write else "ro"))
            try:
                database._identify()
            except BaseException:
                database.close()
                raise
        return database

    @staticmethod
    def _connect(folder: Path, mode: str) -> sqlite3.Connection:
        uri = f"{(folder / NAME).resolve().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)

    def _identify(self) -> None:
        if self.rows("PRAGMA application_id")[0][0] != APPLICATION_ID:
            raise RunError(
                f"{self._folder}: not a run folder (its {NAME} was not made by labtrain); "
                "`labtrain runs` lists the runs there are"
            )
        schema = self.rows("PRAGMA user_version")[0][0]
        if schema > SCHEMA:
            raise RunError(
                f"{self._folder}: made by a newer labtrain (schema {schema}, this one reads {SCHEMA}); update labtrain"
            )

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query; no read stays open, so writers and checkpoints of the log never wait for us."""
        with disk_errors(self._folder):
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All statements in the block are committed together when it ends, or none of them."""
        with disk_errors(self._folder):
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def meta(self, key: str) -> Any:
        return json.loads(self.rows("SELECT value FROM meta WHERE key = ?", key)[0][0])

    def set_meta(self, **values: Any) -> None:
        with self.transaction() as connection:
            connection.executemany(_SET_META, _json_items(values))

    def close(self) -> None:
        self._connection.close()


def _json_items(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, json.dumps(value)) for key, value in values.items()]

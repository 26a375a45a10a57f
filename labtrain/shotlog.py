"""The log of shots in a run: a row for each chunk, and its replay after a resume."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.clock import Clock
from labtrain.errors import RunError
from labtrain.layer import Array, Shots
from labtrain.ownership import RunLock
from labtrain.rundb import Database

_COLUMNS = "time_s, trial, layer, step, n, x, y, sigma, attempts, started_s, state, environment"
_INSERT = f"INSERT INTO chunks({_COLUMNS}, replayable) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = f"SELECT id, {_COLUMNS} FROM chunks "


@dataclass(frozen=True)
class Chunk:
    """A chunk of shots as the log keeps it.

    Parameters
    ----------
    id : int
        Position in the log; grows with time.
    time_s : float
        When it was logged, seconds since 1970-01-01 UTC.
    trial, layer, step
        What it was measured for.
    shots : Shots
    state : dict
        State of the layer after the chunk.
    environment : dict or None
        Readings that came with it.
    """

    id: int
    time_s: float
    trial: int
    layer: str
    step: int | str
    shots: Shots
    state: dict[str, Any]
    environment: dict[str, Any] | None


class ShotLog:
    """The log of shots, and the place in it that the training has reached."""

    def __init__(self, folder: Path, database: Database, lock: RunLock | None, clock: Clock) -> None:
        self.folder = folder
        self._db = database
        self._lock = lock
        self._clock = clock
        self._seen = 0  # the last replayable chunk that the state in memory has consumed
        self._logged = 0  # the last replayable chunk there is

    def append(
        self,
        layer: str,
        step: int | str,
        shots: Shots,
        state: dict[str, Any],
        environment: dict[str, Any] | None = None,
        *,
        trial: int = 0,
        replayable: bool = True,
    ) -> None:
        """Log a chunk; it is safe from a kill when this returns. An empty chunk leaves no trace.

        Parameters
        ----------
        layer, step, trial
            What it was measured for.
        state : dict
            State of the layer after the chunk, JSON values.
        environment : dict, optional
            Readings that belong to the chunk, JSON values.
        replayable : bool
            False for shots outside training (a later evaluation): a resume does not expect to meet them again.
        """
        if replayable and self.replaying:
            raise RunError(
                f"{self.folder}: logged shots after chunk {self._seen} have not been replayed; "
                "resume from the last checkpoint and replay them before measuring"
            )
        if not len(shots):
            return
        chunk = Chunk(0, self._clock.now(), trial, layer, step, shots, state, environment)
        with self._transaction() as connection:
            cursor = connection.execute(_INSERT, _to_row(chunk, replayable=replayable))
        if replayable:
            self._seen = self._logged = int(cursor.lastrowid or 0)

    def replay(self, layer: str, x: Array) -> Iterator[tuple[Shots, dict[str, Any]]]:
        """Hand out the chunks logged after the last checkpoint, in order; nothing once the log is exhausted.

        Parameters
        ----------
        layer : str
            Layer that is asked.
        x : ndarray, (shots, n_in)
            Drives asked, as the instrument would be told.

        Yields
        ------
        (Shots, dict)
            The first of these shots, chunk by chunk, with the layer's state after each. They may end before `x` does,
            even in mid-batch: the run was killed there.

        Raises
        ------
        RunError
            If the log was made for another layer or for other drives, to the last bit.
        """
        done = 0
        while done < len(x) and self.replaying:
            sql = _SELECT + "WHERE id > ? AND replayable ORDER BY id LIMIT 1"
            chunk = _from_row(self._db.rows(sql, self._seen)[0])
            if (unlike := _difference(chunk, layer, x[done:])) is not None:
                shot = unlike[0] + (self._one("SELECT SUM(n) FROM chunks WHERE id < ?", chunk.id) or 0)
                raise RunError(
                    f"{self.folder}: at shot {shot} (layer {chunk.layer!r}, step {chunk.step}) the resumed training "
                    f"asks {unlike[1]}; resume with the config, data and labtrain version of the run, "
                    "or start a new run"
                )
            self._seen = chunk.id
            done += len(chunk.shots)
            yield chunk.shots, chunk.state

    @property
    def replaying(self) -> bool:
        """Whether logged shots are left that the state in memory has not used yet."""
        return self._seen < self._logged

    def skip_replay(self) -> None:
        """Count all logged shots as used: what comes next begins after them."""
        self._seen = self._logged

    def seen(self, trial: int) -> Iterator[Chunk]:
        """Replayable chunks of a trial that the state in memory has behind it, oldest first."""
        last = 0
        sql = _SELECT + "WHERE id > ? AND id <= ? AND trial = ? AND replayable ORDER BY id LIMIT 64"
        while rows := self._db.rows(sql, last, self._seen, trial):
            yield from map(_from_row, rows)
            last = rows[-1][0]

    def chunks(self, layer: str | None = None) -> Iterator[Chunk]:
        """All logged chunks, oldest first; of one layer if given."""
        last = 0
        while rows := self._db.rows(
            _SELECT + "WHERE id > ? AND layer = IFNULL(?, layer) ORDER BY id LIMIT 64", last, layer
        ):
            yield from map(_from_row, rows)
            last = rows[-1][0]

    def shots(self, layer: str | None = None) -> Iterator[Shots]:
        """All logged shots, oldest first; of one layer if given."""
        return (chunk.shots for chunk in self.chunks(layer))

    def layers(self) -> dict[str, int]:
        """Layers that shots are logged of, in the order of their first ones, and how many these are."""
        return dict(self._db.rows("SELECT layer, SUM(n) FROM chunks GROUP BY layer ORDER BY MIN(id)"))

    def shots_count(self, layer: str | None = None) -> int:
        """Number of logged shots."""
        return self._one("SELECT SUM(n) FROM chunks WHERE layer = IFNULL(?, layer)", layer) or 0

    def shots_by_step(self, trial: int) -> dict[int, int]:
        """Shots logged for each training step of a trial, in order of steps; the test left out."""
        sql = "SELECT step, SUM(n) FROM chunks WHERE trial = ? AND replayable GROUP BY step"
        found = {step: shots for step, shots in self._db.rows(sql, trial) if isinstance(step, int)}
        return dict(sorted(found.items()))

    def _rewind(self) -> None:
        self._seen = self._one("SELECT MAX(chunk) FROM checkpoints") or 0
        self._logged = self._one("SELECT MAX(id) FROM chunks WHERE replayable") or 0

    def _writing(self) -> None:
        if self._lock is None:
            raise RunError(f"{self.folder}: opened for reading; open it with write=True to change it")

    def _transaction(self, *, durable: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        self._writing()
        return self._db.transaction(durable=durable)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.rows(sql, *values)[0][0]


def _to_row(chunk: Chunk, *, replayable: bool) -> tuple[Any, ...]:
    """Values for `INSERT`; the database gives the id. Arrays become little-endian float64 and int64, row by row."""
    shots = chunk.shots
    return (
        chunk.time_s, chunk.trial, chunk.layer, chunk.step, len(shots), _blob(shots.x, "<f8"), _blob(shots.y, "<f8"),
        None if shots.sigma is None else _blob(shots.sigma, "<f8"), _blob(shots.attempts, "<i8"),
        float(shots.started_s), json.dumps(chunk.state),
        None if chunk.environment is None else json.dumps(chunk.environment), replayable,
    )  # fmt: skip


def _from_row(row: tuple[Any, ...]) -> Chunk:
    """The chunk of a row that `SELECT` gave."""
    number, time_s, trial, layer, step, n, x, y, sigma, attempts, started_s, state, environment = row

    def floats(blob: bytes) -> Array:
        return np.frombuffer(blob, "<f8").reshape(n, -1).astype(np.float64)

    told = np.frombuffer(attempts, "<i8").astype(np.int64)
    shots = Shots(floats(x), floats(y), None if sigma is None else floats(sigma), told, started_s)
    readings = None if environment is None else json.loads(environment)
    return Chunk(number, time_s, trial, layer, step, shots, json.loads(state), readings)


def _difference(chunk: Chunk, layer: str, x: Array) -> tuple[int, str] | None:
    """First shot of the chunk, and in what, that does not answer the first of the drives `x` asked of `layer`.

    Drives must agree to the last bit: else the resumed training is not the one that was interrupted.
    """
    logged = chunk.shots.x
    asked = np.ascontiguousarray(x[: len(logged)], dtype=np.float64)
    if layer != chunk.layer:
        return 0, f"layer {layer!r}, logged was {chunk.layer!r}"
    if asked.shape != logged.shape:
        return 0, f"drives of shape {asked.shape}, logged were {logged.shape}"
    unlike = np.argwhere(asked.view(np.int64) != logged.view(np.int64))
    if not len(unlike):
        return None
    shot, column = (int(i) for i in unlike[0])
    return shot, f"{float(asked[shot, column])!r} on input {column}, logged was {float(logged[shot, column])!r}"


def _blob(values: Any, dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype=dtype).tobytes()

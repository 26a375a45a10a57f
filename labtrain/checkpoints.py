"""What a training leaves in its run beside shots: checkpoints, metrics, finished trials; arrays in files."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from labtrain.errors import RunError
from labtrain.shotlog import ShotLog
from labtrain.storage import disk_errors, pack, read_arrays, unpack, write_arrays

_LOG_METRICS = (
    "INSERT INTO metrics(time_s, trial, step, value) VALUES (?, ?, ?, ?) "
    "ON CONFLICT(trial, step) DO UPDATE SET value = excluded.value"
)


class Logged(NamedTuple):
    """Metrics of one step of one trial, with the time at which they were first logged."""

    time_s: float
    trial: int
    step: int | str
    value: dict[str, Any]


class Checkpoints(ShotLog):
    """The part of a run that keeps where the training is and what it has reached."""

    def checkpoint(self, step: int | str, metrics: dict[str, Any], state: Any, *, trial: int = 0) -> None:
        """Make the state durable, power loss included, together with the metrics and the place in the log.

        Call it between steps. A step that was broken off needs none: its chunks are logged and will be replayed.

        Parameters
        ----------
        metrics : dict
            Logged as by :meth:`log_metrics`; empty for none.
        state : nested dicts and lists of JSON values and arrays
            See :func:`labtrain.storage.pack`.
        """
        self._writing()
        text, arrays = pack(state)
        file = _other("checkpoint", self._db.rows("SELECT file FROM checkpoints ORDER BY id DESC LIMIT 1"))
        with disk_errors(self.folder):
            digest = write_arrays(self.folder / file, arrays)
        with self._transaction(durable=True) as connection:
            connection.execute("DELETE FROM checkpoints WHERE file = ?", (file,))
            connection.execute(
                "INSERT INTO checkpoints(time_s, step, chunk, state, file, sha256) VALUES (?, ?, ?, ?, ?, ?)",
                (self._clock.now(), step, self._seen, text, file, digest),
            )
            if metrics:
                connection.execute(_LOG_METRICS, (self._clock.now(), trial, step, json.dumps(metrics)))

    def last_checkpoint(self) -> tuple[int | str, Any] | None:
        """Step and state of the last checkpoint, or None.

        Raises
        ------
        RunError
            If its array file is missing or damaged; the one before it is never taken silently instead.
        """
        rows = self._db.rows("SELECT step, state, file, sha256 FROM checkpoints ORDER BY id DESC LIMIT 1")
        if not rows:
            return None
        step, text, file, digest = rows[0]
        return step, unpack(text, read_arrays(self.folder / file, digest))

    def log_metrics(self, trial: int, step: int | str, metrics: dict[str, Any]) -> None:
        """Log what a step achieved; a step that is replayed after a resume replaces its own entry."""
        with self._transaction() as connection:
            connection.execute(_LOG_METRICS, (self._clock.now(), trial, step, json.dumps(metrics)))

    def metrics(self) -> list[Logged]:
        """All metrics in the order in which they were first logged."""
        rows = self._db.rows("SELECT time_s, trial, step, value FROM metrics ORDER BY id")
        return [Logged(time_s, trial, step, json.loads(value)) for time_s, trial, step, value in rows]

    def save_trial(self, trial: int, results: dict[str, Any], state: Any) -> None:
        """Keep the results (JSON values) and the final state of a trial, durably; replaces an earlier save.

        Parameters
        ----------
        state : nested dicts and lists of JSON values and arrays
            See :func:`labtrain.storage.pack`.
        """
        self._writing()
        text, arrays = pack(state)
        before = self._db.rows("SELECT file FROM trials WHERE trial = ?", trial)
        file = _other(f"trial-{trial:03d}", before)
        with disk_errors(self.folder):
            digest = write_arrays(self.folder / file, arrays)
        with self._transaction(durable=True) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)",
                (trial, self._clock.now(), json.dumps(results), text, file, digest),
            )
        with disk_errors(self.folder):
            for (superseded,) in before:
                (self.folder / superseded).unlink(missing_ok=True)

    def trials(self) -> dict[int, dict[str, Any]]:
        """Results of the saved trials, by number."""
        rows = self._db.rows("SELECT trial, results FROM trials ORDER BY trial")
        return {trial: json.loads(results) for trial, results in rows}

    def trial_digests(self) -> dict[int, str]:
        """SHA-256 of the final arrays of the saved trials, by number."""
        return dict(self._db.rows("SELECT trial, sha256 FROM trials ORDER BY trial"))

    def trial_state(self, trial: int) -> Any:
        """Final state of a saved trial.

        Raises
        ------
        RunError
            If the trial was not saved, or its file is missing or damaged.
        """
        rows = self._db.rows("SELECT state, file, sha256 FROM trials WHERE trial = ?", trial)
        if not rows:
            saved = ", ".join(str(number) for number in self.trials()) or "none"
            raise RunError(f"{self.folder}: trial {trial} is not in this run; saved trials: {saved}")
        text, file, digest = rows[0]
        return unpack(text, read_arrays(self.folder / file, digest))


def _other(name: str, current: list[tuple[Any, ...]]) -> str:
    """Array file that the database does not name now: a kill before the transaction leaves the named one whole."""
    return f"{name}.B.npz" if current == [(f"{name}.A.npz",)] else f"{name}.A.npz"

"""Measured numbers in a file: what is there is not measured again, so that a benchmark goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track


class Kept:
    """Results of a function by its arguments, kept as JSON.

    Parameters
    ----------
    path : Path
    measure : callable
        Of a module, for other processes to find; its arguments and what it returns are JSON values.
    """

    def __init__(self, path: Path, measure: Callable[..., Any]) -> None:
        self.path, self._measure = path, measure
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def measure(self, wanted: Sequence[tuple[Any, ...]], processes: int, label: str) -> None:
        """Measure what is not there yet."""
        todo = [one for one in wanted if json.dumps(one) not in self.found]
        if not todo:
            return
        with ProcessPoolExecutor(processes) as pool:
            futures = {pool.submit(self._measure, *one): one for one in todo}
            done = as_completed(futures)
            for future in track(done, label, len(todo), console=Console(stderr=True), transient=True):
                self.found[json.dumps(futures[future])] = future.result()
                self.path.parent.mkdir(exist_ok=True)
                self.path.write_text(json.dumps(self.found))

    def of(self, *asked: Any) -> Any:
        """What was measured for these arguments."""
        return self.found[json.dumps(asked)]

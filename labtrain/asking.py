"""Questions to whoever stands at the rig."""

from __future__ import annotations

import sys
from collections.abc import Callable


def at_terminal() -> Callable[[str], bool] | None:
    """Asks on the terminal, yes or no; None where there is none, as in a service or a pipe."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        while True:
            print(f"{question} [y/n] ", end="", file=sys.stderr, flush=True)
            answer = sys.stdin.readline()
            if not answer:  # the terminal was closed
                return False
            if answer.strip().lower() in ("y", "yes", "n", "no"):
                return answer.strip().lower().startswith("y")

    return ask

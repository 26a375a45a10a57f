"""Simulators that others wrote, as processes that our drivers connect to."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from labtrain.clock import RealClock

START_S = 60.0  # on a busy machine


def free_port() -> int:
    """A TCP port that nobody listens on, for a program that must be told one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


@contextmanager
def served(arguments: Sequence[str], ready: Callable[[], bool], folder: Path) -> Iterator[None]:
    """A Python program in `folder`, from when it is ready until the end of the block; its output goes to a file there.

    Parameters
    ----------
    arguments : sequence of str
        Of the interpreter.
    ready : callable
    folder : Path
    """
    clock, log = RealClock(), folder / "output.txt"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=output, stderr=output)
    try:
        until = clock.monotonic() + START_S
        while not ready():
            assert process.poll() is None, log.read_text()
            assert clock.monotonic() < until, log.read_text()
            clock.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()

"""What all transports share: deadlines that hold whatever hangs, and sentences for what fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from labtrain.drivers.backends.sockets import slices
from labtrain.drivers.link import Link
from labtrain.errors import LinkClosed, LinkRefused, LinkTimeout

T = TypeVar("T")


def within(seconds: float, do: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Call `do` in a thread of its own and return what it returns or raise what it raises.

    Connecting, looking up a name, loading or leaving a vendor's library may hang for minutes. What comes too late, or
    after a Ctrl-C, is undone at once.

    Raises
    ------
    TimeoutError
        If it has not ended after so many seconds.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    given_up = taken = False
    lock, ended = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            result = do()
        except BaseException as error:
            errors.append(error)
        else:
            with lock:
                late = given_up
                results.append(result)
            if late:
                with suppress(Exception):  # nobody is left to hear of it
                    undo(result)
        ended.set()

    threading.Thread(target=work, name="labtrain link", daemon=True).start()
    try:
        if not any(ended.wait(piece) for piece in slices(seconds)):
            raise TimeoutError(f"not done within {seconds:g} s")
        if errors:
            raise errors[0]
        taken = True
        return results[0]
    finally:
        if not taken:
            with lock:
                given_up, too_late = True, list(results)
            for result in too_late:
                undo(result)


def network_refusal(link: Link, host: str, port: int | None, error: BaseException) -> LinkRefused | None:
    """The sentence for an error met on the way to a host, or None if the network is not to blame."""
    if isinstance(error, ConnectionRefusedError):
        at = f"a connection to port {port}" if port is not None else "the connection"
        return LinkRefused(
            f"{link.name}: {host} refuses {at}; switch the instrument's server on, or correct {link.where}"
        )
    if isinstance(error, socket.gaierror | UnicodeError):  # UnicodeError: a label that no name can have
        return LinkRefused(f"{link.name}: no host {host} is known; correct {link.where}, or use the IP address")
    if isinstance(error, TimeoutError):
        return LinkRefused(
            f"{link.name}: no answer from {host} within {link.open_timeout_s:g} s; check that the instrument is on "
            f"and in this network, and {link.where}"
        )
    if isinstance(error, OSError):
        return LinkRefused(
            f"{link.name}: {host} cannot be reached ({first_line(error)}); check the network and {link.where}"
        )
    return None


def broken(link: Link, error: BaseException) -> LinkClosed:
    """The sentence for an error met on an open connection, EOFError for its end."""
    if isinstance(error, EOFError):
        return LinkClosed(f"{link.name}: the instrument closed the connection; check whether it still runs")
    return LinkClosed(f"{link.name}: the connection broke ({first_line(error)}); check power and cable")


def stuck(link: Link, size: int) -> LinkTimeout:
    """The sentence for bytes that the other end does not take."""
    return LinkTimeout(
        f"{link.name}: {size} bytes could not be sent within {link.timeout_s:g} s, they are not taken; check whether "
        "it still runs"
    )


def first_line(error: BaseException) -> str:
    """What an error has to say in one line, the system's own words first."""
    text = getattr(error, "strerror", None) or getattr(error, "description", None) or str(error)
    return (text.strip() or type(error).__name__).splitlines()[0].rstrip(".:")


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of errors."""
    while behind := error.__cause__ or error.__context__:
        error = behind
    return error

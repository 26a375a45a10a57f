"""``labtrain talk``: a console on one instrument, over the same Link as the drivers'."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from labtrain.clock import RealClock
from labtrain.drivers.address import make_link, parse_address
from labtrain.drivers.link import Link
from labtrain.drivers.trace import Trace
from labtrain.errors import InputError, InstrumentError, LinkClosed, LinkError, LinkTimeout
from labtrain.riglock import InstrumentLock

QUIET_S = 0.1  # silence after an order that needs no answer, until which one may come
MORE_S = 0.03  # silence after a line of an answer, until which further ones may come
LONGEST = 2000  # characters of an answer that are shown to a person

HELP = r"""Type what the instrument understands. A line with a question mark is a question, and its answer is waited
for; after any other line, what comes within {quiet:g} s is shown. Each line is sent with {end} at its end.

  (nothing)     show what has come meanwhile
  hex 0D 32     send these bytes as they are, show what comes as bytes
  save FILE     write the last answer to a file, all of its bytes (blocks: their contents)
  clear         drop whatever is under way (device clear, where there is such a thing)
  reopen        hang up and connect again
  \text         send a line that would be one of these words: \help
  help          show this
  quit, exit    leave; so does Ctrl-D. Ctrl-C breaks off waiting"""

_HEADER = re.compile(rb"#([1-9])(\d+)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBERS = {"<f8": "64 bit, little-endian", ">f8": "64 bit, big-endian", "<f4": "32 bit, little-endian",
            ">f4": "32 bit, big-endian"}  # fmt: skip


class Console:
    """Takes lines and shows what comes of them.

    Parameters
    ----------
    link : Link
        Open.
    end : bytes
        What ends a line, in both directions.
    show, tell : callable
        Take a line to print: answers, and remarks on them.
    patient : bool
        For a person: long answers are cut, and the way on is told.
    """

    def __init__(
        self, link: Link, end: bytes, show: Callable[[str], None], tell: Callable[[str], None], patient: bool
    ) -> None:
        self.link, self.end, self.show, self.tell, self.patient = link, end, show, tell, patient
        self.questions = self.unanswered = 0
        self._last = b""

    def take(self, line: str) -> bool:
        """Do what a line says; False if it says to leave.

        Raises
        ------
        InputError
            If it cannot be sent.
        LinkError
            If the link is of no more use; timeouts are told instead.
        """
        word, _, rest = line.strip().partition(" ")
        if word in ("quit", "exit") and not rest:
            return False
        if word == "help" and not rest:
            self.tell(HELP.format(quiet=QUIET_S, end=escaped(self.end)))
        elif word == "clear" and not rest:
            self.link.resynchronise()
        elif word == "reopen" and not rest:
            self.link.close()
            self.link.open()
        elif word == "save" and rest:
            self._save(Path(rest.strip()))
        elif word == "hex" and rest:
            self._send_bytes(rest)
        else:
            self._send_line(line.strip().removeprefix("\\"))
        return True

    def _send_line(self, line: str) -> None:
        self._show_arrived()
        if not line:
            return
        try:
            data = line.encode("ascii") + self.end
        except UnicodeEncodeError as error:
            raise InputError(
                f"{line[error.start]!r} cannot be sent, instruments read ASCII; send bytes with hex"
            ) from None
        if "?" not in line:
            with self._answer(line):
                self.link.write(data)
                self._last = self.link.drain(QUIET_S)
            self._show_text(self._last)
            return
        self.questions += 1
        with self._answer(line):
            self.link.write(data)
            answer = self.link.read_until(self.end)
            # Some controllers answer in lines that begin as a block does; their questions begin with the mark.
            header = None if line.startswith("?") else _HEADER.match(answer)
            if header and len(header[2]) >= int(header[1]):
                self._show_block(answer, 2 + int(header[1]), int(header[2][: int(header[1])]))
            else:
                self._last = answer + self.link.drain(MORE_S)
                self._show_text(self._last)

    def _show_block(self, begun: bytes, start: int, size: int) -> None:
        missing = start + size + len(self.end) - len(begun)
        try:
            answer = begun + self.link.read_exactly(max(0, missing))
        except LinkTimeout:
            self._show_text(begun)  # it may have been a line after all
            raise
        rest = answer[start + size :]
        if not rest.endswith(self.end):
            rest += self.link.read_until(self.end)
        self._last = answer[start : start + size]
        for told in described(self._last):
            self.show(told)
        if rest != self.end:
            self._show_text(rest)

    def _send_bytes(self, text: str) -> None:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            raise InputError(f"hex takes bytes of two digits each, as in hex 0D 32; got {text!r}") from None
        self._show_arrived()
        with self._answer(f"hex {text}"):
            self.link.write(data)
            self._last = self.link.drain(QUIET_S)
        if self._last:
            self.show(self._last.hex(" "))

    def _save(self, path: Path) -> None:
        try:
            path.write_bytes(self._last)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        self.tell(f"{len(self._last)} bytes written to {path}")

    def _show_arrived(self) -> None:
        """What came after its time is shown as such, and never as the answer to what is sent next."""
        if arrived := self.link.drain(0.0):
            self.tell("came unasked:")
            self._show_text(arrived)

    @contextmanager
    def _answer(self, line: str) -> Iterator[None]:
        """Tell a timeout; the link brings itself back in step before the next line."""
        try:
            with self.link.exchange():
                yield
        except LinkTimeout as error:
            self.unanswered += 1
            self.tell(f"{line}: {str(error).removeprefix(f'{self.link.name}: ')}")

    def _show_text(self, data: bytes) -> None:
        text = data.decode("ascii", "backslashreplace").removesuffix(self.end.decode("latin-1"))
        if not data:
            return
        for line in text.split("\n"):
            line = _UNPRINTABLE.sub(lambda found: f"\\x{ord(found.group()):02x}", line.removesuffix("\r"))
            cut = self.patient and len(line) > LONGEST
            self.show(f"{line[:LONGEST]}... ({len(line)} characters; save FILE keeps them)" if cut else line)


def described(data: bytes) -> list[str]:
    """A binary block in two lines: its size, and its first values as the kind of number they look most like.

    An instrument does not say how it writes numbers. Read in a wrong way they are zero half of the time, or far from
    one, or scatter over many decades.
    """
    told = [f"block of {len(data)} bytes"]
    likely: tuple[float, str] | None = None
    for dtype, name in _NUMBERS.items():
        if not data or len(data) % np.dtype(dtype).itemsize:
            continue
        values = np.frombuffer(data, dtype)
        with np.errstate(all="ignore"):
            sizes = np.abs(values[values != 0].astype(float))
            if not np.all((sizes > 1e-30) & (sizes < 1e30)):  # NaN is neither
                continue
        decades = np.log10(sizes) if len(sizes) else np.zeros(1)
        strangeness = float(np.abs(decades).mean() + 2 * decades.std() + 20 * np.mean(values == 0))
        first = " ".join(f"{value:.6g}" for value in values[:4])
        line = f"  looks like {len(values)} numbers of {name}: {first}{' ...' if len(values) > 4 else ''}"
        if likely is None or strangeness < likely[0]:
            likely = strangeness, line
    if likely is not None:
        told.append(likely[1])
    elif data:
        told.append(f"  bytes: {data[:16].hex(' ')}{' ...' if len(data) > 16 else ''}")
    return told


def escaped(end: bytes) -> str:
    """Bytes as one types them: ``\\r\\n``."""
    return repr(end)[2:-1]


def parse_end(text: str) -> bytes:
    """What ends a line, as typed in a shell: ``\\n``, ``\\r\\n``.

    Raises
    ------
    InputError
        If it is empty or no escape.
    """
    try:
        end = text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    except UnicodeError:
        end = b""
    if not end:
        raise InputError(f"--end is {text!r}; give the characters that end a line, as in '\\n' or '\\r\\n'")
    return end


def talk(
    address: str,
    *,
    visa: str = "@py",
    baud: int = 115_200,
    end: str = r"\n",
    timeout_s: float = 5.0,
    trace_io: Path | None = None,
) -> None:
    """Talk until the input ends: with a person at a terminal, or with lines from a file or a pipe.

    Parameters
    ----------
    address, visa, baud, timeout_s
        As of :func:`labtrain.drivers.address.make_link`.
    end : str
        What ends a line, as typed in a shell.
    trace_io : path, optional
        File for every byte.

    Raises
    ------
    InputError
        If the address has an unknown form; from a pipe also if a line cannot be sent.
    LinkRefused
    InstrumentError
        If another process has the instrument; from a pipe also if the link is of no more use, or in the end if a
        question had no answer.
    """
    clock, line_end = RealClock(), parse_end(end)
    with ExitStack() as stack:
        trace = None if trace_io is None else stack.enter_context(Trace(trace_io, clock))
        link = make_link(
            "talk", address, clock, visa=visa, baud=baud, timeout_s=timeout_s, trace=trace, where="the address"
        )
        canonical = parse_address(address, "the address").canonical
        stack.enter_context(InstrumentLock("talk", address, clock, canonical=canonical))
        stack.enter_context(link)
        converse(link, line_end)


def converse(link: Link, end: bytes) -> None:
    """Take lines from the standard input until it ends; `link` is open."""
    person = sys.stdin.isatty()
    console = Console(link, end, print, lambda text: print(text, file=sys.stderr, flush=True), patient=person)
    if person:
        _with_person(console)
        return
    for line in sys.stdin:
        if not console.take(line.rstrip("\r\n")):
            break
        sys.stdout.flush()
    if console.unanswered:
        raise InstrumentError(f"{link.name}: {console.unanswered} of {console.questions} questions had no answer")


def _with_person(console: Console) -> None:
    console.tell(f"talking to {console.link.address}; help lists what there is, Ctrl-D leaves")
    with _history(Path.home() / ".labtrain_talk"):
        while True:
            try:
                line = input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:  # clears the line, as in a shell
                print()
                continue
            try:
                if not console.take(line):
                    return
            except KeyboardInterrupt:
                console.tell("broken off")
            except LinkClosed as error:
                console.tell(f"{error}; reopen connects again")
            except (LinkError, InputError) as error:
                console.tell(str(error))


@contextmanager
def _history(path: Path) -> Iterator[None]:
    """Lines of earlier talks under the arrow keys, where there is a readline; consoles of Windows have their own."""
    try:
        import readline
    except ImportError:
        yield
        return
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with suppress(OSError):
            readline.write_history_file(path)

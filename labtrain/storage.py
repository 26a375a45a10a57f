"""Files that a kill cannot tear: nested state as JSON and arrays, checked by hash; what the disk reports, in words."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import RunError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_MARK = "__array__"


def pack(state: Any) -> tuple[str, dict[str, NDArray[Any]]]:
    """Split nested state into JSON text and the arrays it refers to; :func:`unpack` joins them exactly.

    Dicts with string keys, lists, strings, bools, None, floats (also nan and inf), integers of any size and numpy
    arrays without objects. Tuples come back as lists, numpy scalars as Python numbers.

    Raises
    ------
    TypeError
        For anything else.
    """
    arrays: dict[str, NDArray[Any]] = {}

    def split(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise TypeError("arrays of objects cannot be kept")
            name = f"a{len(arrays)}"
            arrays[name] = value
            return {_MARK: name}
        if isinstance(value, np.bool_ | np.integer | np.floating):
            return value.item()
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or key == _MARK:
                    raise TypeError(f"key {key!r} cannot be kept: keys are strings other than {_MARK!r}")
            return {key: split(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [split(item) for item in value]
        return value

    return json.dumps(split(state)), arrays


def unpack(text: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Join what :func:`pack` split."""

    def join(item: dict[str, Any]) -> Any:
        return arrays[item[_MARK]] if _MARK in item else item

    return json.loads(text, object_hook=join)


def write_bytes(path: Path, data: bytes | memoryview) -> str:
    """Put `data` on disk under `path`, whole or not at all; return its SHA-256.

    Whoever reads `path` sees the old content or the new one, after a kill and after a power loss alike.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name lives in the folder; Windows cannot and need not sync that
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return hashlib.sha256(data).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write an .npz file, whole or not at all; return its SHA-256."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with buffer.getbuffer() as data:
        return write_bytes(path, data)


def read_arrays(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Read an .npz file that must still be the one whose SHA-256 was recorded.

    Raises
    ------
    RunError
        If the file is missing or has changed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(
            f"{path}: missing, though run.db names it; restore it from a backup or start a new run"
        ) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RunError(
            f"{path}: damaged, its SHA-256 is not that in run.db; restore it from a backup or start a new run"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # SQLite removes its side files when it likes
            total += path.stat().st_size if path.is_file() else 0
    return total


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk or SQLite reports into one sentence about this run."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(_full(folder)) from error
        raise RunError(
            f"{folder}: cannot be used ({error.strerror}: {error.filename}); check path and rights"
        ) from error
    except sqlite3.DatabaseError as error:
        # Extended codes carry the primary code in the low byte; errors of the Python module itself have none.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise RunError(_full(folder)) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise RunError(
                f"{folder}: run.db is corrupt ({error}); restore the folder from a backup or start a new run"
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise RunError(
                f"{folder}: run.db stayed locked; close other programs that have it open, then retry"
            ) from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
            raise RunError(f"{folder}: run.db cannot be used ({error}); check the disk, path and rights") from error
        raise


def _full(folder: Path) -> str:
    return (
        f"{folder}: the disk is full; nothing is lost up to the last chunk: free space, then `labtrain resume {folder}`"
    )

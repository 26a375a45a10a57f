"""Where a result comes from: versions, git commit, machine, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from copy import deepcopy
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import labtrain

PACKAGES = ("numpy", "scipy", "pydantic", "pyyaml")


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that `folder` belongs to, with ``-dirty`` for uncommitted changes; None without one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if not git("ls-files", "."):  # an environment that merely lies in somebody's checkout
            return None
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*") or None
    except (OSError, subprocess.SubprocessError):
        return None


def collect() -> dict[str, Any]:
    """Versions, commit, machine and command line; JSON values."""
    return {**deepcopy(_of_this_process()), "command": list(sys.argv)}


@cache
def _of_this_process() -> dict[str, Any]:
    """Asked once: what changes on disk later is not what runs here."""
    return {
        "labtrain": labtrain.__version__,
        "git_commit": git_commit(Path(labtrain.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.node(),
    }

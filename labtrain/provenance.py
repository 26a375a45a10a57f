"""Where a result comes from: versions, git commit, machine, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import labtrain

PACKAGES = ("numpy", "scipy", "pydantic", "pyyaml")


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that `folder` lies in, with ``-dirty`` for uncommitted changes; None outside one."""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def collect() -> dict[str, Any]:
    """Versions, commit, machine and command line; JSON values."""
    return {
        "labtrain": labtrain.__version__,
        "git_commit": git_commit(Path(labtrain.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.node(),
        "command": sys.argv,
    }

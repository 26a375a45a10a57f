"""The commit that a run names is that of labtrain's own checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from labtrain import provenance
from labtrain.provenance import git_commit


def test_software_is_what_this_process_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    first = provenance.collect()
    monkeypatch.setattr(provenance, "git_commit", lambda _: "what lies there by now, and was not imported")
    monkeypatch.setattr("sys.argv", ["labtrain", "resume"])
    again = provenance.collect()
    assert again == first | {"command": ["labtrain", "resume"]}
    again["packages"]["numpy"] = "0"
    assert provenance.collect()["packages"] == first["packages"]


def test_the_commit_is_that_of_the_checkout_the_folder_belongs_to(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    package = tmp_path / "site-packages" / "labtrain"
    package.mkdir(parents=True)
    assert git_commit(package) is None
    (tmp_path / "mine.py").write_text("1")
    (package / "__init__.py").write_text("1")
    git("init")
    git("add", "mine.py")
    git("commit", "-m", "somebody's project")
    assert git_commit(package) is None  # installed in an environment inside that project
    git("add", ".")
    git("commit", "-m", "a checkout")
    assert re.fullmatch("[0-9a-f]{40}", git_commit(package) or "")
    (package / "__init__.py").write_text("2")
    assert re.fullmatch("[0-9a-f]{40}-dirty", git_commit(package) or "")

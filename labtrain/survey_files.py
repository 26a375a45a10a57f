"""What a survey leaves in a folder: ``survey.yaml``, a configuration with reasons in it, and ``survey.html``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labtrain import config
from labtrain.config import Loaded
from labtrain.errors import InputError
from labtrain.experiment import Experiment
from labtrain.rigs.survey.proposed import Proposal
from labtrain.storage import write_bytes
from labtrain.yaml_lines import dump_yaml

HEADER = "# Written by labtrain survey"
NAMES = ("survey.yaml", "survey.html")


def check_folder(folder: Path) -> None:
    """Refuse before anything is measured what could not be written afterwards."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose a folder with --out DIR")
    for name in NAMES:
        path = folder / name
        if path.exists() and HEADER.strip("# ") not in path.read_text(encoding="utf-8", errors="replace")[:500]:
            raise InputError(f"{path}: exists already, and no survey wrote it; choose another folder with --out DIR")


def write_files(folder: Path, text: str, page: str) -> tuple[Path, Path]:
    """Write both, and return where they are.

    Raises
    ------
    InputError
        If they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(NAMES, (text, page), strict=True):
            write_bytes(folder / name, content.encode())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another place with --out DIR"
        ) from None
    return folder / NAMES[0], folder / NAMES[1]


def proposed_yaml(
    loaded: Loaded[Experiment], proposals: Sequence[Proposal], notes: Sequence[str], left_out: Iterable[str] = ()
) -> str:
    """The configuration with its proposed values, each below a comment with its reason; it loads.

    Parameters
    ----------
    left_out : iterable of str
        Keys of the rig that other ones say now.

    Raises
    ------
    ConfigError
        If it does not, which would be a fault of the survey.
    """
    values: dict[str, Any] = loaded.value.model_dump(mode="json", by_alias=True)
    for key in left_out:
        values["rig"].pop(key, None)
    for proposal in proposals:
        *sections, key = proposal.key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[key] = proposal.value
    reasons, path = {proposal.key: proposal.reason for proposal in proposals}, list[str]()
    lines = [f"{HEADER} {loaded.source.name}; proposed values have their reasons above them."]
    lines += [f"# Note: {note}" for note in notes]
    for line in dump_yaml(values).splitlines():
        key, indent = line.strip().partition(":")[0], len(line) - len(line.lstrip())
        path = [*path[: indent // 2], key]
        if (reason := reasons.get(".".join(path))) is not None:
            lines += [" " * indent + f"# {part}" for part in reason]
        lines.append(line)
    text = "\n".join(lines) + "\n"
    config.loads(text, Experiment, loaded.source)
    return text

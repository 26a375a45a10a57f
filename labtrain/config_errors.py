"""What pydantic objects to, in plain sentences: file, line, key, what was asked, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from labtrain.limits import did_you_mean
from labtrain.yaml_lines import KeyPath, Problem, Tree, shown

_ALLOWED = {
    "bool_type": "true or false",
    "date_from_datetime_parsing": "a date (2026-01-31)",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "model_type": "a mapping",
    "multiple_of": "a multiple of {multiple_of}",
    "path_type": "a path",
    "set_type": "a list",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}


def problems(
    error: ValidationError, tree: Tree, keys: Mapping[int, Set[str]], foreign: Callable[[Any, str], str]
) -> list[Problem]:
    """Translate a validation error of ``tree.data``.

    Parameters
    ----------
    error : ValidationError
    tree : Tree
        What was validated, with origins.
    keys : mapping of int to set of str
        Known keys of each mapping of ``tree.data``, by its ``id``.
    foreign : callable (mapping, key)
        What to say of a key of a mapping that is known elsewhere; empty of one that is not.

    Returns
    -------
    list of Problem
        One a key where possible: the alternatives of a union are joined with "or".
    """
    told: list[tuple[KeyPath, str]] = []
    # Alternatives of a union each object to the same value: one line, joined with "or".
    refused: dict[tuple[KeyPath, str], list[str]] = {}
    hints: dict[tuple[KeyPath, str], str] = {}
    for details in error.errors(include_url=False):
        path, parent = _place(details, tree.data)
        kind, context, value = details["type"], details.get("ctx", {}), details["input"]
        if kind == "too_short" and len(value) >= context["min_length"]:
            continue  # pydantic counts good entries; the bad ones are told themselves
        if kind == "missing":
            known = f", known: {context['known']}" if "known" in context else ""
            told.append((path, f"required {'entry' if isinstance(parent, list) else 'key'} is missing{known}"))
        elif kind == "extra_forbidden":
            choices = sorted(keys.get(id(parent), ()))
            hint = did_you_mean(path[-1], choices) or f", known: {', '.join(choices) or 'none'}"
            told.append((path, foreign(parent, path[-1]) or f"unknown key{hint}"))
        elif kind in ("value_error", "assertion_error"):
            told.append((path, str(context["error"])))
        elif kind in _ALLOWED or "expected" in context:
            found = _found(kind, value)
            if kind in _ALLOWED:
                allowed = _ALLOWED[kind].format_map({name: _number(limit) for name, limit in context.items()})
            else:
                allowed = context["expected"]
                hints[path, found] = did_you_mean(str(value), re.findall(r"'([^']*)'", allowed))
            refused.setdefault((path, found), []).append(allowed)
        else:
            told.append((path, details["msg"]))
    for (path, found), choices in refused.items():
        choice = " or ".join(dict.fromkeys(choices))
        told.append((path, f"{found} is not allowed, must be {choice}{hints.get((path, found), '')}"))
    return [Problem(tree.origin(path), path, text) for path, text in told]


def _place(details: ErrorDetails, data: Any) -> tuple[KeyPath, Any]:
    """Path of an error in the data, without the names pydantic adds for alternatives, and what surrounds it."""
    path: list[str] = []
    parent: Any = None
    node = data
    for i, part in enumerate(details["loc"]):
        if part in (node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()):
            parent, node = node, node[part]
        elif details["type"] == "missing" and i == len(details["loc"]) - 1:
            parent = node
        else:
            continue
        path.append(str(part))
    return tuple(path), parent


def _found(kind: str, value: Any) -> str:
    return f"{shown(value)} of {len(value)}" if kind in ("too_long", "too_short") else shown(value)


def _number(limit: Any) -> Any:
    """A bound as a person writes it: 0 for 0.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() and abs(limit) < 1e15 else limit

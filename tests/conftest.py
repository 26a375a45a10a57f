"""Fixtures for all tests, and the rule that on the build machine nothing may be skipped unnoticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labtrain.threads import blas_threads

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_SKIP = "needs real hardware"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine, threads of the linear algebra that wait for one another cost a factor of ten and more."""
    with blas_threads(1):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the measured data, which are not part of the repository: ``LABTRAIN_DATA``, or ../shared/data."""
    folder = Path(os.environ.get("LABTRAIN_DATA") or ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"measured data are not at {folder}; set LABTRAIN_DATA to the folder with vowels.csv")
    return folder


def _refuse_skip(report: Any) -> None:
    """With ``LABTRAIN_CI=1`` a skip is a failure, unless it waits for an instrument."""
    if os.environ.get("LABTRAIN_CI") != "1" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = told.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, which LABTRAIN_CI=1 does not allow: {reason}"


# Outermost wrappers: pytest's own plugins rewrite the reports of skips and expected failures.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[Any]:
    report = yield
    _refuse_skip(report)
    return report

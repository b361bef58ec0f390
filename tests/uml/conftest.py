"""The tests of this folder run inside user-mode Linux (see `machine`), all in one boot of it: pytest here has
pytest there run them, and reports what that one reports."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.uml.machine import INSIDE, CannotBoot, boot

HERE = Path(__file__).parent
BOOT_SECONDS = 120.0
"""For all tests together; they take a fraction of it."""
_REPORTS = "reports"

Reports = dict[str, list[pytest.TestReport]]
_reports = pytest.StashKey[Reports]()


class _Recorder:
    """Inside: leaves every report in the run's folder."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._file = (folder / _REPORTS).open("a")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()


def pytest_configure(config: pytest.Config) -> None:
    if INSIDE in os.environ:
        config.pluginmanager.register(_Recorder(config, Path(os.environ[INSIDE])))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Outside: in place of running a test, tell what became of it inside."""
    if INSIDE in os.environ or not item.path.is_relative_to(HERE):
        return None
    if _reports not in item.session.stash:
        item.session.stash[_reports] = _run_inside(item.session)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.session.stash[_reports][item.nodeid]:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_inside(session: pytest.Session) -> Reports:
    items = [item for item in session.items if item.path.is_relative_to(HERE)]
    pytest_there = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory(prefix="haha-uml-") as folder:
        try:
            outcome = boot([*pytest_there, *(i.nodeid for i in items)], Path(folder), timeout=BOOT_SECONDS)
        except CannotBoot as reason:
            return {item.nodeid: [_report(item, "skipped", str(reason))] for item in items}
        reports = _read(session.config, Path(folder) / _REPORTS)
    said = f"{outcome.console[-2000:]}\n{outcome.stdout[-4000:]}\n{outcome.stderr[-2000:]}"
    for item in items:
        if not any(report.when == "teardown" for report in reports.get(item.nodeid, ())):
            lost = _report(item, "failed", f"user-mode Linux ended before this test did; it said:\n{said}")
            reports.setdefault(item.nodeid, []).append(lost)
    return reports


def _read(config: pytest.Config, file: Path) -> Reports:
    reports: Reports = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
        reports.setdefault(report.nodeid, []).append(report)
    return reports


def _report(item: pytest.Item, outcome: str, text: str) -> pytest.TestReport:
    told: object = (str(item.path), 0, f"Skipped: {text}") if outcome == "skipped" else text
    return pytest.TestReport(item.nodeid, item.location, {}, outcome, told, "call")  # type: ignore[arg-type]

"""Which tests name which requirement: everything is collected, nothing is run."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict

import pytest

MARKER = "requirement"


class _Collector:
    """A pytest plugin."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            # What is always skipped, or expected to fail, proves nothing.
            if item.get_closest_marker("skip") or item.get_closest_marker("xfail"):
                continue
            for identifier in dict.fromkeys(one for mark in item.iter_markers(MARKER) for one in mark.args):
                self.tests[identifier].append(item.nodeid)


def collect_tests() -> dict[str, list[str]]:
    """Ids of requirements and the tests that name them. Raises RuntimeError when a test file is broken."""
    collector, output = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(output):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider"], plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"the tests cannot be collected:\n{output.getvalue()}")
    return dict(collector.tests)

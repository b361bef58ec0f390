"""A part of Home that is deprecated and ends, on the real thing: status 1, Mobile Prefix Solicitation and
Advertisement, no binding beyond the end; a reload that moves the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from haha_exabgp.cli.main import main
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from tests.lab.home_world import CONFIGS, SECONDS, bind_at, counter, home_lab, show, write_home

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

LIFETIME = 600


def ending_in(valid_for: timedelta) -> Callable[[str], str]:
    """Site 1's partition is valid for so long, and has not been preferred for an hour."""
    now = datetime.now(UTC).replace(microsecond=0)
    valid_until, preferred_until = now + valid_for, now - timedelta(hours=1)
    subnet = (
        f'{{prefix: "2001:db8:1::/48", valid_until: {valid_until.isoformat()},'
        f" preferred_until: {preferred_until.isoformat()}}}"
    )
    return lambda text: text.replace("  lease:", f"  subnets: [{subnet}]\n  lease:")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("prefixes"), "mps", ending_in(timedelta(hours=6)))


@pytest.fixture(scope="module")
def lab(config: Path) -> Iterator[Lab]:
    with home_lab(config) as lab:
        yield lab


@pytest.mark.requirement("M-MPS", "M-CODE-1", "L-1", "L-2")
def test_what_is_deprecated_is_asked_about_and_what_has_an_end_ends_bindings(lab: Lab, config: Path) -> None:
    assert LIFETIME - 5 < bind_at(lab, 1)["expires_in"] <= LIFETIME
    eventually(lambda: counter(lab, "ha1", "solicitation_answered"), SECONDS, "a solicitation answered")
    eventually(lambda: counter(lab, "mr1", "prefixes_valid"), SECONDS, "an advertisement taken")
    config.write_text(ending_in(timedelta(seconds=200))((CONFIGS / "two-sites.yaml").read_text()))
    assert main(["reload", "--run-dir", str(lab.run_dir("ha1"))]) == 0
    (row,) = show(lab, "ha1", "bindings")
    assert row["expires_in"] <= 200
    assert counter(lab, "ha1", "dropped_too_many_solicitations") == 0

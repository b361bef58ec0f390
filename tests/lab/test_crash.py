"""The Home Agent killed at random instants under load: what it acknowledged holds, packets go right.

Hundreds of times: `python -m tests.bench.crash`.
"""

from __future__ import annotations

import random

import pytest

from tests.bench.crash import crash

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.mark.requirement("B-12", "L-7")
def test_no_acknowledged_binding_is_lost_and_no_packet_misrouted(capsys):
    seed = random.SystemRandom().randrange(1 << 32)
    with capsys.disabled():
        print(f"\npython -m tests.bench.crash 12 {seed}")
    wrong, acknowledged = crash(kills=12, count=300, seed=seed)
    assert wrong == []
    assert acknowledged > 1000

"""How much is done for strangers."""

from __future__ import annotations

from random import Random

from haha_exabgp.protocol.rate_limit import RateLimit


def test_a_burst_then_the_rate():
    limit = RateLimit(rate=10, burst=5)
    assert [limit.allows(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limit.allows(100.125), limit.allows(100.125)] == [True, False]


def test_over_a_long_time_no_more_than_the_rate_and_the_burst():
    limit, random = RateLimit(rate=20, burst=40), Random(1)
    now = done = 0.0
    for _ in range(20_000):
        now += random.expovariate(500)
        done += limit.allows(now)
    assert 20 * now * 0.95 < done <= 20 * now + 40

"""NTP timestamps against known instants."""

from __future__ import annotations

import pytest

from haha_exabgp.wire import timestamp


@pytest.mark.parametrize(
    ("unix", "ntp"),
    [
        (0, 0x83AA7E8000000000),
        (0.5, 0x83AA7E8080000000),
        (0.75, 0x83AA7E80C0000000),
        # The last second of the first NTP era, and the first two of the next: 7 February 2036.
        (2_085_978_495, 0xFFFFFFFF00000000),
        (2_085_978_496, 0x0000000000000000),
        (2_085_978_497, 0x0000000100000000),
    ],
)
def test_known_instants_both_ways(unix: float, ntp: int) -> None:
    assert timestamp.from_unix(unix) == ntp
    assert timestamp.to_unix(ntp) == unix


def test_every_microsecond_has_a_timestamp_of_its_own() -> None:
    stamps = [timestamp.from_unix(1_795_000_000.999 + step / 1e6) for step in range(3000)]
    assert stamps == sorted(set(stamps))


def test_order_survives_the_change_of_era() -> None:
    before = timestamp.from_unix(2_085_978_495)
    after = timestamp.from_unix(2_085_978_496)
    assert after < before
    assert timestamp.in_order(after) > timestamp.in_order(before)


def test_float_seconds_are_good_to_a_microsecond() -> None:
    seconds = 1_795_000_000.123456
    assert abs(timestamp.to_unix(timestamp.from_unix(seconds)) - seconds) < 1e-6


def test_a_refused_timestamp_is_answered_with_our_seconds_and_its_fraction() -> None:
    assert timestamp.correction(0x1111111122222222, 0xAAAAAAAABBBBBBBB) == 0xAAAAAAAA22222222

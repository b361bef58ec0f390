"""What `haha show mobile-router` says in each situation, and what `haha mr` is told."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stdout

import pytest

from haha_exabgp.agent.control import ControlError
from haha_exabgp.agent.mobile_router_view import check_name, view
from haha_exabgp.cli import mr
from haha_exabgp.cli.show import print_table
from haha_exabgp.protocol.egress import Attachment
from haha_exabgp.protocol.home import SecurityAssociation
from haha_exabgp.wire.address import Address
from tests.unit.mobile_router_bench import CONFIG, HA2, HERE, WALL, Bench

BY_LTE = Attachment("lte0", HERE, Address.parse("fe80::1"))


def shown(bench: Bench, attachment: Attachment | None) -> tuple[dict[str, object], str]:
    row = view(bench.mobile_router, CONFIG, attachment, bench.now)
    text = io.StringIO()
    with redirect_stdout(text):
        print_table([row])
    return row, text.getvalue()


def test_detached_it_says_so_and_little_else() -> None:
    row, text = shown(Bench(), None)
    assert row["state"] == "detached" and (row["egress"], row["care_of_address"], row["since"]) == (
        "",
        "",
        "",
    )
    assert "detached" in text


def test_bound_it_says_by_which_interface_to_whom_since_when_and_until_when() -> None:
    bench = Bench()
    bench.bind()
    bench.pass_time(100)
    row, text = shown(bench, BY_LTE)
    assert (row["state"], row["egress"], row["router"]) == ("bound", "lte0", "fe80::1")
    assert (row["home_agent"], row["care_of_address"]) == ("3fff:101::a", str(HERE))
    assert (row["since"], row["refresh_in"], row["expires_in"]) == (WALL, 200.0, 500.0)
    assert "lte0" in text and "3fff:101::a" in text


def test_since_stays_when_the_binding_is_refreshed_and_not_when_it_is_another() -> None:
    bench = Bench()
    bench.bind()
    bench.answer(bench.next_update())
    assert bench.mobile_router.registration is not None
    assert bench.mobile_router.registration.since == WALL
    bench.pass_time(306)
    while bench.updates[-1].to != HA2:
        bench.next_update()
    bench.answer(bench.updates[-1])
    assert bench.mobile_router.registration.since == bench.now.wall


def test_the_last_refusal_says_what_it_means_by_whom_and_when() -> None:
    bench = Bench()
    bench.attach()
    bench.answer(bench.updates[-1], 142)
    bench.pass_time(7)
    row, _ = shown(bench, BY_LTE)
    assert row["last_refusal"] == "142, not authorized for prefix, by 3fff:101::a, 7 s ago"


def test_a_refusal_with_another_key_is_told_as_not_authentic() -> None:
    """As a Home Agent's is, that has another key for this mobile router."""
    bench = Bench()
    bench.attach()
    update = bench.updates[-1]
    bench.answer(update, 146, key=SecurityAssociation(CONFIG.associations[0].spi, bytes(16)))
    bench.pass_time(2)
    row, _ = shown(bench, BY_LTE)
    assert row["last_refusal"] == "not authentic: 146, authentication failed, by 3fff:101::a, 2 s ago"
    assert row["state"] == "searching"


def test_its_own_daemon_is_asked_by_name_or_home_address() -> None:
    for own in (None, CONFIG.name, str(CONFIG.home_address)):
        check_name(CONFIG, own)
    with pytest.raises(
        ControlError, match=f"this is the daemon of {CONFIG.name}, .* of mr9 ask a Home Agent"
    ):
        check_name(CONFIG, "mr9")


def test_uplinks_are_named_in_order_of_preference() -> None:
    parser = argparse.ArgumentParser()
    mr.register(parser.add_subparsers())
    words = ["mr", "--config=c", "--mobile-router=m", "--run-dir=d", "--lan=lan0"]
    both = ["--interface=wan0", "--interface=lte0"]
    assert parser.parse_args([*words, *both]).interface == ["wan0", "lte0"]
    with pytest.raises(SystemExit):
        parser.parse_args(words)

"""Which egress interface a mobile router uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haha_exabgp.protocol.egress import DOUBT, GRACE, STABLE, Attachment, EgressChoice, Uplink
from haha_exabgp.wire.address import Address

HOA = Address.parse("2001:db8:1:1::10")
R1, R2 = Address.parse("fe80::1"), Address.parse("fe80::2")
WAN, LTE = (Address.parse(text) for text in ("3fff:f01::a", "3fff:f02::a"))
NEW = Address.parse("3fff:f03::a")
ON_WAN, ON_LTE = Uplink((WAN,), (R1,)), Uplink((LTE,), (R2,))
BY_WAN, BY_LTE = Attachment("wan0", WAN, R1), Attachment("lte0", LTE, R2)


@pytest.fixture
def choice() -> EgressChoice:
    """wan0 is preferred to lte0; both are usable, wan0 is used."""
    made = EgressChoice(("wan0", "lte0"), HOA)
    made.update("wan0", ON_WAN, 0.0)
    assert made.choose(0.0) == BY_WAN
    made.update("lte0", ON_LTE, 0.0)
    assert made.choose(0.0) == BY_WAN
    return made


def test_there_is_nothing_to_use_without_address_or_router():
    choice = EgressChoice(("wan0",), HOA)
    assert choice.choose(0.0) is None and choice.next_timer(0.0) is None
    choice.update("wan0", Uplink((WAN,), ()), 1.0)
    assert choice.choose(1.0) is None
    choice.update("wan0", Uplink((), (R1,)), 2.0)
    assert choice.choose(2.0) is None
    choice.update("wan0", ON_WAN, 3.0)
    assert choice.choose(3.0) == BY_WAN


def test_what_comes_first_is_used_at_once_whatever_its_preference():
    choice = EgressChoice(("wan0", "lte0"), HOA)
    choice.update("lte0", ON_LTE, 0.0)
    assert choice.choose(0.0) == BY_LTE


@pytest.mark.parametrize("loss", [None, Uplink((WAN,), ()), Uplink((), (R1,)), replace(ON_WAN, failed={R1})])
def test_when_the_one_in_use_fails_the_next_is_used_at_once(choice, loss):
    choice.update("wan0", loss, 10.0)
    assert choice.choose(10.0) == BY_LTE


def test_the_better_one_is_used_again_when_it_has_been_good_for_some_seconds(choice):
    choice.update("wan0", None, 10.0)
    choice.choose(10.0)
    choice.update("wan0", ON_WAN, 20.0)
    assert choice.choose(20.0) == BY_LTE
    assert choice.next_timer(20.0) == 20.0 + STABLE
    assert choice.choose(20.0 + STABLE - 0.01) == BY_LTE
    assert choice.choose(20.0 + STABLE) == BY_WAN


def test_a_better_one_that_flaps_is_not_used(choice):
    choice.update("wan0", None, 10.0)
    choice.choose(10.0)
    for step in range(1, 20):
        choice.update("wan0", ON_WAN if step % 2 else None, 10.0 + step)
        assert choice.choose(10.0 + step) == BY_LTE


def test_news_of_the_other_interface_changes_nothing(choice):
    choice.update("lte0", None, 10.0)
    assert choice.choose(10.0) == BY_WAN
    choice.update("lte0", Uplink((NEW,), (R1,)), 11.0)
    assert choice.choose(20.0) == BY_WAN


def test_with_nothing_else_a_short_loss_is_no_loss():
    choice = EgressChoice(("wan0",), HOA)
    choice.update("wan0", ON_WAN, 0.0)
    choice.choose(0.0)
    choice.update("wan0", None, 10.0)
    assert choice.choose(10.0) == BY_WAN
    assert choice.next_timer(10.0) == 10.0 + GRACE
    choice.update("wan0", ON_WAN, 10.2)
    assert choice.choose(10.0 + GRACE) == BY_WAN
    choice.update("wan0", None, 20.0)
    choice.choose(20.0)
    assert choice.choose(20.0 + GRACE) is None
    assert choice.next_timer(20.0 + GRACE) is None


def test_where_nothing_else_is_a_router_that_does_not_answer_is_better_than_none():
    choice = EgressChoice(("wan0",), HOA)
    choice.update("wan0", ON_WAN, 0.0)
    choice.choose(0.0)
    choice.update("wan0", replace(ON_WAN, failed=frozenset({R1})), 10.0)
    assert choice.choose(10.0) == BY_WAN


def test_a_router_that_was_silent_is_believed_when_it_has_been_heard(choice):
    choice.update("wan0", replace(ON_WAN, failed=frozenset({R1})), 10.0)
    assert choice.choose(10.0) == BY_LTE and choice.is_silent("wan0")
    choice.update("wan0", ON_WAN, 20.0)
    assert choice.choose(90.0) == BY_LTE, "forgotten by the kernel is not heard"
    choice.update("wan0", replace(ON_WAN, answering=frozenset({R1})), 100.0)
    assert choice.choose(100.0) == BY_LTE
    assert choice.choose(100.0 + STABLE) == BY_WAN and not choice.is_silent("wan0")


def test_where_no_home_agent_answers_the_next_interface_is_tried_for_a_while(choice):
    choice.doubt(LTE, 10.0)
    assert choice.choose(10.0) == BY_WAN, "what is not in use is not in doubt"
    choice.doubt(WAN, 10.0)
    assert choice.choose(10.0) == BY_LTE
    assert choice.choose(9.9 + DOUBT) == BY_LTE
    assert choice.choose(10.0 + DOUBT + STABLE) == BY_WAN


def test_when_both_are_in_doubt_the_preferred_one_is_used(choice):
    choice.doubt(WAN, 10.0)
    assert choice.choose(10.0) == BY_LTE
    choice.doubt(LTE, 20.0)
    assert choice.choose(20.0) == BY_WAN


def test_a_new_router_besides_the_old_one_changes_nothing(choice):
    choice.update("wan0", Uplink((NEW, WAN), (R2, R1)), 10.0)
    assert choice.choose(10.0) == BY_WAN


@pytest.mark.parametrize("silent", [False, True])
def test_with_another_router_and_its_address_both_are_taken(choice, silent):
    """RFC 6275 s.11.5.1: the old address is still there, and so may be the old router's default route."""
    routers, failed = ((R1, R2), frozenset({R1})) if silent else ((R2,), frozenset())
    choice.update("wan0", Uplink((NEW, WAN), routers, failed=failed), 10.0)
    assert choice.choose(10.0) == Attachment("wan0", NEW, R2)


def test_with_another_router_and_the_same_address_the_address_stays(choice):
    choice.update("wan0", Uplink((WAN,), (R2,)), 10.0)
    assert choice.choose(10.0) == Attachment("wan0", WAN, R2)


def test_a_deprecated_address_is_replaced(choice):
    choice.update("wan0", Uplink((NEW,), (R1,)), 10.0)
    assert choice.choose(10.0) == Attachment("wan0", NEW, R1)


def test_a_second_address_changes_nothing(choice):
    choice.update("wan0", Uplink((NEW, WAN), (R1,)), 10.0)
    assert choice.choose(10.0) == BY_WAN


def test_the_home_address_comes_before_all_others(choice):
    choice.update("wan0", Uplink((NEW, WAN, HOA), (R1,)), 10.0)
    assert choice.choose(10.0) == Attachment("wan0", HOA, R1)

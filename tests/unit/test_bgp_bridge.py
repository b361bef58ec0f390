"""The whole behaviour of the hook, told as conversations with ExaBGP and the agent."""

from __future__ import annotations

import json

import pytest

from haha_exabgp.bgp.bridge import Bridge
from haha_exabgp.bgp.learned import Fill
from haha_exabgp.bgp.message_lines import decode_hook_message, encode_change, encode_wanted
from haha_exabgp.bgp.messages import Acknowledged, EndOfRib, Hello, HookMessage, Learned, Limit, Session
from haha_exabgp.protocol.routes import Announcement, Audience, LearnedRoute, RouteKind
from haha_exabgp.wire.address import Address, Prefix

ASN = 64500
HA1, HA2 = Address.parse("2001:db8:ffff::1"), Address.parse("2001:db8:ffff::2")
ROUTER = Address.parse("3fff:101::1")
GROUPS = {Audience.MESH: (HA2,), Audience.SITE: (ROUTER,)}
SITE = Announcement(Audience.MESH, RouteKind.SITE, Prefix.parse("2001:db8:1::/48"), HA1)
LEAK = Announcement(Audience.MESH, RouteKind.LEAK, Prefix.parse("2001:db8:2:100::/64"), HA1, 7)
SITE_TEXT = (
    "next-hop 2001:db8:ffff::1 local-preference 100 large-community [ 64500:1:2 ] nlri 2001:db8:1::/48"
)
LEAK_TEXT = (
    "next-hop 2001:db8:ffff::1 local-preference 7 large-community [ 64500:1:5 64500:2:7 ] "
    "nlri 2001:db8:2:100::/64"
)
TO_HA2 = f"neighbor {HA2}"
REFRESH = f"{TO_HA2} announce route-refresh ipv6 unicast"
SEND_END_OF_RIB = f"{TO_HA2} announce eor ipv6 unicast"
SHOWN_SITE = (
    f"neighbor {HA2} local-ip {HA1} family-allowed in-open ipv6 unicast 2001:db8:1::/48 "
    "next-hop 2001:db8:ffff::1 local-preference 100 large-community 64500:1:2"
)


class Conversation:
    """Says lines to a bridge and gives what it says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.bridge = Bridge(self.now, lease=180)

    def exabgp(self, *lines: str) -> list[str]:
        """ExaBGP says these lines; the commands that come of it."""
        self.bridge.receive_from_exabgp("".join(f"{line}\n" for line in lines).encode(), self.now)
        return self.commands()

    def commands(self) -> list[str]:
        return self.bridge.take_commands().decode("ascii").splitlines()

    def start(self, up: bool, *shown: str) -> list[str]:
        """The handshake, and the answers to what is asked then; HA2 is the only neighbor."""
        assert self.commands() == ["reset", "version"]
        assert self.exabgp("exabgp 5.0.15", "done") == ["show neighbor json", "show adj-rib out extensive"]
        neighbors = [{"peer": {"address": str(HA2)}, "fsm": "ESTABLISHED" if up else "IDLE"}]
        return self.exabgp(json.dumps(neighbors), "done", *shown, "done")

    def agent(self, *announcements: Announcement, lease: float = 180, limit: int | None = None) -> list[str]:
        """An agent connects and states its set; the commands that come of it."""
        self.bridge.agent_connected(self.now)
        for line in encode_wanted(ASN, lease, GROUPS, announcements, limit):
            self.bridge.receive_from_agent(line, self.now)
        return self.commands()

    def told(self) -> list[HookMessage]:
        """What the agent was told."""
        return [decode_hook_message(line, ASN) for line in self.bridge.take_messages()]

    def wait_until(self, now: float) -> list[str]:
        """Time passes as in an event loop; the commands that come of it."""
        for _ in range(100):
            due = self.bridge.next_timer()
            if due is None or due > now:
                break
            self.now = max(self.now, due)
            self.bridge.handle_timer(self.now)
        else:
            pytest.fail("its timer is always due")
        self.now = now
        return self.commands()


def state(up: bool, reason: str = "") -> str:
    neighbor = {"address": {"peer": str(HA2)}, "state": "up" if up else "down", "reason": reason}
    return json.dumps({"type": "state", "neighbor": neighbor})


def received(**message: object) -> str:
    neighbor = {"address": {"peer": str(HA2)}, "direction": "receive", **message}
    return json.dumps({"type": "refresh" if "route-refresh" in message else "update", "neighbor": neighbor})


def route(prefix: str) -> str:
    attribute = {"local-preference": 9, "large-community": [[ASN, 1, 5], [ASN, 2, 9]]}
    announce = {"ipv6 unicast": {str(HA2): [{"nlri": prefix}]}}
    return received(message={"update": {"attribute": attribute, "announce": announce}})


def learned(prefix: str) -> Learned:
    return Learned(HA2, (LearnedRoute(HA2, RouteKind.LEAK, Prefix.parse(prefix), HA2, 9),), ())


END_OF_RIB = received(message={"eor": {"afi": "ipv6", "safi": "unicast"}})
END_OF_REFRESH = received(**{"route-refresh": {"afi": "ipv6", "safi": "unicast", "subtype": "end"}})


@pytest.fixture
def talk() -> Conversation:
    return Conversation()


@pytest.fixture
def settled(talk: Conversation) -> Conversation:
    """The session is up, SITE is announced, End-of-RIB sent; nothing is pending."""
    assert talk.start(up=False) == []
    assert talk.agent(SITE) == []
    assert talk.exabgp(state(True)) == [f"{TO_HA2} announce attributes {SITE_TEXT}"]
    assert talk.exabgp("done") == [SEND_END_OF_RIB]
    assert talk.exabgp("done") == []
    talk.told()
    return talk


def test_end_of_rib_follows_the_last_acknowledged_route(settled: Conversation) -> None:
    """The fixture says it; here, that it is sent again for every new session, and once."""
    assert settled.exabgp(state(False, "peer reset")) == []
    assert settled.exabgp(state(True)) == [SEND_END_OF_RIB]
    assert settled.exabgp("done") == []
    settled.bridge.receive_from_agent(encode_change([LEAK], ())[0], 0)
    assert settled.commands() == [f"{TO_HA2} announce attributes {LEAK_TEXT}"]
    assert settled.exabgp("done") == []


def test_no_end_of_rib_before_the_agent_has_said_what_it_wants(talk: Conversation) -> None:
    talk.start(up=False)
    assert talk.exabgp(state(True)) == []
    assert talk.agent(SITE) == [f"{TO_HA2} announce attributes {SITE_TEXT}"]
    assert talk.exabgp("done") == [SEND_END_OF_RIB]


def test_a_new_hook_learns_sessions_routes_and_what_is_announced(talk: Conversation) -> None:
    assert talk.start(True, SHOWN_SITE) == [REFRESH]
    assert talk.exabgp("done") == []
    assert talk.agent(SITE, LEAK) == [f"{TO_HA2} announce attributes {LEAK_TEXT}"]
    assert talk.told()[:2] == [Hello(1, "5.0.15"), Session(HA2, True, "")]
    assert talk.exabgp("done", route("2001:db8:1:5::/64")) == [SEND_END_OF_RIB]
    assert talk.exabgp("done", END_OF_REFRESH) == []
    told = talk.told()
    assert [one for one in told if isinstance(one, Learned | EndOfRib)] == [
        learned("2001:db8:1:5::/64"),
        EndOfRib(HA2),
    ]
    assert told[-1] == Acknowledged(2, (), 0) or Acknowledged(2, (), 0) in told


def test_what_an_earlier_hook_left_is_withdrawn(talk: Conversation) -> None:
    talk.start(True, SHOWN_SITE)
    talk.exabgp("done")
    assert talk.agent() == [f"{TO_HA2} withdraw attributes {SITE_TEXT}"]


def test_an_agent_that_comes_back_is_told_all_and_changes_nothing(settled: Conversation) -> None:
    settled.exabgp(route("2001:db8:1:5::/64"), route("2001:db8:1:6::/64"), END_OF_RIB)
    settled.bridge.agent_lost(settled.now)
    assert settled.wait_until(179) == []
    settled.exabgp(
        received(message={"update": {"withdraw": {"ipv6 unicast": [{"nlri": "2001:db8:1:6::/64"}]}}})
    )
    assert settled.agent(SITE) == []
    assert settled.told() == [
        Hello(1, "5.0.15"),
        Session(HA2, True, ""),
        learned("2001:db8:1:5::/64"),
        EndOfRib(HA2),
        Acknowledged(1, (), 0),
    ]
    assert settled.wait_until(1000) == [], "the lease has ended when the agent came back"


def test_a_lease_that_ends_takes_everything_back(settled: Conversation) -> None:
    settled.bridge.agent_lost(settled.now)
    assert settled.wait_until(180) == [f"{TO_HA2} withdraw attributes {SITE_TEXT}"]
    assert settled.exabgp("done") == []
    assert settled.agent(SITE) == [f"{TO_HA2} announce attributes {SITE_TEXT}"]


def test_the_agent_says_how_long_the_lease_is(settled: Conversation) -> None:
    settled.agent(SITE, lease=5)
    settled.bridge.agent_lost(settled.now)
    assert settled.wait_until(4.9) == []
    assert settled.wait_until(5.1) != []


def test_routes_of_an_earlier_hook_have_a_lease_too(talk: Conversation) -> None:
    talk.start(True, SHOWN_SITE)
    talk.exabgp("done")
    assert talk.wait_until(179) == []
    assert talk.wait_until(180) == [f"{TO_HA2} withdraw attributes {SITE_TEXT}"]


def test_connecting_alone_does_not_renew_the_lease(settled: Conversation) -> None:
    settled.bridge.agent_lost(0)
    settled.bridge.agent_connected(100)
    settled.bridge.agent_lost(101)
    assert settled.wait_until(180) == [f"{TO_HA2} withdraw attributes {SITE_TEXT}"]


def test_the_session_down_is_told_once_with_its_reason(settled: Conversation) -> None:
    settled.exabgp(state(False, "notification received (6,2)"), state(False, "closing connection"))
    assert settled.told() == [Session(HA2, False, "notification received (6,2)")]


def test_a_peer_that_comes_back_begins_with_nothing(settled: Conversation) -> None:
    settled.exabgp(route("2001:db8:1:5::/64"), END_OF_RIB, state(False), state(True))
    settled.told()
    settled.agent(SITE)
    told = settled.told()
    assert Session(HA2, True, "") in told
    assert not [one for one in told if isinstance(one, Learned | EndOfRib)]


def test_refused_routes_are_reported_with_a_reason(settled: Conversation) -> None:
    settled.bridge.receive_from_agent(encode_change([LEAK], ())[0], 0)
    settled.commands()
    assert settled.exabgp("error") == []
    (report,) = [one for one in settled.told() if isinstance(one, Acknowledged) and not one.pending]
    assert (report.routes, report.refused[0].prefix) == (1, str(LEAK.prefix))
    assert str(HA2) in report.refused[0].reason


def test_a_neighbor_missing_in_the_configuration_of_exabgp_is_reported(settled: Conversation) -> None:
    bound = Announcement(Audience.SITE, RouteKind.MNP, Prefix.parse("2001:db8:1:9::/64"), HA1)
    settled.bridge.receive_from_agent(encode_change([bound], ())[0], 0)
    assert settled.commands() == []
    (report,) = settled.told()
    assert isinstance(report, Acknowledged)
    assert str(ROUTER) in report.refused[0].prefix


def test_answers_that_do_not_add_up_end_in_reading_everything_back(settled: Conversation) -> None:
    assert settled.exabgp("done") == ["reset", "version"]
    assert settled.exabgp("exabgp 5.0.15", "done") == ["show neighbor json", "show adj-rib out extensive"]
    neighbors = json.dumps([{"peer": {"address": str(HA2)}, "fsm": "ESTABLISHED"}])
    assert settled.exabgp(neighbors, "done", "done") == [f"{TO_HA2} announce attributes {SITE_TEXT}"]
    assert settled.exabgp("done") == [SEND_END_OF_RIB]


def test_a_refresh_whose_request_was_lost_is_asked_for_again(talk: Conversation) -> None:
    assert talk.start(up=True) == [REFRESH]
    assert talk.exabgp("done", "done") == ["reset", "version"]
    talk.exabgp("exabgp 5.0.15", "done")
    neighbors = json.dumps([{"peer": {"address": str(HA2)}, "fsm": "ESTABLISHED"}])
    assert talk.exabgp(neighbors, "done", "done") == [REFRESH]


def test_an_exabgp_we_do_not_know_gets_no_commands(talk: Conversation) -> None:
    talk.commands()
    assert talk.exabgp("exabgp 6.0.0", "done") == []
    assert talk.agent(SITE) == []
    assert talk.told() == [Hello(1, "6.0.0")]
    assert talk.bridge.counters["unsupported_exabgp"] == 1
    assert talk.wait_until(1000) == []


def test_bad_lines_of_the_agent_are_counted_and_the_next_one_is_taken(settled: Conversation) -> None:
    for line in (b"", b"nonsense", b'{"type":"more","routes":[],"more":false}', b'{"type":"change"}', b"[]"):
        settled.bridge.receive_from_agent(line, 0)
    assert settled.bridge.counters["bad_agent_message"] == 4
    settled.bridge.receive_from_agent(encode_change([LEAK], ())[0], 0)
    assert settled.commands() == [f"{TO_HA2} announce attributes {LEAK_TEXT}"]


def test_the_report_is_paced_while_commands_are_pending(settled: Conversation) -> None:
    table = [
        Announcement(Audience.MESH, RouteKind.LEAK, Prefix.parse(f"2001:db8:2:{n:x}::/64"), HA1, 1)
        for n in range(5000)
    ]
    settled.agent(*table)
    for _ in range(5):
        settled.exabgp("done")
    reports = [one for one in settled.told() if isinstance(one, Acknowledged)]
    assert len(reports) == 1
    settled.wait_until(1.5)
    (later,) = [one for one in settled.told() if isinstance(one, Acknowledged)]
    assert later.routes > reports[0].routes


# More than a peer may announce


def numbered(*numbers: int) -> list[str]:
    return [f"2001:db8:1:{number:x}::/64" for number in numbers]


def withdraw(*prefixes: str) -> str:
    gone = [{"nlri": prefix} for prefix in prefixes]
    return received(message={"update": {"withdraw": {"ipv6 unicast": gone}}})


def limits(told: list[HookMessage]) -> list[tuple[Fill, int]]:
    return [(one.state.fill, one.state.passed_over) for one in told if isinstance(one, Limit)]


def prefixes(told: list[HookMessage]) -> list[str]:
    return [str(route.prefix) for one in told if isinstance(one, Learned) for route in one.announced]


@pytest.mark.requirement("S-7-MAX")
def test_what_a_peer_announces_beyond_its_limit_is_passed_over_and_told(settled: Conversation) -> None:
    settled.agent(SITE, limit=4)
    settled.told()
    assert settled.exabgp(*map(route, numbered(1, 2))) == []
    assert limits(settled.told()) == []
    settled.exabgp(*map(route, numbered(3)))
    assert limits(settled.told()) == [(Fill.WARNING, 0)]
    commands = settled.exabgp(*map(route, numbered(4, 5, 6, 2)))
    told = settled.told()
    assert prefixes(told) == numbered(4, 2), "what is known already may change"
    assert limits(told) == [(Fill.EXCEEDED, 1), (Fill.EXCEEDED, 2)]
    assert commands == [], "the session stays as it is"


@pytest.mark.requirement("S-7-MAX")
def test_below_the_warning_again_the_peer_is_asked_for_all(settled: Conversation) -> None:
    settled.agent(SITE, limit=4)
    settled.exabgp(*map(route, numbered(1, 2, 3, 4, 5)))
    settled.told()
    assert settled.exabgp(withdraw(*numbered(1))) == [], "three of four"
    assert limits(settled.told()) == []
    assert settled.exabgp(withdraw(*numbered(2))) == [REFRESH]
    assert limits(settled.told()) == [(Fill.FINE, 0)]
    assert settled.exabgp("done", *map(route, numbered(3, 4, 5))) == []
    told = settled.told()
    assert prefixes(told) == numbered(3, 4, 5) and limits(told) == [(Fill.WARNING, 0)]


@pytest.mark.requirement("S-7-MAX")
def test_an_agent_that_comes_back_is_told_of_limits_and_a_new_session_has_none(settled: Conversation) -> None:
    settled.agent(SITE, limit=1)
    settled.exabgp(*map(route, numbered(1, 2)))
    settled.told()
    settled.agent(SITE, limit=1)
    told = settled.told()
    assert limits(told) == [(Fill.EXCEEDED, 1)] and prefixes(told) == numbered(1)
    settled.exabgp(state(False), state(True), route(numbered(2)[0]))
    told = settled.told()
    assert prefixes(told) == numbered(2) and limits(told) == [(Fill.WARNING, 0)]


@pytest.mark.requirement("S-7-MAX")
def test_one_update_with_more_than_there_is_room_for(settled: Conversation) -> None:
    settled.agent(SITE, limit=3)
    settled.told()
    attribute = {"large-community": [[ASN, 1, 5], [ASN, 2, 9]]}
    many = {"ipv6 unicast": {str(HA2): [{"nlri": one} for one in numbered(*range(1, 11))]}}
    settled.exabgp(received(message={"update": {"attribute": attribute, "announce": many}}))
    told = settled.told()
    assert prefixes(told) == numbered(1, 2, 3) and limits(told) == [(Fill.EXCEEDED, 7)]

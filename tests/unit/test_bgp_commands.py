"""The exact text that ExaBGP 5.0.15 gets, and what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from haha_exabgp.bgp.commands import (
    MAX_PREFIXES,
    Announce,
    Command,
    PathAttributes,
    RequestRefresh,
    SendEndOfRib,
    ShowNeighbors,
    ShownRoute,
    ShowRoutes,
    Withdraw,
    encode,
    parse_shown_route,
)
from haha_exabgp.wire.address import Address, Prefix

CASES = Path(__file__).parents[1] / "cases" / "bgp"
HA1, HA2 = Address.parse("2001:db8:ffff::1"), Address.parse("2001:db8:ffff::2")
ROUTER, OUTER = Address.parse("3fff:101::1"), Address.parse("3fff:101::a")
MNP = Prefix.parse("2001:db8:1:100::/64")
LEAK = PathAttributes(HA1, 77, ((64500, 1, 5), (64500, 2, 77)))
BOUND = PathAttributes(OUTER, 100, ((64500, 1, 4),))

TEXTS: list[tuple[Command, str]] = [
    (
        Announce((HA2,), LEAK, (MNP, Prefix.parse("2001:db8:1:101::/64"))),
        "neighbor 2001:db8:ffff::2 announce attributes next-hop 2001:db8:ffff::1 local-preference 77 "
        "large-community [ 64500:1:5 64500:2:77 ] nlri 2001:db8:1:100::/64 2001:db8:1:101::/64",
    ),
    (
        Withdraw((HA2, ROUTER), BOUND, (MNP,)),
        "neighbor 2001:db8:ffff::2, neighbor 3fff:101::1 withdraw attributes next-hop 3fff:101::a "
        "local-preference 100 large-community [ 64500:1:4 ] nlri 2001:db8:1:100::/64",
    ),
    (
        Announce((HA2,), PathAttributes(HA1, 1, ()), (Prefix.parse("::/0"),)),
        "neighbor 2001:db8:ffff::2 announce attributes next-hop 2001:db8:ffff::1 local-preference 1 "
        "nlri ::/0",
    ),
    (SendEndOfRib(HA2), "neighbor 2001:db8:ffff::2 announce eor ipv6 unicast"),
    (RequestRefresh(HA2), "neighbor 2001:db8:ffff::2 announce route-refresh ipv6 unicast"),
    (ShowRoutes(), "show adj-rib out extensive"),
    (ShowNeighbors(), "show neighbor json"),
]


@pytest.mark.parametrize(("command", "text"), TEXTS)
def test_command_text(command: Command, text: str) -> None:
    assert encode(command) == text.encode("ascii") + b"\n"


class Smuggler(str):
    """Text where an address belongs."""

    is_routable_unicast = True


@pytest.mark.parametrize(
    "command",
    [
        Announce((), LEAK, (MNP,)),
        Announce((HA2,), LEAK, ()),
        Announce((HA2,), LEAK, (MNP,) * (MAX_PREFIXES + 1)),
        Announce((Smuggler("::1\nshutdown"),), LEAK, (MNP,)),  # type: ignore[arg-type]
        Announce((HA2,), LEAK, (Prefix(Smuggler("::\nshutdown"), 64),)),  # type: ignore[arg-type]
        Announce((HA2,), LEAK, ("::/0 json",)),  # type: ignore[arg-type]
        Announce((HA2,), LEAK, (Prefix(HA1, 64),)),
        Announce((HA2,), LEAK, (Prefix(HA1, 129),)),
        Announce((HA2,), PathAttributes(Smuggler("self\nreset"), 1, ()), (MNP,)),  # type: ignore[arg-type]
        Announce((HA2,), PathAttributes(Address.parse("fe80::1"), 1, ()), (MNP,)),
        Announce((HA2,), PathAttributes(Address.parse("::"), 1, ()), (MNP,)),
        Announce((HA2,), PathAttributes(HA1, 1 << 32, ()), (MNP,)),
        Announce((HA2,), PathAttributes(HA1, True, ()), (MNP,)),
        Announce((HA2,), PathAttributes(HA1, 1, (("1\n", 2, 3),)), (MNP,)),  # type: ignore[arg-type]
        SendEndOfRib(Address(b"short")),
        RequestRefresh(Smuggler("* announce route")),  # type: ignore[arg-type]
    ],
)
def test_nothing_unparsed_gets_into_a_command(command: Command) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(command)


def test_what_exabgp_shows_is_read_back() -> None:
    lines = (CASES / "show-adj-rib-out.txt").read_text().splitlines()
    assert [parse_shown_route(line) for line in lines] == [
        ShownRoute(HA2, MNP, LEAK),
        ShownRoute(ROUTER, Prefix.parse("2001:db8:1:102::/64"), BOUND),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "done",
        "neighbor ::2 local-ip ::1 family-allowed in-open ipv4 unicast 192.0.2.0/24 next-hop 192.0.2.1",
        "neighbor nonsense local-ip ::1 ipv6 unicast 2001:db8::/32 next-hop 2001:db8::1",
        "neighbor ::2 local-ip ::1 ipv6 unicast 2001:db8::/32 next-hop 2001:db8::1 large-community [ 1:2 ]",
    ],
)
def test_other_lines_are_not_routes(line: str) -> None:
    assert parse_shown_route(line) is None

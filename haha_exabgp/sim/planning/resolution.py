"""On-demand proxy routes (draft-thubert-mext-global-haha-01 s.5.3.2, after RFC 2332): who has to be asked,
how often, and how long the messages are.

An ingress asks the primary for a destination; the primary names the egress; the egress, asked as well,
confirms with all prefixes of the mobile router. It alone is asked when the route is to last longer. Where the
mobile router is bound at its primary there is no shorter way, and where the ingress is the primary it has the
route already. An egress that is left purges at every ingress that it has told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...protocol.home import SecurityAssociation
from ...protocol.messages import haha_packet
from ...protocol.resolution import IPV6_IN_IPV6
from ...wire.address import Address, Prefix
from ...wire.codes import BindingUpdateFlag, HahaFlag, HahaOperation
from ...wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    Egress,
    HahaAddress,
    MobilitySequence,
    RoutedPrefix,
)
from ...wire.messages import HahaMessage
from ...wire.options import MobilityOption, ReplayProtection
from .geography import Ints, Truths
from .kinds import Kind

_INGRESS = Address.parse("2001:db8:ffff::2")
_EGRESS = Address.parse("2001:db8:ffff::3")
_LOCATOR = Address.parse("3fff:103::a")


class Needs(NamedTuple):
    """What an ingress does about a mobile router that it gets packets for."""

    route: Truths
    """It resolves a route to the egress."""
    denied: Truths
    """It asks, and is told that there is no shorter way."""


def needs(ingress: Ints, primary: Ints, egress: Ints) -> Needs:
    """Site by site."""
    asks = (ingress != egress) & (ingress != primary)
    return Needs(asks & (egress != primary), asks & (egress == primary))


def resolution_octets(
    home_address: Address, prefixes: Sequence[Prefix], mesh: SecurityAssociation
) -> dict[Kind, int]:
    """The length of each message, as a whole IPv6 packet, about a mobile router with these prefixes."""
    asked = HahaAddress(AddressRole.DESTINATION, prefixes[0].address)
    about = HahaAddress(AddressRole.HOME_ADDRESS, home_address)
    answer: tuple[MobilityOption, ...] = (
        asked,
        Egress(IPV6_IN_IPV6, _LOCATOR),
        *[RoutedPrefix(prefix) for prefix in (Prefix.host(home_address), *prefixes)],
        BindingCacheInformation(BindingUpdateFlag.HOME_REGISTRATION, 1, 600, home_address, _EGRESS),
        MobilitySequence(1),
    )
    contents: dict[Kind, tuple[HahaOperation, tuple[MobilityOption, ...]]] = {
        Kind.RESOLUTION_REQUEST: (HahaOperation.RESOLUTION_REQUEST, (asked,)),
        Kind.RESOLUTION_REPLY: (HahaOperation.RESOLUTION_REPLY, answer),
        Kind.RESOLUTION_DENIED: (HahaOperation.RESOLUTION_REPLY, (asked,)),
        Kind.PURGE: (HahaOperation.RESOLUTION_PURGE, (about, MobilitySequence(1))),
        Kind.PURGE_ACKNOWLEDGEMENT: (HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT, ()),
    }
    stamp = ReplayProtection(1 << 63)
    return {
        kind: len(
            haha_packet(
                _INGRESS, _EGRESS, HahaMessage(operation, HahaFlag(0), 1, 600, (stamp, *options)), mesh
            )
        )
        for kind, (operation, options) in contents.items()
    }

"""The messages that make and unmake on-demand proxy routes (draft-thubert-mext-global-haha-01 s.5.3.2, after
RFC 2332).

An ingress asks the primary for a destination; the primary passes the question on to the egress, which answers
with all prefixes of the mobile router. On a move the egress that was left purges at every ingress.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.home import SecurityAssociation
from ...wire.address import Address, Prefix
from ...wire.authentication import sign
from ...wire.codes import HahaFlag, HahaOperation
from ...wire.haha_options import AddressRole, Egress, HahaAddress, MobilitySequence, RoutedPrefix
from ...wire.ipv6 import build_mobility
from ...wire.messages import HahaMessage
from ...wire.options import MobilityOption, ReplayProtection
from .kinds import Kind

_INGRESS = Address.parse("2001:db8:ffff::2")
_EGRESS = Address.parse("2001:db8:ffff::3")
_LOCATOR = Address.parse("3fff:103::a")
_STAMP = ReplayProtection(1 << 63)
_HOLDING_TIME = 600
_TUNNEL_IPV6_IN_IPV6 = 41


def resolution_octets(
    home_address: Address, prefixes: Sequence[Prefix], mesh: SecurityAssociation
) -> dict[Kind, int]:
    """The length of each message, as a whole IPv6 packet, about a mobile router with these prefixes."""
    asked = HahaAddress(AddressRole.DESTINATION, prefixes[0].address)
    about = HahaAddress(AddressRole.HOME_ADDRESS, home_address)
    answer: tuple[MobilityOption, ...] = (
        about,
        *[RoutedPrefix(prefix) for prefix in prefixes],
        Egress(_TUNNEL_IPV6_IN_IPV6, _LOCATOR),
        MobilitySequence(1),
    )
    operations: dict[Kind, tuple[HahaOperation, tuple[MobilityOption, ...]]] = {
        Kind.RESOLUTION_REQUEST: (HahaOperation.RESOLUTION_REQUEST, (asked,)),
        Kind.RESOLUTION_REPLY: (HahaOperation.RESOLUTION_REPLY, answer),
        Kind.PURGE: (HahaOperation.RESOLUTION_PURGE, (about, MobilitySequence(1))),
        Kind.PURGE_ACKNOWLEDGEMENT: (HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT, (about,)),
    }
    return {
        kind: _octets(
            HahaMessage(operation, HahaFlag.ACKNOWLEDGE, 1, _HOLDING_TIME, (*options, _STAMP)), mesh
        )
        for kind, (operation, options) in operations.items()
    }


def _octets(message: HahaMessage, mesh: SecurityAssociation) -> int:
    header = sign(
        message,
        _INGRESS,
        _EGRESS,
        key=mesh.key,
        spi=mesh.spi,
        care_of_address=_EGRESS,
        home_address=_INGRESS,
        algorithm=mesh.algorithm,
    )
    return len(build_mobility(_INGRESS, _EGRESS, header))

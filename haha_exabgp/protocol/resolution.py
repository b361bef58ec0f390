"""What is asked and answered about the way to a mobile router (draft s.5.3.2, in the sense of RFC 2332).

Resolution Request: ADDR with the destination of a packet, to its primary; or with the home address, to the
egress proxy that the primary has named. Argument: the holding time wanted, in seconds.

Resolution Reply: that ADDR; where there is a shorter way EGRESS, PREFIX for each prefix, BCI and SEQUENCE,
and as argument the holding time granted. Where there is none, the ADDR alone, and as argument how long not to
ask again.

Purge: ADDR with the home address, SEQUENCE: what was told of this attachment, or of one before, is void.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.address import Address, Prefix
from ..wire.codes import BindingUpdateFlag
from ..wire.haha_options import (
    AddressRole,
    BindingCacheInformation,
    Egress,
    HahaAddress,
    MobilitySequence,
    RoutedPrefix,
)
from ..wire.messages import HahaMessage
from ..wire.options import every_option, first_option
from .binding import Binding
from .haha_requests import Record
from .time import Now

IPV6_IN_IPV6 = 41
"""Tunnel type: the next header of what is in the tunnel."""
NEGATIVE_TIME = 30
"""Seconds for which an answer that there is no shorter way is good."""
REFRESHES_PER_HOLDING_TIME = 3
"""RFC 2332: an entry is asked for anew when a third of its time is over."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A shorter way to a mobile router, as it is told."""

    home_address: Address
    care_of_address: Address
    """HAHA address of the egress proxy where the primary answers, its outer address where itself does."""
    locator: Address
    """Where packets go: the egress proxy's outer address."""
    prefixes: tuple[Prefix, ...]
    """All that is routed to the mobile router, its home address among it."""
    mobility_sequence: int
    holding_time: int


def question(role: AddressRole, address: Address) -> Record:
    """The contents of a Resolution Request."""
    return (HahaAddress(role, address),)


def asked_about(message: HahaMessage) -> HahaAddress | None:
    """What a Resolution Request, or a purge, is about; None when it does not say."""
    return first_option(message.options, HahaAddress)


def resolved_record(
    asked: HahaAddress, binding: Binding, care_of_address: Address, locator: Address, now: Now
) -> Record:
    """The contents of a reply that there is a shorter way."""
    lifetime = int(binding.expires - now.monotonic) // 4 * 4
    flags = BindingUpdateFlag.HOME_REGISTRATION
    if binding.mobile_router:
        flags |= BindingUpdateFlag.MOBILE_ROUTER
    return (
        asked,
        Egress(IPV6_IN_IPV6, locator),
        *[RoutedPrefix(prefix) for prefix in binding.routes()],
        BindingCacheInformation(
            flags, binding.order.sequence, lifetime, binding.home_address, care_of_address
        ),
        MobilitySequence(binding.mobility_sequence),
    )


def read_resolved(message: HahaMessage) -> Resolved | None:
    """What a Resolution Reply says; None when there is no shorter way, or none that can be used here."""
    egress = first_option(message.options, Egress)
    binding = first_option(message.options, BindingCacheInformation)
    sequence = first_option(message.options, MobilitySequence)
    if egress is None or binding is None or sequence is None or egress.tunnel_type != IPV6_IN_IPV6:
        return None
    return Resolved(
        binding.home_address,
        binding.care_of_address,
        egress.locator,
        tuple(option.prefix for option in every_option(message.options, RoutedPrefix)),
        sequence.sequence,
        message.argument,
    )


def purge_record(home_address: Address, mobility_sequence: int) -> Record:
    """The contents of a purge."""
    return (HahaAddress(AddressRole.HOME_ADDRESS, home_address), MobilitySequence(mobility_sequence))

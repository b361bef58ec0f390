"""A Binding Update in the terms of the binding cache."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.codes import BindingUpdateFlag
from ..wire.haha_options import AddressRole, HahaAddress
from ..wire.messages import BindingUpdate
from ..wire.options import AlternateCareOfAddress, MobileNetworkPrefix, NonceIndices, ReplayProtection
from ..wire.timestamp import in_order
from .binding import Order
from .home import ReplayProtectionMode

_HOME_REGISTRATION = int(BindingUpdateFlag.HOME_REGISTRATION)
_MOBILE_ROUTER = int(BindingUpdateFlag.MOBILE_ROUTER)


class Request(NamedTuple):
    """What a Binding Update asks for. `lifetime` in seconds."""

    home_address: Address
    care_of_address: Address
    flags: int
    """Those of `BindingUpdateFlag`, as a number: making an enum of it for every update takes 0.7 us."""
    home_registration: bool
    """The H flag."""
    mobile_router: bool
    """The R flag."""
    sequence: int
    lifetime: int
    prefixes: tuple[Prefix, ...]
    """The MNP options (RFC 3963 s.4.3): empty means implicit mode."""
    timestamp: int | None
    """MESG-ID, 64-bit NTP."""
    order: Order
    """Its place among the Binding Updates of this mobile router."""
    deregisters: bool
    """It asks to end the binding (RFC 6275 s.10.3.2)."""
    has_nonce_indices: bool
    addressee: Address | None
    """The Home Agent that it is meant for, where the mobile router says so."""


def read_request(
    update: BindingUpdate,
    source: Address,
    home_address: Address,
    replay: ReplayProtectionMode = ReplayProtectionMode.TIMESTAMP,
) -> Request:
    """Read a Binding Update that came from `source` for `home_address`. With replay protection by sequence
    number a timestamp is given back, but orders nothing."""
    care_of_address, addressee = source, None
    timestamp: int | None = None
    has_nonce_indices = False
    prefixes: list[Prefix] = []
    for option in update.options:
        if isinstance(option, MobileNetworkPrefix):
            prefixes.append(option.prefix)
        elif isinstance(option, AlternateCareOfAddress):
            care_of_address = option.address
        elif isinstance(option, ReplayProtection):
            timestamp = option.timestamp
        elif isinstance(option, NonceIndices):
            has_nonce_indices = True
        elif isinstance(option, HahaAddress) and option.role == AddressRole.HOME_AGENT:
            addressee = option.address
    return make_request(
        home_address,
        care_of_address,
        int(update.flags),
        update.sequence,
        update.lifetime,
        tuple(prefixes),
        timestamp,
        replay,
        has_nonce_indices,
        addressee,
    )


def make_request(  # noqa: PLR0917  (as many as a Binding Update has parts; positions are cheaper than names)
    home_address: Address,
    care_of_address: Address,
    flags: int,
    sequence: int,
    lifetime: int,
    prefixes: tuple[Prefix, ...],
    timestamp: int | None,
    replay: ReplayProtectionMode,
    has_nonce_indices: bool = False,
    addressee: Address | None = None,
) -> Request:
    """The parts of a Binding Update as a request; a prefix that is listed twice is taken once."""
    is_ordered = timestamp is not None and replay is ReplayProtectionMode.TIMESTAMP
    return Request(
        home_address,
        care_of_address,
        flags,
        flags & _HOME_REGISTRATION != 0,
        flags & _MOBILE_ROUTER != 0,
        sequence,
        lifetime,
        prefixes if len(prefixes) < 2 else tuple(dict.fromkeys(prefixes)),
        timestamp,
        Order(in_order(timestamp) if is_ordered and timestamp is not None else 0, sequence),
        lifetime == 0 or care_of_address == home_address,
        has_nonce_indices,
        addressee,
    )

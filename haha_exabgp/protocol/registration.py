"""Judging a Binding Update that has been authenticated: grant it, refuse it with a status, or drop it.

The checks stand in a table in the order in which they are made: RFC 6275 s.9.5.1 and s.10.3.1, RFC 3963
s.6.2, with the replay protection of RFC 4285 s.6 in front. The first that objects decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..wire.address import Address, Prefix
from ..wire.codes import BindingUpdateFlag, Status
from ..wire.messages import BindingUpdate
from ..wire.options import AlternateCareOfAddress, MobileNetworkPrefix, NonceIndices, ReplayProtection
from ..wire.timestamp import in_order, to_unix
from .binding import Binding, Order
from .home import MobileRouterPolicy

REPLAY_WINDOW = 7.0
"""Seconds that a MESG-ID timestamp may be off our clock (RFC 4285 s.6: default 7)."""


class Drop(StrEnum):
    """Why a message was dropped without an answer; the label of its counter."""

    UNKNOWN_HOME_ADDRESS = "unknown_home_address"
    NO_AUTHENTICATION = "no_authentication"
    UNKNOWN_SPI = "unknown_spi"
    BAD_AUTHENTICATOR = "bad_authenticator"
    NOT_HOME_REGISTRATION = "not_home_registration"
    NONCE_INDICES_IN_HOME_REGISTRATION = "nonce_indices_in_home_registration"
    CARE_OF_ADDRESS_NOT_UNICAST = "care_of_address_not_unicast"
    DUPLICATE = "duplicate"
    REPLAYED = "replayed"
    NOT_FOR_US = "not_for_us"
    NOT_OUTSTANDING = "not_outstanding"
    BAD_RELAYED_UPDATE = "bad_relayed_update"
    UNEXPECTED_MESSAGE = "unexpected_message"
    TOO_MANY_DISCOVERIES = "too_many_discoveries"


@dataclass(frozen=True, slots=True)
class Request:
    """A Binding Update in the terms of the binding cache. `lifetime` in seconds."""

    home_address: Address
    care_of_address: Address
    flags: BindingUpdateFlag
    sequence: int
    lifetime: int
    prefixes: tuple[Prefix, ...]
    """The MNP options (RFC 3963 s.4.3): empty means implicit mode."""
    timestamp: int | None
    """MESG-ID, 64-bit NTP."""
    has_nonce_indices: bool = False

    @property
    def deregisters(self) -> bool:
        """True when it asks to end the binding (RFC 6275 s.10.3.2)."""
        return self.lifetime == 0 or self.care_of_address == self.home_address

    @property
    def order(self) -> Order:
        """Its place among the Binding Updates of this mobile router."""
        return Order(in_order(self.timestamp or 0), self.sequence)


def read_request(update: BindingUpdate, source: Address, home_address: Address) -> Request:
    """Read a Binding Update that came from `source` for `home_address`."""
    care_of_address, timestamp, has_nonce_indices = source, None, False
    prefixes = []
    for option in update.options:
        match option:
            case MobileNetworkPrefix(prefix=prefix):
                prefixes.append(prefix)
            case AlternateCareOfAddress(address=address):
                care_of_address = address
            case ReplayProtection(timestamp=stamp):
                timestamp = stamp
            case NonceIndices():
                has_nonce_indices = True
    return Request(
        home_address,
        care_of_address,
        update.flags,
        update.sequence,
        update.lifetime,
        tuple(prefixes),
        timestamp,
        has_nonce_indices,
    )


@dataclass(frozen=True, slots=True)
class Granted:
    """The binding may be made: `prefixes` are routed to the mobile router, for `lifetime` seconds."""

    prefixes: tuple[Prefix, ...]
    lifetime: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer with this status. `sequence` is what the acknowledgement carries."""

    status: Status
    sequence: int


Verdict = Granted | Refused | Drop


@dataclass(frozen=True, slots=True)
class Context:
    """What a Binding Update is judged against."""

    policy: MobileRouterPolicy
    current: Binding | None
    """The live binding of this home address."""
    last: Binding | None
    """The live binding, or the last one there was: its order counts, the binding alive or not."""
    max_lifetime: int
    """Seconds."""
    wall: float
    proxy: Address | None = None
    """HAHA address of the proxy that relays the Binding Update."""

    @property
    def last_order(self) -> Order | None:
        """Of the last accepted Binding Update of this home address."""
        return self.last.order if self.last is not None else None

    @property
    def clock_was_set_back(self) -> bool:
        """True when the last accepted timestamp lies so far ahead that none of today can be later: then
        the sequence number has to rise instead (RFC 6275 s.9.5.1)."""
        return self.last is not None and to_unix(self.last.order.timestamp) - self.wall > REPLAY_WINDOW

    def repeats(self, request: Request) -> bool:
        """True when the proxy that relayed the last accepted Binding Update relays it again: our answer
        was lost. From any other sender the same one is a replay."""
        if self.last is None or self.proxy is None:
            return False
        return self.last.order == request.order and self.last.peer == self.proxy


_Objection = Status | Drop | None


def _check_flags(request: Request, context: Context) -> _Objection:
    if BindingUpdateFlag.HOME_REGISTRATION in request.flags:
        return None
    if BindingUpdateFlag.MOBILE_ROUTER in request.flags:
        return Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    if context.current is not None:
        return Status.REGISTRATION_TYPE_CHANGE_DISALLOWED
    return Drop.NOT_HOME_REGISTRATION


def _check_nonce_indices(request: Request, context: Context) -> _Objection:
    return Drop.NONCE_INDICES_IN_HOME_REGISTRATION if request.has_nonce_indices else None


def _check_care_of_address(request: Request, context: Context) -> _Objection:
    if request.deregisters:
        return None
    if not request.care_of_address.is_routable_unicast:
        return Drop.CARE_OF_ADDRESS_NOT_UNICAST
    own = (Prefix.host(request.home_address), *context.policy.prefixes)
    if any(prefix.contains(request.care_of_address) for prefix in own):
        # A tunnel that leads into itself (RFC 6275 s.15.1).
        return Status.INVALID_CARE_OF_ADDRESS
    return None


def _check_timestamp(request: Request, context: Context) -> _Objection:
    if request.timestamp is None:
        return Status.MESSAGE_IDENTIFICATION_REQUIRED
    if context.last_order == request.order:
        return Drop.DUPLICATE
    if abs(to_unix(request.timestamp) - context.wall) > REPLAY_WINDOW:
        return Status.IDENTIFICATION_MISMATCH
    if context.last_order is None or context.clock_was_set_back:
        return None
    if request.order.timestamp <= context.last_order.timestamp:
        return Status.IDENTIFICATION_MISMATCH
    return None


def _check_sequence(request: Request, context: Context) -> _Objection:
    if context.current is None and not context.clock_was_set_back:
        return None
    return None if _sequence_rises(request, context) else Status.SEQUENCE_OUT_OF_WINDOW


def _sequence_rises(request: Request, context: Context) -> bool:
    return context.last is None or 1 <= (request.sequence - context.last.order.sequence) % 65536 <= 32767


def _check_relayed_order(request: Request, context: Context) -> _Objection:
    if request.timestamp is None:
        return Status.MESSAGE_IDENTIFICATION_REQUIRED
    if context.clock_was_set_back:
        newer = _sequence_rises(request, context)
    else:
        newer = context.last_order is None or context.last_order < request.order
    if not newer and not context.repeats(request):
        # The mobile router has spoken elsewhere since: the proxy that asks has lost it.
        return Status.SEQUENCE_OUT_OF_WINDOW
    if abs(to_unix(request.timestamp) - context.wall) > REPLAY_WINDOW:
        return Status.IDENTIFICATION_MISMATCH
    return None


def _check_registration_type(request: Request, context: Context) -> _Objection:
    if context.current is None or request.deregisters:
        return None
    same = (BindingUpdateFlag.MOBILE_ROUTER in request.flags) == context.current.mobile_router
    return None if same else Status.REGISTRATION_TYPE_CHANGE_DISALLOWED


def _check_deregistration(request: Request, context: Context) -> _Objection:
    if request.deregisters and context.current is None and not context.repeats(request):
        return Status.NOT_HOME_AGENT
    return None


def _check_prefixes(request: Request, context: Context) -> _Objection:
    if request.deregisters:
        return None
    if BindingUpdateFlag.MOBILE_ROUTER not in request.flags:
        return Status.INVALID_PREFIX if request.prefixes else None
    if not context.policy.prefixes:
        return Status.FORWARDING_SETUP_FAILED
    if not set(request.prefixes) <= set(context.policy.prefixes):
        return Status.NOT_AUTHORIZED_FOR_PREFIX
    return None


_Check = Callable[[Request, Context], _Objection]

_COMMON: tuple[_Check, ...] = (_check_registration_type, _check_deregistration, _check_prefixes)
DIRECT: tuple[_Check, ...] = (
    _check_flags,
    _check_nonce_indices,
    _check_care_of_address,
    _check_timestamp,
    _check_sequence,
    *_COMMON,
)
"""For a Binding Update that the mobile router sent to us."""
RELAYED: tuple[_Check, ...] = (
    _check_flags,
    _check_nonce_indices,
    _check_care_of_address,
    _check_relayed_order,
    *_COMMON,
)
"""For one that a proxy relayed: a proxy repeats the same one when its acknowledgement was lost, and
another proxy's may have arrived before it."""


def judge(request: Request, context: Context, checks: tuple[_Check, ...]) -> Verdict:
    """Judge one request; changes nothing."""
    for check in checks:
        objection = check(request, context)
        if isinstance(objection, Drop):
            return objection
        if objection is not None:
            return Refused(objection, _acknowledged_sequence(objection, request, context))
    if request.deregisters:
        return Granted((), 0)
    if BindingUpdateFlag.MOBILE_ROUTER not in request.flags:
        prefixes: tuple[Prefix, ...] = ()
    else:
        prefixes = request.prefixes or context.policy.prefixes
    return Granted(prefixes, min(request.lifetime, context.max_lifetime) // 4 * 4)


def _acknowledged_sequence(status: Status, request: Request, context: Context) -> int:
    if status is Status.SEQUENCE_OUT_OF_WINDOW and context.last_order is not None:
        return context.last_order.sequence
    return request.sequence

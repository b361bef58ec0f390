"""Judging a Binding Update that has been authenticated: grant it, refuse it with a status, or drop it.

The checks stand in a table in the order in which they are made, and the first that objects decides:

1. RFC 6275 s.9.5.1. A number that has to rise and does not gets 135 here, before the timestamp is looked at:
   what comes late after a de-registration is told so (RFC 6275 s.10.3.2). Neither answer changes anything.
2. RFC 4285 s.6: the timestamp, where that is the protection against replays.
3. RFC 6275 s.10.3.1 and RFC 3963 s.6.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..wire.address import Address, Prefix
from ..wire.codes import Status
from ..wire.timestamp import to_unix
from .binding import Binding
from .drops import Drop
from .home import HomeAgentConfig, MobileRouterPolicy, ReplayProtectionMode
from .home_subnets import FOREVER, Lifetimes
from .nesting import Nesting
from .request import Request
from .time import Now

REPLAY_WINDOW = 7.0
"""Seconds that a MESG-ID timestamp may be off our clock (RFC 4285 s.6: default 7)."""


class Granted(NamedTuple):
    """The binding may be made: `prefixes` are routed to the mobile router, for `lifetime` seconds."""

    prefixes: tuple[Prefix, ...]
    lifetime: int
    status: int = Status.ACCEPTED


class Refused(NamedTuple):
    """Answer with this status. `sequence` is what the acknowledgement carries."""

    status: Status
    sequence: int


Verdict = Granted | Refused | Drop


class Context(NamedTuple):
    """What a Binding Update is judged against."""

    policy: MobileRouterPolicy
    config: HomeAgentConfig
    current: Binding | None
    """The live binding of this home address."""
    last: Binding | None
    """The live binding, or the last one there was: its order counts, the binding alive or not."""
    now: Now
    sent_to: Address
    """The Home Agent that the mobile router has sent it to, by its outer address."""
    proxy: Address | None = None
    """HAHA address of the proxy that relays the Binding Update."""
    has_just_left: bool = False
    """It has de-registered less than MAX_DELETE_BCE_TIMEOUT ago."""
    is_to_leave: bool = False
    """It has been told to switch to another Home Agent."""
    is_closed: bool = False
    """Unless it is bound here already, it is to ask another Home Agent."""
    bindings: int = 0
    """How many there are."""
    holders: Mapping[Prefix, Address] = {}
    """The home address that each routed prefix is bound to."""
    nesting: Nesting | None = None
    """Which mobile routers are behind which others; None: nobody is."""
    home_agents: frozenset[Address] = frozenset()
    """Every address of a Home Agent of this Home."""
    subnet: Lifetimes = FOREVER
    """Of the home address."""

    @property
    def clock_was_set_back(self) -> bool:
        """True when the last accepted timestamp lies so far ahead that none of today can be later: then
        the sequence number has to rise instead (RFC 6275 s.9.5.1)."""
        if self.last is None or not self.last.order.timestamp:
            return False
        return to_unix(self.last.order.timestamp) - self.now.wall > REPLAY_WINDOW

    def repeats(self, request: Request) -> bool:
        """True when the proxy that relayed the last accepted Binding Update relays it again: our answer
        was lost. From any other sender the same one is a replay."""
        if self.last is None or self.proxy is None:
            return False
        return self.last.order == request.order and self.last.peer == self.proxy


_Objection = Status | Drop | None


def _check_addressee(request: Request, context: Context) -> _Objection:
    # The authenticator of RFC 4285 does not cover the destination, so that a captured update could be brought
    # to another Home Agent while it is fresh; a mobile router that names the one it means is safe from that.
    if request.addressee is None or request.addressee == context.sent_to:
        return None
    return Drop.NOT_FOR_US


def _check_flags(request: Request, context: Context) -> _Objection:
    if request.home_registration:
        return None
    if request.mobile_router:
        return Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    if context.current is not None:
        return Status.REGISTRATION_TYPE_CHANGE_DISALLOWED
    return Drop.NOT_HOME_REGISTRATION


def _check_nonce_indices(request: Request, context: Context) -> _Objection:
    return Drop.NONCE_INDICES_IN_HOME_REGISTRATION if request.has_nonce_indices else None


def _check_care_of_address(request: Request, context: Context) -> _Objection:
    care_of_address, current = request.care_of_address, context.current
    if request.deregisters:
        return None
    is_where_it_was = (
        current is not None
        and current.care_of_address == care_of_address
        and not current.kind.is_elsewhere  # then that is a Home Agent's, or was never looked at here
    )
    if not is_where_it_was:  # a refresh was looked at when the binding was made
        if not care_of_address.is_routable_unicast:
            return Drop.CARE_OF_ADDRESS_NOT_UNICAST
        if care_of_address in context.home_agents:
            return Status.INVALID_CARE_OF_ADDRESS
    if context.nesting is None:
        return None
    # Of a refresh too: its prefixes may be others now.
    prefixes, ends_here = context.policy.prefixes, context.proxy is None
    return context.nesting.objection(request.home_address, prefixes, care_of_address, ends_here=ends_here)


def _check_identification(request: Request, context: Context) -> _Objection:
    if context.policy.replay is ReplayProtectionMode.SEQUENCE:
        return None
    if request.timestamp is None:
        return Status.MESSAGE_IDENTIFICATION_REQUIRED
    if context.last is not None and context.last.order == request.order:
        return Drop.DUPLICATE
    return None


def _check_sequence(request: Request, context: Context) -> _Objection:
    # Without timestamps the number has to rise for ever; with them, while there is an entry.
    by_sequence = context.policy.replay is ReplayProtectionMode.SEQUENCE
    has_entry = context.current is not None or context.has_just_left
    if by_sequence or has_entry or context.clock_was_set_back:
        return None if _sequence_rises(request, context) else Status.SEQUENCE_OUT_OF_WINDOW
    return None


def _sequence_rises(request: Request, context: Context) -> bool:
    return context.last is None or 1 <= (request.sequence - context.last.order.sequence) % 65536 <= 32767


def _check_timestamp(request: Request, context: Context) -> _Objection:
    if context.policy.replay is ReplayProtectionMode.SEQUENCE:
        return None
    timestamp = request.order.timestamp
    if abs(to_unix(timestamp) - context.now.wall) > REPLAY_WINDOW:
        return Status.IDENTIFICATION_MISMATCH
    last = context.last
    if last is None or timestamp > last.order.timestamp or context.clock_was_set_back:
        return None
    return Status.IDENTIFICATION_MISMATCH


def _check_relayed_order(request: Request, context: Context) -> _Objection:
    by_sequence = context.policy.replay is ReplayProtectionMode.SEQUENCE
    if not by_sequence and request.timestamp is None:
        return Status.MESSAGE_IDENTIFICATION_REQUIRED
    if context.repeats(request):
        # Without a timestamp nothing says when it was made: good for the binding that it has made.
        has_ended = context.current is None and not request.deregisters
        is_in_order = not by_sequence or not has_ended
    elif context.clock_was_set_back:
        is_in_order = _sequence_rises(request, context)
    else:
        is_in_order = context.last is None or request.order.is_newer_than(context.last.order)
    if not is_in_order:
        # The mobile router has spoken elsewhere since: the proxy that asks has lost it.
        return Status.SEQUENCE_OUT_OF_WINDOW
    if not by_sequence and abs(to_unix(request.order.timestamp) - context.now.wall) > REPLAY_WINDOW:
        return Status.IDENTIFICATION_MISMATCH
    return None


def _check_registration_type(request: Request, context: Context) -> _Objection:
    if context.current is None or request.deregisters:
        return None
    if request.mobile_router == context.current.mobile_router:
        return None
    return Status.REGISTRATION_TYPE_CHANGE_DISALLOWED


def _check_deregistration(request: Request, context: Context) -> _Objection:
    if request.deregisters and context.current is None and not context.repeats(request):
        return Status.NOT_HOME_AGENT
    return None


def _check_authority(request: Request, context: Context) -> _Objection:
    if request.deregisters:
        return None
    current = context.current
    is_bound_here = current is not None and not current.kind.is_elsewhere
    # RFC 5142 s.5.3: the binding of one that has been sent away is not extended.
    is_sent_away = context.is_to_leave if is_bound_here else context.is_closed
    if is_sent_away and context.proxy is None:
        return Status.ADMINISTRATIVELY_PROHIBITED
    config = context.config
    if context.proxy is not None or context.policy.proxies is None:
        return None  # whether a proxy may relay for it the primary has looked at before
    if context.policy.admits(config.name, is_primary=config.is_primary_for(request.home_address)):
        return None
    return Status.ADMINISTRATIVELY_PROHIBITED


def _check_subnet(request: Request, context: Context) -> _Objection:
    # What is no longer valid is on no prefix list (RFC 6275 s.10.3.1); the unit of lifetimes is 4 s.
    if context.subnet.valid < 4 and not request.deregisters:
        return Status.NOT_HOME_SUBNET
    return None


def _check_resources(request: Request, context: Context) -> _Objection:
    if request.deregisters:
        return None
    if context.current is None and context.bindings >= context.config.max_bindings:
        return Status.INSUFFICIENT_RESOURCES
    if request.mobile_router:
        prefixes = request.prefixes or context.policy.prefixes
        if len(prefixes) > context.config.max_prefixes:
            return Status.INSUFFICIENT_RESOURCES
    return None


def _check_prefixes(request: Request, context: Context) -> _Objection:
    listed, own = request.prefixes, context.policy.prefixes
    if request.deregisters:
        return None
    if not request.mobile_router:
        return Status.INVALID_PREFIX if listed else None
    if not own:
        return Status.FORWARDING_SETUP_FAILED
    if listed != own or context.current is None or context.current.prefixes != listed:
        for prefix in listed:
            if not context.config.home.covers(prefix):
                return Status.INVALID_PREFIX  # no route to it leads here, whoever owns it
            if prefix not in own:
                return Status.NOT_AUTHORIZED_FOR_PREFIX
    return None


def _check_holders(request: Request, context: Context) -> _Objection:
    if request.deregisters or not request.mobile_router:
        return None
    prefixes = request.prefixes or context.policy.prefixes
    if context.current is not None and context.current.prefixes == prefixes:
        return None
    for prefix in prefixes:
        if context.holders.get(prefix, request.home_address) != request.home_address:
            return Status.INVALID_PREFIX if request.prefixes else Status.FORWARDING_SETUP_FAILED
    return None


_Check = Callable[[Request, Context], _Objection]

_COMMON: tuple[_Check, ...] = (
    _check_registration_type,
    _check_deregistration,
    _check_authority,
    _check_subnet,
    _check_prefixes,
    _check_holders,
    _check_resources,
)
_FIRST: tuple[_Check, ...] = (
    _check_addressee,
    _check_flags,
    _check_nonce_indices,
    _check_care_of_address,
)
DIRECT: tuple[_Check, ...] = (
    *_FIRST,
    _check_identification,
    _check_sequence,
    _check_timestamp,
    *_COMMON,
)
"""For a Binding Update that the mobile router sent to us."""
RELAYED: tuple[_Check, ...] = (*_FIRST, _check_relayed_order, *_COMMON)
"""For one that a proxy relayed: a proxy repeats the same one when its acknowledgement was lost, and
another proxy's may have arrived before it."""


UNVERIFIED: tuple[_Check, ...] = (*_FIRST, _check_resources)
"""For one that only the primary can verify, and will judge."""


def first_objection(request: Request, context: Context, checks: tuple[_Check, ...]) -> _Objection:
    """What the first check that objects says; None when none does."""
    for check in checks:
        objection = check(request, context)
        if objection is not None:
            return objection
    return None


def depends_on_others(verdict: Verdict) -> bool:
    """Whether the verdict could be another one if a co-primary knew more: it is granted, or there is no
    binding to end."""
    return isinstance(verdict, Granted) or (
        isinstance(verdict, Refused) and verdict.status is Status.NOT_HOME_AGENT
    )


def judge(request: Request, context: Context, checks: tuple[_Check, ...]) -> Verdict:
    """Judge one request; changes nothing."""
    objection = first_objection(request, context, checks)
    if isinstance(objection, Drop):
        return objection
    if objection is not None:
        return Refused(objection, _acknowledged_sequence(objection, request, context))
    if request.deregisters:
        return Granted((), 0)
    prefixes = routed_prefixes(request, context.policy)
    lifetime = min(request.lifetime, context.config.max_binding_lifetime)
    if context.proxy is not None and context.current is not None and context.repeats(request):
        # Said once, granted once: the proxy cannot make a binding longer by repeating what it has relayed.
        lifetime = min(lifetime, max(int(context.current.expires - context.now.monotonic), 4))
    lifetime = lifetime // 4 * 4
    if context.subnet is FOREVER:
        return Granted(prefixes, lifetime)
    return _grant_in_subnet(prefixes, lifetime, context.subnet)


def routed_prefixes(request: Request, policy: MobileRouterPolicy) -> tuple[Prefix, ...]:
    """Those that a granted request is about: what it lists, or all that are its own (RFC 3963 s.6.2)."""
    if not request.mobile_router:
        return ()
    listed, own = request.prefixes, policy.prefixes
    return own if not listed or listed == own else listed


def _grant_in_subnet(prefixes: tuple[Prefix, ...], lifetime: int, subnet: Lifetimes) -> Granted:
    """As long as the subnet is valid; status 1 when the binding sees it deprecated, or end (RFC 6275
    s.10.3.1, which compares in units of 4 s)."""
    lifetime = int(min(lifetime, subnet.valid // 4 * 4))
    sees_its_end = subnet.preferred // 4 * 4 < lifetime or subnet.valid // 4 * 4 <= lifetime
    if subnet.preferred < 4 or sees_its_end:
        return Granted(prefixes, lifetime, Status.ACCEPTED_PREFIX_DISCOVERY_NECESSARY)
    return Granted(prefixes, lifetime)


def _acknowledged_sequence(status: Status, request: Request, context: Context) -> int:
    if status is Status.SEQUENCE_OUT_OF_WINDOW and context.last is not None:
        return context.last.order.sequence
    return request.sequence

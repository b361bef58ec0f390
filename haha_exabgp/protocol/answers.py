"""Binding Acknowledgements to mobile routers, and what anybody is answered whose message cannot be read."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.address import UNSPECIFIED, Address
from ..wire.codes import BindingAcknowledgementFlag, BindingErrorStatus, Status
from ..wire.errors import DropReason, MalformedPacket
from ..wire.fast_registration import Acknowledgement, push_usual_acknowledgement
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import BindingAcknowledgement
from ..wire.options import BindingRefreshAdvice, MobilityOption, ReplayProtection
from ..wire.timestamp import correction, from_unix
from .home import MobileRouterPolicy, SecurityAssociation
from .messages import acknowledgement_packet, binding_error_packet, parameter_problem_packet
from .node import Node
from .request import Request
from .time import Now


class Exchange(NamedTuple):
    """A Binding Update that waits for its answer: what is asked, whose it is, whereto the answer goes
    (the source of the Binding Update, whatever care-of address it names: RFC 6275 s.9.5.4)."""

    request: Request
    policy: MobileRouterPolicy
    source: Address
    association: SecurityAssociation
    """By which it was authenticated, and the answer will be: of two keys the one the mobile router has."""


_ROUTER = BindingAcknowledgementFlag.MOBILE_ROUTER
_NO_FLAG = BindingAcknowledgementFlag(0)


def response_flags(request: Request) -> BindingAcknowledgementFlag:
    """R is set when the Binding Update had it set (RFC 3963 s.6.2)."""
    return _ROUTER if request.mobile_router else _NO_FLAG


def accept(node: Node, exchange: Exchange, lifetime: int, now: Now, status: int = Status.ACCEPTED) -> None:
    """Status 0 or 1. `lifetime` in seconds."""
    node.counters["accepted"] += 1
    request = exchange.request
    if request.timestamp is None:
        _acknowledge(node, exchange, acceptance(node, request, lifetime, status))
    else:
        advice = _advice(node, lifetime)
        # RFC 4285 s.6: the timestamp comes back as it was.
        usual = Acknowledgement(
            status, response_flags(request), request.sequence, lifetime, request.timestamp, advice
        )
        association = exchange.association
        packet = push_usual_acknowledgement(
            usual,
            node.config.outer,
            exchange.source,
            request.home_address,
            request.care_of_address,
            association.spi,
            association.key,
            association.algorithm,
        )
        node.transmit(packet)
    if lifetime:
        node.accepted(request.home_address, now)


def refuse(
    node: Node,
    exchange: Exchange,
    status: int,
    now: Now,
    sequence: int | None = None,
    *,
    authentic: bool = True,
) -> None:
    """A status from 128; `sequence` is the Binding Update's own unless given."""
    request = exchange.request
    node.refused(request.home_address, status, exchange.source, now, authentic=authentic)
    if authentic or node.answers_stranger(now):
        _acknowledge(node, exchange, refusal(request, status, now, sequence))


def acceptance(node: Node, request: Request, lifetime: int, status: int) -> BindingAcknowledgement:
    """What says status 0 or 1."""
    advice = _advice(node, lifetime)
    options: tuple[MobilityOption, ...] = ()
    if advice is not None:
        options += (BindingRefreshAdvice(advice),)
    if request.timestamp is not None:
        options += (ReplayProtection(request.timestamp),)
    return BindingAcknowledgement(status, response_flags(request), request.sequence, lifetime, options)


def refusal(request: Request, status: int, now: Now, sequence: int | None = None) -> BindingAcknowledgement:
    """What says a status from 128."""
    stamp, own = request.timestamp, from_unix(now.wall)
    if status == Status.IDENTIFICATION_MISMATCH and stamp is not None:
        stamp = correction(stamp, own)
    elif status == Status.MESSAGE_IDENTIFICATION_REQUIRED:
        stamp = own
    return BindingAcknowledgement(
        status,
        response_flags(request),
        request.sequence if sequence is None else sequence,
        0,
        (ReplayProtection(stamp),) if stamp is not None else (),
    )


def _advice(node: Node, lifetime: int) -> int | None:
    advice = node.config.refresh_advice
    return None if advice is None or advice >= lifetime else advice


def _acknowledge(node: Node, exchange: Exchange, message: BindingAcknowledgement) -> None:
    request = exchange.request
    packet = acknowledgement_packet(
        node.config.outer,
        exchange.source,
        request.home_address,
        message,
        exchange.association,
        care_of_address=request.care_of_address,
    )
    node.transmit(packet)


def answer_malformed(node: Node, packet: MobilityPacket, error: MalformedPacket, now: Now) -> None:
    """Count a message that cannot be read; answer by Binding Error or Parameter Problem where RFC 6275 s.9.2
    says so, else in silence."""
    node.counters[f"dropped_{error.reason}"] += 1
    has_unknown_type = error.reason is DropReason.UNKNOWN_MOBILITY_TYPE
    if not has_unknown_type and error.parameter_problem_code is None:
        return
    if not packet.source.is_routable_unicast or packet.destination.is_multicast:
        return
    if not node.answers_stranger(now):
        return
    if not has_unknown_type:
        node.transmit(parameter_problem_packet(packet, error))
        return
    node.transmit(
        binding_error_packet(
            packet.destination,
            packet.source,
            packet.home_address or UNSPECIFIED,
            BindingErrorStatus.UNRECOGNIZED_MOBILITY_TYPE,
        )
    )

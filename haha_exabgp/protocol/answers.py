"""Binding Acknowledgements to mobile routers."""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.address import Address
from ..wire.codes import BindingAcknowledgementFlag, BindingUpdateFlag, Status
from ..wire.messages import BindingAcknowledgement
from ..wire.options import ReplayProtection
from ..wire.timestamp import correction, from_unix
from .home import MobileRouterPolicy, SecurityAssociation
from .messages import acknowledgement_packet
from .node import Node
from .registration import Request
from .time import Now


@dataclass(frozen=True, slots=True)
class Exchange:
    """A Binding Update that waits for its answer: what is asked, whose it is, whereto the answer goes
    (the source of the Binding Update, whatever care-of address it names: RFC 6275 s.9.5.4)."""

    request: Request
    policy: MobileRouterPolicy
    source: Address
    association: SecurityAssociation
    """By which it was authenticated, and the answer will be: of two keys the one the mobile router has."""


def response_flags(request: Request) -> BindingAcknowledgementFlag:
    """R is set when the Binding Update had it set (RFC 3963 s.6.2)."""
    if BindingUpdateFlag.MOBILE_ROUTER in request.flags:
        return BindingAcknowledgementFlag.MOBILE_ROUTER
    return BindingAcknowledgementFlag(0)


def accept(node: Node, exchange: Exchange, lifetime: int, now: Now) -> None:
    """Status 0. `lifetime` in seconds."""
    node.counters["accepted"] += 1
    _acknowledge(node, exchange, Status.ACCEPTED, exchange.request.sequence, lifetime, now=now)


def refuse(node: Node, exchange: Exchange, status: int, now: Now, sequence: int | None = None) -> None:
    """A status from 128; `sequence` is the Binding Update's own unless given."""
    node.counters[f"refused_{int(status)}"] += 1
    node.note(f"Binding Update of {exchange.policy.name} refused: status {int(status)}")
    if sequence is None:
        sequence = exchange.request.sequence
    _acknowledge(node, exchange, status, sequence, 0, now=now)


def _acknowledge(
    node: Node, exchange: Exchange, status: int, sequence: int, lifetime: int, *, now: Now
) -> None:
    # RFC 4285 s.6: the timestamp comes back as it was, unless it is what is wrong.
    request = exchange.request
    stamp = request.timestamp if request.timestamp is not None else from_unix(now.wall)
    if status == Status.IDENTIFICATION_MISMATCH:
        stamp = correction(stamp, from_unix(now.wall))
    message = BindingAcknowledgement(
        status, response_flags(request), sequence, lifetime, (ReplayProtection(stamp),)
    )
    packet = acknowledgement_packet(
        node.config.outer,
        exchange.source,
        request.home_address,
        message,
        exchange.association,
        care_of_address=request.care_of_address,
    )
    node.transmit(packet)

"""Messages between Home Agents (RFC 5096, Mobility Header type 11): how they are signed, checked, cut, asked
and answered. What they say is the business of who handles an operation.

They go between HAHA addresses, so inside the tunnel, and bear a MESG-ID timestamp and the MN-HA authenticator
under the mesh key (RFC 4285). It covers the receiver's address in place of a care-of address and the sender's
in place of a home address: a message can be brought to nobody else, nor back to its sender. Every message is
taken once (`replay_window`), in any order.

Whoever has something to say about an operation enters itself in `handlers`. What answers a question of ours
goes to who asked instead (`haha_requests`).

No packet is larger than 1280 octets: what does not fit is cut between records, with the M flag on every
message but the last. Each of these can be understood by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..wire.codes import HahaFlag, HahaOperation, Status
from ..wire.ipv6 import MobilityPacket
from ..wire.messages import HahaMessage
from ..wire.mobility import push_message
from ..wire.options import ReplayProtection, first_option
from .drops import Drop
from .haha_requests import MAX_OUTSTANDING, PATIENCE, HahaRequests, Outstanding, Record
from .home import Peer
from .messages import authentication_fault, haha_packet
from .node import Node
from .replay_window import ReplayWindow
from .time import Now

Handler = Callable[[HahaMessage, Peer, Now], None]
"""Gets an authentic message, who sent it, and the time."""

_FIXED = 12
"""Octets of a Mobility Header in front of the options."""
_ROOM = 1280 - 40 - 48
"""Octets for records: less the IPv6 header, the fixed part, the timestamp and the authenticator, with the
padding between them."""
_NO_FLAG = HahaFlag(0)


class HahaMessages:
    """The way from a Home Agent to the others, and back."""

    def __init__(self, node: Node, first_identifier: int) -> None:
        self._node = node
        self._requests = HahaRequests(first_identifier)
        self._windows = {peer.haha: ReplayWindow() for peer in node.config.peers}
        self.handlers: dict[HahaOperation, Handler] = {}
        """Who is told what another Home Agent asks or tells."""

    def receive(self, packet: MobilityPacket, message: HahaMessage, peer: Peer, now: Now) -> None:
        """A message of another Home Agent, by its HAHA address `peer`."""
        node = self._node
        if packet.destination != node.config.haha or packet.checksum_source != packet.source:
            node.drop(Drop.NOT_FOR_US)
            return
        stamp = first_option(message.options, ReplayProtection)
        fault = authentication_fault(packet.header, packet.destination, packet.source, node.config.mesh)
        if fault is None and (stamp is None or not self._windows[peer.haha].takes(stamp.timestamp, now.wall)):
            fault = Drop.REPLAYED
        if fault is not None:
            node.drop(fault)
            return
        question = None
        if message.identifier and not message.flags & HahaFlag.ACKNOWLEDGE:
            question = self._requests.answered_by(message, peer)
        handler = self.handlers.get(message.operation)
        if question is not None:
            question.answered(message, now)
        elif handler is not None:
            handler(message, peer, now)
        elif message.operation in _ANSWERS_ONLY:
            node.drop(Drop.NOT_OUTSTANDING)
        else:
            node.drop(Drop.UNEXPECTED_MESSAGE)

    def tell(
        self,
        peer: Peer,
        operation: HahaOperation,
        records: Sequence[Record],
        now: Now,
        *,
        argument: int = 0,
        flags: HahaFlag = _NO_FLAG,
        identifier: int = 0,
    ) -> None:
        """Send a message once. Raises ValueError when a record fits into no message, or a field is out of
        range."""
        config = self._node.config
        for options, more in _cut(records):
            self._node.counters[f"sent_{operation.name.lower()}"] += 1
            message = HahaMessage(
                operation,
                flags | HahaFlag.MORE_FRAGMENTS if more else flags,
                identifier,
                argument,
                (ReplayProtection(self._node.stamp(now)), *options),
            )
            self._node.transmit(haha_packet(config.haha, peer.haha, message, config.mesh))

    def answer(
        self,
        asked: HahaMessage,
        peer: Peer,
        operation: HahaOperation,
        records: Sequence[Record],
        now: Now,
        *,
        argument: int = 0,
    ) -> None:
        """Answer what a peer has asked. Raises ValueError as `tell`."""
        self.tell(peer, operation, records, now, argument=argument, identifier=asked.identifier)

    def acknowledge(self, asked: HahaMessage, peer: Peer, now: Now, status: int = Status.ACCEPTED) -> None:
        """Answer by a mere status, where the message wants an acknowledgement."""
        if asked.flags & HahaFlag.ACKNOWLEDGE:
            operation = HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT
            self.answer(asked, peer, operation, (), now, argument=status)

    def ask(
        self,
        peer: Peer,
        operation: HahaOperation,
        records: Sequence[Record],
        now: Now,
        *,
        answered: Callable[[HahaMessage, Now], None],
        unanswered: Callable[[Now], None] = lambda now: None,
        argument: int = 0,
        patience: float = PATIENCE,
    ) -> int | None:
        """Send a message, again and again until it is answered or `patience` seconds have passed. One of the
        two functions is called then. Returns its Identifier; None when too much is outstanding, and nothing
        is sent. Raises ValueError as `tell`."""
        if len(self._requests) >= MAX_OUTSTANDING:
            self._node.drop(Drop.TOO_MANY_OUTSTANDING)
            return None
        question = Outstanding(
            peer,
            self._requests.new_identifier(peer),
            operation,
            records,
            argument,
            HahaFlag.ACKNOWLEDGE,
            answered,
            unanswered,
            now.monotonic + patience,
        )
        self._send(question, now)
        self._requests.add(question, now)
        return question.identifier

    def cancel(self, peer: Peer, identifier: int) -> None:
        """Ask no more; nobody is told."""
        self._requests.cancel(peer, identifier)

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        return self._requests.next_timer()

    def handle_timer(self, now: Now) -> None:
        """Ask again what was not answered, or give it up."""
        for question, again in self._requests.due(now):
            if again:
                self._send(question, now)
            else:
                self._node.counters[f"unanswered_{question.operation.name.lower()}"] += 1
                question.unanswered(now)

    def _send(self, question: Outstanding, now: Now) -> None:
        self.tell(
            question.peer,
            question.operation,
            question.records,
            now,
            argument=question.argument,
            flags=question.flags,
            identifier=question.identifier,
        )


_ANSWERS_ONLY = frozenset((HahaOperation.RESOLUTION_REPLY, HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT))


def _cut(records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
    """The options of each message, and whether another one follows."""
    options: Record = ()
    room = _ROOM
    for record in records:
        size = _size(record)
        if size > _ROOM:
            raise ValueError(f"a record of {size} octets; {_ROOM} is the most")
        if size > room:
            yield options, True
            options, room = (), _ROOM
        options += record
        room -= size
    yield options, False


def _size(record: Record) -> int:
    """Octets, in whole units of 8: so all records stand as they would stand alone."""
    alone = HahaMessage(HahaOperation.HELLO, _NO_FLAG, 0, 0, record)
    return (len(push_message(alone)) - _FIXED + 7) // 8 * 8

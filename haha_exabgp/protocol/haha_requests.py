"""What Home Agents ask each other, until it is answered.

    ask ──> outstanding ──answer──────> answered
            outstanding ──timeout─────> outstanding   sent again, after twice the time
            outstanding ──patience────> unanswered

An answer bears the Identifier of what it answers and comes from who was asked. Which operations answer which
is a table, below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..wire.codes import HahaFlag, HahaOperation
from ..wire.messages import HahaMessage
from ..wire.options import MobilityOption
from .deadlines import Deadlines
from .home import Peer
from .time import Now

FIRST_TIMEOUT = 0.5
MAX_TIMEOUT = 32.0
"""Seconds until the first repetition, doubled each time up to the other."""
PATIENCE = 3.5
"""Seconds until a question is given up, where nothing else is said: it has been sent three times."""
MAX_OUTSTANDING = 4096
"""Of one Home Agent, to all others. What is asked beyond is not sent."""

ANSWERS: dict[HahaOperation, frozenset[HahaOperation]] = {
    HahaOperation.BINDING_INFORMATION_REQUEST: frozenset(
        (HahaOperation.BINDING_INFORMATION_UPDATE, HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT)
    ),
    HahaOperation.BINDING_INFORMATION_UPDATE: frozenset((HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT,)),
    HahaOperation.RESOLUTION_REQUEST: frozenset((HahaOperation.RESOLUTION_REPLY,)),
    HahaOperation.RESOLUTION_PURGE: frozenset((HahaOperation.BINDING_INFORMATION_ACKNOWLEDGEMENT,)),
}
"""What can be asked, and what answers it. An answer wants no acknowledgement itself."""

Record = tuple[MobilityOption, ...]
"""Options that belong together: never spread over two messages."""


class Outstanding(NamedTuple):
    """One question that waits for its answer."""

    peer: Peer
    identifier: int
    operation: HahaOperation
    records: Sequence[Record]
    argument: int
    flags: HahaFlag
    answered: Callable[[HahaMessage, Now], None]
    """Called with each message of the answer; with `MORE_FRAGMENTS` another one is to come."""
    unanswered: Callable[[Now], None]
    until: float
    """Then it is given up, on the monotonic clock."""
    timeout: float = FIRST_TIMEOUT


_Key = tuple[bytes, bytes]


class HahaRequests:
    """The outstanding questions of one Home Agent."""

    def __init__(self, first_identifier: int) -> None:
        """`first_identifier`: 16 bits, another one after each start, so that no answer to the last run's
        questions is taken for one to ours."""
        self._outstanding: dict[_Key, Outstanding] = {}
        self._deadlines: Deadlines[_Key] = Deadlines()
        self._identifier = first_identifier

    def __len__(self) -> int:
        return len(self._outstanding)

    def new_identifier(self, peer: Peer) -> int:
        """One that is no outstanding question's; 1 to 65535, since 0 means unsolicited."""
        while True:
            self._identifier = self._identifier % 65535 + 1
            if _key(peer, self._identifier) not in self._outstanding:
                return self._identifier

    def add(self, question: Outstanding, now: Now) -> None:
        """Wait for an answer."""
        key = _key(question.peer, question.identifier)
        self._outstanding[key] = question
        self._deadlines.set(key, min(now.monotonic + question.timeout, question.until))

    def answered_by(self, message: HahaMessage, peer: Peer) -> Outstanding | None:
        """The question that a message of this peer answers; it waits no more when that is all of the
        answer."""
        key = _key(peer, message.identifier)
        question = self._outstanding.get(key)
        if question is None or message.operation not in ANSWERS[question.operation]:
            return None
        if not message.flags & HahaFlag.MORE_FRAGMENTS:
            self.cancel(peer, message.identifier)
        return question

    def cancel(self, peer: Peer, identifier: int) -> None:
        """Wait no more; nobody is told."""
        key = _key(peer, identifier)
        self._outstanding.pop(key, None)
        self._deadlines.cancel(key)

    def next_timer(self) -> float | None:
        """When `due` is wanted next, on the monotonic clock."""
        return self._deadlines.next()

    def due(self, now: Now) -> Iterator[tuple[Outstanding, bool]]:
        """What has waited long enough, each with whether to send it again; else it is given up."""
        for key in list(self._deadlines.due(now.monotonic)):
            question = self._outstanding.get(key)
            if question is None:
                continue
            if question.until <= now.monotonic:
                del self._outstanding[key]
                yield question, False
                continue
            again = question._replace(timeout=min(question.timeout * 2, MAX_TIMEOUT))
            self.add(again, now)
            yield again, True


def _key(peer: Peer, identifier: int) -> _Key:
    return peer.haha, identifier.to_bytes(2, "big")

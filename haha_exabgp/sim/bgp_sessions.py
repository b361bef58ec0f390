"""The BGP sessions between Home Agents: each side believes in one by itself, for as long as the hold time;
what is said in one arrives late and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from random import Random

from ..wire.address import Address
from .bgp import HOLD_TIME, KEEPALIVE, Marker, Message, Speaker
from .loop import EventLoop

_GAP = 0.0005
"""Seconds between two messages of one session."""


class _Session:
    """Between two speakers; each side believes by itself that it is up."""

    def __init__(self, ends: tuple[Speaker, Speaker]) -> None:
        self.ends = ends
        self.up = {ends[0].address: False, ends[1].address: False}
        self.queues: dict[Address, deque[Message]] = {ends[0].address: deque(), ends[1].address: deque()}
        """By who has sent what is in it."""
        self.number = 0
        """Of the TCP connection."""
        self.heard_at = 0.0

    def other(self, speaker: Speaker) -> Speaker:
        return self.ends[1] if speaker is self.ends[0] else self.ends[0]


class Mesh:
    """The sessions between all speakers."""

    def __init__(
        self, loop: EventLoop, random: Random, latency: Callable[[Address, Address], float | None]
    ) -> None:
        """`latency(one, other)`: seconds one way between two HAHA addresses now; None: nothing passes."""
        self._loop = loop
        self._random = random
        self._latency = latency
        self._sessions: dict[Address, dict[Address, _Session]] = {}
        self._speakers: list[Speaker] = []

    def add(self, speaker: Speaker, peers: Container[Address]) -> None:
        """One more; it has sessions with those of its peers that are there already."""
        self._sessions[speaker.address] = {}
        for other in self._speakers:
            if other.address not in peers:
                continue
            session = _Session((other, speaker))
            self._sessions[other.address][speaker.address] = session
            self._sessions[speaker.address][other.address] = session
            self._loop.after(self._random.uniform(0, KEEPALIVE), self._look_after, session)
        self._speakers.append(speaker)

    def sessions_of(self, speaker: Speaker) -> list[tuple[Address, bool]]:
        """Every peer, and whether the session is up on this side."""
        return [(peer, one.up[speaker.address]) for peer, one in self._sessions[speaker.address].items()]

    def send(self, speaker: Speaker, peer: Address, message: Message) -> None:
        """To one peer, behind what was sent before; nothing without a session."""
        session = self._sessions[speaker.address][peer]
        if not session.up[speaker.address]:
            return
        queue = session.queues[speaker.address]
        queue.append(message)
        if len(queue) == 1:
            delay = self._latency(speaker.address, peer) or KEEPALIVE
            self._loop.after(delay, self._deliver, session, speaker, session.number)

    def hook_started(self, speaker: Speaker) -> None:
        """It asks again what ExaBGP has told the one before."""
        for peer, up in self.sessions_of(speaker):
            if up:
                self.send(speaker, peer, Marker.ROUTE_REFRESH)

    def speaker_died(self, speaker: Speaker, *, with_host: bool) -> None:
        """The kernel of its host closes its connections, if there still is one."""
        for peer, session in self._sessions[speaker.address].items():
            was_up = session.up[speaker.address]
            session.up[speaker.address] = False
            session.queues[speaker.address].clear()
            latency = None if with_host else self._latency(speaker.address, peer)
            if was_up and latency is not None:
                self._loop.after(latency, self._reset, session, session.other(speaker), session.number)

    def _reset(self, session: _Session, side: Speaker, number: int) -> None:
        if number == session.number:
            self._lose(session, side)

    def _lose(self, session: _Session, side: Speaker) -> None:
        if session.up[side.address]:
            session.up[side.address] = False
            session.queues[side.address].clear()
            side.session_changed(session.other(side).address, False)

    def _look_after(self, session: _Session) -> None:
        one, other = session.ends
        now = self._loop.now
        passes = one.is_running and other.is_running
        passes = passes and self._latency(one.address, other.address) is not None
        if passes:
            session.heard_at = now
        elif now - session.heard_at > HOLD_TIME:
            # Each side counts for itself.
            self._lose(session, one)
            self._loop.after(self._random.uniform(0, KEEPALIVE), self._reset, session, other, session.number)
        if passes and not (session.up[one.address] and session.up[other.address]):
            # Who still believes in the connection before this one gives it up for this one.
            self._lose(session, one)
            self._lose(session, other)
            session.number += 1
            for side in session.ends:
                session.up[side.address] = True
                side.session_changed(session.other(side).address, True)
            for side in session.ends:
                side.tell_all(session.other(side).address, mark=False)
        self._loop.after(KEEPALIVE, self._look_after, session)

    def _deliver(self, session: _Session, sender: Speaker, number: int) -> None:
        queue = session.queues[sender.address]
        if number != session.number or not queue:
            return
        receiver = session.other(sender)
        if self._latency(sender.address, receiver.address) is None:
            # TCP sends it again, until the session ends.
            self._loop.after(self._random.uniform(0.2, 1.0), self._deliver, session, sender, number)
            return
        message = queue.popleft()
        if session.up[receiver.address]:
            receiver.receive(sender.address, message)
        if queue and number == session.number:
            self._loop.after(_GAP, self._deliver, session, sender, number)

"""Between the agent and ExaBGP: the whole behaviour of `haha hook`, without a socket, pipe or clock.

On start (and whenever the count of answers went wrong, see `api_session`):

1. handshake;
2. `show neighbor`: ExaBGP tells a new process nothing about its sessions;
3. `show adj-rib out`: what an earlier hook announced is still announced, so what is no longer wanted is
   withdrawn and what is there is not repeated;
4. a route refresh is asked of every peer whose session was up before us.

The route refresh, and not ExaBGP's adj-rib-in, because its routes come in the same stream as the live
ones, so no order has to be restored; its end is marked (ExaBGP, FRR and BIRD all do RFC 7313); and adj-rib-in
costs memory and twice the time per route all the time, and keeps only the link-local one of two next hops.
An ExaBGP with nothing to tell marks no end until it has: the agent's stale timer covers that. And our own
ExaBGP takes the marks for requests, and sends the peer all it has twice: a cost, of a rare case, and no harm.
For an agent that comes back the routes are in `LearnedRoutes`: no peer is asked.

A peer that announces more than it may is not cut off (`learned`): what is too much is passed over, and the
agent told.

While the agent is away nothing is touched until the lease ends; then everything is withdrawn.

End-of-RIB is sent once for each session that comes up (the configuration says `manual-eor true`), as soon
as the agent has stated its whole set and all of it has been acknowledged for that peer. Before that a
restarted ExaBGP would make its peers drop all routes it has not announced again yet (RFC 4724 s.4.2).
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice

from ..protocol.routes import Announcement, Audience
from ..wire.address import Address, Prefix
from . import commands, events, message_lines, messages
from .api_session import Answered, ApiSession, Output, Ready, Result
from .commands import Announce, PathAttributes, RequestRefresh, SendEndOfRib, Withdraw
from .communities import path_attributes
from .learned import LearnedRoutes, LimitState
from .outgoing import OutgoingRoutes

DEFAULT_LEASE = 180.0
"""Seconds, until an agent has said what it wants."""
REPORT_INTERVAL = 1.0
"""Seconds between two `Acknowledged` messages while commands are pending."""
LOGGED_EACH = 20
"""Times the same complaint is logged; after that it is only counted."""

log = logging.getLogger(__name__)


class Bridge:
    """One hook process. Bytes and the time come in; `take_commands` and `take_messages` give what is to be
    written to ExaBGP and to the agent. Nothing raises on bad input: it is logged and counted."""

    def __init__(self, now: float, lease: float = DEFAULT_LEASE) -> None:
        self.counters: Counter[str] = Counter()
        self._session = ApiSession(now)
        self._routes = OutgoingRoutes()
        self._learned = LearnedRoutes()
        self._control: deque[commands.Command] = deque()
        self._messages: list[bytes] = []
        self._version = ""
        self._neighbors: dict[Address, bool] = {}
        self._neighbors_known = False
        self._reasons: dict[Address, str] = {}
        self._refreshing: set[Address] = set()
        self._end_of_rib_owed: set[Address] = set()
        self._connected = False
        self._lease = lease
        self._lease_end: float | None = now + lease
        self._whole_set_known = False
        self._stating: messages.Wanted | None = None
        self._stated: list[Announcement] = []
        self._wanted_asn = 0
        self._groups: Mapping[Audience, tuple[Address, ...]] = {}
        self._bad_routes: tuple[messages.BadRoute, ...] = ()
        self._reported: messages.Acknowledged | None = None
        self._report_after = now

    # ExaBGP.

    def receive_from_exabgp(self, data: bytes, now: float) -> None:
        """Take in what ExaBGP wrote to our standard input."""
        for result in self._session.receive(data, now):
            self._result(result)
        self._pump(now)

    def take_commands(self) -> bytes:
        """Take what is to be written to our standard output."""
        return self._session.data_to_send()

    # The agent.

    def agent_connected(self, now: float) -> None:
        """A connection to the agent stands: it is told everything."""
        self._connected = True
        self._stating, self._stated = None, []
        self._tell_everything()
        self._pump(now)

    def agent_lost(self, now: float) -> None:
        """The connection is gone: the lease begins to run."""
        self._connected = False
        self._messages.clear()
        if self._lease_end is None:
            self._lease_end = now + self._lease
            log.warning("the agent is gone; its routes stay for %g s", self._lease)

    def receive_from_agent(self, line: bytes, now: float) -> None:
        """Take in one line that the agent wrote."""
        try:
            message = message_lines.decode_agent_message(line)
        except message_lines.MessageError as error:
            self._count("bad_agent_message", "%s", error)
            return
        for bad in message.bad:
            self._count("bad_agent_route", "%s: %s", bad.prefix, bad.reason)
        match message:
            case messages.Change():
                self._change(message)
            case messages.Wanted():
                self._stating, self._stated = message, list(message.routes)
                self._bad_routes = message.bad
            case messages.More():
                self._stated += message.routes
                self._bad_routes += message.bad
        if not isinstance(message, messages.Change) and not message.more:
            self._state_whole_set()
        self._pump(now)

    def take_messages(self) -> list[bytes]:
        """Take the lines that are to be written to the agent."""
        taken = self._messages
        self._messages = []
        return taken

    # Time.

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted next, on the monotonic clock."""
        times = [self._session.next_timer(), self._lease_end]
        if self._may_report() and self._reported != self._report():
            times.append(self._report_after)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._session.handle_timer(now)
        if self._lease_end is not None and now >= self._lease_end:
            self._lease_end = None
            self._whole_set_known = True
            self._routes.want({})
            log.warning("the lease of the agent has ended: all routes are withdrawn")
        self._pump(now)

    # What comes from ExaBGP.

    def _result(self, result: Result) -> None:
        match result:
            case Ready():
                self._start(result.version)
            case Answered():
                self._answered(result)
            case Output(commands.ShowNeighbors(), line):
                self._show_neighbors(line)
            case Output(_, line):
                self._show_route(line)
            case events.SessionChanged():
                self._session_changed(result)
            case events.RoutesReceived():
                self.counters["without_global_next_hop"] += result.without_global_next_hop
                self._receive_routes(result)
            case events.EndOfRib(peer) | events.RefreshMarker(peer, True):
                self._refreshing.discard(peer)
                self._learned.set_complete(peer)
                self._tell(message_lines.encode_end_of_rib(peer))
            case events.ShuttingDown():
                log.info("ExaBGP shuts down")

    def _receive_routes(self, update: events.RoutesReceived) -> None:
        peer, before = update.peer, self._learned.limit_state(update.peer)
        taken = self._learned.receive(update)
        self._tell(*message_lines.encode_learned(peer, taken, update.withdrawn))
        if self._learned.has_room_again(peer):
            self._refreshing.add(peer)
            self._control.append(RequestRefresh(peer))
        state = self._learned.limit_state(peer)
        if state != before:
            self._tell(message_lines.encode_limit(peer, state))

    def _start(self, version: str) -> None:
        self._version = version
        self._control.clear()
        if not version.startswith(commands.SUPPORTED_VERSION):
            self._count("unsupported_exabgp", "ExaBGP %s is not supported, 5.x is: no routes", version)
            self._tell_everything()
            return
        self._routes.begin_read_back()
        self._control += (commands.ShowNeighbors(), commands.ShowRoutes())

    def _answered(self, answer: Answered) -> None:
        command = answer.command
        match command:
            case Announce() | Withdraw():
                self._routes.answered(command, answer.accepted)
                if not answer.accepted:
                    self.counters["command_refused"] += 1
            case commands.ShowRoutes():
                self._routes.end_read_back()
            case SendEndOfRib(neighbor) | RequestRefresh(neighbor):
                if not answer.accepted and self._neighbors.get(neighbor):
                    self._count("command_refused", "refused: %r", command)
            case commands.ShowNeighbors():
                pass

    def _show_neighbors(self, line: str) -> None:
        try:
            shown = events.parse_neighbors(line)
        except ValueError as error:
            self._count("unexpected_line", "%s", error)
            return
        for neighbor in [one for one in self._neighbors if one not in shown]:
            del self._neighbors[neighbor]
            self._routes.neighbor_gone(neighbor)
        for neighbor, up in shown.items():
            known_up = self._neighbors.get(neighbor, False)
            self._neighbors[neighbor] = up
            self._routes.session_changed(neighbor, up)
            if up:
                self._end_of_rib_owed.add(neighbor)
            elif known_up:
                self._session_over(neighbor)
            if up and (not known_up or neighbor in self._refreshing):
                self._refreshing.add(neighbor)
                self._control.append(RequestRefresh(neighbor))
        self._neighbors_known = True
        self._tell_everything()

    def _show_route(self, line: str) -> None:
        shown = commands.parse_shown_route(line)
        if shown is None:
            self._count("unexpected_line", "not a route: %.200s", line)
        else:
            self._routes.read_back(shown.neighbor, shown.prefix, shown.attributes)

    def _session_changed(self, change: events.SessionChanged) -> None:
        peer = change.peer
        if not change.up and self._neighbors.get(peer) is False:
            # ExaBGP says so at every attempt to connect that fails.
            return
        log.info("session to %s is %s %s", peer, "up" if change.up else "down", change.reason)
        self._neighbors[peer] = change.up
        self._reasons[peer] = change.reason
        self._session_over(peer)
        if change.up:
            self._end_of_rib_owed.add(peer)
        self._routes.session_changed(peer, change.up)
        self._tell(message_lines.encode_session(peer, change.up, change.reason))

    def _session_over(self, peer: Address) -> None:
        self._learned.clear(peer)
        self._refreshing.discard(peer)
        self._end_of_rib_owed.discard(peer)
        outdated = (SendEndOfRib(peer), RequestRefresh(peer))
        self._control = deque(one for one in self._control if one not in outdated)

    # What comes from the agent.

    def _state_whole_set(self) -> None:
        stating, self._stating = self._stating, None
        if stating is None:
            self._count("bad_agent_message", "a part of a set that was not begun")
            return
        self._lease, self._lease_end = stating.lease, None
        self._learned.limit = stating.limit
        self._wanted_asn, self._groups = stating.asn, stating.groups
        wanted: dict[Address, dict[Prefix, PathAttributes]] = {}
        for route in self._stated:
            attributes = path_attributes(route, stating.asn)
            for neighbor in stating.groups.get(route.audience, ()):
                wanted.setdefault(neighbor, {})[route.prefix] = attributes
        self._stated = []
        self._whole_set_known = True
        self._routes.want(wanted)

    def _change(self, change: messages.Change) -> None:
        if not self._whole_set_known or self._stating is not None:
            self._count("bad_agent_message", "a change before the whole set was stated")
            return
        for route in change.announce:
            attributes = path_attributes(route, self._wanted_asn)
            for neighbor in self._groups.get(route.audience, ()):
                self._routes.change(neighbor, route.prefix, attributes)
        for audience, prefix in change.withdraw:
            for neighbor in self._groups.get(audience, ()):
                self._routes.change(neighbor, prefix, None)

    # What goes out.

    def _pump(self, now: float) -> None:
        """Send what there is room for: control commands first, because some must be alone."""
        while self._session.ready:
            self._owe_end_of_rib()
            if self._control:
                if not self._session.room(self._control[0].exclusive):
                    break
                self._session.send(self._control.popleft(), now)
            elif not self._send_route_command(now):
                break
        self._report_if_due(now)

    def _send_route_command(self, now: float) -> bool:
        # A new hook knows what is announced before it knows what is wanted: that is no reason to withdraw.
        if not self._whole_set_known or not self._session.room():
            return False
        command = self._routes.next_command()
        if command is None:
            return False
        try:
            self._session.send(command, now)
        except ValueError as error:
            self._count("command_refused", "not sent: %s", error)
            self._routes.answered(command, False)
        return True

    def _owe_end_of_rib(self) -> None:
        if not self._whole_set_known:
            return
        for neighbor in [one for one in self._end_of_rib_owed if self._routes.settled(one)]:
            self._end_of_rib_owed.discard(neighbor)
            self._control.append(SendEndOfRib(neighbor))

    def _tell(self, *lines: bytes) -> None:
        if self._connected:
            self._messages.extend(lines)

    def _tell_everything(self) -> None:
        if self._version:
            self._tell(message_lines.encode_hello(self._version))
        if not self._neighbors_known:
            return
        for peer, up in self._neighbors.items():
            self._tell(message_lines.encode_session(peer, up, self._reasons.get(peer, "")))
            self._tell(*message_lines.encode_learned(peer, self._learned.routes(peer)))
            if (state := self._learned.limit_state(peer)) != LimitState():
                self._tell(message_lines.encode_limit(peer, state))
            if self._learned.is_complete(peer):
                self._tell(message_lines.encode_end_of_rib(peer))
        self._reported = None

    def _may_report(self) -> bool:
        return self._connected and self._neighbors_known

    def _report(self) -> messages.Acknowledged:
        missing = tuple(
            messages.BadRoute(str(one), "not a neighbor in the configuration of ExaBGP")
            for one in self._routes.not_configured()
        )
        refused = tuple(
            messages.BadRoute(str(prefix), f"refused by ExaBGP for {neighbor}")
            for neighbor, prefix in islice(self._routes.refused(), message_lines.REFUSALS_TOLD)
        )
        return messages.Acknowledged(
            self._routes.acknowledged, missing + refused + self._bad_routes, self._routes.pending
        )

    def _report_if_due(self, now: float) -> None:
        if not self._may_report():
            return
        report = self._report()
        if report == self._reported or (report.pending and now < self._report_after):
            return
        self._reported = report
        self._report_after = now + REPORT_INTERVAL
        self._tell(message_lines.encode_acknowledged(report))

    def _count(self, name: str, text: str, *arguments: object) -> None:
        self.counters[name] += 1
        if self.counters[name] <= LOGGED_EACH:
            log.warning(text, *arguments)

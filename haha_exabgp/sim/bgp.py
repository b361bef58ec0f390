"""BGP of a Home Agent: ExaBGP and `haha hook` on its host. The sessions are in `bgp_sessions.py`.

Modelled is what the agent notices: sessions that come up and go down; End-of-RIB once the hook knows the
whole set; the lease of an agent that has gone; a hook that is respawned and asks its peers again (route
refresh): as `bgp/bridge.py` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from random import Random
from typing import NamedTuple, Protocol

from ..protocol.home import HomeAgentConfig
from ..protocol.routes import Announcement, Audience, LearnedRoute
from ..wire.address import Address, Prefix
from .loop import EventLoop
from .site_router import RouterSession

KEEPALIVE = 3.0
HOLD_TIME = 9.0
"""Seconds."""
LEASE = 180.0
"""Seconds that a hook keeps the announcements of an agent that has gone."""
RESPAWN = 1.2
"""Seconds until ExaBGP has another hook, and that one knows what is announced."""
_CONNECT = (0.1, 2.0)
"""Seconds until a hook tries its agent again."""
_LINK_DELAY = 0.001
"""Seconds between the hook and its agent."""


class Announced(NamedTuple):
    """BGP UPDATE."""

    announcement: Announcement


class Withdrawn(NamedTuple):
    """BGP UPDATE that takes a route back."""

    prefix: Prefix


class Marker(Enum):
    """Other messages of a session."""

    END_OF_RIB = auto()
    ROUTE_REFRESH = auto()


Message = Announced | Withdrawn | Marker


class Agent(Protocol):
    """The agent's end of the link to the hook."""

    def hook_connected(self) -> Iterable[Announcement]: ...

    def hook_lost(self) -> None: ...

    def hear_hello(self, link: int) -> None: ...

    def hear_session(self, link: int, peer: Address, up: bool) -> None: ...

    def hear_routes(
        self, link: int, peer: Address, announced: tuple[LearnedRoute, ...], gone: tuple[Prefix, ...]
    ) -> None: ...

    def hear_end_of_rib(self, link: int, peer: Address) -> None: ...


class Sessions(Protocol):
    """Those of all speakers with each other."""

    def sessions_of(self, speaker: Speaker) -> list[tuple[Address, bool]]: ...

    def send(self, speaker: Speaker, peer: Address, message: Message) -> None: ...

    def hook_started(self, speaker: Speaker) -> None: ...

    def speaker_died(self, speaker: Speaker, *, with_host: bool) -> None: ...


class Speaker:
    """ExaBGP and the hook on one host."""

    def __init__(
        self,
        mesh: Sessions,
        config: HomeAgentConfig,
        agent: Agent,
        router: RouterSession,
        *,
        loop: EventLoop,
        random: Random,
    ) -> None:
        self._mesh = mesh
        self.address = config.haha
        lending = config.lending_sessions
        self.audiences: dict[Audience, tuple[Address, ...]] = {
            Audience.MESH: config.mesh_sessions,
            Audience.OTHER_SITES: config.other_sites_sessions,
            Audience.SATELLITE: () if config.is_satellite else lending,
            Audience.PARENT: lending if config.is_satellite else (),
        }
        """The peers of each but the site's router, as `agent/home_agent.py` has them."""
        self._agent = agent
        self._router = router
        self._loop = loop
        self._random = random
        self.is_running = False
        self._hook_is_ready = False
        self._whole_set_known = False
        self.announced: dict[tuple[Audience, Prefix], Announcement] = {}
        """What ExaBGP announces: it forgets when it dies."""
        self._learned: dict[Address, dict[Prefix, LearnedRoute]] = {}
        self._complete: dict[Address, None] = {}
        self.link = 0
        """Number of the connection to the agent; 0 while there is none."""
        self._links = 0
        self._lives = 0
        """Of the hook: what an earlier one meant to do is void."""
        self._agent_is_up = False
        self.lease = 0
        """Number of the lease that runs, or ran last: a hook that is respawned begins another."""

    # Life

    def start(self) -> None:
        """ExaBGP starts, with a hook."""
        self.is_running = True
        self.announced.clear()
        self._router.open_session()
        self._start_hook()

    def die(self, *, with_host: bool) -> None:
        """ExaBGP dies and its hook with it."""
        self.is_running = False
        self._router.lose_session(host_is_down=with_host)
        self._mesh.speaker_died(self, with_host=with_host)
        self.announced.clear()
        self._end_hook()

    def kill_hook(self) -> None:
        """The hook dies; ExaBGP makes another."""
        if self.is_running and self._hook_is_ready:
            self._end_hook()
            self._loop.after(RESPAWN, self._start_hook)

    def _start_hook(self) -> None:
        if not self.is_running:
            return
        self._hook_is_ready = True
        self._lives += 1
        self._whole_set_known = False
        self._learned.clear()
        self._complete.clear()
        self._begin_lease()
        self._mesh.hook_started(self)
        if self._agent_is_up:
            self._connect_soon()

    def _end_hook(self) -> None:
        self._hook_is_ready = False
        self._lives += 1
        if self.link:
            self.link = 0
            self._agent.hook_lost()

    # The agent

    def agent_started(self) -> None:
        """It listens from now on."""
        self._agent_is_up = True
        if self._hook_is_ready:
            self._connect_soon()

    def agent_died(self) -> None:
        """The connection breaks; the lease begins to run."""
        self._agent_is_up = False
        if self.link:
            self.link = 0
            self._begin_lease()

    def change(self, announce: Iterable[Announcement], withdraw: Iterable[Announcement]) -> None:
        """The agent wants something else; a hook that is not connected hears of it when it is."""
        if not self.link:
            return
        for one in announce:
            self._announce(one)
        for one in withdraw:
            self._withdraw((one.audience, one.prefix))

    def _connect_soon(self) -> None:
        self._loop.after(self._random.uniform(*_CONNECT), self._connect, self._lives)

    def _connect(self, life: int) -> None:
        if life != self._lives or not self._agent_is_up or self.link:
            return
        self._links += 1
        self.link = self._links
        self.lease += 1
        self._tell_everything()
        self._state_whole_set(self._agent.hook_connected())

    def _tell_everything(self) -> None:
        self._tell(self._agent.hear_hello)
        for peer, up in self._mesh.sessions_of(self):
            self._tell(self._agent.hear_session, peer, up)
            routes = tuple(self._learned.get(peer, {}).values())
            if routes:
                self._tell(self._agent.hear_routes, peer, routes, ())
            if peer in self._complete:
                self._tell(self._agent.hear_end_of_rib, peer)

    def _tell(self, hear: Callable[..., None], *what: object) -> None:
        if self.link:
            self._loop.after(_LINK_DELAY, hear, self.link, *what)

    def _begin_lease(self) -> None:
        self.lease += 1
        self._loop.after(LEASE, self._end_lease, self.lease)

    def _end_lease(self, lease: int) -> None:
        if lease == self.lease and self._hook_is_ready:
            self._state_whole_set(())

    def _state_whole_set(self, announcements: Iterable[Announcement]) -> None:
        wanted = {(one.audience, one.prefix): one for one in announcements}
        for key in [key for key in self.announced if key not in wanted]:
            self._withdraw(key)
        for one in wanted.values():
            self._announce(one)
        if not self._whole_set_known:
            self._whole_set_known = True
            self._router.end_of_rib()
            for peer, up in self._mesh.sessions_of(self):
                if up:
                    self._mesh.send(self, peer, Marker.END_OF_RIB)

    def _announce(self, one: Announcement) -> None:
        key = (one.audience, one.prefix)
        if self.announced.get(key) == one:
            return
        self.announced[key] = one
        if one.audience is Audience.SITE:
            self._router.tell(one.prefix, one)
        else:
            for peer in self.audiences[one.audience]:
                self._mesh.send(self, peer, Announced(one))

    def _withdraw(self, key: tuple[Audience, Prefix]) -> None:
        if self.announced.pop(key, None) is None:
            return
        audience, prefix = key
        if audience is Audience.SITE:
            self._router.tell(prefix, None)
        else:
            for peer in self.audiences[audience]:
                self._mesh.send(self, peer, Withdrawn(prefix))

    # The peers

    def reaches_another_site(self) -> bool:
        """Whether a session with one is up on this side."""
        others = self.audiences[Audience.OTHER_SITES]
        return any(up for peer, up in self._mesh.sessions_of(self) if peer in others)

    def tell_all(self, peer: Address, *, mark: bool) -> None:
        """To a peer whose session has come up, or that asks for a refresh; `mark`: with an End-of-RIB, which
        a session that has come up has to wait for."""
        for (audience, _), one in self.announced.items():
            if audience is not Audience.SITE and peer in self.audiences[audience]:
                self._mesh.send(self, peer, Announced(one))
        if mark or self._whole_set_known:
            self._mesh.send(self, peer, Marker.END_OF_RIB)

    def session_changed(self, peer: Address, up: bool) -> None:
        """As ExaBGP tells the hook."""
        self._learned.pop(peer, None)
        self._complete.pop(peer, None)
        if self._hook_is_ready:
            self._tell(self._agent.hear_session, peer, up)

    def receive(self, peer: Address, message: Message) -> None:
        """From a peer."""
        if message is Marker.ROUTE_REFRESH:
            self.tell_all(peer, mark=True)
        elif not self._hook_is_ready:
            return
        elif isinstance(message, Announced):
            one = message.announcement
            route = LearnedRoute(peer, one.kind, one.prefix, one.next_hop, one.sequence)
            self._learned.setdefault(peer, {})[one.prefix] = route
            self._tell(self._agent.hear_routes, peer, (route,), ())
        elif isinstance(message, Withdrawn):
            self._learned.get(peer, {}).pop(message.prefix, None)
            self._tell(self._agent.hear_routes, peer, (), (message.prefix,))
        else:
            self._complete[peer] = None
            self._tell(self._agent.hear_end_of_rib, peer)

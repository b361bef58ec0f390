"""Whatever happens, in whatever order, the peers end with what the agent wants: against a model of ExaBGP
that queues, answers, forgets and misorders as 5.0.15 does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from haha_exabgp.bgp.bridge import Bridge
from haha_exabgp.bgp.commands import PathAttributes
from haha_exabgp.bgp.message_lines import encode_change, encode_wanted
from haha_exabgp.bgp.plan import plan
from haha_exabgp.protocol.routes import Announcement, Audience, RouteKind
from haha_exabgp.wire.address import Address, Prefix

ASN = 64500
NEXT_HOP = Address.parse("2001:db8:ffff::1")
MESH = ("2001:db8:ffff::2", "2001:db8:ffff::3")
SITE = ("3fff:101::1",)
GROUPS = {
    Audience.MESH: [Address.parse(one) for one in MESH],
    Audience.SITE: [Address.parse(one) for one in SITE],
}
PREFIXES = [Prefix.parse(f"2001:db8:1:{n}::/64") for n in range(2)]
REFUSED = Prefix.parse("2001:db8:1:bad::/64")
"""The model answers `error` to every command that names it."""


@dataclass
class Neighbor:
    up: bool = False
    first_batch: bool = True
    adj_rib_out: dict[str, str] = field(default_factory=dict)
    queues: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Attributes -> prefix -> whether it is announced; sent queue by queue, not in the order of commands."""
    peer: dict[str, str] = field(default_factory=dict)
    """What the peer has."""


class ExaBgp:
    """ExaBGP 5.0.15 as far as this conversation goes."""

    def __init__(self) -> None:
        self.neighbors = {name: Neighbor() for name in (*MESH, *SITE)}
        self.commands: list[str] = []
        self.output: list[str] = []

    def receive(self, data: bytes) -> None:
        for line in data.decode("ascii").splitlines():
            if line == "reset":
                self.commands.clear()
            elif line == "version":
                self.output += ["exabgp 5.0.15", "done"]
            else:
                self.commands.append(line)

    def run(self) -> None:
        """A turn of its loop: first the peers get what is queued, then commands are carried out."""
        self.send_queued()
        commands, self.commands = self.commands, []
        for command in commands:
            self.output += self._carry_out(command)

    def send_queued(self) -> None:
        for neighbor in self.neighbors.values():
            if neighbor.up:
                for attributes, changes in neighbor.queues.items():
                    for prefix, announced in changes.items():
                        if announced:
                            neighbor.peer[prefix] = attributes
                        elif not neighbor.first_batch:
                            neighbor.peer.pop(prefix, None)
                if neighbor.queues:
                    neighbor.first_batch = False
                neighbor.queues = {}

    def set_session(self, name: str, up: bool) -> None:
        neighbor = self.neighbors[name]
        if neighbor.up == up:
            return
        neighbor.up, neighbor.first_batch = up, True
        if up:
            for prefix, attributes in neighbor.adj_rib_out.items():
                neighbor.queues.setdefault(attributes, {})[prefix] = True
        else:
            neighbor.queues, neighbor.peer = {}, {}
        state = "up" if up else "down"
        self.output.append(
            f'{{ "type": "state", "neighbor": {{ "address": {{ "peer": "{name}" }}, "state": "{state}" }} }}'
        )

    def _carry_out(self, command: str) -> list[str]:
        if command == "show neighbor json":
            states = ", ".join(
                f'{{"peer": {{"address": "{name}"}}, "fsm": "{"ESTABLISHED" if one.up else "CONNECT"}"}}'
                for name, one in self.neighbors.items()
            )
            return [f"[{states}]", "done"]
        if command == "show adj-rib out extensive":
            return [*self._shown(), "done"]
        names, verb, rest = re.fullmatch(
            r"((?:neighbor \S+ ?)+)(announce|withdraw) (.*)", command.replace(",", " ").replace("  ", " ")
        ).groups()
        neighbors = [self.neighbors[name] for name in names.split() if name != "neighbor"]
        if rest.startswith(("eor", "route-refresh")):
            return ["done" if all(one.up for one in neighbors) else "error"]
        attributes, prefixes = re.fullmatch(r"attributes (.*) nlri (.*)", rest).groups()
        if str(REFUSED) in prefixes.split():
            return ["error"]
        for neighbor in neighbors:
            for prefix in prefixes.split():
                neighbor.queues.setdefault(attributes, {})[prefix] = verb == "announce"
                if verb == "announce":
                    neighbor.adj_rib_out[prefix] = attributes
                else:
                    neighbor.adj_rib_out.pop(prefix, None)
        return ["done"]

    def _shown(self) -> list[str]:
        return [
            f"neighbor {name} local-ip ::1 family-allowed in-open ipv6 unicast {prefix} {attributes}"
            for name, neighbor in self.neighbors.items()
            for prefix, attributes in neighbor.adj_rib_out.items()
        ]


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.exabgp = ExaBgp()
        self.wanted: dict[tuple[Audience, Prefix], Announcement] = {}
        self.agent = False
        self.respawn()

    def respawn(self) -> None:
        self.bridge = Bridge(self.now)
        if self.agent:
            self.connect()

    def connect(self) -> None:
        self.agent = True
        self.bridge.agent_connected(self.now)
        self.state()

    def lose(self) -> None:
        if self.agent:
            self.agent = False
            self.bridge.agent_lost(self.now)

    def state(self) -> None:
        self._say(encode_wanted(ASN, 60, GROUPS, self.wanted.values()))

    def want(self, announcements: list[Announcement]) -> None:
        self.wanted = {(one.audience, one.prefix): one for one in announcements}
        self.state()

    def change(self, announcement: Announcement, withdraw: bool) -> None:
        key = (announcement.audience, announcement.prefix)
        if withdraw:
            self.wanted.pop(key, None)
            self._say(encode_change((), [key]))
        else:
            self.wanted[key] = announcement
            self._say(encode_change([announcement], ()))

    def half_pump(self) -> None:
        """Commands are read and some are carried out, but nothing has come back yet."""
        self.exabgp.receive(self.bridge.take_commands())

    def pump(self) -> None:
        for _ in range(1000):
            self.exabgp.receive(self.bridge.take_commands())
            self.exabgp.run()
            if not self.exabgp.output:
                return
            output, self.exabgp.output = self.exabgp.output, []
            self.bridge.receive_from_exabgp("".join(f"{line}\n" for line in output).encode(), self.now)
        raise AssertionError("it never ends")

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.bridge.handle_timer(self.now)

    def expected(self, audience: Audience) -> dict[str, str]:
        return {
            str(
                one.prefix
            ): f"next-hop {one.next_hop} local-preference {one.sequence or 100} large-community "
            + f"[ {ASN}:1:{one.kind.value}{f' {ASN}:2:{one.sequence}' if one.sequence else ''} ]"
            for one in self.wanted.values()
            if one.audience is audience and one.prefix != REFUSED
        }

    def _say(self, lines: list[bytes]) -> None:
        if self.agent:
            for line in lines:
                self.bridge.receive_from_agent(line.rstrip(b"\n"), self.now)


announcements = st.builds(
    Announcement,
    st.sampled_from([Audience.MESH, Audience.MESH, Audience.SITE]),
    st.just(RouteKind.LEAK),
    st.sampled_from([*PREFIXES, *PREFIXES, REFUSED]),
    st.just(NEXT_HOP),
    st.integers(0, 2),
)
changes = st.tuples(st.just("change"), announcements, st.sampled_from([False, False, True]))
operations = st.one_of(
    st.tuples(st.just("want"), st.lists(announcements, max_size=6)),
    changes,
    changes,
    changes,
    st.tuples(st.just("set_session"), st.sampled_from([*MESH, *SITE]), st.booleans()),
    st.sampled_from([("respawn",), ("lose",), ("connect",), ("half_pump",), ("pump",)]),
    st.tuples(st.just("pass_time"), st.sampled_from([0.5, 59.0, 61.0])),
)


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(operations, max_size=25))
def test_peers_end_with_what_the_agent_wants(running: bool, story: list[tuple]) -> None:
    world = World()
    if running:
        for name in world.exabgp.neighbors:
            world.exabgp.set_session(name, True)
        world.connect()
        world.pump()
    for name, *arguments in story:
        if name == "set_session":
            world.exabgp.set_session(*arguments)
            world.pump()
        else:
            getattr(world, name)(*arguments)
    world.lose()
    world.connect()
    world.pump()
    for name in world.exabgp.neighbors:
        world.exabgp.set_session(name, True)
    world.pump()
    world.exabgp.send_queued()
    for audience, names in ((Audience.MESH, MESH), (Audience.SITE, SITE)):
        for name in names:
            assert world.exabgp.neighbors[name].peer == world.expected(audience)
    world.state()
    assert world.bridge.take_commands() == b"", "stated again, the same set asks for nothing"


interruptions = st.sampled_from(
    [("respawn",), ("lose",), ("connect",), ("half_pump",), ("pump",), ("state",), ("pass_time", 0.5)]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(announcements, min_size=1, max_size=6), st.lists(interruptions, max_size=25))
def test_no_wanted_route_is_ever_missing_because_a_process_was(
    wanted: list[Announcement], story: list[tuple]
) -> None:
    world = World()
    for name in world.exabgp.neighbors:
        world.exabgp.set_session(name, True)
    world.connect()
    world.want(wanted)
    world.pump()
    for name, *arguments in [*story, ("pump",)]:
        getattr(world, name)(*arguments)
        world.exabgp.send_queued()
        for audience, names in ((Audience.MESH, MESH), (Audience.SITE, SITE)):
            for one in names:
                assert world.exabgp.neighbors[one].peer == world.expected(audience)


neighbors = st.sampled_from([Address.parse(one) for one in (*MESH, *SITE)])
attributes = st.builds(PathAttributes, st.just(NEXT_HOP), st.integers(1, 3), st.just(()))
tables = st.dictionaries(
    neighbors, st.dictionaries(st.sampled_from(PREFIXES), attributes, max_size=2), max_size=3
)


@given(tables, tables, st.sets(neighbors))
def test_a_plan_carried_out_leaves_nothing_to_plan(wanted: dict, present: dict, up: set[Address]) -> None:
    commands = plan(wanted, present, up)
    verbs = [type(command).__name__ for command in commands]
    assert verbs == sorted(verbs), "announcements first"
    after = {neighbor: dict(routes) for neighbor, routes in present.items()}
    for command, verb in zip(commands, verbs, strict=True):
        for neighbor in command.neighbors:
            for prefix in command.prefixes:
                if verb == "Announce":
                    after.setdefault(neighbor, {})[prefix] = command.attributes
                else:
                    assert after[neighbor].pop(prefix) == command.attributes
    assert plan(wanted, after, up) == []
    for neighbor in up:
        assert after.get(neighbor, {}) == wanted.get(neighbor, {})
    for neighbor in set(after) - up:
        assert after[neighbor].items() <= wanted.get(neighbor, {}).items()

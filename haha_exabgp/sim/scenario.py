"""What goes wrong, and when: storms of faults, each fault over before the storm is, with calm between them.

A fault is drawn whole, with its end, from a stream of chance of its own: leaving one out changes no other.
Left out of the mix on purpose:

- a store that goes back in time: that it has is not noticed;
- changes of policies: a mobile router that was refused for its policy asks that Home Agent no more for 300 s
  (`protocol/remedies.py`), which would be the bound of everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple


class FaultKind(StrEnum):
    """What can go wrong."""

    WEATHER = "packets are lost, doubled, late"
    CUT = "two regions are cut off from each other"
    SITE_CUT = "a region is cut off from all others"
    MESH_CUT = "two Home Agents are cut off from each other"
    HOME_AGENT_CUT = "a Home Agent is cut off from all others"
    AGENT_KILLED = "an agent is killed"
    AGENT_KILLED_IN_BATCH = "an agent is killed in the middle of a batch"
    EXABGP_KILLED = "ExaBGP is killed"
    HOOK_KILLED = "a hook is killed"
    POWER = "a host loses power"
    STORE_LOST = "a host loses power and its disk"
    CLOCK = "a Home Agent's clock is wrong"
    MOBILE_ROUTER_CLOCK = "a mobile router's clock is wrong"
    DRAINED = "an operator sends all mobile routers of a Home Agent away"
    OUT_OF_SERVICE = "an operator takes a Home Agent out of service"


class Extent(NamedTuple):
    """How much there is that faults can hit."""

    sites: int
    home_agents: int
    mobile_routers: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, in virtual time; `values` by kind, see `_DRAWN`."""

    number: int
    kind: FaultKind
    start: float
    end: float
    values: tuple[float, ...]

    def __str__(self) -> str:
        values = ", ".join(f"{value:g}" for value in self.values)
        return f"fault {self.number}, {self.start:.1f} to {self.end:.1f}: {self.kind} ({values})"


_STORM = (20.0, 300.0)
"""Seconds."""
_MOST_FAULTS = 10
_WITHIN_WINDOW = (0.1, 6.0)
_BEYOND_WINDOW = (8.0, 40.0)
"""Seconds that a clock is wrong, by the replay window of 7 s."""
_DRIFT = 0.001
"""Seconds a second, at most."""


def draw_storm(random: Random, start: float, first: int, extent: Extent) -> list[Fault]:
    """The faults of one storm, numbered from `first`; the storm ends with the last of them."""
    end = start + random.uniform(*_STORM)
    faults = []
    for number in range(first, first + random.randint(1, _MOST_FAULTS)):
        kind = random.choice(_KINDS)
        begins = random.uniform(start, end)
        ends = random.uniform(begins, end)
        faults.append(Fault(number, kind, begins, ends, _DRAWN[kind](random, extent)))
    return faults


_KINDS = (
    *FaultKind,
    # What packets suffer and what kills come more often, with everything else.
    FaultKind.WEATHER,
    FaultKind.WEATHER,
    FaultKind.AGENT_KILLED,
    FaultKind.AGENT_KILLED_IN_BATCH,
    FaultKind.AGENT_KILLED_IN_BATCH,
)


def _weather(random: Random, extent: Extent) -> tuple[float, ...]:
    """Shares of packets lost, doubled and late; seconds late at most."""
    return (
        random.choice((0.0, 0.02, 0.2, 0.6)),
        random.choice((0.0, 0.05, 0.3)),
        random.choice((0.0, 0.1, 0.5)),
        random.choice((0.2, 2.0, 6.0)),
    )


def _pair(random: Random, extent: Extent) -> tuple[float, ...]:
    return tuple(map(float, random.sample(range(extent.sites), 2)))


def _site(random: Random, extent: Extent) -> tuple[float, ...]:
    return (float(random.randrange(extent.sites)),)


def _home_agents(random: Random, extent: Extent) -> tuple[float, ...]:
    return tuple(map(float, random.sample(range(extent.home_agents), 2)))


def _home_agent(random: Random, extent: Extent) -> tuple[float, ...]:
    return (float(random.randrange(extent.home_agents)),)


def _home_agent_and_step(random: Random, extent: Extent) -> tuple[float, ...]:
    return (float(random.randrange(extent.home_agents)), float(random.randint(0, 4)))


def _error(random: Random) -> float:
    low, high = random.choice((_WITHIN_WINDOW, _BEYOND_WINDOW))
    return random.choice((-1.0, 1.0)) * random.uniform(low, high)


def _clock(random: Random, extent: Extent) -> tuple[float, ...]:
    return (float(random.randrange(extent.home_agents)), _error(random), random.uniform(-_DRIFT, _DRIFT))


def _mobile_router_clock(random: Random, extent: Extent) -> tuple[float, ...]:
    return (float(random.randrange(extent.mobile_routers)), _error(random), random.uniform(-_DRIFT, _DRIFT))


_DRAWN: dict[FaultKind, Callable[[Random, Extent], tuple[float, ...]]] = {
    FaultKind.WEATHER: _weather,
    FaultKind.CUT: _pair,
    FaultKind.SITE_CUT: _site,
    FaultKind.MESH_CUT: _home_agents,
    FaultKind.HOME_AGENT_CUT: _home_agent,
    FaultKind.AGENT_KILLED: _home_agent,
    FaultKind.AGENT_KILLED_IN_BATCH: _home_agent_and_step,
    FaultKind.EXABGP_KILLED: _home_agent,
    FaultKind.HOOK_KILLED: _home_agent,
    FaultKind.POWER: _home_agent,
    FaultKind.STORE_LOST: _home_agent,
    FaultKind.CLOCK: _clock,
    FaultKind.MOBILE_ROUTER_CLOCK: _mobile_router_clock,
    FaultKind.DRAINED: _home_agent,
    FaultKind.OUT_OF_SERVICE: _home_agent,
}
"""The values of each kind: sites, Home Agents and mobile routers by their places, then what the docstrings
say; a clock's error in seconds and drift in seconds a second."""

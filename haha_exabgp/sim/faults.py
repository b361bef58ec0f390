"""Faults happen, and are repaired."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .home_agent import HomeAgentHost
from .mobile_router import MobileRouterHost
from .network import Weather
from .scenario import Fault, FaultKind
from .world import World

_Act = Callable[[Fault], None]


class Faults:
    """Does to the world what a scenario says."""

    def __init__(
        self,
        world: World,
        hosts: Sequence[HomeAgentHost],
        mobile_routers: Sequence[MobileRouterHost],
        clock_set: Callable[[float], None],
        disturbed: Callable[[], None],
    ) -> None:
        """`clock_set(error)` hears of Home Agents' clocks, `disturbed` of everything."""
        self._loop = world.loop
        self._network = world.network
        self._trace = world.trace
        self._hosts = hosts
        self._mobile_routers = mobile_routers
        self._clock_set = clock_set
        self._disturbed = disturbed
        self._acts: dict[FaultKind, tuple[_Act, _Act]] = {
            FaultKind.WEATHER: (self._worsen, self._clear_up),
            FaultKind.CUT: (self._cut, self._join),
            FaultKind.SITE_CUT: (self._cut, self._join),
            FaultKind.MESH_CUT: (self._cut, self._join),
            FaultKind.HOME_AGENT_CUT: (self._cut, self._join),
            FaultKind.AGENT_KILLED: (self._kill_agent, self._start),
            FaultKind.AGENT_KILLED_IN_BATCH: (self._kill_in_batch, self._start),
            FaultKind.EXABGP_KILLED: (self._kill_exabgp, self._start),
            FaultKind.HOOK_KILLED: (self._kill_hook, self._start),
            FaultKind.POWER: (self._power_off, self._start),
            FaultKind.STORE_LOST: (self._lose_store, self._start),
            FaultKind.CLOCK: (self._set_clock, self._set_clock_right),
            FaultKind.MOBILE_ROUTER_CLOCK: (self._set_mobile_clock, self._set_mobile_clock_right),
            FaultKind.DRAINED: (self._drain, self._stay),
            FaultKind.OUT_OF_SERVICE: (self._take_out, self._take_back),
        }

    def plan(self, fault: Fault) -> None:
        """It will happen, and end."""
        begin, end = self._acts[fault.kind]
        self._loop.at(fault.start, self._do, fault, begin, "begins")
        self._loop.at(fault.end, self._do, fault, end, "ends")

    def repair_all(self) -> None:
        """The storm is over: what two faults did to one host, and the first of them repaired too early."""
        self._disturbed()
        for host in self._hosts:
            self._start_host(host)
            host.operate(lambda core, now: core.cancel_drain(now))

    def _do(self, fault: Fault, act: _Act, what: str) -> None:
        self._trace.add(None, "fault", "%s %s", what, fault)
        act(fault)
        self._disturbed()

    # Network

    def _worsen(self, fault: Fault) -> None:
        weather = self._network.weather
        weather.loss, weather.duplication, weather.reordering, weather.longest_delay = fault.values

    def _clear_up(self, fault: Fault) -> None:
        weather = self._network.weather
        weather.loss = weather.duplication = weather.reordering = 0.0

    def _cut(self, fault: Fault) -> None:
        self._change_cuts(fault, 1)

    def _join(self, fault: Fault) -> None:
        self._change_cuts(fault, -1)

    def _change_cuts(self, fault: Fault, by: int) -> None:
        weather = self._network.weather
        mesh = fault.kind in (FaultKind.MESH_CUT, FaultKind.HOME_AGENT_CUT)
        cuts, all_there_are = (
            (weather.mesh_cuts, len(self._hosts)) if mesh else (weather.cuts, len(self._network.delays))
        )
        one, *others = map(int, fault.values)
        for other in others or [other for other in range(all_there_are) if other != one]:
            Weather.change(cuts, one, other, by)

    # Hosts

    def _host(self, fault: Fault) -> HomeAgentHost:
        return self._hosts[int(fault.values[0])]

    def _kill_agent(self, fault: Fault) -> None:
        self._host(fault).kill_agent()

    def _kill_in_batch(self, fault: Fault) -> None:
        self._host(fault).kill_agent_before(int(fault.values[1]))

    def _kill_exabgp(self, fault: Fault) -> None:
        host = self._host(fault)
        if host.speaker.is_running:
            host.speaker.die(with_host=False)

    def _kill_hook(self, fault: Fault) -> None:
        self._host(fault).speaker.kill_hook()

    def _power_off(self, fault: Fault) -> None:
        self._host(fault).power_off()

    def _lose_store(self, fault: Fault) -> None:
        self._host(fault).power_off()
        self._host(fault).lose_store()

    def _start(self, fault: Fault) -> None:
        self._start_host(self._host(fault))

    def _start_host(self, host: HomeAgentHost) -> None:
        if not host.is_up:
            host.power_on()
        elif not host.speaker.is_running:
            host.speaker.start()
        host.kill_agent_before(-1)
        host.start_agent()

    # Clocks

    def _set_clock(self, fault: Fault) -> None:
        _, error, drift = fault.values
        self._clock_set(error)
        self._host(fault).clock.set(error, drift)

    def _set_clock_right(self, fault: Fault) -> None:
        self._host(fault).clock.set(0.0, 0.0)

    def _set_mobile_clock(self, fault: Fault) -> None:
        number, error, drift = fault.values
        self._mobile_routers[int(number)].clock.set(error, drift)

    def _set_mobile_clock_right(self, fault: Fault) -> None:
        self._mobile_routers[int(fault.values[0])].clock.set(0.0, 0.0)

    # Operators

    def _drain(self, fault: Fault) -> None:
        host = self._host(fault)
        others = [other.config.outer for other in self._hosts if other is not host]
        everybody = [one.home_address for one in self._mobile_routers]
        host.operate(lambda core, now: core.switch(everybody, others))

    def _stay(self, fault: Fault) -> None:
        everybody = [one.home_address for one in self._mobile_routers]
        self._host(fault).operate(lambda core, now: core.stay(everybody))

    def _take_out(self, fault: Fault) -> None:
        self._host(fault).operate(lambda core, now: core.drain(now))

    def _take_back(self, fault: Fault) -> None:
        self._host(fault).operate(lambda core, now: core.cancel_drain(now))

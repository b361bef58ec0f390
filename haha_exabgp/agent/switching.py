"""`haha switch` at a Home Agent: from the names that an operator writes to `HomeAgent.switch` and `stay`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..protocol.home import HomeAgentConfig, MobileRouterPolicy, Peer
from ..protocol.home_agent import HomeAgent
from ..protocol.notices import MOST_ADDRESSES
from ..wire.address import Address
from .control import ControlError, Rows
from .known_mobile_routers import find_policy, place_of, primaries


class Switching:
    """The action of one Home Agent's daemon."""

    def __init__(self, core: HomeAgent, config: HomeAgentConfig, carry_out: Callable[[], None]) -> None:
        """`carry_out` puts what the core has decided into force."""
        self._core = core
        self._config = config
        self._carry_out = carry_out

    def switch(
        self, mobile_routers: list[str], to: list[str], everyone: bool = False, stay: bool = False
    ) -> Rows:
        """One row: who is told to switch, or with `stay` no longer, and what has to be known besides. Names
        are those of the configuration, or addresses: home addresses, and `to` outer ones. Raises
        ControlError, and then nobody is told."""
        if stay:
            return self._stay(mobile_routers, everyone)
        others = [self._find_other(one) for one in to[:MOST_ADDRESSES]]
        notes = [f"{one.name} is not reached from here" for one in others if not self._is_reached(one)]
        if len(to) > len(others):
            notes.append(f"the first {MOST_ADDRESSES} Home Agents are named, no more fit into a message")
        if everyone:
            candidates = self._bound_here()
            concerned = [one for one in candidates if not _barred(one, others)]
            names = " or ".join(one.name for one in others)
            if not candidates:
                notes.append("nobody is bound here")
            elif len(concerned) < len(candidates):
                left = len(candidates) - len(concerned)
                notes.append(f"{left} left alone: {names} is not among their proxies")
        else:
            concerned = [self._find_bound(one) for one in mobile_routers]
            for one in concerned:
                if barred := _barred(one, others):
                    raise ControlError(
                        f"{one.name} may not be bound by {barred}: it is not among its proxies"
                    )
        self._core.switch([one.home_address for one in concerned], [one.outer for one in others])
        self._carry_out()
        towards = ", ".join(one.name for one in others)
        return [{"mobile_routers": [one.name for one in concerned], "to": towards, "note": "; ".join(notes)}]

    def _stay(self, mobile_routers: list[str], everyone: bool) -> Rows:
        if everyone:
            wanted = list(self._core.leaving)
        else:
            wanted = [find_policy(self._config.mobile_routers, one).home_address for one in mobile_routers]
        told = [one for one in wanted if one in self._core.leaving]
        self._core.stay(told)
        self._carry_out()
        return [{"mobile_routers": list(map(self._name, told)), "to": "", "note": ""}]

    def _bound_here(self) -> list[MobileRouterPolicy]:
        known = self._config.mobile_routers
        here = [
            one.home_address
            for one in self._core.bindings
            if not one.kind.is_elsewhere and not one.is_vouched
        ]
        return [policy for one in here if (policy := known.get(one)) is not None]

    def _find_bound(self, text: str) -> MobileRouterPolicy:
        policy = find_policy(self._config.mobile_routers, text)
        binding = self._core.bindings.get(policy.home_address)
        if binding is not None and binding.is_vouched:
            raise ControlError(f"{policy.name} cannot be told from here: only its primary has its key")
        if binding is not None and not binding.kind.is_elsewhere:
            return policy
        elsewhere = place_of(self._core, self._config, policy)
        if elsewhere:
            raise ControlError(f"{policy.name} is not bound here but at {elsewhere}: switch it there")
        names = " or ".join(primaries(self._config, policy.home_address))
        raise ControlError(f"{policy.name} is not bound here; its primary is {names or 'nobody'}")

    def _find_other(self, text: str) -> Peer:
        try:
            outer = Address.parse(text)
        except ValueError:
            outer = None
        for peer in self._config.peers:
            if text == peer.name or outer == peer.outer:
                return peer
        names = ", ".join(peer.name for peer in self._config.peers)
        raise ControlError(f"no other Home Agent has the name or outer address {text}; there are: {names}")

    def _is_reached(self, peer: Peer) -> bool:
        return self._core.routes.session_up(peer.haha)

    def _name(self, home_address: Address) -> str:
        policy = self._config.mobile_routers.get(home_address)
        return policy.name if policy is not None else str(home_address)


def _barred(policy: MobileRouterPolicy, others: Iterable[Peer]) -> str:
    """The first of these Home Agents that would refuse it; "" for none."""
    return next((peer.name for peer in others if not peer.may_bind(policy)), "")

"""What must hold of bindings: who owns a home address, in what order, for how long; what a promise is worth.

Where several Home Agents can be primary, two that do not see each other both are, and settle it when they do
again by the mobile router's own order (`protocol/ownership.py`, rule 3). So two may hold a home address with
the same sequence, for no longer than a bound; the rest holds for all of them together.
"""

from __future__ import annotations

from ..protocol.binding import Binding, BindingKind, Ending
from ..protocol.registration import REPLAY_WINDOW
from ..wire.address import Address
from ..wire.codes import MobilityType
from . import bounds
from .home_agent import HomeAgentHost
from .situation import Situation
from .violation import Invariant

_ROUTING = 43
_BINDING_ACKNOWLEDGEMENT = int(MobilityType.BINDING_ACKNOWLEDGEMENT)


class BindingInvariants:
    """Looks at what is stored, acknowledged and held."""

    def __init__(self, situation: Situation) -> None:
        self._now = situation
        self._given_out: dict[Address, int] = {}
        """By home address, the highest mobility sequence that a primary has stored."""
        self._ends: dict[tuple[str, Address], float] = {}
        """Virtual time at which a stored live binding ends."""
        self._taken_up: dict[tuple[str, Address], float] = {}
        """The same, of one that has not changed since its Home Agent was started, as that understands it."""
        self.bindings = 0
        """How often one was made or changed."""

    def remembered(self, host: HomeAgentHost, binding: Binding) -> None:
        """Ownership and order change with what is stored, and with nothing else."""
        now, home_address = self._now, binding.home_address
        key = (host.name, home_address)
        before = now.stored.get(key)
        now.stored[key] = binding
        if binding.expires:
            self.bindings += 1
            self._ends[key] = host.clock.moment(binding.expires)
            self._taken_up.pop(key, None)
        if before is None or (before.expires == 0) != (binding.expires == 0) or before[1] != binding[1]:
            now.changed_at[home_address] = now.loop.now
        if host.name in now.primaries[home_address]:
            self._given_out[home_address] = max(
                self._given_out.get(home_address, -1), binding.mobility_sequence
            )
            self._check_order(host, before, binding)
        elif before is not None and before.expires and not binding.expires:
            self._check_moved(host, before)
        if binding.expires and binding.kind is BindingKind.PROXY:
            self._check_lifetime(host, binding)
        self._check_claims(home_address)

    def _check_order(self, host: HomeAgentHost, before: Binding | None, after: Binding) -> None:
        """H-6, H-7: what a primary holds gives way to what is newer, and to its end."""
        if before is None:
            return
        now, home_address = self._now, after.home_address
        is_alone = len(now.primaries[home_address]) == 1
        newer = after.order.is_newer_than(before.order)
        falls = after.mobility_sequence < before.mobility_sequence
        if falls and (is_alone or (now.clocks_are_true and not newer)):
            now.fail(Invariant.NEWEST_WINS, home_address, "the mobility sequence at the primary falls")
        # Another that can be primary may say the same with other words.
        again = after.order == before.order and (after.peer == before.peer or not is_alone)
        if after.expires:
            if now.clocks_are_true and not newer and not again:
                what = f"{host.name} binds by a Binding Update that is not newer than the last"
                now.fail(Invariant.NEWEST_WINS, home_address, what)
        elif before.expires:
            core, key = host.core, (host.name, home_address)
            why = None if core is None else core.endings.get(home_address)
            ends = self._taken_up.get(key, self._ends[key])
            if why is None and ends <= now.loop.now:
                return  # while no agent ran, and what another says has taken its place
            if why is Ending.EXPIRED:
                if now.clocks_are_true and ends > now.loop.now + 1.0:
                    now.fail(Invariant.BINDING_KEPT, home_address, f"{host.name} ends a binding too early")
            elif before.kind is BindingKind.PROXY and why is not Ending.DEREGISTERED:
                self._check_moved(host, before)
            elif why is not Ending.DEREGISTERED or (
                now.clocks_are_true and not newer and (is_alone or not again)
            ):
                what = f"{host.name} ends a binding ({why}) that nothing newer has ended"
                now.fail(Invariant.NEWEST_WINS, home_address, what)

    def _check_moved(self, host: HomeAgentHost, before: Binding) -> None:
        """A proxy takes for moved only what has."""
        now, core = self._now, host.core
        if core is None or core.endings.get(before.home_address) is not Ending.MOVED:
            return
        secondary = (now.stored.get((one.name, before.home_address)) for one in now.hosts if one is not host)
        if before.kind is BindingKind.SECONDARY and any(
            one is not None and one.expires and one.kind is BindingKind.SECONDARY for one in secondary
        ):
            return  # the satellite has told another of its parent's site too: one leak of two is enough
        stored = now.stored_by_primaries(before.home_address)
        if stored and all(
            one.expires and one.mobility_sequence <= before.mobility_sequence for one in stored
        ):
            what = f"{host.name} gives a binding up as moved that the primary holds through it"
            now.fail(Invariant.BINDING_KEPT, before.home_address, what)

    def _check_lifetime(self, host: HomeAgentHost, binding: Binding) -> None:
        """B-6."""
        now = self._now
        assert binding.peer is not None  # its primary
        key = (now.names[binding.peer], binding.home_address)
        there = now.stored.get(key)
        if there is None or not there.expires or there.kind is not BindingKind.PROXIED:
            return
        if there.peer != host.config.haha or not now.clocks_are_true:
            return
        rounding = 1.0
        if len(now.primaries[binding.home_address]) > 1:
            if there.order != binding.order:
                return  # whoever was primary before has granted it
            rounding = 13.0  # what they tell each other is in units of 4 s: each take-over takes some off
        if host.clock.moment(binding.expires) > self._ends[key] + rounding:
            what = f"{host.name} grants more than the primary"
            now.fail(Invariant.LIFETIME, binding.home_address, what)

    def _check_claims(self, home_address: Address) -> None:
        """Of two that hold a home address one has the older claim, and none a newer one than the primary."""
        now = self._now
        highest = self._given_out.get(home_address, -1)
        is_alone = len(now.primaries[home_address]) == 1
        claims: dict[int, str] = {}
        for host, binding in now.holders(home_address):
            claim = binding.mobility_sequence
            if claim > highest:
                what = f"{host.name} holds it with sequence {claim}, the primary has given out {highest}"
                now.fail(Invariant.PRIMARY_FIRST, home_address, what)
            if claim in claims and is_alone:
                what = f"{claims[claim]} and {host.name} hold it with the same sequence {claim}"
                now.fail(Invariant.ONE_OWNER, home_address, what)
            claims[claim] = host.name

    def acknowledged(self, host: HomeAgentHost, octets: bytes) -> Address | None:
        """A packet leaves: a positive acknowledgement to a mobile router is a promise. Gives the home address
        that it is about; None for what is none."""
        if octets[6] != _ROUTING or octets[66] != _BINDING_ACKNOWLEDGEMENT or octets[70] >= 128:
            return None
        lifetime = int.from_bytes(octets[74:76], "big") * 4
        if not lifetime:
            return None
        now, home_address, to = self._now, Address(octets[48:64]), Address(octets[24:40])
        binding = now.stored.get((host.name, home_address))
        if binding is None or not binding.expires:
            now.fail(Invariant.BINDING_KEPT, home_address, f"{host.name} acknowledges what is not stored")
        if to in now.names:
            if now.names.get(binding.peer or to) != now.names[to]:
                what = f"{host.name} acknowledges a proxy's binding that is not stored"
                now.fail(Invariant.BINDING_KEPT, home_address, what)
            return None
        if binding.order.sequence != int.from_bytes(octets[72:74], "big"):
            what = f"{host.name} acknowledges a Binding Update, and another one is stored"
            now.fail(Invariant.BINDING_KEPT, home_address, what)
        if host.name not in now.primaries[home_address]:
            self._check_with_primary(host, binding)
        return home_address

    def _check_with_primary(self, host: HomeAgentHost, binding: Binding) -> None:
        """B-3."""
        now, home_address, claim = self._now, binding.home_address, binding.mobility_sequence
        stored = now.stored_by_primaries(home_address)
        if claim > self._given_out.get(home_address, -1):
            what = f"{host.name} acknowledges before the primary has"
            now.fail(Invariant.PRIMARY_FIRST, home_address, what)
        same = [there for there in stored if there.mobility_sequence == claim]
        # Two primaries that are cut off from each other may give the same out.
        is_alone = len(now.primaries[home_address]) == 1
        if is_alone and same and all(there.peer != host.config.haha for there in same):
            what = f"{host.name} acknowledges what the primary holds elsewhere"
            now.fail(Invariant.PRIMARY_FIRST, home_address, what)

    def started(self, host: HomeAgentHost) -> None:
        """What was acknowledged has outlived the process."""
        now, core = self._now, host.core
        assert core is not None
        for home_address in now.prefixes:
            key = (host.name, home_address)
            stored = now.stored.get(key)
            if stored is None:
                continue
            last = core.bindings.last(home_address)
            if last is None or last[5:7] != stored[5:7]:
                now.fail(Invariant.BINDING_KEPT, home_address, f"{host.name} has forgotten a binding")
            live = core.bindings.get(home_address)
            left = self._ends[key] - now.loop.now if stored.expires else 0.0
            if live is not None:
                # What is stored is wall-clock time, and that may be wrong by as much as it may be at all.
                self._taken_up[key] = host.clock.moment(live.expires)
                left -= self._taken_up[key] - now.loop.now
            if left > 1.0 + REPLAY_WINDOW and now.clocks_are_true:
                what = f"{host.name} has lost {left:.1f} s of a binding"
                now.fail(Invariant.BINDING_KEPT, home_address, what)

    def sweep(self) -> None:
        """What time alone brings to light."""
        now = self._now
        if now.calm_since is None:
            return
        for home_address in now.prefixes:
            holders = [host.name for host, _ in now.holders(home_address)]
            if len(holders) > 1:
                lasted = now.loop.now - max(now.calm_since, now.changed_at[home_address])
                now.note(Invariant.ONE_OWNER, lasted)
                if lasted > bounds.ONE_OWNER + now.forgetfulness(home_address):
                    what = f"{' and '.join(holders)} hold it for {lasted:.0f} s"
                    now.fail(Invariant.ONE_OWNER, home_address, what)

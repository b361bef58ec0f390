"""`haha drain` at a Home Agent: out of service, and back into it.

That an operator has taken a Home Agent out of service is on disk until the operator takes it back: an agent
that is restarted meanwhile, by its supervisor or with the whole host, would else attract everybody again, in
the middle of the maintenance.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from ..protocol.binding import Binding, BindingKind
from ..protocol.drain import Remaining, Standing
from ..protocol.home import HomeAgentConfig, Peer
from ..protocol.home_agent import HomeAgent
from ..protocol.time import Now
from ..wire.address import Address
from .clocks import read_clocks
from .control import ControlError, Rows

_log = logging.getLogger(__name__)

FILE_NAME = "drain.json"
DEFAULT_RATE = 1.0
HIGHEST_RATE = 1000.0
"""Mobile routers told a second. The default is that of RFC 5142 s.7."""
MESSAGES_IN_VAIN = 4
"""Told that often, for 35 s, a mobile router that is still here is taken for one that does not listen."""
NAMED = 10
"""Mobile routers that are named one by one."""


class Draining:
    """The action and the view of one Home Agent's daemon."""

    def __init__(
        self, core: HomeAgent, config: HomeAgentConfig, run_dir: Path, carry_out: Callable[[], None]
    ) -> None:
        """`carry_out` puts what the core has decided into force."""
        self._core = core
        self._config = config
        self._file = run_dir / FILE_NAME
        self._carry_out = carry_out
        self._since = 0.0

    def resume(self, now: Now) -> None:
        """Go on with what was under way when the agent ended. Raises OSError."""
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return
        rate = DEFAULT_RATE
        self._since = now.wall
        try:
            found = json.loads(text)
            rate, self._since = _checked(float(found["rate"])), float(found["since"])
        except (ValueError, TypeError, KeyError, ControlError) as error:
            # That it is there is what counts.
            _log.warning("%s: cannot be read, taken for a drain at the default pace: %s", self._file, error)
        _log.warning("out of service since %s, until: haha drain --cancel", time.ctime(self._since))
        self._core.drain(now, 1 / rate)

    def drain(self, rate: float = DEFAULT_RATE, cancel: bool = False) -> Rows:
        """Begin, or go on at another pace (mobile routers a second), or `cancel`; one row, as `rows`. Raises
        ControlError, OSError when that cannot be written down."""
        now = read_clocks()
        if cancel:
            if self._core.is_draining:
                self._file.unlink(missing_ok=True)
                self._core.cancel_drain(now)
        else:
            _checked(rate)
            since = self._since if self._core.is_draining else now.wall
            _write(self._file, json.dumps({"since": since, "rate": rate}))
            self._since = since
            self._core.drain(now, 1 / rate)
        self._carry_out()
        return self.rows()

    def rows(self) -> Rows:
        """One row: how far it has come, and who stays for what reason."""
        if not self._core.is_draining:
            return [{"state": "in service"}]
        now = read_clocks()
        remaining = list(self._core.remaining())
        counts = dict.fromkeys(Standing, 0)
        for one in remaining:
            counts[one.standing] += 1
        staying = [one for one in remaining if _stays(one)]
        proxied = [one for one in self._core.bindings if one.kind is BindingKind.PROXIED]
        notes = [self._unreached(), self._without_primary(proxied, now)]
        return [
            {
                "state": "draining" if remaining else "drained",
                "since": round(self._since, 3),
                "bound_here": len(remaining),
                "not_told_yet": counts[Standing.WAITING],
                "told": counts[Standing.TOLD],
                "nowhere_to_go": counts[Standing.ALONE],
                "cannot_be_told": counts[Standing.MUTE],
                "through_proxies": len(proxied),
                "settled": len(staying) == len(remaining),
                "stay": [self._why(one, now) for one in islice(staying, NAMED)],
                "note": "; ".join(note for note in notes if note),
            }
        ]

    def _unreached(self) -> str:
        if self._ready():
            return ""
        return "no other Home Agent is reached, so Home stays announced from here and nobody is sent away"

    def _without_primary(self, proxied: list[Binding], now: Now) -> str:
        """Of those that are bound through proxies, who has no other primary: they cannot be moved."""
        reached = self._ready()
        left = [
            one.expires - now.monotonic
            for one in proxied
            if not any(peer.is_primary_for(one.home_address) for peer in reached)
        ]
        if not left:
            return ""
        ends = f"in {min(left):.0f} to {max(left):.0f} s" if len(left) > 1 else f"in {left[0]:.0f} s"
        return (
            f"{len(left)} bound through proxies stay, as no other primary of theirs is reached:"
            f" without this one their bindings end {ends}"
        )

    def _ready(self) -> list[Peer]:
        return [peer for peer in self._config.peers if self._core.is_in_service(peer)]

    def _why(self, one: Remaining, now: Now) -> str:
        reason = str(one.standing)
        if one.standing is Standing.TOLD:
            reason = f"told to switch {one.messages} times, and has not"
        ends = one.binding.expires - now.monotonic
        return f"{self._name(one.binding.home_address)}: {reason}; its binding ends in {ends:.0f} s"

    def _name(self, home_address: Address) -> str:
        policy = self._config.mobile_routers.get(home_address)
        return policy.name if policy is not None else str(home_address)


def _stays(one: Remaining) -> bool:
    return one.standing in (Standing.ALONE, Standing.MUTE) or one.messages >= MESSAGES_IN_VAIN


def _checked(rate: float) -> float:
    if not 0 < rate <= HIGHEST_RATE:
        raise ControlError(f"a rate of {rate:g}: more than 0 and at most {HIGHEST_RATE:g} are possible")
    return rate


def _write(file: Path, text: str) -> None:
    """On disk when it returns. Raises OSError."""
    new = file.with_suffix(".new")
    with open(new, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

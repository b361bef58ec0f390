"""The way out of a Home Agent: what was decided is put into force, batch by batch, then told to the world.

One batch at a time is under way; what is decided meanwhile makes the next. The packets of a batch leave when
all that they promise stands in the kernel and on disk. What the kernel or the store refused is tried again,
and nothing is promised before it is there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence

from ..protocol.effects import Announce, Effect, Remember, Withdraw
from ..protocol.home_agent import HomeAgent
from ..protocol.routes import Announcement, Audience
from ..protocol.time import Now
from ..wire.address import Address, Prefix
from .clocks import read_clocks
from .enforcer import Enforcer, Outcome
from .grace import Grace
from .notes import NoteLog

_log = logging.getLogger(__name__)

IN_FLIGHT_TIME = 2.0
"""Seconds that packets under way when a binding changed are still let in: a mobile router sends by the Home
Agent that it had until the new one has acknowledged."""
RETRY_DELAY = 1.0
"""Seconds after the kernel or the store refused something before it is tried again."""
_TOLD_REFUSALS = 10
"""In the log, of one batch: a device that is gone takes all routes with it."""

_FINISH_STEP = 0.01
"""Seconds between two looks whether what is under way is done."""

Tell = Callable[[Iterable[Announcement], Iterable[tuple[Audience, Prefix]]], None]
Send = Callable[[Sequence[bytes]], list[tuple[int, OSError]]]


class Delivery:
    """Carries out the effects of the core, and calls its timers. Belongs to the event loop's thread."""

    def __init__(
        self,
        core: HomeAgent,
        enforcer: Enforcer,
        *,
        tell: Tell,
        send: Send,
        done: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`tell(announced, withdrawn)` reaches the BGP peers; `done` is called when a batch that was under
        way has been, `failed` with what should never have happened, after which nothing is carried out."""
        self._core = core
        self._enforcer = enforcer
        self._tell = tell
        self._send = send
        self._done = done
        self._failed = failed
        self._notes = NoteLog(_log)
        self._grace = Grace(IN_FLIGHT_TIME)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        """When `_timer` goes off, on the monotonic clock."""
        self._held: list[Effect] = []
        """What has to wait until the kernel or the store no longer refuse."""
        self._kernel_in_doubt = False
        self.is_under_way = False
        """True while a batch is being put into force."""
        self._is_closing = False
        self._has_failed = False

    def carry_out(self, now: Now | None = None) -> None:
        """Put what was decided into force; while something is being put into force, behind that. `now`: for
        who has read the clocks in this turn (each costs a system call on some machines)."""
        if self._is_closing:
            return
        if not self.is_under_way:
            self._start_batch(read_clocks() if now is None else now)
        timers = (self._core.next_timer(), self._grace.next_due())
        due = min((timer for timer in timers if timer is not None), default=math.inf)
        # One that goes off too soon does no harm, and moving it each time that a binding is refreshed would
        # cost more.
        if due < self._timer_due:
            self._stop_timer()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(due - time.monotonic(), 0.0), self._on_timer)
            self._timer_due = due

    def _start_batch(self, now: Now) -> None:
        keeping_out = self._grace.pop_due(now.monotonic)
        effects = [*self._held, *self._core.take_effects()]
        if not effects and not keeping_out and not self._kernel_in_doubt:
            return
        self._held = []
        enforcer = self._enforcer
        if self._kernel_in_doubt:
            self._kernel_in_doubt = False
            under_way = enforcer.submit(enforcer.enforce_all, effects, self._core.wanted.snapshot(), now)
        elif enforcer.is_idle:
            # Here and now: a thread for it, beside the next decisions, would take a third more CPU time, most
            # of it for handing the interpreter to and fro, and be done later.
            try:
                self.enforced(enforcer.enforce(effects, keeping_out, now))
            except Exception as error:
                self._end(error)
            return
        else:
            under_way = enforcer.submit(enforcer.enforce, effects, keeping_out, now)
        self.is_under_way = True
        under_way.add_done_callback(self._batch_done)

    def _batch_done(self, done: asyncio.Future[Outcome]) -> None:
        try:
            outcome = done.result()
            self.enforced(outcome)
        except Exception as error:
            self._end(error)
            return
        self.is_under_way = False
        if outcome.in_force:
            self.carry_out()
        # Else it is tried again soon, or with what arrives: at once would be again and again without a pause.
        self._done()

    def _end(self, failure: Exception) -> None:
        """What should never have happened has: nothing is carried out any more, as if a batch were under way
        for ever."""
        self.is_under_way = self._has_failed = True
        self._failed(failure)

    def enforced(self, outcome: Outcome) -> None:
        """Tell the world, or hold back what is not true yet."""
        batch, now = outcome.batch, time.monotonic()
        self._notes.write(batch.notes, now)
        self._grace.take(batch.guard, now)
        for refusal in outcome.refusals[:_TOLD_REFUSALS]:
            _log.error("the kernel refuses: %s", refusal)
        if len(outcome.refusals) > _TOLD_REFUSALS:
            _log.error("the kernel refuses %d more", len(outcome.refusals) - _TOLD_REFUSALS)
        self._core.counters["kernel_refusals"] += len(outcome.refusals)
        if outcome.refusals:
            # Now all that is wanted is compared, until it is in force: what one batch could not do, the next
            # must not take for done.
            self._kernel_in_doubt = True
            self._held += [Announce(one) for one in batch.announce.values()]
            self._held += [Withdraw(one) for one in batch.withdraw.values()]
        else:
            self._tell(batch.announce.values(), batch.withdraw.keys())
        if outcome.store_failure is not None:
            _log.error("the store of bindings refuses: %s", outcome.store_failure)
            self._held += [Remember(one) for one in batch.bindings.values()]
        if outcome.in_force:
            self._transmit(batch.packets)
        else:
            # Nothing is promised that is not there; whoever asked will ask again.
            self._core.counters["answers_withheld"] += len(batch.packets)
            asyncio.get_running_loop().call_later(RETRY_DELAY, self.carry_out)

    def _transmit(self, packets: Sequence[bytes]) -> None:
        for position, error in self._send(packets):
            self._core.counters["send_failures"] += 1
            _log.warning("cannot send to %s: %s", Address(packets[position][24:40]), error)

    def doubt_kernel(self) -> None:
        """Somebody else has changed what is ours: all that is wanted is compared."""
        self._kernel_in_doubt = True
        self.carry_out()

    async def finish(self) -> None:
        """Start nothing any more, and wait until what is under way is done and told."""
        self._is_closing = True
        self._stop_timer()
        while self.is_under_way and not self._has_failed:
            await asyncio.sleep(_FINISH_STEP)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_due = math.inf

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_due = math.inf
        now = read_clocks()
        self._core.handle_timer(now)
        self.carry_out(now)

"""Admission of calls: the limits of the manifest, and what the platform's answers say is left of them.

A call passes every limit that matches it. It is sent when there is a slot, when the rate allows it, and when
what the platform last said is enough for it; else it waits, and a long wait parks the run (RateLimited).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.core.errors import RateLimited
from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.budgets import Budget
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import Document
from platint_tui.drivers.http.waits import number_of, seconds_to_wait
from platint_tui.manifest import schema
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.template import lookup

LONGEST_WAIT = 30.0
"""Seconds that a worker holds its slot for; a longer wait parks the run."""
LONGEST_RESET = 86_400.0
"""Seconds after which an announced end of a budget is not believed."""
UNSAID_RESET = 60.0
"""Seconds until a budget is looked at again when neither the platform nor the manifest says when it ends."""
_USAGE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")
_ANY = "calls"
"""The limit of calls for which the manifest has none: it only carries the waits that the platform asks for."""


@dataclass(frozen=True, slots=True)
class Call:
    """What limits need to know of a request. `kind` groups calls that cost alike."""

    op: str
    resource: str
    endpoint: str | None
    weight: int
    kind: str


class Limits:
    """The limits of one profile. What is known of them is shared with every other driver of the credential."""

    def __init__(self, context: DriverContext, host: str) -> None:
        self._context = context
        self._host = host
        self._limits = context.connector.limits
        self._matching: dict[tuple[str, str, str | None], tuple[schema.Limit, ...]] = {}
        self._unlimited = (schema.Limit(id=_ANY),)

    def of(self, call: Call) -> tuple[schema.Limit, ...]:
        """The limits that count `call`, at least one."""
        known = (call.op, call.resource, call.endpoint)
        found = self._matching.get(known)
        if found is None:
            family = family_of(self._context.connector, call.resource) if call.resource else ""
            found = tuple(item for item in self._limits if _counts(item.match, call, family))
            self._matching[known] = found = found or self._unlimited
        return found

    def looks_into(self, call: Call) -> bool:
        """Whether learning from the answer to `call` needs its tree."""
        return any(limit.body is not None for limit in self.of(call))

    def admitted(self, call: Call) -> _Admitted:
        """Wait until `call` may be sent; within, it is out. Raises RateLimited when that takes too long."""
        return _Admitted(self, call)

    async def enter(self, call: Call, held: list[asyncio.Semaphore]) -> list[_Out]:
        """Take every slot that `call` needs (they are put into `held`), wait for the rates and the budgets, and
        count it as out."""
        limits = self.of(call)
        for limit in limits:
            if limit.concurrency is not None:
                slots = self._slots(limit, limit.concurrency)
                await slots.acquire()
                held.append(slots)
        await self.counted(call)
        # All at once, and without a pause in between: what one budget lets pass another may hold.
        while (wait := self._held(limits, call)) is not None:
            await self._wait(*wait)
        out = []
        for limit in limits:
            budget = self._budget(limit)
            cost = _cost(budget, limit, call)
            out.append(_Out(budget, cost or 0.0, call.kind if cost is None else ""))
        return out

    async def counted(self, call: Call) -> None:
        """Wait until the rates allow one more request of `call`. Raises RateLimited when that takes too long."""
        for limit in self.of(call):
            count, period = limit.rate or (0, 0.0)
            await self._context.limiter.acquire(limit.id, count, period, limit.burst or 0, call.weight)

    def _slots(self, limit: schema.Limit, concurrency: int) -> asyncio.Semaphore:
        budget = self._budget(limit)
        if budget.slots is None:
            budget.slots = asyncio.Semaphore(concurrency)
        return budget.slots

    def _budget(self, limit: schema.Limit) -> Budget:
        return self._context.budgets.of(limit.id)

    def _held(self, limits: Sequence[schema.Limit], call: Call) -> tuple[schema.Limit, float | None] | None:
        """The first limit whose budget is not enough, and for how many seconds (None: until an answer comes);
        None when the call may go."""
        now = self._context.clock.now_ms()
        for limit in limits:
            budget = self._budget(limit)
            if call.kind in budget.learning:
                return limit, None
            available = budget.available(now)
            if available is None:
                continue
            need = _cost(budget, limit, call) or 0.0
            if budget.most:
                need = min(need, budget.most)
            if available >= need and available > 0:
                continue
            if budget.flying:
                return limit, None
            if budget.restore:
                return limit, max(need - available, 0.001) / budget.restore
            return limit, max(budget.until_ms - now, 1) / 1000
        return None

    async def _wait(self, limit: schema.Limit, seconds: float | None) -> None:
        budget = self._budget(limit)
        if seconds is None:
            await budget.change()
            return
        clock = self._context.clock
        if seconds > LONGEST_WAIT:
            raise RateLimited(
                f"{self._host} has nothing left of the limit '{limit.id}'.",
                until_ms=clock.now_ms() + int(seconds * 1000) + 1,
                hint="It goes on by itself at that time.",
            )
        left, until, told = budget.left, budget.until_ms, budget.told_ms
        await clock.sleep(seconds)
        if (budget.left, budget.until_ms, budget.told_ms) == (left, until, told):
            # By the time waited, not by the clock, which may have been set meanwhile.
            if budget.restore:
                budget.left = (left or 0.0) + budget.restore * seconds
                budget.told_ms = clock.now_ms()
            else:
                budget.forget()

    async def learn(self, call: Call, answer: Answer, document: Document) -> None:
        """Take what an answer says of the limits that counted `call`, for everyone under the same credential."""
        now = self._context.clock.now_ms()
        for limit in self.of(call):
            budget = self._budget(limit)
            if limit.body is not None:
                if answer.status < 400:
                    budget.costs.setdefault(call.kind, 0.0)  # an answer that tells none costs nothing
                _learn_points(limit.body, budget, call, document.tree, now)
                continue
            told = _told(limit, answer)
            if told is None:
                continue
            left, most = told
            rate = limit.rate
            budget.restore = rate[0] / rate[1] if most and rate is not None else 0.0
            budget.most = most
            reset = _reset(limit, answer, now)
            budget.announce(left, now, now + int(reset * 1000) + 1)
            if left <= 0 and not budget.restore:
                await self._context.limiter.block(limit.id, reset)

    async def block(self, call: Call, seconds: float) -> None:
        """The platform asked to wait: nobody sends a call that the same limits count."""
        for limit in self.of(call):
            await self._context.limiter.block(limit.id, seconds)


class _Admitted:
    """A call from its admission to its end. Every request passes here: no generator and no exit stack."""

    __slots__ = ("_call", "_held", "_limits", "_out")

    def __init__(self, limits: Limits, call: Call) -> None:
        self._limits, self._call = limits, call
        self._held: list[asyncio.Semaphore] = []
        self._out: list[_Out] = []

    async def __aenter__(self) -> None:
        try:
            self._out = await self._limits.enter(self._call, self._held)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for out in self._out:
            out.end()
        for slots in self._held:
            slots.release()


class _Out:
    """A call that is out: what it costs is taken from the budget until its answer tells more."""

    __slots__ = ("_budget", "_cost", "_learning")

    def __init__(self, budget: Budget, cost: float, learning: str) -> None:
        """`learning` is the kind of call whose cost is still to be learnt, '' when it is known."""
        self._budget, self._cost, self._learning = budget, cost, learning
        budget.flying += cost
        if learning:
            budget.learning.add(learning)

    def end(self) -> None:
        """Its answer came, or none will."""
        self._budget.flying = max(0.0, self._budget.flying - self._cost)
        self._budget.learning.discard(self._learning)
        self._budget.stir()


def _counts(match: schema.LimitMatch, call: Call, family: str) -> bool:
    if match.op not in (call.op, "any"):
        return False
    if match.endpoint is not None and match.endpoint != call.endpoint:
        return False
    return not match.resources or call.resource in match.resources or family in match.resources


def _cost(budget: Budget, limit: schema.Limit, call: Call) -> float | None:
    """What the call will take from the budget; None while a budget of points has seen none of its kind."""
    if limit.body is None or limit.body.cost is None:
        return float(call.weight)
    return budget.costs.get(call.kind)


def _told(limit: schema.Limit, answer: Answer) -> tuple[float, float] | None:
    """(what is left, of how much: 0 when that is not said); None when the headers say nothing."""
    headers = limit.headers
    if headers.usage is not None and (used := _USAGE.search(answer.headers.get(headers.usage, ""))):
        total = float(used.group(2))
        return max(0.0, total - float(used.group(1))), total
    if headers.remaining is not None:
        left = number_of(answer.headers.get(headers.remaining))
        if left is not None:
            return max(0.0, left), 0.0
    return None


def _reset(limit: schema.Limit, answer: Answer, now_ms: int) -> float:
    """Seconds until the budget is renewed: as the answer says, else the span of the manifest's rate."""
    headers = limit.headers
    asked = None
    if headers.reset is not None:
        asked = seconds_to_wait(answer.headers.get(headers.reset), headers.reset_format, now_ms)
    if asked is None:
        asked = seconds_to_wait(answer.headers.get(headers.retry_after), "retry_after", now_ms)
    if asked is None:
        asked = limit.rate[1] if limit.rate is not None else UNSAID_RESET
    return min(asked, LONGEST_RESET)


def _learn_points(body: schema.LimitBody, budget: Budget, call: Call, tree: Json, now_ms: int) -> None:
    """A budget of points that the body tells, and what the call cost."""
    cost = number_of(lookup(tree, body.cost)) if body.cost is not None else None
    if cost is not None:
        budget.costs[call.kind] = max(0.0, cost)
    left = number_of(lookup(tree, body.available))
    if left is None:
        return
    rate = number_of(lookup(tree, body.restore_rate)) if body.restore_rate is not None else body.per_second
    budget.restore = rate or 0.0
    budget.most = max(budget.most, left + (cost or 0.0)) if budget.restore else 0.0
    asked = seconds_to_wait(lookup(tree, body.reset), body.reset_format, now_ms) if body.reset else None
    reset = min(UNSAID_RESET if asked is None else asked, LONGEST_RESET)
    budget.announce(left, now_ms, now_ms + int(reset * 1000) + 1)

"""Admission to platforms: one GCRA row per credential and limit in the store, shared by every process.

So that SQLite is not asked before each call, about a quarter of a second of calls is reserved at once and
handed out from memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from platint_tui.core.clock import Clock
from platint_tui.core.errors import RateLimited
from platint_tui.drivers.budgets import Budgets
from platint_tui.store.ports import Limits

LONGEST_WAIT = 30.0
"""Seconds that a call may wait for its turn before the stream is parked instead."""
_AHEAD = 0.25
_LOOK = 0.25
"""Seconds after which a limit without a rate asks the store again whether it is blocked."""
_SLACK = 0.05
"""Seconds that are added to the span of a rate, since calls that were let go on time may leave late."""


def pace(count: int, period: float, burst: int) -> tuple[float, int]:
    """(seconds between two calls, calls that may come at once) of a rate.

    With a `burst` the platform has a bucket of so many that fills up at the rate. Without (0), never more than
    `count` are sent in any span of `period`: what comes at once is taken from what comes evenly.
    """
    if burst > 0:
        return period / count, burst
    burst = max(1, count // (4 if period >= 10 else 10))
    each = (period + _SLACK) / (count - burst + 1)
    if burst > 1 and int(_AHEAD / each) > 1:
        # Calls that were reserved together may be used a little later than they were due.
        each = (period + _SLACK) / (count - burst)
    return each, burst


@dataclass(slots=True)
class _Bucket:
    """What this process holds of one limit: `tokens` of `size` reserved calls, one due every `each_ms` from
    `ready_ms` on."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tokens: int = 0
    size: int = 0
    each_ms: float = 0.0
    ready_ms: float = 0.0
    asked_ms: float = -1e12
    blocked_ms: float = 0.0
    seen_ms: float = 0.0


class LimiterHub:
    """The limits of all profiles that this process works with."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._budgets: dict[str, Budgets] = {}

    def of(self, profile: str) -> ProfileLimiter:
        """The limiter of the credential of `profile`."""
        return ProfileLimiter(self, profile)

    def budgets(self, profile: str) -> Budgets:
        """What the platform announced of the limits of the credential of `profile`."""
        return self._budgets.setdefault(profile, Budgets())

    def _bucket(self, key: str) -> _Bucket:
        return self._buckets.setdefault(key, _Bucket())

    def _mind_the_clock(self, bucket: _Bucket) -> None:
        """A clock that was set back must not turn seconds of waiting into days."""
        now = self._clock.now_ms()
        back = max(0.0, bucket.seen_ms - now)
        bucket.ready_ms -= back
        bucket.blocked_ms -= back
        bucket.seen_ms = now

    async def acquire(self, key: str, count: int, period: float, burst: int, weight: int) -> None:
        """Wait for `weight` calls under `key`; with a `count` of 0 only until nobody blocks it.

        Raises RateLimited when that takes more than LONGEST_WAIT.
        """
        bucket = self._bucket(key)
        self._mind_the_clock(bucket)
        if count <= 0:
            await self._await_block(bucket, key)
            return
        # Whoever waits holds the lock: the others queue here, and only one reservation is outstanding.
        async with bucket.lock:
            now = self._clock.now_ms()
            if bucket.tokens and now > bucket.ready_ms and bucket.each_ms:
                # What was due and not used is lost: used now it would be a burst on top of the burst.
                due = int((now - bucket.ready_ms) / bucket.each_ms)
                bucket.tokens = max(0, min(bucket.tokens, bucket.size - due))
            if bucket.tokens < weight:
                await self._reserve(bucket, key, *pace(count, period, burst), weight)
            await self._await_turn(bucket, key)
            bucket.tokens -= weight

    async def _reserve(self, bucket: _Bucket, key: str, emission: float, burst: int, weight: int) -> None:
        burst = max(burst, weight)
        blocked = await self._limits.blocked_until(key)
        bucket.blocked_ms = max(bucket.blocked_ms, blocked)
        now = self._clock.now_ms()
        if bucket.blocked_ms - now > LONGEST_WAIT * 1000:
            raise self._parked(key, bucket.blocked_ms)
        ahead = max(weight, min(int(_AHEAD / emission), burst))
        wait = await self._limits.reserve(key, emission * 1000, burst * emission * 1000, ahead)
        bucket.tokens = bucket.size = ahead
        bucket.each_ms = emission * 1000
        bucket.ready_ms = self._clock.now_ms() + wait * 1000

    async def _await_block(self, bucket: _Bucket, key: str) -> None:
        now = self._clock.now_ms()
        if not 0 <= now - bucket.asked_ms < _LOOK * 1000:
            bucket.asked_ms = now
            bucket.blocked_ms = max(bucket.blocked_ms, await self._limits.blocked_until(key))
        bucket.ready_ms = 0.0
        await self._await_turn(bucket, key)

    async def _await_turn(self, bucket: _Bucket, key: str) -> None:
        while True:
            now = self._clock.now_ms()
            wait = max(bucket.ready_ms, bucket.blocked_ms) - now
            if wait <= 0:
                return
            if wait > LONGEST_WAIT * 1000:
                # The reservation stays in the bucket: whoever comes back at that time finds it.
                raise self._parked(key, now + wait)
            # In steps, so that a block that arrives meanwhile is respected.
            await self._clock.sleep(min(wait / 1000, 1.0))

    def _parked(self, key: str, until_ms: float) -> RateLimited:
        profile, _, limit = key.partition("/")
        return RateLimited(
            f"The limit '{limit}' of profile '{profile}' is used up.",
            until_ms=int(until_ms) + 1,
            hint="It goes on by itself at that time.",
        )

    async def block(self, key: str, seconds: float) -> None:
        """Let nobody in any process call under `key` for `seconds`."""
        until = self._clock.now_ms() + int(seconds * 1000) + 1
        bucket = self._bucket(key)
        bucket.blocked_ms = max(bucket.blocked_ms, until)
        await self._limits.block(key, until)


@dataclass(frozen=True, slots=True)
class ProfileLimiter:
    """core.ports.Limiter of one profile."""

    hub: LimiterHub
    profile: str

    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """Wait until one more call under `limit` (`count` per `period` seconds) is allowed.

        Raises RateLimited when the wait is longer than a worker should hold its slot.
        """
        await self.hub.acquire(f"{self.profile}/{limit}", count, period, burst, weight)

    async def block(self, limit: str, seconds: float) -> None:
        """The platform asked everyone under `limit` to wait this long (Retry-After)."""
        await self.hub.block(f"{self.profile}/{limit}", seconds)

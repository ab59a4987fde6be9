"""The circuit breakers of the targets that events are delivered to, shown in the store."""

from __future__ import annotations

from platint_tui.core.backoff import RetryPolicy
from platint_tui.core.clock import Clock
from platint_tui.core.events import TargetHealth
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.breaker import FaultBreaker
from platint_tui.engine.targetbreaker import BreakerState, TargetBreaker
from platint_tui.store.ports import Deliveries

_THEN = "nothing more of it is delivered for now"
_NEXT = "Repair the cause; what waits is tried again, and the inbox keeps what failed."


class Targets:
    """One breaker for each account that is written to, whatever integrations write there."""

    def __init__(self, store: Deliveries, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._breakers: dict[str, TargetBreaker] = {}
        self._drains: dict[tuple[str, str], FaultBreaker] = {}

    def drain(self, integration: str, stream: str) -> FaultBreaker:
        """What holds a stream of which nearly every delivery ends in the inbox; it lives as long as the engine."""
        return self._drains.setdefault((integration, stream), FaultBreaker(_THEN, _NEXT))

    async def admit(self, profile: str, policy: RetryPolicy) -> int | None:
        """See TargetBreaker.admit. Raises StoreError."""
        breaker = self._breakers.get(profile)
        if breaker is None:
            breaker = self._breakers[profile] = TargetBreaker(policy)
        admitted = breaker.admit(self._clock.monotonic())
        if admitted == 1:
            await self._show(profile)
        return admitted

    def wait(self, profile: str) -> float:
        """Seconds until the target is tried again, 0 when it may be sent to."""
        breaker = self._breakers.get(profile)
        view = breaker.view(self._clock.monotonic()) if breaker else None
        return view.wait if view is not None and view.state is BreakerState.OPEN else 0.0

    def broken(self, profile: str) -> bool:
        """Whether the breaker is not closed."""
        breaker = self._breakers.get(profile)
        return breaker is not None and breaker.view(self._clock.monotonic()).state is not BreakerState.CLOSED

    def give_back(self, profile: str) -> None:
        """A try that was let through was not made."""
        self._breakers[profile].give_back()

    async def succeeded(self, profile: str) -> None:
        """The target answered."""
        if self._breakers[profile].succeeded():
            await self._show(profile)

    async def failed(self, profile: str, message: str) -> None:
        """The target did not answer, or not as if it worked."""
        if self._breakers[profile].failed(self._clock.monotonic(), REDACTOR.redact(message)):
            await self._show(profile)

    async def _show(self, profile: str) -> None:
        view, now = self._breakers[profile].view(self._clock.monotonic()), self._clock.now_ms()
        until = now + int(view.wait * 1000)
        await self._store.save_health(
            TargetHealth(profile, view.state.value, view.failures, now, until, view.message)
        )

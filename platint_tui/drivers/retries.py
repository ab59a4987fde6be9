"""Tries again what may pass the next time, for drivers of databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import PlatintError, TransientError
from platint_tui.drivers.base import DriverContext

_T = TypeVar("_T")


class Retries:
    """Runs an operation under the connector's retry policy, and reports each try to the telemetry."""

    def __init__(self, context: DriverContext, operation: str) -> None:
        self._context = context
        self._operation = operation
        self._policy = context.connector.errors.policy.retry_policy()

    async def run(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What `attempt` returns. Raises its last error when tries or budget are spent."""
        clock = self._context.clock
        number, waited = 0, 0.0
        while True:
            number += 1
            started = clock.monotonic()
            try:
                result = await attempt()
            except PlatintError as error:
                self._context.telemetry.observe(self._operation, clock.monotonic() - started, False)
                wait = backoff(self._policy, number, self._context.rng)
                spent = number >= self._policy.attempts or waited + wait > self._policy.budget
                if not isinstance(error, TransientError) or spent:
                    raise
            else:
                self._context.telemetry.observe(self._operation, clock.monotonic() - started, True)
                return result
            await clock.sleep(wait)
            waited += wait

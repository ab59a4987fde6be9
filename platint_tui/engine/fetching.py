"""Whole records for events that brought some of their fields only: asked for at the source, right before the write.

What was fetched is stored with its delivery before anything is sent of it, so from then on it is a delivery like any
other. Failures of the source make such deliveries wait, and say nothing of the target.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, RateLimited, StoreError
from platint_tui.core.events import DeliveryOutcome, DeliveryState
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Fault, Integration
from platint_tui.core.ports import Driver, FetchesOne
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.deliveryoutcomes import fault_of, released, text_of
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.planner import find_profile
from platint_tui.store.ports import ClaimedDelivery

log = logging.getLogger("platint.engine")

TOGETHER = 8
"""Records of one route that are asked for at a time."""
GONE = "gone"
"""The code of a delivery whose record is not at the source any more."""
_STRANGE = 5
"""Answers in a row that are not the record asked for after which nothing more is asked for a while."""
_GONE_TEXT = "The record is no longer there: its platform has none, or none that this profile may see."
_LEFT_HINT = "`events resend` with `--again` fetches it once more."


@dataclass(slots=True)
class Whole:
    """Deliveries with their whole records, in order, and what became of those without.

    `fault`: why nothing can be fetched until somebody mends it, None when nothing speaks against it.
    """

    ready: list[ClaimedDelivery] = field(default_factory=list)
    outcomes: list[DeliveryOutcome] = field(default_factory=list)
    fault: Fault | None = None


class Fetcher:
    """The source of one route, opened when the first record is asked for."""

    def __init__(self, context: Context, stream: str) -> None:
        self._context = context
        self._stream = stream
        self._driver: Driver | None = None
        self._failures = 0
        self._until_ms = 0
        self._why: Fault | None = None
        self._strange = 0

    async def whole(self, integration: Integration, claimed: Sequence[ClaimedDelivery]) -> Whole:
        """Fetch what is partial of `claimed` and store it with its delivery. Raises StoreError."""
        result = Whole()
        wanted = [item for item in claimed if item.delivery.partial]
        if not wanted:
            result.ready += claimed
            return result
        slots = asyncio.Semaphore(TOGETHER)
        # While the source is asked to be left alone nobody asks; the first one to fail says so for the rest.
        found = await asyncio.gather(*[self._one(integration, item, slots, result) for item in wanted])
        whole = {item.delivery.number: item for item in found if item is not None}
        if whole:
            raws = {number: item.raw for number, item in whole.items()}
            await self._context.store.deliveries.fetched(raws, self._context.worker)
            failpoint("deliver.after_fetch")
        for item in claimed:
            ready = whole.get(item.delivery.number) if item.delivery.partial else item
            if ready is not None:
                result.ready.append(ready)
        return result

    async def _one(
        self, integration: Integration, item: ClaimedDelivery, slots: asyncio.Semaphore, result: Whole
    ) -> ClaimedDelivery | None:
        """The delivery with its whole record, None when it has none now; then its outcome is in `result`."""
        delivery = item.delivery
        async with slots:
            if result.fault is not None or self._context.clock.now_ms() < self._until_ms:
                result.outcomes.append(self._waits(item, result.fault))
                return None
            try:
                driver = await self._open(integration)
                record = await driver.fetch(self._stream, loads(item.raw))
            except StoreError:
                raise
            except RateLimited as error:
                self._pause(integration, fault_of(error), error.until_ms)
                result.outcomes.append(self._waits(item, None))
            except Exception as error:
                if not isinstance(error, PlatintError):
                    log.exception("fetching %s/%s", integration.name, self._stream)
                result.outcomes.append(self._failed(integration, item, fault_of(error), result))
            else:
                self._failures = self._strange = 0
                if record is not None:
                    raw = record.raw.encode("utf-8", "surrogatepass")
                    return ClaimedDelivery(replace(delivery, partial=False), raw)
                result.outcomes.append(
                    DeliveryOutcome(delivery.number, DeliveryState.SKIPPED, GONE, _GONE_TEXT, tried=False)
                )
        return None

    async def _open(self, integration: Integration) -> FetchesOne:
        if self._driver is None:
            profile = await find_profile(self._context, integration.source_profile)
            if self._driver is None:
                # Tries are counted here, where nobody waits for them.
                self._driver = await self._context.open_driver(profile, retries=False)
        if not isinstance(self._driver, FetchesOne):
            raise ConfigError(f"One record of '{integration.source_platform}' cannot be asked for.")
        return self._driver

    def _failed(
        self, integration: Integration, item: ClaimedDelivery, fault: Fault, result: Whole
    ) -> DeliveryOutcome:
        if fault.error_class is ErrorClass.TRANSIENT:
            self._pause(integration, fault)
            return self._waits(item, None)
        self._strange = self._strange + 1 if fault.error_class is ErrorClass.SYSTEMIC else 0
        if fault.error_class in (ErrorClass.AUTH, ErrorClass.CONFIG) or self._strange >= _STRANGE:
            self._strange = 0
            result.fault = result.fault or fault
            return self._waits(item, fault)
        text = f"The whole record could not be fetched: {text_of(fault)}"
        return DeliveryOutcome(
            item.delivery.number,
            DeliveryState.SKIPPED,
            fault.code,
            f"{text} {_LEFT_HINT}",
            tried=False,
            alert=f"An event of '{item.delivery.profile}' was not delivered. {text}",
        )

    def _pause(self, integration: Integration, fault: Fault, until_ms: int | None = None) -> None:
        """Leave the source alone: until it says, or for a while that grows with each failure in a row."""
        now = self._context.clock.now_ms()
        if now < self._until_ms:
            return  # another request of the same moment
        self._failures += 1
        policy = self._context.registry.get(integration.source_platform).errors.policy.retry_policy()
        pause = max(0.001, backoff(policy, self._failures, self._context.rng))
        self._why, self._until_ms = fault, until_ms or now + int(pause * 1000) + 1

    def _waits(self, item: ClaimedDelivery, fault: Fault | None) -> DeliveryOutcome:
        why = fault or self._why
        assert why is not None
        outcome = released(item.delivery, why.code, f"The whole record is fetched later: {text_of(why)}")
        return outcome if fault is not None else replace(outcome, next_ms=self._until_ms)

    async def close(self) -> None:
        """Release the source."""
        driver, self._driver = self._driver, None
        if driver is not None:
            try:
                await driver.close()
            except Exception as error:
                log.warning("a source did not close: %s", REDACTOR.redact(repr(error)))

"""What becomes of a delivery after a try: again, given up by the integration's error strategy, or done."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from platint_tui.core.backoff import RetryPolicy, backoff
from platint_tui.core.errors import ErrorClass, PlatintError, UnknownOutcome, joined
from platint_tui.core.events import FALLBACK, PRIMARY, Delivery, DeliveryOutcome, DeliveryState
from platint_tui.core.model import Fault, NewDeadLetter
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.routing import EVENT
from platint_tui.engine.rows import Rejected, dead_letter
from platint_tui.store.ports import ClaimedDelivery


@dataclass(frozen=True, slots=True)
class Rules:
    """How failures of one route are dealt with: the policy of its target, and the integration's strategy."""

    plan: StreamPlan
    policy: RetryPolicy
    strategy: str
    rng: random.Random

    def failed(self, claimed: ClaimedDelivery, fault: Fault, now_ms: int) -> DeliveryOutcome:
        """A try that may go better the next time: again after a while, or, with the policy spent, as the
        strategy says."""
        delivery = claimed.delivery
        pause = max(0.001, backoff(self.policy, delivery.attempts, self.rng))
        again = DeliveryOutcome(
            delivery.number,
            DeliveryState.PENDING,
            fault.code,
            text_of(fault),
            next_ms=now_ms + int(pause * 1000),
            waited_ms=int(pause * 1000),
            place=delivery.place,
        )
        waited = (delivery.waited_ms + again.waited_ms) / 1000
        if delivery.attempts < self.policy.attempts and waited <= self.policy.budget:
            return again
        if self.strategy == "retry" or delivery.fallback_ms is not None:
            return again
        if self.strategy == "fallback":
            # From one to the other, until one of them takes it: nothing is wrong with the record.
            other = FALLBACK if delivery.place == PRIMARY else PRIMARY
            return replace(again, place=other, next_ms=0 if other == FALLBACK else again.next_ms)
        return self.dead(claimed, fault)

    def dead(self, claimed: ClaimedDelivery, fault: Fault) -> DeliveryOutcome:
        """Given up: it lies in the inbox from now on, and somebody is told where the strategy is alert."""
        text = text_of(fault)
        return DeliveryOutcome(
            claimed.delivery.number,
            DeliveryState.DEAD,
            fault.code,
            text,
            letter=self._letter(claimed, fault),
            alert=f"An event of '{claimed.delivery.profile}' could not be delivered: {text}"
            if self.strategy == "alert"
            else "",
        )

    def unknown(self, claimed: ClaimedDelivery, fault: Fault, now_ms: int) -> DeliveryOutcome:
        """It was sent and nobody knows what became of it: once more with the same key where a repeat does no
        harm, else a dead letter that asks."""
        if self.plan.idempotent:
            return self.failed(claimed, replace(fault, error_class=ErrorClass.TRANSIENT), now_ms)
        return self.dead(claimed, replace(fault, code=UnknownOutcome.code))

    def _letter(self, claimed: ClaimedDelivery, fault: Fault) -> NewDeadLetter:
        delivery = claimed.delivery
        rejected = Rejected(
            claimed.raw.decode("utf-8", "surrogatepass"), delivery.record_key, fault, delivery.op
        )
        made = dead_letter(self.plan, self.plan.target, "", rejected, delivery.idempotency_key)
        return replace(made, direction=EVENT)


def done(delivery: Delivery) -> DeliveryOutcome:
    """The target has it: for good, or the fallback until the first target takes it."""
    state = DeliveryState.DONE if delivery.place == PRIMARY else DeliveryState.FALLBACK
    return DeliveryOutcome(delivery.number, state)


def released(delivery: Delivery, code: str = "", message: str = "") -> DeliveryOutcome:
    """Nothing was sent: it waits as before."""
    return DeliveryOutcome(delivery.number, DeliveryState.PENDING, code, message, tried=False)


def text_of(fault: Fault) -> str:
    """A fault as one sentence, without secrets."""
    return REDACTOR.redact(joined(fault.message, fault.hint))


def fault_of(error: Exception) -> Fault:
    """An error as what became of a delivery."""
    if isinstance(error, PlatintError):
        return Fault(
            error.error_class, error.code, REDACTOR.redact(error.message), hint=REDACTOR.redact(error.hint)
        )
    return Fault(ErrorClass.SYSTEMIC, "internal", REDACTOR.redact(f"{type(error).__name__}: {error}."))

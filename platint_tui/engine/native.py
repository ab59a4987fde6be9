"""The dead letters that platforms keep themselves: looked at, sent back through their platform, removed there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import (
    NATIVE,
    DeadLetter,
    DeadQueue,
    JsonObject,
    NativeLetter,
    Profile,
)
from platint_tui.core.ports import Driver, HoldsDeadLetters
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import DeadLetterState
from platint_tui.engine.context import Context
from platint_tui.engine.planner import find_profile

MOST_LETTERS = 1_000
"""Dead letters of one queue that are brought into the inbox at a time."""
RETURNED = {"sent": "succeeded", "gone": "superseded", "refused": "failed", "unknown": "unknown"}
"""What the outcome of sending one back means for its dead letter."""
OPEN_STATES = (DeadLetterState.OPEN, DeadLetterState.UNKNOWN)


async def holder_of(
    context: Context, profile: str, open_driver: Callable[[Profile], Awaitable[Driver]]
) -> HoldsDeadLetters:
    """The driver of a profile whose platform keeps dead letters. Raises ConfigError when it keeps none."""
    found = await find_profile(context, profile)
    driver = await open_driver(found)
    if not isinstance(driver, HoldsDeadLetters):
        raise ConfigError(
            f"The platform of the profile '{profile}' keeps no dead letters of its own.",
            hint="RabbitMQ, Kafka, SQS, Service Bus and Redis do.",
            code="no_dead_queues",
        )
    return driver


def native_letter(letter: DeadLetter) -> NativeLetter:
    """A row of the inbox as its platform knows it, with the payload as it is now."""
    origin = letter.origin or {}
    return NativeLetter(
        id=str(origin.get("id", letter.record_key)),
        queue=str(origin.get("queue", letter.stream)),
        origin=str(origin.get("origin", "")),
        reason=str(origin.get("reason", "")),
        payload=letter.payload,
        properties=origin.get("properties") or {},
        code=letter.code,
        deliveries=origin.get("deliveries"),
        died_ms=origin.get("died_ms"),
    )


async def pull(context: Context, profile: str, limit: int = MOST_LETTERS) -> dict[str, Any]:
    """Look at every dead-letter queue of a profile and bring the inbox up to what is there.

    A queue that cannot be looked at does not keep the others from being; its sentence is in `errors`.
    """
    found = await find_profile(context, profile)
    driver = await context.open_driver(found)
    try:
        holder = await holder_of(context, profile, _given(driver))
        queues = await holder.dead_queues()
        await context.store.dead_letters.save_dead_queues(profile, queues)
        new, errors = 0, dict[str, str]()
        for queue in queues:
            try:
                new += await _mirror(context, found, holder, queue, limit)
            except PlatintError as error:
                errors[queue.name] = REDACTOR.redact(error.sentence())
    finally:
        await driver.close()
    return {
        "profile": profile,
        "new": new,
        "queues": [{"name": item.name, "depth": item.depth, "oldest_ms": item.oldest_ms} for item in queues],
        "errors": errors,
    }


def _given(driver: Driver) -> Callable[[Profile], Awaitable[Driver]]:
    async def give(_: Profile) -> Driver:
        return driver

    return give


async def _mirror(
    context: Context, profile: Profile, holder: HoldsDeadLetters, queue: DeadQueue, limit: int
) -> int:
    letters = []
    found = holder.browse_dead(queue.name, limit)
    assert isinstance(found, AsyncGenerator)
    async with contextlib.aclosing(found):
        async for letter in found:
            letters.append(letter)
            if len(letters) >= limit:
                break
    # A queue that holds more than it showed hides some for a while: they are not gone.
    complete = len(letters) < limit and (queue.depth is None or len(letters) >= queue.depth)
    return await context.store.dead_letters.native(profile, queue, letters, complete)


async def discard(context: Context, args: JsonObject) -> dict[str, Any]:
    """`discard_native {dead_letters: [ids]}`: remove them at their platform for good, then here.

    One that could not be removed stays open; its sentence is in `errors` by its number.
    """
    drivers: dict[str, Driver] = {}
    errors: dict[str, str] = {}
    done: list[str] = []
    try:
        for identity in args.get("dead_letters") or ():
            letter = await context.store.dead_letters.get(str(identity))
            if letter is None or letter.direction != NATIVE or letter.state not in OPEN_STATES:
                continue
            try:
                holder = await holder_of(context, letter.profile, _remembered(context, drivers))
                returned = await holder.discard_dead(native_letter(letter))
            except PlatintError as error:
                errors[str(letter.number)] = REDACTOR.redact(error.sentence())
                continue
            if returned.outcome in ("sent", "gone"):
                done.append(letter.id)
            else:
                errors[str(letter.number)] = REDACTOR.redact(returned.message)
    finally:
        for driver in drivers.values():
            await driver.close()
    count = await context.store.dead_letters.discard(done)
    return {"discarded": count, "errors": errors}


def _remembered(context: Context, drivers: dict[str, Driver]) -> Callable[[Profile], Awaitable[Driver]]:
    async def give(profile: Profile) -> Driver:
        if profile.name not in drivers:
            drivers[profile.name] = await context.open_driver(profile)
        return drivers[profile.name]

    return give

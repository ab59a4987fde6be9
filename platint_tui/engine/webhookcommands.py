"""The commands about webhooks at platforms, and about what did not arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from platint_tui.core.model import JsonObject
from platint_tui.engine import missed, subscribing, subscriptions
from platint_tui.engine.context import Context

Handler = Callable[[Context, JsonObject], Awaitable[dict[str, Any]]]


def _registering(handler: Handler) -> Handler:
    """A handler that is alone with the webhooks at platforms."""

    async def alone(context: Context, args: JsonObject) -> dict[str, Any]:
        async with context.registering:
            return await handler(context, args)

    return alone


async def _subscribe(context: Context, args: JsonObject, command: str) -> dict[str, Any]:
    async with context.registering:
        return await subscribing.subscribe(context, args, command)


async def _backfill(context: Context, args: JsonObject) -> dict[str, Any]:
    async with context.filling:
        return await missed.backfill(context, args)


HANDLERS: Mapping[str, Handler] = {
    "unsubscribe": _registering(subscriptions.unsubscribe),
    "pause_subscription": _registering(subscriptions.pause),
    "resume_subscription": _registering(subscriptions.resume),
    "renew": _registering(subscriptions.renew),
    "check_subscriptions": _registering(subscriptions.check),
    "check_address": subscriptions.check_address,
    "missed": missed.missed,
    "backfill": _backfill,
    "accept_gap": missed.accept,
}
MAKERS: Mapping[str, Callable[[Context, JsonObject, str], Awaitable[dict[str, Any]]]] = {
    "subscribe": _subscribe,
}

"""The commands about webhooks at platforms, and about what did not arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from platint_tui.core.model import JsonObject
from platint_tui.engine import missed, subscribing, subscriptions
from platint_tui.engine.context import Context

HANDLERS: Mapping[str, Callable[[Context, JsonObject], Awaitable[dict[str, Any]]]] = {
    "unsubscribe": subscriptions.unsubscribe,
    "pause_subscription": subscriptions.pause,
    "resume_subscription": subscriptions.resume,
    "renew": subscriptions.renew,
    "check_subscriptions": subscriptions.check,
    "check_address": subscriptions.check_address,
    "missed": missed.missed,
    "backfill": missed.backfill,
    "accept_gap": missed.accept,
}
MAKERS: Mapping[str, Callable[[Context, JsonObject, str], Awaitable[dict[str, Any]]]] = {
    "subscribe": subscribing.subscribe,
}

"""Webhooks for the tests of the console: sources, events, refused requests, deliveries, gaps, subscriptions."""

from __future__ import annotations

import json
from dataclasses import replace

from seeding import MINUTE, NOW_MS, FixedClock, integration, profile

from platint_tui.core.events import (
    DeliveryOutcome,
    DeliveryState,
    Event,
    EventState,
    NewDelivery,
    NewEvent,
    Rejection,
    SourceState,
)
from platint_tui.core.gaps import GapKind, SentEvent
from platint_tui.core.model import Profile, Worker
from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.core.webhooks import Step
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import RoutedEvent

PUBLIC = "https://hooks.example.com"
STEPS = (
    Step("Scheme", None, "HMAC-SHA256 in stripe-signature."),
    Step("Clock", True, "Signed 2 s ago by our clock; at most 300 s are allowed."),
    Step("Signed", None, "t.body: 10 digits, a dot, and the 412 bytes of the body."),
    Step("Signature", False, "Expected with webhook_secret: 5f2a…; received: 9c41…."),
)


def new_event(name: str, number: int, type: str, age_ms: int, **more: object) -> NewEvent:
    """An event of a source."""
    body = {"id": f"evt_{number:04d}", "type": type, "data": {"object": {"id": f"cus_{number % 7}"}}}
    made = NewEvent(
        profile=name,
        platform="stripe" if "stripe" in name else "github",
        event_id=f"evt_{number:04d}",
        type=type,
        order_key=f"cus_{number % 7}",
        occurred_ms=NOW_MS - age_ms - 900,
        received_ms=NOW_MS - age_ms,
        method="POST",
        target=f"/webhooks/{name}",
        headers=(("content-type", "application/json"), ("stripe-signature", "t=1772460,v1=5f2a90")),
        body=json.dumps(body).encode(),
        verified_by="webhook_secret",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def refusal(name: str, cause: str, message: str, age_ms: int, **more: object) -> Rejection:
    """A refused request."""
    made = Rejection(
        number=0,
        profile=name,
        cause=cause,
        message=message,
        received_ms=NOW_MS - age_ms,
        last_ms=NOW_MS - age_ms,
        times=1,
        method="POST",
        target=f"/webhooks/{name}",
        headers=(("content-type", "application/json"), ("user-agent", "Stripe/1.0")),
        body=b'{"id": "evt_bad", "type": "charge.failed"}',
        truncated=False,
        steps=STEPS,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def account(name: str, platform: str, *, environment: str = "sandbox") -> Profile:
    """A profile whose platform sends webhooks."""
    made = profile(name, platform, environment=environment)
    return replace(made, secrets={"webhook_secret": f"keyring:{name}/webhook_secret"}, origins=())


async def listen(workspace: Workspace, *, beat_ms: int = NOW_MS) -> None:
    """An engine says that it listens."""
    settings = workspace.store.settings
    await settings.put("webhooks", {"listen": "127.0.0.1:8787", "public_url": PUBLIC})
    status = {
        "address": "http://127.0.0.1:8787",
        "public_url": PUBLIC,
        "since_ms": NOW_MS - 60 * MINUTE,
        "error": "",
    }
    await settings.put("receiver.status", status)
    await workspace.store.workers.beat(
        Worker("eng_test", "engine", "host", 1, "0.1.0", NOW_MS - 60 * MINUTE, beat_ms)
    )


async def seed_events(workspace: Workspace, clock: FixedClock) -> None:
    """Three sources: one that is busy, one that is paused with a gap, one that nothing came from."""
    store = workspace.store
    await listen(workspace)
    await store.profiles.put(account("stripe-live", "stripe", environment="production"))
    await store.profiles.put(account("github-org", "github"))
    await store.profiles.put(account("shop", "shopify"))
    fed = replace(
        integration("webhook-customers", "stripe-live", "books", "customers"),
        integration_type="webhook_automation",
        source_platform="stripe",
        receives=True,
    )
    fed = await store.integrations.put(fed)
    types = ("customer.updated", "customer.created", "invoice.paid", "customer.deleted")
    batch = [new_event("stripe-live", n, types[n % 4], (40 - n) * 30_000) for n in range(40)]
    batch.append(new_event("stripe-live", 39, types[3], 1_000))
    batch += [new_event("github-org", 100 + n, "issues.opened", n * MINUTE + 5_000) for n in range(5)]
    await store.events.ingest(batch)
    events = await store.deliveries.unrouted(100)
    await store.deliveries.route([_routed(event, fed.name, fed.version) for event in events
                                  if event.profile == "stripe-live"])  # fmt: skip
    claimed = await store.deliveries.claim(fed.name, "customers", "eng_test", 100)
    await store.deliveries.settle([
        DeliveryOutcome(item.delivery.number, DeliveryState.DONE) if index % 6 else
        DeliveryOutcome(item.delivery.number, DeliveryState.PENDING, "unreachable",
                        "127.0.0.1:5432 refused the connection.", next_ms=NOW_MS + 42_000, waited_ms=8_000)
        for index, item in enumerate(claimed)
    ])  # fmt: skip
    await store.events.reject([
        refusal("stripe-live", "bad_signature", "No signature fits webhook_secret.", 4 * MINUTE, times=12),
        refusal("stripe-live", "too_old", "The signature is 9 minutes old; 300 s are allowed.", 30 * MINUTE),
        refusal("github-org", "missing_header", "There is no header x-hub-signature-256.", 2 * MINUTE),
    ])  # fmt: skip
    await store.sources.set_state("github-org", SourceState.PAUSED)
    await store.gaps.begin("stripe-live", GapKind.RECEIVER_DOWN, "The engine was not running.",
                           NOW_MS - 300 * MINUTE, NOW_MS - 280 * MINUTE)  # fmt: skip
    await store.gaps.compare(
        "stripe-live",
        [SentEvent(f"evt_9{n:03d}", "customer.updated", NOW_MS - 290 * MINUTE + n * 1000) for n in range(6)],
        NOW_MS - 300 * MINUTE,
        NOW_MS - 280 * MINUTE,
    )
    await store.subscriptions.put(
        Subscription(
            "sub_1", "stripe-live", "we_1", f"{PUBLIC}/webhooks/stripe-live", types, {},
            SubscriptionState.ACTIVE, NOW_MS - 86_400_000, checked_ms=NOW_MS - MINUTE,
        )
    )  # fmt: skip
    await store.subscriptions.put(
        Subscription(
            "sub_2", "github-org", "77", f"{PUBLIC}/webhooks/github-org", ("issues", "push"),
            {"repo": "acme/shop"}, SubscriptionState.ACTIVE, NOW_MS - 86_400_000,
            expires_ms=NOW_MS + 2 * 86_400_000,
        )
    )  # fmt: skip


def _routed(event: Event, name: str, version: int) -> RoutedEvent:
    if event.type == "invoice.paid":
        return RoutedEvent(event, EventState.UNWANTED, ())
    made = NewDelivery(
        name, version, "customers", json.dumps([event.event_id]), f"key-{event.number}", event.body
    )
    return RoutedEvent(event, EventState.ROUTED, (made,))

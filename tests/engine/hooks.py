"""A platform whose webhooks are put into the store as the receiver does it, and what a test asks of deliveries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.peer import Peer
from engine.support import Installation, until

from platint_tui.core.events import Delivery, DeliveryState, NewEvent
from platint_tui.store.ports import DeliveryFilter, EventFilter

MANIFEST = """
manifest: 1
platform: hooks
name: Hooks
version: 1.0.0
category: other
docs: https://example.org/
driver: http
profile:
  fields:
    - {id: base_url, type: url, required: true}
    - {id: signing_secret, label: Secret, secret: true, used_by: [webhooks]}
auth: {type: none}
transport:
  base_url: '${profile.base_url}'
  timeout: {connect: 5s, read: 30s, total: 60s}
  allowed_hosts: ['${profile.base_url}']
errors:
  policy: {attempts: 2, base: 1ms, factor: 1, cap: 2ms, jitter: full, budget: 5s}
  rules: [{when: {status: ['500-599'], network: true}, class: transient, action: retry, then: fail_stream}]
check: [{id: ok, request: {path: /ok}}]
discover: {type: static}
resources:
  items:
    key: [id]
    fields: [{name: id, type: string, required: true}, {name: n, type: integer}, {name: at, type: integer}]
    read:
      request: {method: GET, path: /items}
      records: data
      page: {type: cursor, from: next, param: after}
      cursor: {field: at, type: epoch_ms, order: none}
  notes:
    key: [id]
webhooks:
  verify: [{scheme: token, secret: [signing_secret], header: X-Token}]
  event: {id: 'body:id', type: 'body:type', time: 'body:time', time_format: epoch_ms}
  map:
    - {types: [item.deleted], resource: items, record: data, op: delete}
    - {types: [item.touched], resource: items, record: data, partial: true}
    - {types: ['item.*'], resource: items, record: data}
    - {types: ['note.*'], resource: notes, record: data}
tests:
  - {name: x, kind: error, exchange: x.yaml, expect: {class: transient, action: retry}}
  - {name: y, kind: webhook, exchange: y.yaml, expect: {accepted: true, events: 1}}
  - {name: z, kind: webhook, exchange: z.yaml, expect: {accepted: false, cause: bad_token}}
"""


async def prepare(installation: Installation, peer: Peer) -> None:
    """The platform, its profile `hooks`, and `spare`, a second SQLite file."""
    (installation.paths.connectors / "hooks.yaml").write_text(MANIFEST)
    await installation.profile("hooks", "hooks", {"base_url": peer.url})
    await installation.profile("spare", "sqlite", {"path": str(spare(installation))})


def spare(installation: Installation) -> Path:
    return installation.home / "spare.sqlite"


def integration(
    name: str,
    streams: Mapping[str, str],
    *,
    to: str = "peer",
    strategy: str = "dead_letter",
    kind: str = "webhook_automation",
    fallback: str = "",
    extra: str = "",
) -> str:
    """An integration file from the webhooks of `hooks`; `extra` stands in the entry of each stream."""
    target = {
        "peer": "{name: peer, profile: sink}",
        "sqlite": "{name: sqlite, profile: warehouse}",
        "redis": "{name: redis, profile: queue}",
        "chat": "{name: demo-chat, profile: chat}",
    }
    second = {"": "", "sqlite": "  - {name: sqlite, profile: spare, role: fallback}\n"}
    lines = "\n".join(f"  {stream}: {{target: {goal}{extra}}}" for stream, goal in streams.items())
    return f"""
integration: {name}
integration_type: {kind}
platforms:
  - {{name: hooks, profile: hooks}}
  - {target[to]}
{second[fallback]}error_strategy: {strategy}
streams:
{lines}
"""


class Webhooks:
    """Puts events into the store, each committed alone, as the receiver does before it answers."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.sent = 0

    async def send(
        self, type: str, data: Any, *, id: str = "", time: int | None = None, profile: str = "hooks"
    ) -> str:
        """One event; returns its id in the store."""
        self.sent += 1
        name = id or f"evt_{self.sent}"
        body = json.dumps({"id": name, "type": type, "time": time, "data": data}).encode()
        event = NewEvent(
            profile=profile,
            platform="hooks",
            event_id=name,
            type=type,
            order_key="",
            occurred_ms=time,
            received_ms=self._installation.clock.now_ms(),
            method="POST",
            target=f"/webhooks/{profile}",
            headers=(("content-type", "application/json"),),
            body=body,
        )
        events = self._installation.store.events
        await events.ingest([event])
        numbers = await events.numbers(EventFilter(profile=profile), limit=1)
        return (await events.rows(numbers))[0].id

    async def items(self, count: int, start: int = 0) -> None:
        """`count` events of items that there was nothing of before."""
        for number in range(start, start + count):
            await self.send("item.created", {"id": f"i{number}", "n": number, "at": number})


async def deliveries(installation: Installation, **where: Any) -> list[Delivery]:
    """All that match, oldest first."""
    return list(await installation.store.deliveries.list(DeliveryFilter(**where), 100_000))[::-1]


async def settled(installation: Installation, count: int, *states: DeliveryState) -> list[Delivery]:
    """Wait until there are `count` deliveries and each is in one of `states` (done without any)."""
    wanted = states or (DeliveryState.DONE,)

    async def look() -> Sequence[Delivery] | None:
        found = await deliveries(installation)
        return found if len(found) == count and all(item.state in wanted for item in found) else None

    return list(await until(look))

"""What a platform tells of the events that it sent: its list by the manifest's `webhooks.missed`, and sending again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from platint_tui.core.errors import ConfigError
from platint_tui.core.gaps import SentEvent
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Json, Record
from platint_tui.core.subscriptions import WantedWebhook
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.webhooks.asking import ask, pages, scope_of
from platint_tui.drivers.http.webhooks.events import time_ms
from platint_tui.manifest import schema
from platint_tui.manifest.subscribing import Missed, missed_way
from platint_tui.manifest.template import lookup, render_map

ITSELF = "."


class SentList:
    """The lists of one account (`ports.ListsSent`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _way(self, webhook: WantedWebhook | None) -> Missed:
        connector = self._session.context.connector
        ways = connector.webhooks.missed if connector.webhooks is not None else ()
        way = missed_way(ways, webhook.scope if webhook is not None else {})
        if way is None:
            why = next((item.none for item in ways if item.none), None)
            raise ConfigError(
                why or f"What {connector.name} sent is not known: its connector names no list of it.",
                code="no_missed",
            )
        return way

    async def sent(
        self, webhook: WantedWebhook | None, since_ms: int, until_ms: int, *, only_failed: bool = False
    ) -> AsyncIterator[Sequence[SentEvent]]:
        """The events of a span, page by page; see `ports.ListsSent`."""
        way = self._way(webhook)
        assert way.request is not None
        scope = {**scope_of(self._session, webhook), "cursor": {"start": since_ms, "end": until_ms}}
        request = way.request
        if only_failed:
            request = request.model_copy(update={"query": {**request.query, **way.only_failed}})
        read = schema.Read(request=request, records=way.items, page=way.page, optional=way.optional)
        async for records in pages(self._session, read, scope):
            found = [_sent(way, record, webhook) for record in records]
            yield [item for item in found if item.time_ms is None or since_ms <= item.time_ms <= until_ms]
            if way.newest_first and any(
                item.time_ms is not None and item.time_ms < since_ms for item in found
            ):
                return

    async def redeliver(self, event: SentEvent, webhook: WantedWebhook | None) -> None:
        """Have the platform send an event again; see `ports.ListsSent`."""
        way = self._way(webhook)
        if way.redeliver is None:
            raise ConfigError(f"{self._session.caller.host} sends nothing again.", code="not_offered")
        item: dict[str, Json] = {
            "event_id": event.event_id,
            "delivery_id": event.delivery_id,
            "type": event.type,
        }
        await ask(
            self._session, way.redeliver, {**scope_of(self._session, webhook), "item": item}, "redeliver"
        )


def _sent(way: Missed, record: Record, webhook: WantedWebhook | None) -> SentEvent:
    item = record.value
    types = [text for path in way.type if (text := _text(lookup(item, path)))]
    return SentEvent(
        event_id=_text(lookup(item, way.event_id)),
        type=".".join(types),
        time_ms=time_ms(_text(lookup(item, way.time)), way.time_format) if way.time else None,
        delivery_id=_text(lookup(item, way.delivery_id)) if way.delivery_id else "",
        subscription=webhook.remote_id if webhook is not None else "",
        failed=None if way.delivered is None else not body_holds(way.delivered, item),
        body=_body(way, record),
        headers=tuple(render_map(way.headers, {"item": item}, "header").items()),
    )


def _body(way: Missed, record: Record) -> bytes | None:
    """The event itself: the exact text where the item is the event."""
    if way.body is None:
        return None
    if way.body == ITSELF:
        return record.raw.encode()
    value: Json = lookup(record.value, way.body)
    if value is None:
        return None
    return (value if isinstance(value, str) else dumps(value)).encode()


def _text(value: Json | Mapping[str, Json]) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return value if isinstance(value, str) else dumps(value) if isinstance(value, int | float) else ""

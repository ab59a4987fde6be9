"""What webhooks feed: the streams of the map, and the stream of the events themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from platint_tui.core.model import Field

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector

EVENTS = "events"
"""The stream of the events themselves, which every source of webhooks has."""
_OWN_EVENTS = "webhook_events"
EVENT_KEY = ("id",)
EVENT_FIELDS = (
    Field("id", "string", required=True),
    Field("type", "string", required=True),
    Field("time", "integer", description="Epoch milliseconds by the platform's clock."),
    Field("received", "integer", required=True, description="Epoch milliseconds by ours."),
    Field("profile", "string", required=True),
    Field("body", "any"),
    Field("headers", "object"),
)
"""What a record of the stream of events holds."""


def events_stream(connector: Connector) -> str:
    """The name of the stream of the events themselves: `events`, unless that is a resource of the platform."""
    return _OWN_EVENTS if EVENTS in connector.resources else EVENTS


def feeds(connector: Connector, stream: str) -> bool:
    """Whether webhooks of this platform bring records of `stream`."""
    return connector.webhooks is not None and any(_fits(name, stream) for name in fed_streams(connector))


def fed_streams(connector: Connector) -> Iterator[str]:
    """The streams that webhooks bring records of; a family is `items.*`."""
    if connector.webhooks is not None:
        yield from dict.fromkeys(entry.resource for entry in connector.webhooks.map)
        yield events_stream(connector)


def _fits(name: str, stream: str) -> bool:
    return stream == name or (name.endswith(".*") and stream.startswith(name[:-1]) and stream != name)

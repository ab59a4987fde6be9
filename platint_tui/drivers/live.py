"""What live feeds share: a message becomes records, and what is known of the time away becomes a gap."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.core.ids import new_id
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, ReadOptions, Record, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.http.discover import fields_of
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.messages import BASE64, as_record, decoded, iso
from platint_tui.manifest.live import Live
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.sources import Source
from platint_tui.manifest.template import lookup

ALIVE = 5.0
"""Seconds between two signs of life of a followed feed."""
LONGEST_SCAN = 60.0
"""Seconds after which a scan of a feed that never falls silent ends."""
_MILLISECONDS = 100_000_000_000
"""Numbers from here on are milliseconds since 1970, not seconds (which would be in the year 5138)."""


@dataclass(slots=True)
class Portion:
    """What came and is not given out in a page yet."""

    records: list[Record] = field(default_factory=list)
    bad: list[BadElement] = field(default_factory=list)
    happened: list[int] = field(default_factory=list)
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.bad)


class Shaper:
    """Makes records of the messages of one connection. Those without an id get one that nothing else has."""

    def __init__(self, stream: str, live: Live, longest: int) -> None:
        """`longest` bytes of a message are taken."""
        self._stream = stream
        self._live = live
        self._longest = longest
        self._mark = new_id("f").removeprefix("f_")
        self._count = 0

    def made(self) -> str:
        """An id for a message that has none."""
        self._count += 1
        return f"{self._mark}-{self._count}"

    def document(self, content: bytes | str) -> Json:
        """The JSON of a message. Raises SystemicError when it is none."""
        return loads(content)

    def ignores(self, document: Json) -> bool:
        """Whether the manifest says that such a message is no record."""
        return any(body_holds(test, document) for test in self._live.ignore)

    def id_in(self, document: Json) -> str:
        """The id at the path that the manifest names, "" without one."""
        value = lookup(document, self._live.id) if self._live.id is not None else None
        if value is None or isinstance(value, bool | Mapping | list):
            return ""
        return value if isinstance(value, str) else dumps(value)

    def add(
        self,
        portion: Portion,
        content: bytes | str,
        document: Json,
        identity: str,
        around: Mapping[str, Json],
        *,
        parsed: bool,
        body: Mapping[str, Json] | None = None,
    ) -> None:
        """Add what a message holds to a portion; `document` is its JSON where it is `parsed`. `body` is what stands
        in the record for its content; without it that is JSON, text or bytes by its form."""
        size = len(content)
        portion.bytes += size
        if size > self._longest:
            reason = f"the message has {size:,} bytes, more than the {self._longest:,} that are taken"
            portion.bad.append(BadElement(_whole(content, {"id": identity, **around}), reason))
        elif parsed and self._live.records is not None:
            self._add_records(portion, document)
        else:
            self._add_message(portion, content, document if parsed else None, identity, around, body)

    def refuse(self, portion: Portion, content: bytes | str, around: Mapping[str, Json], reason: str) -> None:
        """Add a message that cannot be a record."""
        portion.bytes += len(content)
        portion.bad.append(BadElement(_whole(content, around), reason))

    def _add_records(self, portion: Portion, document: Json) -> None:
        found = lookup(document, self._live.records or "")
        for item in found if isinstance(found, list) else [] if found is None else [found]:
            if not isinstance(item, dict):
                portion.bad.append(BadElement(dumps(item), "it is no object"))
                continue
            portion.records.append(Record(dumps(item), item))
            self._note(portion, item)

    def _add_message(
        self,
        portion: Portion,
        content: bytes | str,
        document: Json,
        identity: str,
        around: Mapping[str, Json],
        body: Mapping[str, Json] | None,
    ) -> None:
        happened = self._moment(document)
        value: dict[str, Json] = {"id": identity}
        try:
            value |= decoded(content) if body is None else body
        except RecordError as error:
            portion.bad.append(BadElement(_whole(content, {**value, **around}), error.message.rstrip(".")))
            return
        value |= {
            "headers": {},
            "key": None,
            "stream": self._stream,
            "timestamp": None if happened is None else iso(happened),
            **around,
        }
        made = as_record(value)
        if isinstance(made, Record):
            portion.records.append(made)
            self._note(portion, document)
        else:
            portion.bad.append(made)

    def _note(self, portion: Portion, document: Json) -> None:
        if (moment := self._moment(document)) is not None:
            portion.happened.append(moment)

    def _moment(self, document: Json) -> int | None:
        return moment(lookup(document, self._live.happened)) if self._live.happened is not None else None


def moment(value: Json) -> int | None:
    """A time of a platform in epoch milliseconds: ISO 8601, seconds or milliseconds; None for anything else."""
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        value = Decimal(value)
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return None
        number = Decimal(value)
        milliseconds = int(number if abs(number) >= _MILLISECONDS else number * 1000)
        iso(milliseconds)
    except (ValueError, OverflowError, ArithmeticError, OSError):
        return None
    return milliseconds


def _whole(content: bytes | str, around: Mapping[str, Json]) -> str:
    """A message that is no record, with everything that came with it."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    body: dict[str, Any] = {"body": base64.b64encode(data).decode(), "encoding": BASE64}
    return as_record({**body, **around}).raw


def feed_streams(connector: Connector, kind: str, chosen: Callable[[Source], Live | None]) -> list[Stream]:
    """The streams that a manifest declares as feeds. `chosen` gives the feed of a source, None for another kind."""
    found = []
    for name, resource in connector.resources.items():
        live = chosen(resource.source) if resource.source is not None else None
        if live is None:
            continue
        notes = tuple(note for note in (resource.description, *resource.notes) if note)
        found.append(
            Stream(
                name,
                resource.key or (("id",) if live.records is None else ()),
                None,
                fields_of(resource),
                writable=resource.write is not None,
                notes=notes,
                needs=resource.needs,
                incomplete=name.endswith("*"),
                kind=kind,
                modes=("consume",),
            )
        )
    return found


def only_consumes(options: ReadOptions, stream: str) -> None:
    """Raises ConfigError for a mode that feeds do not have."""
    if options.mode not in ("", "consume"):
        raise ConfigError(
            f"Feeds are consumed; there is no mode '{clean(options.mode)}' for them.",
            where=clean(stream),
            hint="Leave `mode` out of the integration file.",
            code="mode",
        )

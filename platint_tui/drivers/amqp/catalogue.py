"""What a virtual host offers as streams: its queues and exchanges with their state, or, where nobody may list them,
the queues that the profile names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError, TransientError
from platint_tui.core.model import Stream
from platint_tui.core.text import one_line
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.management import (
    Binding,
    ExchangeInfo,
    Management,
    QueueInfo,
    dead_letter_origins,
)
from platint_tui.drivers.amqp.messages import FIELDS
from platint_tui.drivers.amqp.session import ready_count

KEY = ("id",)
MODES = ("consume",)
_SHOWN = 10
"""Names that a fact lists."""
_SETTINGS = (
    ("dead-letter-exchange", "dead letters to exchange"),
    ("dead-letter-routing-key", "dead letters with key"),
    ("message-ttl", "messages expire after ms"),
    ("expires", "unused queue expires after ms"),
    ("max-length", "most messages"),
    ("max-length-bytes", "most bytes"),
    ("overflow", "when full"),
    ("max-age", "kept for"),
    ("single-active-consumer", "single active consumer"),
    ("max-priority", "priorities up to"),
)
_SHARED = "Other consumers of this queue get a part of its messages."
_LIMITED = "After {limit} deliveries without acknowledgement the broker takes a message out of this queue."


async def listed(management: Management) -> list[Stream]:
    """Queues and exchanges, as the management API knows them. Raises PlatintError when it cannot be asked."""
    (queues, whole), (exchanges, all_exchanges) = await asyncio.gather(
        management.queues(), management.exchanges()
    )
    try:
        bindings, unknown = await management.bindings(), ""
    except SystemicError as error:  # there are too many for one answer
        bindings, unknown = [], f"Its bindings could not be read: {error.message}"
    origins = dead_letter_origins(queues, exchanges, bindings)
    found = [_queue(item, bindings, origins.get(item.name, ()), unknown) for item in queues]
    found += [_exchange(item, bindings, unknown) for item in exchanges if _is_useful(item, bindings)]
    if not whole or not all_exchanges:
        found.append(
            rest(f"Only the first {len(queues):,} queues and {len(exchanges):,} exchanges are listed.")
        )
    return found


async def named(link: Link, names: Iterable[str], why: str) -> list[Stream]:
    """The queues called `names`, each looked at; and one stream that stands for those that nobody can list,
    because of `why`."""
    found: list[Stream] = []
    for name in names:
        try:
            ready = await ready_count(link, name)
        except ConfigError as error:
            found.append(Stream(name, KEY, None, FIELDS, kind="queue", modes=MODES, refused=error.sentence()))
            continue
        found.append(
            Stream(
                name,
                KEY,
                None,
                FIELDS,
                writable=True,
                estimate=ready,
                notes=(_SHARED,),
                kind="queue",
                modes=MODES,
                facts=(("ready", f"{ready:,}"),),
            )
        )
    return [*found, rest(f"AMQP cannot list queues. {why}".strip())]


def rest(why: str) -> Stream:
    """What stands for the queues that are not listed."""
    note = "Name them in the profile's field queues, or in the integration file."
    return Stream(
        "*",
        KEY,
        None,
        FIELDS,
        writable=True,
        notes=(why, note),
        incomplete=True,
        kind="queue",
        modes=MODES,
    )


def told(error: PlatintError) -> str:
    """Why the management API cannot be asked, with what to do about it."""
    if isinstance(error, CredentialError | ConfigError | TransientError):
        return one_line(error.sentence())
    return one_line(error.message)


def _queue(item: QueueInfo, bindings: Sequence[Binding], origins: Sequence[str], unknown: str) -> Stream:
    notes = [] if item.kind == "stream" else [_SHARED]
    if item.delivery_limit is not None:
        notes.append(_LIMITED.format(limit=item.delivery_limit))
    if item.kind == "stream":
        notes.append("Messages stay in the stream after they were read.")
    if "/" in item.name:
        notes.append(f"As a target it is '/{item.name}'.")
    if unknown:
        notes.append(unknown)
    mine = [
        f"{binding.source} ({binding.key})"
        for binding in bindings
        if binding.to_queue and binding.destination == item.name
    ]
    refused = "The queue is exclusive to the connection that made it." if item.exclusive else ""
    return Stream(
        item.name,
        KEY,
        None,
        FIELDS,
        writable=not item.exclusive,
        estimate=item.ready,
        notes=tuple(notes),
        kind="queue",
        modes=MODES,
        facts=tuple(_facts(item, mine, origins)),
        refused=refused,
    )


def _facts(item: QueueInfo, bound: Sequence[str], origins: Sequence[str]) -> Iterable[tuple[str, str]]:
    yield "type", item.kind
    yield "durable", "yes" if item.durable else "no, it is gone when the broker restarts"
    for name, number in (
        ("ready", item.ready),
        ("unacknowledged", item.unacknowledged),
        ("consumers", item.consumers),
    ):
        if number is not None:
            yield name, f"{number:,}"
    for name, rate in (("in per s", item.rate_in), ("out per s", item.rate_out)):
        if rate is not None:
            yield name, f"{rate:,.1f}"
    for setting, name in _SETTINGS:
        if setting in item.settings:
            yield name, _setting(item.settings[setting])
    if item.delivery_limit is not None:
        yield "delivery limit", f"{item.delivery_limit:,}"
    if bound:
        yield "bound to", _some(bound)
    if origins:
        yield "dead letters of", _some(origins)


def _setting(value: Any) -> str:
    if value == "":
        return "(default exchange)"
    return "yes" if value is True else "no" if value is False else str(value)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _is_useful(item: ExchangeInfo, bindings: Sequence[Binding]) -> bool:
    """Not the default one, which is written to by the name of a queue, and of those that every broker has only
    the ones in use."""
    if not item.name or item.internal:
        return False
    return not item.name.startswith("amq.") or any(binding.source == item.name for binding in bindings)


def _exchange(item: ExchangeInfo, bindings: Sequence[Binding], unknown: str) -> Stream:
    mine = [f"{binding.destination} ({binding.key})" for binding in bindings if binding.source == item.name]
    facts = [("type", item.kind), ("bound", _some(mine) if mine else "nothing: what is sent is returned")]
    addressable = "/" not in item.name
    notes = [
        f"Write to it as '{item.name}/ROUTING.KEY'."
        if addressable
        else "It has a slash in its name, so no target can name it."
    ]
    if unknown:
        facts, notes = facts[:1], [*notes, unknown]
    return Stream(
        f"{item.name}/",
        (),
        None,
        (),
        readable=False,
        writable=addressable,
        notes=tuple(notes),
        kind="exchange",
        facts=tuple(facts),
    )

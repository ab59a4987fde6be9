"""What a broker lets on of its topics: MQTT has no listing, so it is looked for a moment at what is retained."""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import Stream
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.mqtt.link import Link
from platint_tui.drivers.mqtt.messages import FIELDS
from platint_tui.drivers.mqtt.packets import Message
from platint_tui.drivers.mqtt.profile import Address, check_filter
from platint_tui.drivers.mqtt.reader import visit
from platint_tui.drivers.mqtt.session import Session

KEY = ("id",)
MODES = ("consume", "snapshot")
MOST_TOPICS = 500
_MOST_MESSAGES = 5_000
_LOOK = 2.0
"""Seconds that a look takes at most."""
_QUIET = 0.5
_PAGE = 4 * 1024 * 1024
_FACTS = {
    "$SYS/broker/version": "broker",
    "$SYS/broker/clients/connected": "clients",
    "$SYS/broker/subscriptions/count": "subscriptions",
    "$SYS/broker/retained messages/count": "retained messages",
    "$SYS/broker/store/messages/count": "stored messages",
}
"""What Mosquitto and others publish of themselves."""
_NOTES = (
    "What is sent while nobody reads is kept at the broker, in a session of this sync; messages that were sent with "
    "QoS 0 are not.",
)


async def catalogue(address: Address, clock: Clock) -> list[Stream]:
    """The filters that the profile names, or topics that hold a retained message; and one stream `*` for every other
    filter. Raises PlatintError."""
    facts: tuple[tuple[str, str], ...] = ()
    async with visit(address) as link:
        try:
            facts = tuple(_fact(item) for item in await _seen(link, "$SYS/broker/#", clock, tuple(_FACTS)))
        except ConfigError:
            pass  # not everybody may read them
        streams = [_named(topic) for topic in address.topics]
    why = ""
    found: list[str] = []
    if not streams:
        try:
            found, why = await _retained(address, clock)
        except ConfigError as error:
            why = f"Retained topics cannot be looked for: {error.message}"
    streams += [_topic(item) for item in found]
    return [*streams, _rest(why, facts)]


async def _retained(address: Address, clock: Clock) -> tuple[list[str], str]:
    async with visit(address) as link:
        messages = await _seen(link, "#", clock, ())
    topics = sorted({item.topic for item in messages if item.retain})
    more = len(topics) - MOST_TOPICS
    return topics[:MOST_TOPICS], f"{more:,} more topics hold retained messages." if more > 0 else ""


async def _seen(link: Link, topic: str, clock: Clock, wanted: Sequence[str]) -> list[Message]:
    """Messages of a filter that come within a moment; only those of the `wanted` topics, and no longer than until
    each is there."""
    session = Session(link, topic, _MOST_MESSAGES)
    await link.subscribe(topic, 0)
    deadline = clock.monotonic() + _LOOK
    found: dict[str, Message] = {}
    count = 0
    while count < _MOST_MESSAGES and (left := deadline - clock.monotonic()) > 0:
        delivered = await session.take(1_000, _PAGE, min(left, _QUIET))
        if not delivered:
            break
        count += len(delivered)
        for item in delivered:
            if item.message.topic in wanted or (not wanted and item.message.retain):
                found[item.message.topic] = item.message
        if wanted and len(found) == len(wanted):
            break
    return list(found.values())


def _fact(message: Message) -> tuple[str, str]:
    return _FACTS[message.topic], one_line(message.payload.decode("utf-8", "replace"))


def _named(topic: str) -> Stream:
    refused = ""
    try:
        check_filter(topic, "")
    except PlatintError as error:
        refused = error.sentence()
    wild = any(char in topic for char in "+#")
    return Stream(
        topic,
        KEY,
        None,
        FIELDS,
        writable=not wild,
        notes=_NOTES,
        kind="filter" if wild else "topic",
        modes=MODES,
        refused=refused,
    )


def _topic(name: str) -> Stream:
    return Stream(
        name,
        KEY,
        None,
        FIELDS,
        writable=True,
        notes=_NOTES,
        kind="topic",
        modes=MODES,
        facts=(("retained", "yes"),),
    )


def _rest(why: str, facts: tuple[tuple[str, str], ...]) -> Stream:
    notes = (
        clean(why),
        "MQTT lists no topics: only those that hold a retained message can be seen.",
        "Write any topic filter into the integration as the stream, such as sensors/+/temperature, or name filters in "
        "the profile's field topics.",
    )
    return Stream(
        "*",
        KEY,
        None,
        FIELDS,
        writable=True,
        notes=tuple(note for note in notes if note),
        incomplete=True,
        kind="filter",
        modes=MODES,
        facts=facts,
    )

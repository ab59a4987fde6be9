"""Reading a topic filter: pages of messages out of a session that the broker keeps, or what it retains.

A position says up to where what was read over a connection is acknowledged: `connection` and `tag`, which mean
nothing to a later connection (the broker itself knows what is left). `at` is when the last message came: from then
on messages are missing when the broker no longer has the session.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PositionLost
from platint_tui.core.ids import new_id
from platint_tui.core.model import BadElement, Gap, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.messages import iso
from platint_tui.drivers.mqtt.link import Link, open_link
from platint_tui.drivers.mqtt.messages import Unnamed, named, record_of
from platint_tui.drivers.mqtt.profile import Address
from platint_tui.drivers.mqtt.session import Delivery, Session
from platint_tui.manifest.sources import Source

PAGE_BYTES = 4 * 1024 * 1024
ALIVE = 5.0
"""Seconds of silence after which the broker is asked whether it is there."""
_LONGEST_SCAN = 60.0
"""Seconds after which a scan of topics that never fall silent ends; the session keeps what comes then."""
_PATIENCE = 5.0
"""Seconds that a scan waits for acknowledgements, without which the broker may send nothing more."""
_NOW, _IF_NEW, _NEVER = 0, 1, 2
"""When retained messages come (MQTT 5.0, 3.8.3.1)."""


class Scan:
    """One reading of one filter, over a connection of its own."""

    def __init__(
        self, link: Link, topic: str, source: Source, clock: Clock, position: JsonObject | None
    ) -> None:
        self.session = Session(link, topic, source.prefetch)
        self.begun = dict(position or {})
        self._link = link
        self._topic = topic
        self._source = source
        self._clock = clock
        self._given = dict(position or {})
        self._at = str(self._given.get("at") or iso(clock.now_ms()))
        self._unnamed = Unnamed(self._given.get("unnamed"), source.prefetch)
        self._gaps: list[Gap] = []

    @property
    def subscribed(self) -> bool:
        """Whether the broker's session is known to have the subscription: no position is given out before."""
        return self._link.session and self._given.get("qos") == self._source.qos

    async def begin(self, on_lost: str) -> None:
        """Go on with the broker's session, or subscribe. Raises PositionLost, ConfigError."""
        if not self.subscribed:
            lost = bool(self._given) and not self._link.session
            if lost:
                self._lose(on_lost)
            retained = _IF_NEW if self._source.start == "earliest" else _NEVER
            if lost:
                retained = _NOW if on_lost == "resnapshot" else _NEVER
            await subscribe(self._link, self._topic, self._source.qos, retained)
        self.session.bounded = True

    def _lose(self, on_lost: str) -> None:
        if on_lost not in ("resnapshot", "skip"):
            raise PositionLost(
                f"The broker no longer has the session in which it kept messages of '{clean(self._topic)}'.",
                where=self._link.address.where,
                hint=f"What was sent since {self._at} is lost at the broker. Choose: go on from now with a gap, or "
                "read the retained messages anew, too.",
            )
        why = "the broker no longer had the session, so what was sent meanwhile is not here"
        self._gaps.append(Gap(f"{why}.", self._at, iso(self._clock.now_ms())))

    def position(self) -> dict[str, Any]:
        """Where reading goes on after what was given so far."""
        session = self.session
        qos = self._source.qos
        if not session.given and not self._gaps and self._is_told(qos):
            return self._given
        position: dict[str, Any] = {
            "connection": session.token,
            "tag": session.given,
            "at": self._at,
            "qos": qos,
        }
        if (unnamed := self._unnamed.position()) is not None:
            position["unnamed"] = unnamed
        return position

    def _is_told(self, qos: int) -> bool:
        """Whether the position that reading began with says all that there is to say."""
        return "at" in self._given and self._given.get("qos") == qos

    async def pages(self, follow: bool) -> AsyncIterator[Page]:
        """The pages. The first one says that the session is there, or what is missing. Without `follow` they end
        when nothing came for a moment."""
        if self._gaps or not self._is_told(self._source.qos):
            position = self.position()
            gaps, self._gaps = self._gaps, []
            self._given = position
            yield Page((), position, last=False, gaps=gaps)
        started = self._clock.monotonic()
        quiet = 0.0
        while True:
            wait = ALIVE if follow else self._source.idle
            delivered = await self.session.take(self._source.chunk, PAGE_BYTES, wait)
            if not delivered:
                await self._link.alive()
                quiet += wait
                # Its answer comes behind everything that was on its way.
                if self.session.arrived:
                    continue
                done = not follow and not (self.session.full and quiet < _PATIENCE)
                yield Page((), self.position(), last=done)
                if done:
                    return
                continue
            quiet = 0.0
            unnamed = any(not named(item.message) for item in delivered)
            if unnamed and not self._unnamed.mark:
                # Stored before the first identity is made, so that a repetition makes the same ones.
                self._unnamed.mark = new_id("m").removeprefix("m_")
                yield Page((), {**self.position(), "unnamed": self._unnamed.position()}, last=False)
            done = not follow and self._clock.monotonic() - started > _LONGEST_SCAN
            yield replace(self._page(delivered), last=done)
            if done:
                return

    def _page(self, delivered: list[Delivery]) -> Page:
        records: list[Record] = []
        bad: list[BadElement] = []
        for item in delivered:
            identity = named(item.message) or self._unnamed.identity(item.message)
            made = record_of(item.message, identity, self._source.max_message)
            (records if isinstance(made, Record) else bad).append(made)  # type: ignore[arg-type]
        self.session.given = delivered[-1].tag
        self._at = iso(self._clock.now_ms())
        size = sum(len(item.message.payload) for item in delivered)
        return Page(records, self.position(), False, 1, size, bad)


async def subscribe(link: Link, topic: str, qos: int, retained: int = _NOW) -> None:
    """Subscribe so that nothing is lost. Raises ConfigError when the broker refuses, or grants QoS 0 only."""
    if await link.subscribe(topic, qos, retained) == 0:
        raise ConfigError(
            f"The broker grants '{clean(topic)}' with QoS 0 only, which loses messages.",
            where=link.address.where,
            hint="Allow QoS 1 for this account at the broker.",
            code="QOS_NOT_SUPPORTED",
        )


async def open_scan(
    address: Address,
    topic: str,
    source: Source,
    clock: Clock,
    position: JsonObject | None,
    options: ReadOptions,
) -> Scan:
    """A scan over a connection of its own, in the session of the sync. Raises PlatintError."""
    name = address.client_id(options.sync, topic)

    async def connect(receive: int) -> Link:
        return await open_link(address, name, clean_start=False, expiry=source.expiry, receive=receive)

    link = await connect(source.prefetch)
    scan = Scan(link, topic, source, clock, position)
    try:
        if link.session and not scan.subscribed:
            # The answer to a subscription stands behind everything that waits: with a window of one that is little.
            await link.close()
            link = await connect(1)
            await subscribe(link, topic, source.qos, _IF_NEW if source.start == "earliest" else _NEVER)
            await link.close()
            link = await connect(source.prefetch)
            scan = Scan(link, topic, source, clock, {**(position or {}), "qos": source.qos})
        await scan.begin(options.on_lost)
    except BaseException:
        await link.close()
        raise
    return scan


@contextlib.asynccontextmanager
async def visit(address: Address) -> AsyncIterator[Link]:
    """A connection under a name that nobody else has, which leaves no session behind."""
    link = await open_link(address, f"{address.prefix}{secrets.token_hex(8)}")
    try:
        yield link
    finally:
        await link.close()


async def retained(
    address: Address, topic: str, source: Source, clock: Clock, most: int | None = None
) -> AsyncIterator[Page]:
    """Pages of what the broker retains (with the topic as id, each of which has one such message), up to the first
    `most`. The connection leaves nothing behind. Raises PlatintError."""
    async with visit(address) as link:
        session = Session(link, topic, source.prefetch)
        await link.subscribe(topic, 1, _NOW)
        session.bounded = True
        count, position = 0, {"snapshot": iso(clock.now_ms())}
        deadline = clock.monotonic() + source.idle
        while most is None or count < most:
            # What is published meanwhile comes between, and prolongs nothing.
            delivered = await session.take(source.chunk, PAGE_BYTES, max(0.0, deadline - clock.monotonic()))
            wanted = [item.message for item in delivered if item.message.retain]
            if not wanted and clock.monotonic() >= deadline:
                await link.alive()
                if not any(item.retain for item in session.arrived):
                    break
            if wanted:
                count += len(wanted)
                deadline = clock.monotonic() + source.idle
                made = [record_of(item, item.topic, source.max_message) for item in wanted]
                records = [item for item in made if isinstance(item, Record)]
                bad = [item for item in made if isinstance(item, BadElement)]
                size = sum(len(item.payload) for item in wanted)
                yield Page(records, position, False, 1, size, bad)
            if delivered:
                await session.acknowledge(delivered[-1].tag)
        yield Page((), position, last=True)


async def look(address: Address, topic: str, source: Source, clock: Clock, most: int) -> Page:
    """Up to `most` messages: what is retained, and what comes within a moment. No session is touched or made."""
    async with visit(address) as link:
        session = Session(link, topic, most)
        await link.subscribe(topic, 1, _NOW)
        unnamed = Unnamed(None, most)
        found: list[Delivery] = []
        deadline = clock.monotonic() + max(source.idle, 1.0)
        while len(found) < most and (left := deadline - clock.monotonic()) > 0:
            found += await session.take(most - len(found), PAGE_BYTES, left)
    messages = [item.message for item in found]
    made = [record_of(item, named(item) or unnamed.identity(item), source.max_message) for item in messages]
    records = [item for item in made if isinstance(item, Record)]
    return Page(
        records, {"at": iso(clock.now_ms())}, True, bad=[x for x in made if isinstance(x, BadElement)]
    )

"""The AMQP driver: one virtual host of one broker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.model import (
    READ_ALL,
    BadElement,
    Capability,
    DeadQueue,
    Field,
    JsonObject,
    NativeLetter,
    Page,
    ReadOptions,
    Record,
    Returned,
    SchemaChange,
    Stream,
    TargetPlan,
)
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.catalogue import listed, named, told
from platint_tui.drivers.amqp.deadletters import Hand, browse, discard_letter, held, return_letter
from platint_tui.drivers.amqp.deadqueues import Patience, found_dead_queues, named_dead_queues, patience_of
from platint_tui.drivers.amqp.errors import UNREADABLE
from platint_tui.drivers.amqp.link import Link, open_link
from platint_tui.drivers.amqp.management import Management
from platint_tui.drivers.amqp.messages import record_of
from platint_tui.drivers.amqp.probes import probe, severity
from platint_tui.drivers.amqp.profile import address_of
from platint_tui.drivers.amqp.reader import Scan, look, only_consumes
from platint_tui.drivers.amqp.session import stale
from platint_tui.drivers.amqp.target import AmqpTarget, changes_at, prepare, route_of
from platint_tui.drivers.amqp.unnamed import Unnamed
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Sink, Source

_LOOKED_AT = 25
"""Messages that a preview takes from the queue for a moment."""
_T = TypeVar("_T")
_NO_SOURCE = Source(modes=("consume",))


class AmqpDriver:
    """One virtual host. The profile has host, port, vhost, user, tls, ca_file, queues, dead_letter_queues, and for
    RabbitMQ management; its secret is password.

    Every read, target and request has a connection of its own, which is not opened again when it is lost.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._scans: dict[str, Scan] = {}
        self._hands: dict[str, Hand] = {}
        self._origins: dict[str, str] | None = None
        self._careful: set[str] = set()

    async def check(self) -> Sequence[Capability]:
        """Sign in and run the probes of the manifest; without a connection the others are not tried."""
        results: list[Capability] = []
        link: Link | None = None
        management = self._management()
        try:
            for item in self._context.connector.check:
                if results and link is None:
                    results.append(Capability(item.id, False, item.optional, "", tried=False))
                    continue
                started, kind = self._context.clock.monotonic(), ""
                try:
                    if link is None:
                        link = await open_link(self._address, "checks the profile")
                        detail = f"{link.product} {link.version}".strip()
                    else:
                        detail = await probe(item.query or item.id, link, management)
                except PlatintError as error:
                    detail, kind = error.sentence(), severity(error)
                seconds = self._observe(f"check {item.id}", started, not kind)
                results.append(Capability(item.id, not kind, item.optional, detail, seconds * 1000, kind))
        finally:
            if link is not None:
                await link.close()
            if management is not None:
                await management.close()
        return results

    async def discover(self) -> Sequence[Stream]:
        """Queues and exchanges by the management API; without it the queues that the profile names, and one stream
        `*` that says that there may be more. Raises CredentialError, ConfigError, TransientError."""
        async with self._link("discovers") as link:
            management = self._management()
            if management is None:
                return await named(link, self._address.queues, "")
            try:
                return await self._timed("discover", listed(management))
            except PlatintError as error:
                return await named(link, self._address.queues, told(error))
            finally:
                await management.close()

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """A queue can be followed: its broker delivers what comes."""
        return options.follow

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a queue. What was delivered to an earlier reading of it and not acknowledged goes back first.

        Raises ConfigError (no such queue, no right to read it, it vanished), PositionLost (a stream that lost what
        follows the position), TransientError.
        """
        if (error := only_consumes(options, self._address.where)) is not None:
            raise error
        if options.peek:
            yield await self._peeked(stream)
            return
        await self._forget(stream)
        purpose = f"reads {clean(stream)} for {clean(options.sync)}"
        link = await open_link(self._address, purpose, careful=stream in self._careful)
        scan = Scan(link, stream, self._source(stream), position, self._context.clock.now_ms)
        try:
            await scan.open()
        except BaseException:
            await link.close()
            raise
        self._scans[stream] = scan
        pages = scan.pages(options)
        try:
            async with contextlib.aclosing(pages):  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    if page.records or page.bad:
                        self._context.telemetry.observe(f"receive {stream}", scan.session.gathered, True)
                    yield page
        except TransientError as lost:
            if lost.code == UNREADABLE:
                self._careful.add(
                    stream
                )  # the next reading tries each message before the client library does
            raise
        finally:
            await scan.session.leave()

    async def _peeked(self, stream: str) -> Page:
        """A page of what is at the front of a queue, which is back there when the page is given out."""
        source = self._source(stream)
        patience = await self._patience(stream)
        patience.before(self._address.where)
        async with self._link(f"looks at {clean(stream)}") as link:
            scan = Scan(link, stream, source, None, self._context.clock.now_ms)
            await scan.open(_LOOKED_AT, kind=patience.kind)
            messages = await look(scan, _LOOKED_AT, source.idle)
            position = scan.position()
        for message in messages:
            patience.check(message.deliveries, self._address.where)
        made = [
            record_of(item, stream, item.id or item.digest()[:16], source.max_message) for item in messages
        ]
        records = [item for item in made if isinstance(item, Record)]
        return Page(records, position, last=True, bad=[item for item in made if isinstance(item, BadElement)])

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Acknowledge every message up to this position, over the channel that it came over. Raises TransientError
        when that is gone."""
        scan = self._scans.get(stream)
        if scan is None or position.get("channel") != scan.session.token:
            if not position.get("tag"):
                return  # nothing was delivered before it
            raise stale(self._address, stream)
        started = self._context.clock.monotonic()
        ok = False
        try:
            await scan.session.acknowledge(int(position["tag"]))
            ok = True
        finally:
            self._observe(f"acknowledge {stream}", started, ok)

    async def settled(self, stream: str, position: JsonObject) -> JsonObject | None:
        """The position without the identities of what may be delivered once more, when the broker has taken every
        acknowledgement; None when it has not, or when there are none."""
        scan = self._scans.get(stream)
        kept = Unnamed.settled(position.get("unnamed") or {})
        if scan is None or kept is None or position.get("channel") != scan.session.token:
            return None
        return {**position, "unnamed": kept} if await scan.session.confirm() else None

    async def open_target(self, plan: TargetPlan) -> AmqpTarget:
        """The queue or exchange `plan.target`; a queue that is missing is made when the contract lets it.

        Raises ConfigError, CredentialError, TransientError.
        """
        async with self._link("prepares a target") as link:
            await prepare(link, plan, self._sink(plan.target))
        purpose = f"writes {clean(plan.target)} for {clean(plan.sync)}"
        return AmqpTarget(
            plan,
            self._context,
            self._address.total_seconds,
            lambda: open_link(self._address, purpose),
        )

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The queue that `open_target` would make. Raises ConfigError when it may not."""
        async with self._link("plans a target") as link:
            return await changes_at(link, plan, self._sink(plan.target))

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a message takes any field. Raises ConfigError for what cannot be a target."""
        route_of(target)
        return None

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """The queues that others send their dead letters to, as the management API knows them, or those that the
        profile names. Raises ConfigError when neither is there."""
        async with self._link("looks at dead letters") as link:
            found = await self._dead_queues(link)
        self._origins = {item.name: item.origin for item in found}
        return found

    async def _dead_queues(self, link: Link) -> list[DeadQueue]:
        if self._address.dead_queues:
            return await named_dead_queues(link, self._address.dead_queues)
        management = self._management()
        if management is None:
            raise ConfigError(
                "AMQP does not tell which queues hold dead letters.",
                where=self._context.profile.name,
                hint="Name them in the profile's field dead_letter_queues.",
                code="no_dead_queues",
            )
        try:
            return await self._timed("dead queues", found_dead_queues(link, management))
        finally:
            await management.close()

    async def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` dead letters, oldest first. When this ends they are back in their places in the queue, marked
        as redelivered; until then other consumers do not see them."""
        if self._origins is None:
            await self.dead_queues()
        origin = (self._origins or {}).get(queue, "")
        patience = await self._patience(queue)
        async with self._link(f"looks at {clean(queue)}") as link:
            letters = browse(link, queue, origin, limit, patience)
            async with contextlib.aclosing(letters):  # type: ignore[type-var]  # it is a generator
                async for letter in letters:
                    yield letter

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send one to the queue that it died in, with its own message id and headers, and then remove the old one."""
        async with held(self._hands, letter.queue, lambda: self._hand(letter.queue)) as hand:
            work = return_letter(hand, letter, idempotency_key, self._address.total_seconds)
            return await self._timed(f"return {letter.queue}", work)

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Remove one for good."""
        async with held(self._hands, letter.queue, lambda: self._hand(letter.queue)) as hand:
            return await self._timed(f"discard {letter.queue}", discard_letter(hand, letter))

    async def close(self) -> None:
        """End every connection: what is not acknowledged goes back to its queue."""
        for stream in list(self._scans):
            await self._forget(stream)
        hands, self._hands = self._hands, {}
        for hand in hands.values():
            await hand.close()

    async def _forget(self, stream: str) -> None:
        scan = self._scans.pop(stream, None)
        if scan is not None:
            await scan.session.close()

    async def _hand(self, queue: str) -> Hand:
        patience = await self._patience(queue)
        purpose = f"returns from {clean(queue)}"
        return Hand(queue, lambda: open_link(self._address, purpose, careful=True), patience)

    async def _patience(self, queue: str) -> Patience:
        management = self._management()
        try:
            return await patience_of(management, queue)
        finally:
            if management is not None:
                await management.close()

    def _management(self) -> Management | None:
        return Management(self._address) if self._address.management else None

    @contextlib.asynccontextmanager
    async def _link(self, purpose: str) -> AsyncIterator[Link]:
        link = await open_link(self._address, purpose, careful=True)
        try:
            yield link
        finally:
            await link.close()

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or _NO_SOURCE

    def _sink(self, target: str) -> Sink:
        return resource(self._context.connector, target).sink or Sink()

    def _observe(self, operation: str, started: float, ok: bool) -> float:
        seconds = self._context.clock.monotonic() - started
        self._context.telemetry.observe(operation, seconds, ok)
        return seconds

    async def _timed(self, operation: str, work: Coroutine[Any, Any, _T]) -> _T:
        started, ok = self._context.clock.monotonic(), False
        try:
            found = await work
            ok = True
        finally:
            self._observe(operation, started, ok)
        return found

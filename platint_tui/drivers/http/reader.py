"""Reading a stream page by page: request, check, split, count, and where the next page is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Json, JsonObject, Page, Record
from platint_tui.drivers.http.partitions import Partitions
from platint_tui.drivers.http.positions import Scan
from platint_tui.drivers.http.requests import looked_up
from platint_tui.drivers.http.scanner import Chunk, Scanner, cursor_rule
from platint_tui.drivers.http.session import Session as Session
from platint_tui.manifest import loader, schema
from platint_tui.manifest.template import lookup


@dataclass(slots=True)
class _Tally:
    """Requests and bytes spent on parents, added to the next page that is given out."""

    requests: int = 0
    bytes: int = 0

    def take(self) -> tuple[int, int]:
        """What was counted, starting again from zero."""
        counted = (self.requests, self.bytes)
        self.requests = self.bytes = 0
        return counted


def resource_of(connector: schema.Connector, name: str) -> schema.Resource:
    """The resource that answers for the stream `name`: its own, or a family's. Raises NotFound."""
    return loader.resource(connector, name)


def _read_of(connector: schema.Connector, name: str) -> tuple[schema.Resource, schema.Read]:
    resource = resource_of(connector, name)
    if resource.read is None:
        raise ConfigError(f"The stream '{name}' of {connector.name} cannot be read.")
    return resource, resource.read


async def read_stream(session: Session, name: str, position: JsonObject | None) -> AsyncIterator[Page]:
    """Pages of one stream from `position` to the end of one scan (see `positions` and `partitions`)."""
    resource, read = _read_of(session.context.connector, name)
    await session.ready()
    if resource.parent is not None:
        async with aclosing(_read_partitions(session, name, resource, read, position)) as pages:
            async for page in pages:
                yield page
        return
    scan = Scan.load(cursor_rule(read), position)
    async with aclosing(Scanner(session, name, read, scan).chunks()) as chunks:
        async for chunk in chunks:
            yield Page(chunk.records, scan.document(), chunk.last, chunk.requests, chunk.bytes, chunk.bad)


async def _read_partitions(
    session: Session, name: str, resource: schema.Resource, read: schema.Read, position: JsonObject | None
) -> AsyncGenerator[Page, None]:
    state = Partitions.load(cursor_rule(read), position)
    key_paths = _parent_key(session, resource)
    tally = _Tally()
    # With a shared position only the place of the interruption is known: skip to it, and should that parent
    # be gone, read all of them.
    wanted = state.current if state.shared else None
    for skip in (True, False) if wanted is not None else (False,):
        skipping = skip
        async with aclosing(_parents(session, resource, tally)) as parents:
            async for parent in parents:
                key = canonical_key(lookup(parent.value, path) for path in key_paths)
                if key in state.done:
                    continue
                if skipping:
                    if key != wanted:
                        continue
                    skipping = False
                    if state.page is None:
                        continue
                scan = state.scan(key)
                async with aclosing(Scanner(session, name, read, scan, parent.value).chunks()) as chunks:
                    async for chunk in chunks:
                        if chunk.last:
                            state.complete(key, scan)
                        else:
                            state.inside(key, scan)
                        yield _with_parents(chunk, state.document(), tally)
        if not skipping:
            break
    state.finish()
    requests, size = tally.take()
    yield Page((), state.document(), True, requests, size)


def _parent_key(session: Session, resource: schema.Resource) -> tuple[str, ...]:
    assert resource.parent is not None
    parent = resource_of(session.context.connector, resource.parent.resource)
    if not parent.key:
        raise ConfigError(
            f"The parent '{resource.parent.resource}' has no key, so its partitions cannot be told apart.",
            hint="Give it a key in the manifest.",
        )
    return parent.key


async def _parents(
    session: Session, resource: schema.Resource, tally: _Tally
) -> AsyncGenerator[Record, None]:
    """Every record of the parent resource; the parent may have a parent itself."""
    assert resource.parent is not None
    name = resource.parent.resource
    parent, read = _read_of(session.context.connector, name)
    if parent.parent is None:
        async with aclosing(_all(session, name, read, None, tally)) as records:
            async for record in records:
                yield record
        return
    async with aclosing(_parents(session, parent, tally)) as grands:
        async for grand in grands:
            async with aclosing(_all(session, name, read, grand.value, tally)) as records:
                async for record in records:
                    yield record


async def _all(
    session: Session, name: str, read: schema.Read, parent: Json, tally: _Tally
) -> AsyncGenerator[Record, None]:
    async with aclosing(Scanner(session, name, read, _whole(read), parent).chunks()) as chunks:
        async for chunk in chunks:
            tally.requests += chunk.requests
            tally.bytes += chunk.bytes
            if chunk.bad:
                raise SystemicError(
                    f"A record of '{name}' cannot be read: {chunk.bad[0].reason}.",
                    code="parent",
                )
            for record in chunk.records:
                yield record


def _whole(read: schema.Read) -> Scan:
    """A scan of everything: without a cursor, unless the request cannot be made without its bounds."""
    bounded = "cursor.start" in looked_up(read.request) or (read.cursor is not None and read.cursor.window)
    return Scan(cursor_rule(read) if bounded else None)


def _with_parents(chunk: Chunk, position: JsonObject, tally: _Tally) -> Page:
    requests, size = tally.take()
    return Page(chunk.records, position, False, chunk.requests + requests, chunk.bytes + size, chunk.bad)

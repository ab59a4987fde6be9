"""Reading a stream page by page: request, check, split, count, and where the next page is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from platint_tui.core.errors import ConfigError, RecordError
from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import BadElement, Json, JsonObject, Page, Record
from platint_tui.drivers.http.partitions import Partitions
from platint_tui.drivers.http.positions import Scan
from platint_tui.drivers.http.requests import looked_up
from platint_tui.drivers.http.scanner import Chunk, Scanner, cursor_rule
from platint_tui.drivers.http.session import Session as Session
from platint_tui.manifest import loader, schema
from platint_tui.manifest.template import lookup


@dataclass(slots=True)
class _Tally:
    """Requests and bytes spent on parents, and those that nothing could be read for: added to the next page that
    is given out.
    """

    requests: int = 0
    bytes: int = 0
    bad: list[BadElement] = field(default_factory=list)
    skipped: bool = False
    """Whether this scan has left out a parent."""

    def take(self) -> tuple[int, int, list[BadElement]]:
        """What was counted, starting again from zero."""
        counted = (self.requests, self.bytes, self.bad)
        self.requests, self.bytes, self.bad = 0, 0, []
        return counted

    def skip(self, raw: str, parent: str, child: str, reason: str) -> None:
        """A record of `parent` for which nothing of `child` can be read."""
        self.skipped = True
        self.bad.append(BadElement(raw, f"the parent in '{parent}' {reason}; its '{child}' were not read"))


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
    assert resource.parent is not None
    state = Partitions.load(cursor_rule(read), position)
    key_paths, of = _parent_key(session, resource), resource.parent.resource
    tally = _Tally()
    # With a shared position only the place of the interruption is known: skip to it, and should that parent
    # be gone, read all of them.
    wanted = state.current if state.shared else None
    for skip in (True, False) if wanted is not None else (False,):
        skipping, tally.bad = skip, []
        async with aclosing(_parents(session, name, resource, tally)) as parents:
            async for parent in parents:
                try:
                    key = _key_of(parent, key_paths)
                except RecordError as error:
                    tally.skip(parent.raw, of, name, error.message)
                    continue
                if key in state.done:
                    continue
                if skipping:
                    if key != wanted:
                        continue
                    skipping = False
                    if state.page is None:
                        continue
                scan = state.scan(key)
                try:
                    async with aclosing(Scanner(session, name, read, scan, parent.value).chunks()) as chunks:
                        async for chunk in chunks:
                            if chunk.last:
                                state.complete(key, scan)
                            else:
                                state.inside(key, scan)
                            yield _with_parents(chunk, state.document(), tally)
                except RecordError as error:
                    # A value of the parent does not fit the request.
                    tally.skip(parent.raw, of, name, f"cannot be asked for ({error.message.rstrip('.')})")
        if not skipping:
            break
    state.finish(complete=not tally.skipped)
    requests, size, bad = tally.take()
    yield Page((), state.document(), True, requests, size, bad)


def _key_of(parent: Record, key_paths: tuple[str, ...]) -> str:
    """The identity of a parent. Raises RecordError when a field of its key has no single value."""
    values = [lookup(parent.value, path) for path in key_paths]
    for path, value in zip(key_paths, values, strict=True):
        if value is None or isinstance(value, dict | list):
            raise RecordError(f"has no single value in its key field '{path}'", code="key")
    return canonical_key(values)


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
    session: Session, child: str, resource: schema.Resource, tally: _Tally
) -> AsyncGenerator[Record, None]:
    """Every record of the parent resource of `child`; the parent may have a parent itself."""
    assert resource.parent is not None
    name = resource.parent.resource
    parent, read = _read_of(session.context.connector, name)
    if parent.parent is None:
        async with aclosing(_all(session, name, child, read, None, tally)) as records:
            async for record in records:
                yield record
        return
    async with aclosing(_parents(session, name, parent, tally)) as grands:
        async for grand in grands:
            try:
                async with aclosing(_all(session, name, child, read, grand.value, tally)) as records:
                    async for record in records:
                        yield record
            except RecordError as error:
                reason = f"cannot be asked for ({error.message.rstrip('.')})"
                tally.skip(grand.raw, parent.parent.resource, name, reason)


async def _all(
    session: Session, name: str, child: str, read: schema.Read, parent: Json, tally: _Tally
) -> AsyncGenerator[Record, None]:
    """Every record of `name`; those that are none are noted, with what they are the parent of."""
    async with aclosing(Scanner(session, name, read, _whole(read), parent).chunks()) as chunks:
        async for chunk in chunks:
            tally.requests += chunk.requests
            tally.bytes += chunk.bytes
            for item in chunk.bad:
                tally.skip(item.raw, name, child, f"is no record ({item.reason})")
            for record in chunk.records:
                yield record


def _whole(read: schema.Read) -> Scan:
    """A scan of everything: without a cursor, unless the request cannot be made without its bounds."""
    bounded = "cursor.start" in looked_up(read.request) or (read.cursor is not None and read.cursor.window)
    return Scan(cursor_rule(read) if bounded else None)


def _with_parents(chunk: Chunk, position: JsonObject, tally: _Tally) -> Page:
    requests, size, bad = tally.take()
    return Page(
        chunk.records, position, False, chunk.requests + requests, chunk.bytes + size, [*bad, *chunk.bad]
    )

"""The catalogue of an HTTP platform: the streams that the manifest declares and those that the account lists,
with what the platform itself says of their fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Stream
from platint_tui.drivers.http.check import run_probe
from platint_tui.drivers.http.discover_fields import Described, Descriptions, cursor_candidates
from platint_tui.drivers.http.discover_listings import Listed, Listings
from platint_tui.drivers.http.requests import with_query
from platint_tui.drivers.http.session import Session
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

_PARENT_NOTE = "Read once for each of '{0}'; up to 1,000 of them keep positions of their own, more share one."
_OFFSET_NOTE = "Paged by number: rows that move while a scan runs may be missed."
_AT_ONCE = 8
_KINDS: dict[str, type[PlatintError]] = {
    ErrorClass.AUTH.value: CredentialError,
    ErrorClass.CONFIG.value: ConfigError,
    ErrorClass.TRANSIENT.value: TransientError,
}

T = TypeVar("T")


async def catalogue(session: Session) -> list[Stream]:
    """The streams of this account: those of the manifest in its order, then the listed ones of each family.

    What one part cannot tell is a note of its streams. Raises CredentialError when the credential is refused
    for the whole account, and what else the first required probe came to.
    """
    await _first_probe(session)
    listings = await Listings.ask(session)
    refused = await _refused_reads(session, listings)
    descriptions = Descriptions(session)
    await descriptions.prepare()
    work: list[_Work] = []
    for name, resource in session.context.connector.resources.items():
        if not name.endswith("*"):
            work.append(_Work(name, resource, None, refused.get(name, "")))
            continue
        work += [_Work(item.name, resource, item, refused.get(name, "")) for item in listings.of(name)]
        gap = listings.gap(name)
        if gap is not None:
            work.append(_Work(name, resource, gap, gap.refused or refused.get(name, "")))
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(item: _Work) -> Stream:
        async with turn:
            return await _stream(session, item, descriptions)

    return await gathered(one(item) for item in work)


def fields_of(resource: schema.Resource) -> tuple[Field, ...]:
    """The declared fields of a resource."""
    return tuple(
        Field(item.name, item.type, item.required, item.max_length, item.description)
        for item in resource.fields
    )


async def gathered(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of these come to, in order; the first error ends the others."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """A stream to be told of: its resource, the listed record behind it, why it may not be read."""

    name: str
    resource: schema.Resource
    listed: Listed | None
    refused: str


async def _first_probe(session: Session) -> None:
    """Run the first required probe: a catalogue out of a file would else hide that nothing can be read.

    Raises what it came to when it failed.
    """
    for probe in session.context.connector.check:
        if probe.optional or probe.request is None:
            continue
        outcome = await run_probe(session, probe)
        if not outcome.ok:
            raise _KINDS.get(outcome.error_class, SystemicError)(outcome.detail, where=session.caller.host)
        return


async def _refused_reads(session: Session, listings: Listings) -> dict[str, str]:
    """Why resources may not be read, as far as listings and probes of the manifest ask for the same path.

    What a listing asked for is not asked for again.
    """
    connector = session.context.connector
    reads: dict[tuple[str | None, str], list[str]] = {}
    for name, resource in connector.resources.items():
        if resource.read is not None and resource.parent is None:
            request = resource.read.request
            reads.setdefault((request.endpoint, request.path), []).append(name)
    refused = {}
    asked = set()
    for item in connector.discover.listings:
        place = (item.request.endpoint, item.request.path)
        asked.add(place)
        why = listings.refusal(item.into)
        if why:
            refused.update(dict.fromkeys(reads.get(place, ()), why))
    for probe in connector.check:
        if not probe.optional or probe.request is None or probe.request.graphql is not None:
            continue
        place = (probe.request.endpoint, probe.request.path)
        names = reads.get(place, [])
        if not names or place in asked:
            continue
        outcome = await run_probe(session, probe)
        if not outcome.ok and outcome.error_class == ErrorClass.AUTH.value:
            refused.update(dict.fromkeys(names, outcome.detail))
    return refused


async def _stream(session: Session, item: _Work, descriptions: Descriptions) -> Stream:
    resource, listed = item.resource, item.listed
    unnamed = item.name.endswith("*")  # stands for streams that could not be listed
    described = Described(())
    refused = item.refused
    if not unnamed:
        described = await descriptions.of(item.name, resource)
        refused = refused or described.refused
    fields = _merged(fields_of(resource), described.fields)
    key = resource.key if resource.key is not None else described.key
    notes = [*resource.notes, *described.notes, *(listed.notes if listed else ())]
    if not unnamed:
        notes += _reading_notes(resource, key or ())
    estimate = listed.estimate if listed is not None else None
    if estimate is None and not refused and not unnamed:
        try:
            estimate = await _estimate(session, item.name, resource)
        except CredentialError:
            raise
        except PlatintError as error:
            # A count is a nicety: its failure must not hide the catalogue.
            notes.append(f"Not counted: {error.sentence()}")
            if error.error_class is ErrorClass.AUTH or error.code == "refused":
                refused = error.message
    write = resource.write
    cursor = resource.read.cursor.field if resource.read is not None and resource.read.cursor else None
    if listed is not None and listed.description:
        notes.insert(0, listed.description)
    elif resource.description:
        notes.insert(0, resource.description)
    return Stream(
        name=item.name,
        key=tuple(key or ()),
        cursor=cursor,
        fields=fields,
        readable=resource.read is not None and not refused and not unnamed,
        writable=write is not None
        and not unnamed
        and any((write.upsert, write.create, write.update, write.delete)),
        estimate=estimate,
        parent=resource.parent.resource if resource.parent is not None else None,
        notes=tuple(dict.fromkeys(notes)),
        cursors=cursor_candidates(fields, cursor),
        needs=resource.needs if resource.read is not None else (),
        refused=refused,
        incomplete=described.failed or (listed is not None and listed.incomplete),
    )


def _reading_notes(resource: schema.Resource, key: Sequence[str]) -> list[str]:
    notes = []
    read = resource.read
    if resource.parent is not None:
        notes.append(_PARENT_NOTE.format(resource.parent.resource))
    if read is not None and isinstance(read.page, schema.OffsetPage | schema.NumberPage):
        notes.append(_OFFSET_NOTE)
    if read is not None and read.cursor is None:
        notes.append("Without a cursor: every run reads all of it.")
    if read is not None and not key:
        notes.append("Without a key: records are told apart by their content.")
    return notes


def _merged(declared: tuple[Field, ...], described: tuple[Field, ...]) -> tuple[Field, ...]:
    """Declared fields first, with what only the platform knows of them; then those that it adds."""
    told = {field.name: field for field in described}
    merged = []
    for field in declared:
        other = told.pop(field.name, None)
        if other is None:
            merged.append(field)
            continue
        merged.append(
            Field(
                field.name,
                field.type if field.type != "any" else other.type,
                field.required or other.required,
                field.max_length if field.max_length is not None else other.max_length,
                field.description or other.description,
            )
        )
    return (*merged, *told.values())


async def _estimate(session: Session, name: str, resource: schema.Resource) -> int | None:
    """The platform's own count, where the manifest says where to find it; None when it tells none.

    Raises CredentialError when the credential is refused for the whole account, the errors of a request.
    """
    read = resource.read
    if not resource.estimate or read is None or read.total is None or resource.parent is not None:
        return None
    if read.request.body is not None or read.request.graphql is not None:
        return None
    scope = {**session.scope_of(name), "cursor": {}, "page": {}}
    parts = session.parts(read.request, scope)
    query = {**parts.query, **_smallest_page(read.page)}
    request = session.sendable(read.request, scope, with_query(parts.url, query), parts.headers, None)
    result = await session.caller.call(f"read {name}", "read", request, brief=True)
    verdict = result.verdict
    if verdict is not None:
        if verdict.error_class is ErrorClass.AUTH and verdict.action != "fail_run":
            # Other streams may be allowed.
            raise SystemicError(verdict.message, hint=verdict.hint, code="refused")
        raise verdict.error("", session.context.clock.now_ms())
    if result.answer is None:
        return None
    total = lookup(loads(result.answer.body, name), read.total)
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def _smallest_page(page: schema.Page) -> dict[str, str]:
    if isinstance(page, schema.OffsetPage) and page.limit_param and page.in_ == "query":
        return {page.limit_param: "1"}
    if isinstance(page, schema.NumberPage) and page.size_param and page.in_ == "query":
        return {page.size_param: "1"}
    return {}

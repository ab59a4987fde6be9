"""The fields of a stream as the platform describes them: by a request, a GraphQL type or an OpenAPI operation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ErrorClass, PlatintError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Json
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.discover_graphql import INTROSPECTION, Types, read_types
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.session import Session
from platint_tui.manifest import schema
from platint_tui.manifest.loader import resource
from platint_tui.manifest.openapi import Api, read_api
from platint_tui.manifest.template import lookup

MOST_DESCRIPTIONS = 500
"""Requests for fields in one discovery; the streams beyond them are shown without."""
LONGEST_NAME = 256
_LARGE = 256 * 1024
_CANDIDATE = re.compile(
    r"(?:^|[_.\- ])(?:updated?|modified|changed?|created?|edited|inserted|systemmodstamp|timestamp|version|seq"
    r"|sequence|revision|since)(?:$|[_.\- ])"
)
_NEWEST = re.compile(r"updat|modif|modstamp|chang|edit|revis|version|seq")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Described:
    """What a platform says of one stream. `key` is None when it does not say; `refused` is its refusal,
    `failed` that fields may be missing here which the stream has.
    """

    fields: tuple[Field, ...]
    key: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""
    failed: bool = False


class Descriptions:
    """Asks for fields, the same request once. With `strict` a failure is raised, else it is a note."""

    def __init__(self, session: Session, *, strict: bool = False) -> None:
        self._session = session
        self._strict = strict
        self._answers: dict[tuple[str, bytes | None], asyncio.Task[Json]] = {}
        self._types: Types | None = None
        self._api: Api | None = None
        self._schema_problem = ""

    async def prepare(self) -> None:
        """Get the schema of the whole API, where the manifest says that there is one. Raises when strict."""
        discover = self._session.context.connector.discover
        if discover.type not in ("graphql", "openapi") or discover.request is None:
            return
        try:
            if discover.type == "graphql":
                graphql = schema.GraphQL(document=INTROSPECTION)
                request = discover.request.model_copy(
                    update={"method": "POST", "graphql": graphql, "body": None}
                )
                body = await self._body(request, self._session.scope)
                # A schema has up to 11 MB.
                self._types = await asyncio.to_thread(read_types, body)
            else:
                body = await self._body(discover.request, self._session.scope)
                self._api = await asyncio.to_thread(read_api, body)
        except PlatintError as error:
            if self._strict:
                raise
            self._schema_problem = f"Its schema is not known: {error.sentence()}"

    async def of(self, name: str, resource: schema.Resource) -> Described:
        """What is said of the stream `name`."""
        describe = resource.describe
        if describe is None:
            return Described(())
        try:
            if describe.graphql is not None:
                return self._of_type(describe, describe.graphql, resource)
            if describe.openapi is not None:
                return await self._of_operation(describe.openapi, resource)
            if describe.request is None:
                return Described(())
            return await self._of_request(name, describe, describe.request)
        except PlatintError as error:
            if self._strict:
                raise
            refused = error.sentence() if error.error_class is ErrorClass.AUTH else ""
            return Described(
                (), None, (f"Its fields are not known: {error.sentence()}",), refused, failed=True
            )

    # --- one request a stream ---------------------------------------------------------------------------

    async def _of_request(self, name: str, describe: schema.Describe, request: schema.Request) -> Described:
        scope = self._session.scope_of(name)
        outgoing = self._session.outgoing(request, scope)
        slot = (outgoing.url, outgoing.content)
        task = self._answers.get(slot)
        if task is None:
            if len(self._answers) >= MOST_DESCRIPTIONS:
                note = f"Its fields were not asked for: only those of {MOST_DESCRIPTIONS:,} streams are."
                return Described((), None, (note,), failed=True)
            task = self._answers[slot] = asyncio.ensure_future(self._document(request, scope))
        document = await task
        fields, notes = described_fields(document, describe)
        return Described(fields, _key(document, describe), notes)

    async def _document(self, request: schema.Request, scope: Mapping[str, Json]) -> Json:
        body = await self._body(request, scope)
        return await asyncio.to_thread(loads, body, "the description") if len(body) > _LARGE else loads(body)

    async def _body(self, request: schema.Request, scope: Mapping[str, Json]) -> bytes:
        """The body of one answer. Raises what the answer means."""
        session = self._session
        result = await session.caller.call("discover", "read", session.outgoing(request, scope), brief=True)
        if result.verdict is not None:
            raise result.verdict.error("", session.context.clock.now_ms())
        if result.answer is None:
            raise SystemicError("There was no answer.", where=session.caller.host)
        kind = result.answer.headers.get("content-type", "")
        if "yaml" not in kind:
            expect_json(result.answer.body, kind, session.caller.host)
        return result.answer.body

    # --- out of the schema of the whole API -------------------------------------------------------------

    def _of_type(self, describe: schema.Describe, name: str, resource: schema.Resource) -> Described:
        if self._types is None:
            return self._without_schema()
        fields = self._types.fields(name, describe.types)
        if fields is None:
            return Described((), None, (f"The schema has no type '{clean(name)}'.",))
        document = (
            resource.read.request.graphql.document if resource.read and resource.read.request.graphql else ""
        )
        words = set(re.findall(r"\w+", document))
        asked = tuple(field for field in fields if field.name in words) if document else fields
        notes: tuple[str, ...] = ()
        if asked and len(asked) < len(fields):
            notes = (
                f"The type {name} has {len(fields) - len(asked):,} more fields, which are not asked for.",
            )
        return Described(_prefixed(asked or fields, describe.prefix), None, notes)

    def _without_schema(self) -> Described:
        notes = (self._schema_problem,) if self._schema_problem else ()
        return Described((), None, notes, failed=True)

    async def _of_operation(self, operation: str, resource: schema.Resource) -> Described:
        if self._api is None:
            return self._without_schema()
        read = resource.read
        path = tuple(read.records.split(".")) if read is not None and read.records else ()
        single = read is not None and read.single
        found = await asyncio.to_thread(self._api.record_fields, operation, path, single=single)
        if found is None:
            return Described((), None, (f"The API's description has no records of '{clean(operation)}'.",))
        return Described(found)


async def field_names(session: Session, name: str) -> list[str]:
    """The names of the fields of a stream as its description has them, for `${resource.fields}`; those that
    the manifest declares where it has no description. Raises the errors of the request.
    """
    found = resource(session.context.connector, name)
    if found.describe is None:
        return [field.name for field in found.fields]
    descriptions = Descriptions(session, strict=True)
    await descriptions.prepare()
    described = await descriptions.of(name, found)
    return [field.name.removeprefix(found.describe.prefix) for field in described.fields]


def described_fields(document: Json, describe: schema.Describe) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """The fields that a description names, and notes of those that cannot be used.

    Raises SystemicError when there is no list of fields where the manifest says.
    """
    fields: dict[str, Field] = {}
    unusable = 0
    for item in _elements(document, describe):
        if any(body_holds(test, item) for test in describe.skip):
            continue
        name = lookup(item, describe.name)
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or clean(name) != name:
            unusable += 1
            continue
        said = lookup(item, describe.type) if describe.type else None
        kind = describe.types.get(said, "any") if isinstance(said, str) else "any"
        required = lookup(item, describe.required) is True if describe.required else False
        if describe.nullable is not None:
            required = required or lookup(item, describe.nullable) is False
        length = lookup(item, describe.max_length) if describe.max_length else None
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            length = None
        text = lookup(item, describe.description) if describe.description else None
        name = f"{describe.prefix}{name}"
        fields[name] = Field(name, kind, required, length, one_line(text))
    notes = (f"Fields left out, because their names cannot be used: {unusable:,}.",) if unusable else ()
    return tuple(fields.values()), notes


def cursor_candidates(fields: Sequence[Field], declared: str | None) -> tuple[str, ...]:
    """The fields that could say how new a record is: the declared one first, then times of changes, then other
    times and growing numbers.
    """
    ranked = []
    for place, field in enumerate(fields):
        words = _CAMEL.sub("_", field.name).lower()
        named = bool(_CANDIDATE.search(words))
        if field.name == declared or not (
            field.type == "timestamp" or (named and field.type in ("integer", "string", "number", "any"))
        ):
            continue
        ranked.append((not (named and _NEWEST.search(words)), not named, field.type != "timestamp", place))
    ordered = [fields[rank[-1]].name for rank in sorted(ranked)]
    return tuple(([declared] if declared else []) + ordered)


def _elements(document: Json, describe: schema.Describe) -> Iterator[Mapping[str, Json]]:
    path = describe.records.split(".") if describe.records else []
    found = False
    for place in _places(document, path):
        if describe.entries is not None and isinstance(place, Mapping):
            found = True
            for name, value in place.items():
                yield {**(value if isinstance(value, Mapping) else {"value": value}), describe.entries: name}
        elif describe.entries is None and isinstance(place, list):
            found = True
            for item in place:
                yield item if isinstance(item, Mapping) else {describe.name: item}
    if not found:
        raise SystemicError(
            f"There are no fields at '{describe.records or 'the document'}' of the description.",
            code="records_path",
        )


def _places(value: Json, path: Sequence[str]) -> Iterator[Json]:
    """What a path leads to; a step `*` goes into every member."""
    if not path:
        yield value
    elif path[0] == "*":
        for item in (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        ):
            yield from _places(item, path[1:])
    else:
        step = lookup(value, (path[0],))
        if step is not None:
            yield from _places(step, path[1:])


def _key(document: Json, describe: schema.Describe) -> tuple[str, ...] | None:
    if describe.key is None:
        return None
    found = lookup(document, describe.key.records)
    kinds = {}
    if describe.key.typed and describe.type:
        kinds = {
            str(lookup(item, describe.name)): lookup(item, describe.type)
            for item in _elements(document, describe)
        }
    names = []
    for item in found if isinstance(found, list) else [found]:
        name = lookup(item, describe.key.name) if describe.key.name else item
        if not isinstance(name, str) or not name:
            continue
        if not describe.key.typed:
            names.append(f"{describe.prefix}{name}")
            continue
        kind = kinds.get(name)
        if not isinstance(kind, str) or not kind:
            raise SystemicError(
                f"The description says no type of the key field '{clean(name)}'.", code="records_path"
            )
        names.append(f"{describe.prefix}{name}.{kind}")
    return tuple(names)


def _prefixed(fields: tuple[Field, ...], prefix: str) -> tuple[Field, ...]:
    if not prefix:
        return fields
    return tuple(
        Field(f"{prefix}{item.name}", item.type, item.required, item.max_length, item.description)
        for item in fields
    )

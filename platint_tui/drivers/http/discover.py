"""The catalogue of an HTTP platform: what the manifest declares, counted where the platform tells a total."""

from __future__ import annotations

from platint_tui.core.errors import CredentialError, ErrorClass, PlatintError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Stream
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.reader import Session
from platint_tui.drivers.http.requests import address, with_query
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup, render_map

_PARENT_NOTE = "Read once for each of '{0}'; up to 1,000 of them keep positions of their own, more share one."
_OFFSET_NOTE = "Paged by number: rows that move while a scan runs may be missed."


async def catalogue(session: Session) -> list[Stream]:
    """The streams of this account in the manifest's order."""
    return [
        await _stream(session, name, resource)
        for name, resource in session.context.connector.resources.items()
    ]


def fields_of(resource: schema.Resource) -> tuple[Field, ...]:
    """The declared fields of a resource."""
    return tuple(
        Field(item.name, item.type, item.required, item.max_length, item.description)
        for item in resource.fields
    )


async def _stream(session: Session, name: str, resource: schema.Resource) -> Stream:
    notes = list(resource.notes)
    read = resource.read
    if resource.parent is not None:
        notes.append(_PARENT_NOTE.format(resource.parent.resource))
    if read is not None and isinstance(read.page, schema.OffsetPage | schema.NumberPage):
        notes.append(_OFFSET_NOTE)
    if read is not None and read.cursor is None:
        notes.append("Without a cursor: every run reads all of it.")
    if read is not None and not resource.key:
        notes.append("Without a key: records are told apart by their content.")
    write = resource.write
    estimate = None
    try:
        estimate = await _estimate(session, name, resource)
    except CredentialError:
        raise
    except PlatintError as error:
        # A count is a nicety: its failure must not hide the catalogue.
        notes.append(f"Not counted: {error.sentence()}")
    return Stream(
        name=name,
        key=resource.key or (),
        cursor=read.cursor.field if read is not None and read.cursor is not None else None,
        fields=fields_of(resource),
        readable=read is not None,
        writable=write is not None and (write.upsert or write.create) is not None,
        estimate=estimate,
        parent=resource.parent.resource if resource.parent is not None else None,
        notes=tuple(notes),
    )


async def _estimate(session: Session, name: str, resource: schema.Resource) -> int | None:
    """The platform's own count, where the manifest says where to find it; None when it tells none.

    Raises CredentialError when the credential is refused for the whole account, the errors of a request.
    """
    read = resource.read
    if not resource.estimate or read is None or read.total is None or resource.parent is not None:
        return None
    query = render_map(read.request.query, session.scope, "query")
    query.update(_smallest_page(read.page))
    url = with_query(address(session.base_url, read.request.path, session.scope), query)
    request = Outgoing(read.request.method, url, session.headers)
    result = await session.caller.call(f"read {name}", "read", request, brief=True)
    verdict = result.verdict
    if verdict is not None:
        if verdict.error_class is ErrorClass.AUTH and verdict.action != "fail_run":
            # Other streams may be allowed.
            raise SystemicError(verdict.message, hint=verdict.hint)
        raise verdict.error("", session.context.clock.now_ms())
    if result.answer is None:
        return None
    total = lookup(loads(result.answer.body, name), read.total)
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None


def _smallest_page(page: schema.Page) -> dict[str, str]:
    if isinstance(page, schema.OffsetPage) and page.limit_param:
        return {page.limit_param: "1"}
    if isinstance(page, schema.NumberPage) and page.size_param:
        return {page.size_param: "1"}
    return {}

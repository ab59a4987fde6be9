"""Requests out of templates: what does not change during a scan is rendered once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode

from platint_tui import __version__
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.encoding import encode_value
from platint_tui.drivers.http.encoding import form_pairs as form_pairs
from platint_tui.manifest import schema
from platint_tui.manifest.template import compile_template, render, render_body, render_map

USER_AGENT = f"platint-tui/{__version__}"
ACCEPT = "application/json"
"""What is accepted where a manifest says nothing."""


def profile_scope(context: DriverContext) -> dict[str, Json]:
    """What templates may look up everywhere: profile fields with their defaults, never secrets."""
    fields: dict[str, Json] = {
        item.id: item.default if isinstance(item.default, str) else dumps(item.default)
        for item in context.connector.profile.fields
        if item.default is not None and not item.secret
    }
    secret = {item.id for item in context.connector.profile.fields if item.secret}
    fields.update({name: value for name, value in context.profile.fields.items() if name not in secret})
    return {"profile": fields}


def common_headers(context: DriverContext, scope: Mapping[str, Json]) -> dict[str, str]:
    """The headers of every request, names in lower case."""
    headers = {"accept": ACCEPT, "accept-encoding": "gzip", "user-agent": USER_AGENT}
    rendered = render_map(context.connector.transport.headers, scope, "header")
    headers.update({name.lower(): value for name, value in rendered.items()})
    headers["accept-encoding"] = "gzip"
    return headers


def with_query(url: str, query: Mapping[str, str]) -> str:
    """`url` with `query` added to whatever query it has."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query, quote_via=quote)}"


def address(base: str, path: str, scope: Mapping[str, Json]) -> str:
    """The base URL with a rendered path; without one exactly as it is."""
    if not path:
        return base
    rendered = render(path, scope, "path")
    if rendered and not rendered.startswith("/"):
        rendered = "/" + rendered
    return base.rstrip("/") + rendered


def graphql_body(graphql: schema.GraphQL, scope: Mapping[str, Json]) -> dict[str, Json]:
    """A GraphQL operation as it is sent (GraphQL over HTTP): the document as written, the variables rendered."""
    return {"query": graphql.document, "variables": render_body(graphql.variables, scope)}


def body_value(request: schema.Request | schema.WriteOp, scope: Mapping[str, Json]) -> Json:
    """The rendered body of a request, None without one."""
    if request.graphql is not None:
        return graphql_body(request.graphql, scope)
    return None if request.body is None else render_body(request.body, scope)


def encoded(
    request: schema.Request | schema.WriteOp, value: Json, headers: Mapping[str, str]
) -> tuple[bytes | None, dict[str, str]]:
    """The bytes of a rendered body and `headers` with its content type; one that is there already wins."""
    if value is None:
        return None, dict(headers)
    content, kind = encode_value(value, "json" if request.graphql is not None else request.encode)
    own = headers.get("content-type", "")
    if own.startswith("multipart/") and "boundary=" not in own and request.encode == "multipart":
        own = f"{own}; {kind.partition('; ')[2]}"
    return content, {**headers, "content-type": own or kind}


def lookups(value: Json) -> Iterator[str]:
    """The dotted names that the templates in a request look up."""
    if isinstance(value, str):
        for expression in compile_template(value).expressions:
            yield expression.name
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from lookups(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from lookups(item)


def looked_up(request: schema.Request) -> frozenset[str]:
    """The dotted names that a request of the manifest looks up anywhere."""
    variables = request.graphql.variables if request.graphql is not None else None
    return frozenset(lookups([request.path, request.query, request.headers, request.body, variables]))


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}

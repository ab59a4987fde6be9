"""Requests out of templates: what does not change during a scan is rendered once."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from platint_tui import __version__
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.template import render, render_body, render_map

USER_AGENT = f"platint-tui/{__version__}"


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
    headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": USER_AGENT}
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
    """The base URL with a rendered path."""
    rendered = render(path, scope, "path") if path else ""
    if rendered and not rendered.startswith("/"):
        rendered = "/" + rendered
    return base.rstrip("/") + rendered


def encode_body(template: Json, encode: str, scope: Mapping[str, Json]) -> tuple[bytes, str]:
    """The bytes of a body and their content type. Raises RecordError for what the encoding cannot hold."""
    value = render_body(template, scope)
    if encode == "form":
        return urlencode(form_pairs(value), quote_via=quote).encode(), "application/x-www-form-urlencoded"
    return dumps(value).encode(), "application/json"


def form_pairs(value: Json, name: str = "") -> list[tuple[str, str]]:
    """A JSON value as form fields: members as `a[b]`, elements as `a[0]`, null as an empty text."""
    if isinstance(value, Mapping):
        pairs = []
        for key, item in value.items():
            pairs += form_pairs(item, f"{name}[{key}]" if name else str(key))
        return pairs
    if isinstance(value, list | tuple):
        pairs = []
        for number, item in enumerate(value):
            pairs += form_pairs(item, f"{name}[{number}]")
        return pairs
    return [(name, _plain(value))]


def _plain(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else dumps(value)

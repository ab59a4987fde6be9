"""A request as the manifest's `webhooks` look at it: headers, query, form and JSON body, each read when it is asked
for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from platint_tui.core.model import Json
from platint_tui.core.webhooks import WebhookRequest
from platint_tui.manifest.template import lookup

MISSING: Any = object()
"""No value: null is one."""
MASK = "***"
"""What is stored of a parameter that is a secret."""
FORM_TYPE = "application/x-www-form-urlencoded"
# Numbers with a fraction keep their text, so that an id or a time is not rounded.
_decode: Callable[[str], Any] = json.JSONDecoder(parse_float=str).decode


def decoded(data: bytes | str) -> Json:
    """The JSON value of a text, `MISSING` when it is no JSON. Names that occur twice are not refused here."""
    try:
        text = data.decode() if isinstance(data, bytes) else data
        return _decode(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return MISSING


def form_of(text: str) -> dict[str, str]:
    """The parameters of a form or query; of a repeated name the first value."""
    result: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        result.setdefault(name, value)
    return result


class View:
    """One request. `payload` is the form parameter that holds the JSON document, where a form has one."""

    __slots__ = ("_document", "_form", "_query", "headers", "payload", "request")

    def __init__(self, request: WebhookRequest, payload: str | None = None) -> None:
        self.request = request
        self.payload = payload
        self.headers: Mapping[str, str] = dict(reversed(request.headers))
        """The headers by name in lower case; of a repeated one the first."""
        self._query: dict[str, str] | None = None
        self._form: dict[str, str] | None = None
        self._document: Json = None

    @property
    def is_form(self) -> bool:
        """Whether the body is a form."""
        return is_form(self.headers.get("content-type", ""))

    @property
    def form(self) -> Mapping[str, str]:
        """The parameters of a form body, none for another body."""
        if self._form is None:
            self._form = form_of(self.request.body.decode("utf-8", "replace")) if self.is_form else {}
        return self._form

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the address."""
        if self._query is None:
            self._query = form_of(self.request.target.partition("?")[2])
        return self._query

    @property
    def document(self) -> Json:
        """The JSON document of the request, `MISSING` when it has none."""
        if self._document is None:
            if not self.is_form:
                self._document = (decoded(self.request.body),)
            else:
                text = self.form.get(self.payload) if self.payload else None
                self._document = (MISSING if text is None else decoded(text),)
        return self._document[0]

    def value(self, kind: str, name: str | tuple[str, ...], element: Json) -> Json:
        """The value of one source; `element` is the event where the request has several, else `MISSING`."""
        if kind == "header":
            return self.headers.get(name, MISSING)  # type: ignore[arg-type] # a path is for body and batch only
        if kind == "body":
            return lookup(self.document if element is MISSING else element, name, MISSING)
        if kind == "batch":
            return lookup(self.document, name, MISSING)
        values = self.form if kind == "form" else self.query
        return values.get(name, MISSING)  # type: ignore[arg-type] # the same


def is_form(content_type: str) -> bool:
    """Whether a content type is that of an HTML form."""
    return content_type.partition(";")[0].strip().lower() == FORM_TYPE


HeaderTests: TypeAlias = tuple[tuple[str, Callable[[str], object]], ...]


def header_tests(wanted: Mapping[str, str]) -> HeaderTests:
    """Headers that must be there, with the test of their value: `*` stands for any text."""
    return tuple(
        (name.lower(), re.compile(translate(pattern), re.IGNORECASE).match)
        for name, pattern in wanted.items()
    )


def headers_hold(tests: HeaderTests, headers: Mapping[str, str]) -> bool:
    """Whether every header of `tests` is there and passes."""
    for name, test in tests:
        value = headers.get(name)
        if value is None or not test(value):
            return False
    return True

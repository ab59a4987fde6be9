"""An answer as a document, and what it says in words: the tree of its JSON or XML, its message and code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from html import unescape

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Json
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.xmltree import is_html, is_xml, parse_xml
from platint_tui.manifest.template import lookup

LARGE = 1024 * 1024
"""Bytes of an answer from which on its tree is made in a thread."""
MAX_MESSAGE = 300
_MESSAGE_PATHS = (
    "error.message", "message", "error_description", "errors.0.message", "errors.0.detail", "detail",
    "error.reason", "errorMessages.0", "Error.Message", "Message", "0.message", "error", "title", "errors.0",
    "errors", "reason",
)  # fmt: skip
_CODE_PATHS = (
    "error.code", "code", "errors.0.code", "error.type", "errors.0.extensions.code", "errors.0.type",
    "Error.Code", "Code", "__type", "0.errorCode",
)  # fmt: skip
_TITLE = re.compile(rb"<(title|h1)[^>]*>(.{1,1000}?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>|\s+")
HTML_HINT = "Check the base URL, and whether a login page or a proxy stands in between."


def tree_of(answer: Answer) -> Json:
    """The tree of a JSON or XML answer, None when it is neither."""
    body = answer.body
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    try:
        if start in (b"{", b"["):
            return loads(body)
        if start == b"<" and is_xml(answer.headers.get("content-type", ""), body):
            return parse_xml(body, "")
    except SystemicError:
        return None
    return None


def is_page(answer: Answer) -> bool:
    """Whether the answer is an HTML page for people."""
    return bool(answer.body) and is_html(answer.headers.get("content-type", ""), answer.body)


class Document:
    """The tree of an answer, made when it is first looked into."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._made = False
        self._tree: Json = None

    async def ready(self) -> None:
        """Make the tree of a large answer in a thread: everything else would wait for it."""
        if not self._made and len(self._answer.body) > LARGE:
            self._tree = await asyncio.to_thread(tree_of, self._answer)
            self._made = True

    @property
    def tree(self) -> Json:
        """The tree, None for an answer that is neither JSON nor XML."""
        if not self._made:
            self._tree = tree_of(self._answer)
            self._made = True
        return self._tree


def words(value: Json, limit: int = MAX_MESSAGE) -> str:
    """A value of an answer as it may be shown: redacted, clean, cut; texts of a list with commas between."""
    if isinstance(value, list | tuple):
        value = ", ".join(text for text in (words(item, limit) for item in value) if text)
    if isinstance(value, bool) or value is None or isinstance(value, Mapping):
        return ""
    text = value if isinstance(value, str) else dumps(value)
    # Redacted before it is cut, so that no secret is left in half.
    return clean(REDACTOR.redact(text.strip()))[:limit]


def code_of(answer: Answer, tree: Json) -> str:
    """The platform's code of an error where one of the usual places has it, else the status."""
    for path in _CODE_PATHS:
        value = lookup(tree, path)
        found = "" if isinstance(value, list | tuple) else words(value, 80)
        if found:
            return found
    return str(answer.status)


def message_of(answer: Answer, tree: Json, host: str) -> str:
    """One sentence: who answered with which status, and what it said."""
    said = ""
    if tree is None and is_page(answer):
        title = _title(answer.body)
        return f"{host} answered {answer.status} with an HTML page{f': {title}' if title else ''}."
    for path in _MESSAGE_PATHS:
        value = lookup(tree, path)
        if isinstance(value, str) and value.strip():
            said = words(value)
            break
    errors = lookup(tree, "errors")
    listed = fields_of(errors) or fields_of(lookup(tree, "message"))
    if not said and not listed and isinstance(errors, list):
        listed = "; ".join(text for text in map(fields_of, errors[:5]) if text)[:MAX_MESSAGE]
    if listed:
        said = f"{said.rstrip('.')} ({listed})" if said else listed
    if not said and tree is None and _plain(answer):
        said = words(answer.body[:2048].decode("utf-8", "replace"))
    return f"{host} answered {answer.status}: {said}" if said else f"{host} answered {answer.status}."


def fields_of(value: Json) -> str:
    """What an object of fields says of each: `{"title": ["is empty"]}`, also where fields are in fields."""
    return "; ".join(_by_field(value))[:MAX_MESSAGE]


def _by_field(value: Json, name: str = "", depth: int = 0) -> list[str]:
    if not isinstance(value, Mapping):
        said = words(value) if name and isinstance(value, str | list) else ""
        return [f"{name}: {said.rstrip('.')}"] if said else []
    if name and isinstance(value.get("message"), str):
        return _by_field(value["message"], name)
    found: list[str] = []
    for key, item in list(value.items())[:10] if depth < 5 else ():
        # A member such as `_errors` is no field, it holds what is said of one.
        inner = name if str(key).startswith("_") else f"{name}.{key}".lstrip(".")
        for one in item if isinstance(item, list) and any(isinstance(i, Mapping) for i in item) else [item]:
            found += _by_field(one, clean(inner)[:60], depth + 1)
    return found[:5]


def _plain(answer: Answer) -> bool:
    """Whether the answer is a short text for people, such as `Retry later`."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/plain" and 0 < len(answer.body) <= 2048


def _title(body: bytes) -> str:
    match = _TITLE.search(body[:65536])
    if match is None:
        return ""
    text = _TAG.sub(" ", match.group(2).decode("utf-8", "replace"))
    return words(unescape(text), 120).rstrip(".")

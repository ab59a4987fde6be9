"""Bodies of requests: a rendered value as JSON, form fields, lines, parts, XML or plain text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Json

_XML_NAME = re.compile(r"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NO_NAME = re.compile(r'[\x00-\x1f\x7f"]')
_MAX_DEPTH = 100


def encode_value(value: Json, encode: str) -> tuple[bytes, str]:
    """The bytes of a rendered body and their content type.

    Raises RecordError for what the encoding cannot hold.
    """
    try:
        return _ENCODERS[encode](value)
    except UnicodeEncodeError:
        raise RecordError(
            "A text holds half of a surrogate pair, which is no character.", code="body"
        ) from None


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


def _json(value: Json) -> tuple[bytes, str]:
    return dumps(value).encode(), "application/json"


def _form(value: Json) -> tuple[bytes, str]:
    return urlencode(form_pairs(value), quote_via=quote).encode(), "application/x-www-form-urlencoded"


def _ndjson(value: Json) -> tuple[bytes, str]:
    if not isinstance(value, list | tuple):
        raise RecordError("A body of lines is a list; this is none.", code="body")
    return "".join(dumps(item) + "\n" for item in value).encode(), "application/x-ndjson"


def _text(value: Json) -> tuple[bytes, str]:
    return _plain(value).encode(), "text/plain; charset=utf-8"


def _multipart(value: Json) -> tuple[bytes, str]:
    """multipart/form-data (RFC 7578): a part for each member. Objects and lists are JSON; an object with
    `filename` and `content` is a file, with `content_type` if it names one.
    """
    if not isinstance(value, Mapping):
        raise RecordError("A multipart body is an object; this is none.", code="body")
    parts = [_part(str(name), item) for name, item in value.items()]
    # The same body has the same boundary, however often it is sent.
    boundary = hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
    while any(boundary.encode() in part for part in parts):
        boundary = hashlib.blake2b(boundary.encode(), digest_size=16).hexdigest()
    mark = f"--{boundary}\r\n".encode()
    body = b"".join(mark + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _part(name: str, value: Json) -> bytes:
    disposition = f'form-data; name="{_quoted(name)}"'
    kind = ""
    if isinstance(value, Mapping) and "filename" in value and "content" in value:
        disposition += f'; filename="{_quoted(_plain(value["filename"]))}"'
        kind = _plain(value.get("content_type") or "application/octet-stream")
        if _NO_NAME.search(kind):
            raise RecordError("The content type of a part holds a control character.", code="body")
        content = _plain(value["content"])
    elif isinstance(value, Mapping | list | tuple):
        kind, content = "application/json", dumps(value)
    else:
        content = _plain(value)
    head = f"Content-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return (head + "\r\n" + content).encode()


def _quoted(name: str) -> str:
    # RFC 7578 section 2: what browsers do.
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _xml(value: Json) -> tuple[bytes, str]:
    """An object with one member, the root element: members are children, lists repeat them, `@name` is an
    attribute, `#text` the text beside them.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        raise RecordError("An XML body is an object with one member, the root element.", code="body")
    (name, content), *_ = value.items()
    if isinstance(content, list | tuple):
        raise RecordError("An XML body has one root element; this is a list.", code="body")
    text = '<?xml version="1.0" encoding="UTF-8"?>' + "".join(_element(str(name), content, 0))
    return text.encode(), "application/xml"


def _element(name: str, value: Json, depth: int) -> Iterator[str]:
    if not _XML_NAME.fullmatch(name):
        raise RecordError(f"'{name[:40]}' is no name of an XML element.", code="body")
    if depth > _MAX_DEPTH:
        raise RecordError(f"The body is nested more than {_MAX_DEPTH} levels deep.", code="body")
    if isinstance(value, list | tuple):
        for item in value:
            yield from _element(name, item, depth + 1)
        return
    members = value if isinstance(value, Mapping) else {"#text": value}
    yield f"<{name}"
    for key, item in members.items():
        if key.startswith("@"):
            if not _XML_NAME.fullmatch(key[1:]):
                raise RecordError(f"'{key[:40]}' is no name of an XML attribute.", code="body")
            yield f" {key[1:]}={quoteattr(_xml_text(item))}"
    yield ">"
    for key, item in members.items():
        if key == "#text":
            yield escape(_xml_text(item), {"\r": "&#13;"})
        elif not key.startswith("@"):
            yield from _element(key, item, depth + 1)
    yield f"</{name}>"


def _xml_text(value: Json) -> str:
    text = _plain(value)
    if _NO_XML.search(text):
        raise RecordError("A text holds a character that XML cannot carry.", code="body")
    return text


def _plain(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else dumps(value)


_ENCODERS: dict[str, Callable[[Json], tuple[bytes, str]]] = {
    "json": _json,
    "form": _form,
    "ndjson": _ndjson,
    "multipart": _multipart,
    "xml": _xml,
    "text": _text,
}

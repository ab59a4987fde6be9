"""XML answers as the same kind of tree that JSON gives, so that paths lead through both alike.

The document is the content of its root element, whose own name is left out (`<ListBucketResult><Contents>…`
is `{"Contents": …}`). An element with children or attributes becomes an object: children by name, repeated
ones as a list in their order, attributes as `@name`, text beside them as `#text`. An element with text alone
is that text, an empty one null. Names are without their namespace prefix. All values are texts.

A document type is refused, and entities with it: they are how a small document grows without bound, or reads
what it should not.
"""

from __future__ import annotations

from xml.parsers import expat

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import Json

MAX_DEPTH = 200
MAX_NODES = 1_000_000
"""Elements and attributes of a document: each takes far more memory than its few bytes of markup."""
_BEYOND = "markup that goes beyond plain elements (a document type)"


class _Refused(Exception):
    """Something in the document that is not read."""


class _Element:
    """An element that is being read."""

    __slots__ = ("members", "text")

    def __init__(self, attributes: dict[str, str]) -> None:
        self.members: dict[str, Json] = {
            f"@{_local(name)}": value
            for name, value in attributes.items()
            if name != "xmlns" and not name.startswith("xmlns:")
        }
        self.text: list[str] = []

    def add(self, name: str, value: Json) -> None:
        """Take a child that ended; a second one of the same name makes a list."""
        if name not in self.members:
            self.members[name] = value
            return
        present = self.members[name]
        if isinstance(present, list):
            present.append(value)
        else:
            self.members[name] = [present, value]

    def value(self) -> Json:
        """What the element became."""
        text = "".join(self.text)
        if not self.members:
            return text or None
        if text.strip():
            self.members["#text"] = text.strip()
        return self.members


class _Builder:
    """Puts the tree together from what the parser reports."""

    def __init__(self) -> None:
        self.open: list[_Element] = []
        self.root: Json = None
        self.nodes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if len(self.open) >= MAX_DEPTH:
            raise _Refused(f"elements that are nested more than {MAX_DEPTH} deep")
        self.nodes += 1 + len(attributes)
        if self.nodes > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES:,} elements and attributes")
        self.open.append(_Element(attributes))

    def end(self, name: str) -> None:
        """An element ends."""
        value = self.open.pop().value()
        if self.open:
            self.open[-1].add(_local(name), value)
        else:
            self.root = value

    def text(self, data: str) -> None:
        """Text within an element."""
        self.open[-1].text.append(data)


def parse_xml(data: bytes, host: str) -> Json:
    """The tree of an XML document (see the module). Raises SystemicError with code `xml` for what is no XML,
    has a document type, is nested too deep or has too many elements."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except _Refused as error:
        raise SystemicError(f"{host} answered with {error}, which is not read.", code="xml") from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise SystemicError(f"{host} answered with XML that cannot be read: {error}.", code="xml") from None
    return builder.root


def is_xml(content_type: str, body: bytes) -> bool:
    """Whether an answer is an XML document (and no HTML page)."""
    media = content_type.partition(";")[0].strip().lower()
    if media.endswith(("/xml", "+xml")):
        return not media.endswith("xhtml+xml")
    return body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml") and not is_html(media, body)


def is_html(content_type: str, body: bytes) -> bool:
    """Whether an answer is a page for people, whatever its status says; data that is called text/html is none."""
    media = content_type.partition(";")[0].strip().lower()
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    data = start.startswith((b"{", b"[")) or (start.startswith(b"<?xml") and b"<html" not in start)
    if media.endswith(("html", "xhtml+xml")) and not data:
        return True
    return start.startswith((b"<!doctype html", b"<html")) or (
        start.startswith(b"<?xml") and b"<html" in start
    )


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse(*_: object) -> None:
    raise _Refused(_BEYOND)

"""Server-Sent Events out of bytes, by the rules of the HTML standard (9.2.5 and 9.2.6, "Parsing an event stream").

Beyond them: an event that is no UTF-8 is told as such instead of having its bytes replaced, and one that is too
large is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.errors import SystemicError

_BOM = b"\xef\xbb\xbf"
_KEPT = 64 * 1024
"""Bytes that are kept of an event that is too large."""
_ENDLESS = 16
"""An event of so many times the largest size is taken to have no end."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is None when it has none of its own; `size` are its bytes, of which `data` holds the first
    ones where it is too large (`cut`)."""

    name: str
    data: bytes
    id: str | None
    size: int
    cut: bool = False


class Parser:
    """Takes bytes in any portions. `last_id` is that of the last event, `retry` the seconds that the server wants
    between two connections (None: it has not said)."""

    def __init__(self, largest: int, last_id: str = "") -> None:
        """`largest` bytes of an event are taken whole."""
        self.last_id = last_id
        self.retry: float | None = None
        self.comments = 0
        """Lines that came and are no event: most servers send them as a sign of life."""
        self._largest = largest
        self._line = bytearray()
        self._after_cr = False
        self._start: bytes | None = b""
        self._reset()

    def _reset(self) -> None:
        self._data = bytearray()
        self._name = b""
        self._id: bytes | None = None
        self._size = 0
        self._cut = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes complete. Raises SystemicError for one that does not end."""
        if self._start is not None:
            self._start += chunk
            if len(self._start) < len(_BOM) and _BOM.startswith(self._start):
                return []
            chunk, self._start = self._start.removeprefix(_BOM), None
        found: list[Event] = []
        at, end = 0, len(chunk)
        while at < end:
            if self._after_cr:
                self._after_cr = False
                if chunk[at] == 0x0A:
                    at += 1
                    continue
            feed, back = chunk.find(b"\n", at), chunk.find(b"\r", at)
            stop = min(item for item in (feed, back, end) if item >= 0)
            self._append(chunk[at:stop])
            if stop == end:
                break
            self._after_cr = chunk[stop] == 0x0D
            at = stop + 1
            event = self._end_of_line()
            if event is not None:
                found.append(event)
        return found

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._largest * _ENDLESS:
            raise SystemicError(
                f"An event of more than {self._size:,} bytes does not end.",
                hint="Is this a stream of events?",
                code="endless_event",
            )
        room = self._largest + _KEPT - len(self._line)
        if len(part) > room:
            self._cut = True
        self._line += part[: max(0, room)]

    def _end_of_line(self) -> Event | None:
        line, self._line = bytes(self._line), bytearray()
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not name:
            self.comments += 1
        elif name == b"data":
            if len(self._data) + len(value) > self._largest:
                self._cut = True
                value = value[: max(0, _KEPT - len(self._data))]
            self._data += value + b"\n"
        elif name == b"event":
            self._name = value[:1024]
        elif name == b"id" and b"\0" not in value:
            self._id = value[:1024]
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        """The event that an empty line ends; without data there is none, but its id counts."""
        identity = None if self._id is None else self._id.decode("utf-8", "replace")
        data, name, size, cut = bytes(self._data), self._name, self._size, self._cut
        self._reset()
        if identity is not None:
            self.last_id = identity
        if not data and not cut:
            return None
        kept = data[:-1] if not cut else data[:_KEPT]
        return Event(name.decode("utf-8", "replace") or "message", kept, identity, size, cut)

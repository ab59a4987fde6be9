"""The rules of the HTML standard for streams of events, at any border between portions of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import SystemicError
from platint_tui.drivers.sse.parser import Event, Parser


def parsed(data: bytes, *sizes: int, largest: int = 10_000) -> list[tuple[str, bytes, str | None]]:
    """The events of these bytes, in portions of these sizes (the last one is the rest)."""
    parser, found = Parser(largest), []
    for size in sizes:
        found += parser.feed(data[:size])
        data = data[size:]
    found += parser.feed(data)
    return [(event.name, event.data, event.id) for event in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # The examples of the standard.
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10", None)]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [
                ("message", b"first event", "1"),
                ("message", b"second event", ""),
                ("message", b" third event", None),
            ],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", b"", None), ("message", b"\n", None)]),
        ("data:test\n\ndata: test\n\n", [("message", b"test", None)] * 2),
        ("event: add\ndata: 73857293\n\n", [("add", b"73857293", None)]),
        ("event: nothing\n\ndata: x\n\n", [("message", b"x", None)]),
        ("\ufeffdata: x\n\n", [("message", b"x", None)]),
        ("data: \ufeffx\n\n", [("message", "\ufeffx".encode(), None)]),
        ("id: a\0b\ndata: x\n\n", [("message", b"x", None)]),
        ("unknown: y\nDATA: z\ndata: x\n\n", [("message", b"x", None)]),
        ("data: not ended\n", []),
        ("data: a:b: c\n\n", [("message", b"a:b: c", None)]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_events_of_the_standard(text: str, wanted: list[tuple[str, bytes, str | None]], end: str) -> None:
    data = text.replace("\n", end).encode()
    # A lone CR at the very end may be half of a CRLF, but the line that it ends is complete.
    assert parsed(data) == wanted
    assert parsed(data, *[1] * len(data)) == wanted


def test_ids_and_delays() -> None:
    parser = Parser(1_000, "before")
    assert parser.last_id == "before" and parser.retry is None
    assert parser.feed(b"retry: 1500\nretry: soon\nid: 7\n\n") == []
    assert (parser.last_id, parser.retry, parser.comments) == ("7", 1.5, 0)
    assert parser.feed(b":\n: alive\ndata: x\n\n")[0].id is None and parser.comments == 2
    assert parser.last_id == "7"


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "",
            "data: a",
            "data:b",
            "data",
            "id: 1",
            "id:",
            "event: e",
            ": c",
            "x: y",
            "data: é\u2028",
            "retry: 5",
        ]
    ),
    max_size=12,
)


@given(LINES, st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=12, max_size=12), st.data())
def test_borders_of_portions_change_nothing(lines: list[str], ends: list[str], data: st.DataObject) -> None:
    text = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode()
    sizes = data.draw(st.lists(st.integers(0, 5), max_size=60))
    assert parsed(text, *sizes) == parsed(text)


@given(st.binary(max_size=300), st.lists(st.integers(0, 7), max_size=80))
def test_any_bytes_are_taken(data: bytes, sizes: list[int]) -> None:
    assert parsed(data, *sizes) == parsed(data)


def test_a_large_event_is_cut_and_one_without_an_end_refused() -> None:
    parser = Parser(1_000)
    data = b"data: " + b"x" * 5_000 + b"\nid: 9\n\ndata: next\n\n"
    large, after = parser.feed(data)
    assert large.cut and large.size > 5_000 and large.id == "9" and len(large.data) <= 65_536
    assert after == Event("message", b"next", None, len(b"data: next"))
    many = Parser(1_000).feed(b"data: " + b"y" * 400 + b"\ndata: " + b"z" * 700 + b"\n\n")
    assert many[0].cut
    with pytest.raises(SystemicError, match="does not end"):
        parser = Parser(1_000)
        for _ in range(100):
            parser.feed(b"x" * 1_000)
        pytest.fail("it takes memory without an end")

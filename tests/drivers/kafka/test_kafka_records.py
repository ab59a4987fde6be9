"""Messages as records, batches as brokers keep them, and what is noted of dead letters: without a broker."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import BadElement, Op, Record
from platint_tui.drivers.kafka.deadletters import letter_of, origin_by_name
from platint_tui.drivers.kafka.fetched import Broken, Part, fetched
from platint_tui.drivers.kafka.handled import MOST_METADATA, Handled, of_commit
from platint_tui.drivers.kafka.offsets import Committed
from platint_tui.drivers.kafka.records import (
    Decoder,
    broken_batch,
    deletes_by_key,
    header_bytes,
    shown_headers,
)

MOMENT = 1_767_322_985_678


@dataclass
class Sent:
    """A message as the client library has it."""

    value: bytes | None
    key: bytes | None = b"k"
    offset: int = 7
    timestamp: int = MOMENT
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def decode(message: Sent, *, deletes: bool = False, largest: int = 1000, topic: str = "orders") -> Any:
    found = Decoder(topic, deletes=deletes, largest=largest).decode(2, message)
    if isinstance(found, Record):
        assert loads(found.raw) == found.value
    return found


def test_a_message_becomes_a_record_with_the_text_of_its_body() -> None:
    text = '{"n": 1.10, "big": 12345678901234567890123, "deep": [true, null]}'
    found = decode(Sent(text.encode(), headers=[("trace", b"x")]))
    assert found.raw == (
        f'{{"id":"orders/2/7","key":"k","body":{text},"headers":{{"trace":"x"}},"topic":"orders",'
        '"partition":2,"offset":7,"timestamp":"2026-01-02T03:03:05.678+00:00"}'
    )
    assert found.value["body"]["big"] == 12345678901234567890123 and found.op is Op.UPSERT


@pytest.mark.parametrize(
    ("value", "headers", "body", "encoding"),
    [
        (b"hello", [], "hello", None),
        (b"00123", [], "00123", None),
        (b"17", [], "17", None),
        (b"17", [("content-type", b"application/json")], 17, None),
        (b'"x"', [("contentType", b'"application/json;charset=UTF-8"')], "x", None),
        (b"[2026-01-01] started", [], "[2026-01-01] started", None),
        (b'{"cut": "of', [], '{"cut": "of', None),
        (b"", [], "", None),
        (b" \n[1]", [], [1], None),
        (b"\xff\xfe", [], "//4=", "base64"),
        (b"\0\0\0\0\x01\x06abc", [], "AAAAAAEGYWJj", "base64"),
        ("ü\x1b[2J\u202e".encode(), [], "ü\x1b[2J\u202e", None),
    ],
)
def test_bodies(value: bytes, headers: Any, body: object, encoding: str | None) -> None:
    found = decode(Sent(value, headers=headers))
    assert (found.value["body"], found.value.get("encoding")) == (body, encoding)


@pytest.mark.parametrize("value", [b'{"a":1,"a":2}', b'{"a": NaN}', b'{"a": 1e999}', b'{"a":"\\ud800"}'])
def test_json_that_cannot_be_kept_exactly_is_a_bad_element_with_all_of_it(value: bytes) -> None:
    found = decode(Sent(value, headers=[("h", b"1")]))
    assert isinstance(found, BadElement) and "kept exactly" in found.reason
    shown = json.loads(found.raw)
    assert (shown["id"], shown["body"], shown["headers"]) == ("orders/2/7", value.decode(), {"h": "1"})


def test_a_message_that_is_too_large_is_named_by_its_place() -> None:
    found = decode(Sent(b"x" * 1001))
    assert isinstance(found, BadElement) and "1,001 bytes" in found.reason and len(found.raw) < 200
    assert json.loads(found.raw)["id"] == "orders/2/7"


def test_keys_headers_and_times_of_every_kind() -> None:
    headers = [("a", b"1"), ("b", None), ("a", b"\xff"), ("a", b"3"), ("c", b""), ("ü\n", "ß".encode())]
    found = decode(Sent(b"x", b"\xff\0", timestamp=-1, headers=headers))
    assert found.value["key"] == "/wA=" and found.value["key_encoding"] == "base64"
    assert found.value["timestamp"] is None
    assert found.value["headers"] == {"a": ["1", {"base64": "/w=="}, "3"], "b": None, "c": "", "ü\n": "ß"}
    assert [data for value in found.value["headers"].values() for data in header_bytes(value)] == [
        b"1",
        b"\xff",
        b"3",
        None,
        b"",
        "ß".encode(),
    ]
    assert decode(Sent(b"x", None)).value["key"] is None
    assert decode(Sent(b"x", timestamp=10**18)).value["timestamp"] is None
    one = Decoder("orders", deletes=False, largest=10)
    stamps = [one.decode(0, Sent(b"x", timestamp=item)) for item in (MOMENT, 10**18, MOMENT + 1, 0)]
    assert [item.value["timestamp"] for item in stamps if isinstance(item, Record)] == [
        "2026-01-02T03:03:05.678+00:00",
        None,
        "2026-01-02T03:03:05.679+00:00",
        "1970-01-01T00:00:00.000+00:00",
    ]


def test_a_tombstone_deletes_where_the_message_key_is_the_key() -> None:
    found = decode(Sent(None))
    assert found.op is Op.UPSERT and found.value["body"] is None and found.value["tombstone"] is True
    assert "tombstone" not in decode(Sent(b"null", headers=[("content-type", b"application/json")])).value
    gone = decode(Sent(None), deletes=True)
    assert gone.op is Op.DELETE and gone.value["key"] == "k"
    assert decode(Sent(None, None), deletes=True).op is Op.UPSERT
    assert deletes_by_key(("key",)) and deletes_by_key(("topic", "key"))
    assert not deletes_by_key(("id",)) and not deletes_by_key(("key", "offset")) and not deletes_by_key(())


@given(
    st.binary(max_size=60),
    st.none() | st.binary(max_size=20),
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=4),
)
def test_any_message_is_a_record_or_a_bad_element(value: bytes, key: bytes | None, headers: Any) -> None:
    headers = [(name.encode("utf-8", "replace").decode(), data) for name, data in headers]
    found = decode(Sent(value, key, headers=headers), largest=50)
    if isinstance(found, BadElement):
        json.loads(found.raw)
        assert found.reason
    else:
        body = found.value["body"]
        if found.value.get("encoding") == "base64":
            assert base64.b64decode(body) == value
        elif isinstance(body, str):
            assert body.encode() == value
        sent: dict[str, list[bytes | None]] = {}
        for name, data in headers:
            sent.setdefault(name, []).append(data)
        shown = shown_headers(headers)
        assert {name: header_bytes(item) for name, item in shown.items()} == sent


# --- batches --------------------------------------------------------------------------------------------


def batch(
    first: int,
    *values: bytes,
    codec: int = 0,
    producer: int = -1,
    control: bytes = b"",
    last: int | None = None,
) -> bytes:
    """A batch as a broker keeps it: from offset `first`, compressed, of a transaction, or its marker."""
    builder = DefaultRecordBatchBuilder(2, codec, producer >= 0, producer, 0, -1, 2**30)
    for number, value in enumerate([b""] if control else values):
        builder.append(number, MOMENT, control or None, value, [])
    data = bytearray(builder.build())
    attributes = struct.unpack_from(">h", data, 21)[0] | (0x20 if control else 0)
    struct.pack_into(">h", data, 21, attributes)
    if last is not None:
        struct.pack_into(">i", data, 23, last - first)
    struct.pack_into(">q", data, 0, first)
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)


COMMIT, ABORT = struct.pack(">hh", 0, 1), struct.pack(">hh", 0, 0)


def part(data: bytes, aborted: Any = (), stable: int = 100) -> Part:
    return Part(0, 0, stable, stable, aborted, data)


def messages(start: int, data: bytes, aborted: Any = ()) -> list[tuple[int, bytes | None]]:
    return [
        (item.offset, item.value)
        for item in fetched(start, part(data, aborted)).messages()
        if not isinstance(item, Broken)
    ]


def test_batches_in_every_compression_from_the_middle_of_one() -> None:
    data = b"".join(batch(10 * codec, b"a", b"b", b"c", codec=codec) for codec in range(5))
    found = fetched(1, part(data))
    assert (found.after, found.end) == (43, 100)
    wanted = [
        (10 * codec + number, value) for codec in range(5) for number, value in enumerate((b"a", b"b", b"c"))
    ]
    assert messages(1, data) == wanted[1:]


def test_only_what_was_committed_is_given() -> None:
    data = b"".join(
        [
            batch(0, b"1 aborted", producer=1),
            batch(1, b"plain"),
            batch(2, b"2 committed", producer=2),
            batch(3, producer=1, control=ABORT),
            batch(4, b"1 committed", producer=1),
            batch(5, producer=2, control=COMMIT),
            batch(6, producer=1, control=COMMIT),
        ]
    )
    assert messages(0, data, [(1, 0)]) == [(1, b"plain"), (2, b"2 committed"), (4, b"1 committed")]
    assert fetched(0, part(data, [(1, 0)])).after == 7


def test_a_compacted_batch_moves_on_behind_its_last_offset() -> None:
    found = fetched(5, part(batch(5, b"left", last=20)))
    assert found.after == 21 and [
        item.offset for item in found.messages() if not isinstance(item, Broken)
    ] == [5]


def test_a_batch_that_cannot_be_taken_apart_is_kept_whole_and_the_others_are_read() -> None:
    broken = bytearray(batch(2, b"x" * 30, b"y", codec=0))
    broken[61] ^= 0x7F  # the length of the first record
    struct.pack_into(">I", broken, 17, calc_crc32c(bytes(broken[21:])))
    found = list(fetched(0, part(batch(0, b"a", b"b") + bytes(broken) + batch(4, b"c"))).messages())
    assert [item.offset for item in found if not isinstance(item, Broken)] == [0, 1, 4]
    [bad] = [item for item in found if isinstance(item, Broken)]
    assert (bad.first, bad.after, bad.data) == (2, 4, bytes(broken))
    element = broken_batch("orders", 0, *bad)
    assert base64.b64decode(json.loads(element.raw)["batch"]) == bytes(broken)
    assert "messages 2 to 3" in element.reason


def test_a_damaged_batch_stops_reading() -> None:
    data = bytearray(batch(0, b"a"))
    data[-1] ^= 1
    with pytest.raises(SystemicError, match="checksum"):
        list(fetched(0, part(bytes(data))).messages())
    # A batch that is cut off comes whole with the next answer.
    assert fetched(0, part(batch(0, b"a") + batch(1, b"b")[:40])).after == 1


# --- what is dealt with ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), max_size=50), st.integers(0, 20))
def test_every_offset_that_was_noted_is_known_after_a_commit(offsets: list[int], begin: int) -> None:
    handled = Handled()
    for offset in offsets:
        handled = handled.adding(offset, begin)
        committed = handled.commit()
        assert committed is not None
        assert of_commit(committed) == handled
    known = {offset for offset in range(80) if offset in handled}
    assert known == set(offsets) | set(range(handled.below))
    assert set(range(handled.below)) <= set(offsets) | set(range(begin))
    assert handled.open(begin, 70) == sum(offset not in handled for offset in range(begin, 70))


def test_the_commit_of_another_tool_is_understood_and_too_many_ranges_are_not_committed() -> None:
    assert of_commit(Committed(5, "somebody's own text")) == Handled(5)
    assert of_commit(None) == Handled() and of_commit(Committed(3, "platint:5,8-9")) == Handled(
        3, ((5, 5), (8, 9))
    )
    handled = Handled()
    for offset in range(100_001, 103_000, 2):
        handled = handled.adding(offset, 0)
        committed = handled.commit()
        if committed is None:
            break
        assert len(committed.metadata.encode()) <= MOST_METADATA + 10
    assert handled.commit() is None and handled.adding(99_999, 103_001).commit() == Committed(103_001, "")


# --- dead letters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("orders.DLQ", "orders"),
        ("orders-dlq", "orders"),
        ("orders_dlq", "orders"),
        ("orders.DLT", "orders"),
        ("orders-dlt", "orders"),
        ("a.b.dead-letter", "a.b"),
        ("orders.dead-letter-queue", "orders"),
        ("orders.deadletters", "orders"),
        ("dlq-orders", "orders"),
        ("orders", None),
        ("dlq", None),
        ("ordersdlq", None),
        ("deadline-orders", None),
    ],
)
def test_names_of_dead_letter_topics(name: str, origin: str | None) -> None:
    assert origin_by_name(name) == origin


@pytest.mark.parametrize(
    ("headers", "origin", "reason", "code"),
    [
        (
            [
                ("kafka_dlt-original-topic", b"sales"),
                ("kafka_dlt-exception-message", b"no such\n customer"),
                ("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
            ],
            "sales",
            "no such customer",
            "IllegalStateException",
        ),
        (
            [("__connect.errors.topic", b"in"), ("__connect.errors.exception.message", b"bad schema")],
            "in",
            "bad schema",
            "dead_lettered",
        ),
        ([("x-original-topic", b"in"), ("x-exception", b"bad")], "in", "bad", "dead_lettered"),
        ([], "orders", "", "dead_lettered"),
    ],
)
def test_headers_tell_origin_and_reason(headers: Any, origin: str, reason: str, code: str) -> None:
    message = Sent(b"payload", headers=[*headers, ("trace", b"x")])
    letter = letter_of("orders.DLQ", 0, message)
    assert (letter.id, letter.origin, letter.reason, letter.code) == ("orders.DLQ/0/7", origin, reason, code)
    assert letter.properties == {"headers": {"trace": "x"}, "key": "k"} and letter.payload == b"payload"
    assert letter.died_ms == MOMENT

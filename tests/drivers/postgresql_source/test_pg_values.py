"""A row has the same JSON whether a snapshot or the feed of changes brought it, row by row or in a block."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from drivers.postgresql_source.conftest import CDC, Shop, read, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Block, ReadOptions
from platint_tui.drivers.postgresql import pgoutput
from platint_tui.drivers.postgresql.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    RelationColumn,
    RelationMessage,
    Truncate,
    Update,
    lsn_number,
    lsn_text,
)

COLUMNS = {
    "a_bool": "boolean",
    "a_int2": "smallint",
    "a_int8": "bigint",
    "a_numeric": "numeric",
    "a_money2": "numeric(12,2)",
    "a_float4": "real",
    "a_float8": "double precision",
    "a_text": "text",
    "a_char": "character(5)",
    "a_stamp": "timestamp",
    "a_stamptz": "timestamp with time zone",
    "a_date": "date",
    "a_time": "time",
    "a_timetz": "time with time zone",
    "an_interval": "interval",
    "a_bytea": "bytea",
    "a_uuid": "uuid",
    "a_json": "json",
    "a_jsonb": "jsonb",
    "an_int_list": "integer[]",
    "a_text_list": "text[]",
    "a_mood": "mood",
    "a_range": "int4range",
    "a_numrange": "numrange",
    "a_tsrange": "tstzrange",
    "a_multirange": "nummultirange",
    "an_inet": "inet",
    "a_positive": "positive",
    "a_pair": "pair",
    "a_cash": "money",
    "a_bits": "bit(4)",
    "an_oid": "oid",
    "moods": "mood[]",
    "positives": "positive[]",
    "a_point": "point",
}
MADE = """
CREATE TYPE mood AS ENUM ('calm', 'very "wild"', 'NULL');
CREATE DOMAIN positive AS numeric(10,3) CHECK (value > 0);
CREATE TYPE pair AS (x int, y text);
CREATE TABLE t (id int PRIMARY KEY, {columns});
"""

characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
texts = st.text(characters, max_size=12) | st.sampled_from(
    ["\\N", "\\", "a\tb\nc\rd\be\fg\vh", '"{},()[]', "NULL", ""]
)
decimals = st.decimals(-(10**25), 10**25, places=9).map(str) | st.sampled_from(
    [
        "NaN",
        "0.000000001",
        "0E-8",
        "12345678901234567890.10",
        "1" + "0" * 400,
        "-0",
        "1" * 5000,
        "1" + "0" * 320 + ".5",
    ]
)
floats = st.floats(width=32).map(repr)
moments = st.datetimes(timezones=st.just(UTC)).map(str) | st.sampled_from(
    [
        "infinity",
        "-infinity",
        "0044-03-15 12:00:00.5+00 BC",
        "99999-12-31 00:00:00.123456+00",
        "2026-01-02 03:04:05.6+02",
    ]
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
).map(json.dumps)
whole = st.integers(-(2**31), 2**31 - 2)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "a_bool": st.sampled_from(["t", "f"]),
    "a_int2": st.integers(-(2**15), 2**15 - 1).map(str),
    "a_int8": st.integers(-(2**63), 2**63 - 1).map(str),
    "a_numeric": decimals,
    "a_money2": st.decimals(-9_999_999, 9_999_999, places=2).map(str),
    "a_float4": floats.filter(lambda text: not 0 < abs(float(text)) < 1e-37),
    "a_float8": st.floats().map(repr),
    "a_text": texts,
    "a_char": st.text(st.characters(categories=("Lu", "Nd")), max_size=5),
    "a_stamp": moments,
    "a_stamptz": moments,
    "a_date": st.dates().map(str) | st.sampled_from(["infinity", "0044-03-15 BC", "12345-01-01"]),
    "a_time": st.times().map(str) | st.just("24:00:00"),
    "a_timetz": st.sampled_from(["03:04:05.6+02", "03:04:05-05:30", "24:00:00+00"]),
    "an_interval": st.sampled_from(
        ["1 year 2 mons -3 days 04:05:06.7", "0", "-00:00:00.000001", "-1 year", "100 hours", "1 mon -1 day"]
    ),
    "a_bytea": st.binary(max_size=8).map(lambda data: "\\x" + data.hex()),
    "a_uuid": st.uuids().map(str),
    "a_json": documents,
    "a_jsonb": documents.filter(lambda text: "\\u0000" not in text),
    "an_int_list": st.sampled_from(["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}"]),
    "a_mood": st.sampled_from(["calm", 'very "wild"', "NULL"]),
    "a_range": st.sampled_from(["[1,5)", "empty", "(,7]", "(,)"]),
    "a_numrange": st.sampled_from(["[1.50,0x)".replace("0x", "2"), "(0.00000001,)", "empty", "(-5,5]"]),
    "a_tsrange": st.sampled_from(
        ['["2026-01-02 03:04:05.5+01","2027-01-01 00:00:00+00")', "(,infinity)", "empty"]
    ),
    "a_multirange": st.sampled_from(["{}", "{[1,2),(3.5,4]}", "{(,1),[5,)}"]),
    "an_inet": st.sampled_from(["10.1.2.3", "10.0.0.0/8", "::1", "::ffff:1.2.3.4", "2001:db8::/32"]),
    "a_positive": st.decimals(1, 9_999, places=3).map(str),
    "a_pair": st.sampled_from(['(1,"a ""b"" c")', "(,)"]),
    "a_cash": st.sampled_from(["12.50", "-3", "1234567.89"]),
    "a_bits": st.sampled_from(["0000", "1010"]),
    "moods": st.sampled_from(["{calm,NULL}", "{}"]),
    "positives": st.sampled_from(["{1.5,NULL}"]),
    "an_oid": st.sampled_from(["0", "4294967295"]),
    "a_point": st.sampled_from(["(1,2.5)", "(-0,1e300)"]),
}
listed = st.lists(st.none() | texts, max_size=4)
rows = st.lists(
    st.fixed_dictionaries(
        {
            **{name: st.none() | strategy for name, strategy in VALUES.items()},
            "a_text_list": st.none() | listed,
        }
    ),
    min_size=1,
    max_size=12,
)


async def make(shop: Shop) -> None:
    await shop.run(
        "DROP TABLE IF EXISTS t; DROP TYPE IF EXISTS mood, pair CASCADE; DROP DOMAIN IF EXISTS positive CASCADE"
    )
    await shop.run(MADE.format(columns=", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())))


async def insert(shop: Shop, wanted: list[dict[str, Any]]) -> None:
    names = list(COLUMNS)
    casts = ", ".join(
        f"${at}::text[]" if name == "a_text_list" else f"${at}::text::{COLUMNS[name]}"
        for at, name in enumerate(names, 2)
    )
    await shop.admin.executemany(
        f"INSERT INTO t (id, {', '.join(names)}) VALUES ($1, {casts})",
        [(at, *(row[name] for name in names)) for at, row in enumerate(wanted)],
    )


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=rows)
async def test_a_snapshot_and_the_feed_give_the_same_text(shop: Shop, wanted: list[dict[str, Any]]) -> None:
    await make(shop)
    driver = shop.driver()
    options = replace(CDC, on_lost="resnapshot")
    [*_, last] = await read(driver, "t", None, options)
    await insert(shop, wanted)
    changes = await read(driver, "t", last.position, options)
    snapshot = await read(driver, "t", None, ReadOptions())
    fed = [record for page in changes for record in page.records]
    held = [record for page in snapshot for record in page.records]
    assert [record.raw for record in fed] == [record.raw for record in held]
    assert len(held) == len(wanted) and not any(page.bad for page in [*changes, *snapshot])
    for record in held:
        assert dumps(record.value) == record.raw and set(loads(record.raw)) == set(record.value)
    await driver.release("sales", "t")
    for form in ("pgcopy", "tuples"):
        blocks = await read(driver, "t", None, ReadOptions(forms=frozenset({form})))
        assert all(isinstance(page.records, Block) and page.records.form == form for page in blocks)
        assert [record.raw for page in blocks for record in page.records] == [record.raw for record in held]


async def test_forms_of_values(shop: Shop) -> None:
    await make(shop)
    await shop.run("""INSERT INTO t (id, a_numeric, a_float8, a_stamptz, a_stamp, a_bytea, a_jsonb, a_json, a_text_list,
        an_interval, a_pair, a_cash, a_positive, a_tsrange, a_float4) VALUES (1, 'NaN', 'Infinity',
        '2026-01-02 03:04:05.678+02', '2026-01-02 03:04:05', '\\x00ff',
        '{"big": 123456789012345678901234567890.10, "n": null}', ' [1, 2 ] ', '{a,NULL,"b c"}', '1 day 2 hours',
        '(1,x)', 5, 1.5, '[2026-01-02 00:00:00+00,)', 0.1)""")
    [value] = values(await read(shop.driver(), "t", None, ReadOptions()))
    assert {name: item for name, item in value.items() if item is not None} == {
        "id": 1,
        "a_numeric": "NaN",
        "a_float8": "Infinity",
        "a_float4": 0.1,
        "a_stamptz": "2026-01-02T01:04:05.678000+00:00",
        "a_stamp": "2026-01-02T03:04:05",
        "a_bytea": "AP8=",
        "a_jsonb": {"big": loads("123456789012345678901234567890.10"), "n": None},
        "a_json": [1, 2],
        "a_text_list": ["a", None, "b c"],
        "an_interval": "P1DT2H",
        "a_pair": "(1,x)",
        "a_cash": "$5.00",
        "a_positive": loads("1.500"),
        "a_tsrange": "[2026-01-02T00:00:00+00:00,)",
    }


async def test_a_value_that_has_no_json_is_kept_beside_the_others(shop: Shop) -> None:
    await shop.run(
        """CREATE TABLE t (id int PRIMARY KEY, d json); INSERT INTO t VALUES (1, '{"a":1,"a":2}'), (2, '{}')"""
    )
    driver = shop.driver()
    [first, *_, last] = await read(driver, "t", None, CDC)
    assert [record.value["id"] for record in first.records] == [2]
    [bad] = first.bad
    assert loads(bad.raw) == {"id": "1", "d": '{"a":1,"a":2}'} and "twice" in bad.reason
    await shop.run("""INSERT INTO t VALUES (3, '{"b":1,"b":2}'), (4, '[]')""")
    pages = await read(driver, "t", last.position, CDC)
    assert [value["id"] for value in values(pages)] == [4] and len(pages[0].bad) == 1


# --- the messages of pgoutput ----------------------------------------------------------------------------

numbers = st.integers(0, 2**64 - 1)
oids = st.integers(0, 2**32 - 1)
tuples = st.lists(st.none() | st.just(UNCHANGED) | st.binary(max_size=20), max_size=6)
names = st.text(characters, min_size=1, max_size=8)


def tuple_bytes(row: list[Any]) -> bytes:
    parts = [struct.pack(">h", len(row))]
    for value in row:
        if isinstance(value, bytes):
            parts.append(b"t" + struct.pack(">i", len(value)) + value)
        else:
            parts.append(b"n" if value is None else b"u")
    return b"".join(parts)


def message_bytes(message: Any) -> bytes:
    match message:
        case Begin(lsn, when):
            return b"B" + struct.pack(">QqI", lsn, (when - 946_684_800_000) * 1000, 7)
        case Commit(lsn, end, when):
            return b"C" + struct.pack(">BQQq", 0, lsn, end, (when - 946_684_800_000) * 1000)
        case Insert(relation, new):
            return b"I" + struct.pack(">I", relation) + b"N" + tuple_bytes(new)
        case Update(relation, old, whole, new):
            before = b"" if old is None else (b"O" if whole else b"K") + tuple_bytes(old)
            return b"U" + struct.pack(">I", relation) + before + b"N" + tuple_bytes(new)
        case Delete(relation, old, whole):
            return b"D" + struct.pack(">I", relation) + (b"O" if whole else b"K") + tuple_bytes(old)
        case Truncate(relations):
            return b"T" + struct.pack(f">iB{len(relations)}I", len(relations), 0, *relations)
        case RelationMessage(oid, schema, name, identity, columns):
            parts = [
                struct.pack(">I", oid),
                f"{schema}\0{name}\0{identity}".encode(),
                struct.pack(">h", len(columns)),
            ]
            parts += [
                bytes([column.key]) + f"{column.name}\0".encode() + struct.pack(">Ii", column.type, -1)
                for column in columns
            ]
            return b"R" + b"".join(parts)
    raise AssertionError(message)


messages = st.one_of(
    st.builds(Begin, numbers, st.integers(0, 2**42)),
    st.builds(Commit, numbers, numbers, st.integers(0, 2**42)),
    st.builds(Insert, oids, tuples),
    st.builds(Update, oids, st.none(), st.just(False), tuples),
    st.builds(Update, oids, tuples, st.booleans(), tuples),
    st.builds(Delete, oids, tuples, st.booleans()),
    st.builds(Truncate, st.lists(oids, max_size=4).map(tuple)),
    st.builds(
        RelationMessage,
        oids,
        names,
        names,
        st.sampled_from("dfin"),
        st.lists(st.builds(RelationColumn, names, oids, st.booleans()), max_size=4).map(tuple),
    ),
)


@settings(max_examples=100, deadline=None)
@given(messages)
def test_messages_are_decoded_as_they_were_sent(message: Any) -> None:
    assert pgoutput.decode(message_bytes(message)) == message


@settings(max_examples=100, deadline=None)
@given(messages, st.integers(0, 60), st.binary(max_size=3))
def test_damaged_messages_are_refused_and_nothing_else_happens(message: Any, cut: int, more: bytes) -> None:
    data = message_bytes(message)
    for damaged in (data[:cut], data[:cut] + more + data[cut + len(more) :]):
        try:
            pgoutput.decode(damaged)
        except SystemicError as error:
            assert error.code == "pgoutput"


@given(numbers)
def test_places_in_the_log(lsn: int) -> None:
    assert lsn_number(lsn_text(lsn)) == lsn


def test_messages_that_say_nothing_of_rows_are_passed_over() -> None:
    assert [pgoutput.decode(data) for data in (b"Otext", b"Ytext", b"Mtext")] == [None, None, None]
    with pytest.raises(SystemicError):
        pgoutput.decode(b"")
    when = datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000
    assert pgoutput.decode(message_bytes(Begin(1, int(when)))) == Begin(1, int(when))

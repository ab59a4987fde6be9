"""A table of PostgreSQL with a column of every type, and values for it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from drivers.warehouse import Postgres
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Field, ReadOptions, Record, Row

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def _floats(width: int) -> st.SearchStrategy[str]:
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    return st.one_of(finite.map(repr), st.sampled_from(["NaN", "Infinity", "-Infinity", "-0.0"]))


def _moment(zone: str) -> st.SearchStrategy[str]:
    written = st.builds(
        lambda year, second, us, era: f"{year:04d}-03-15 12:30:{second:02d}.{us:06d}{zone}{era}",
        st.integers(1, 4_000),
        st.integers(0, 59),
        st.integers(0, 999_999),
        st.sampled_from(["", " BC"]),
    )
    edges = ["infinity", "-infinity", f"9999-12-31 23:59:59.999999{zone}", f"150000-01-01 00:00:00{zone}"]
    return st.one_of(written, st.sampled_from(edges))


_NUMERIC = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:f}"),
    st.integers(-(10**60), 10**60).map(str),
    st.sampled_from(["NaN", "Infinity", "0.00", "1.50", "-0.0000000001", "9" * 400 + ".5"]),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value is not None).map(lambda value: json.dumps(value, ensure_ascii=False))  # fmt: skip
_INTERVAL = st.builds(
    lambda months, days, us: f"{months} months {days} days {us} microseconds",
    st.integers(-5000, 5000),
    st.integers(-5000, 5000),
    st.integers(-(10**14), 10**14),
)
_BITS = st.text("01", min_size=1, max_size=20)


def _array(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def written(parts: list[str | None]) -> str:
        quoted = (
            "NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
            for item in parts
        )
        return "{" + ",".join(quoted) + "}"

    one = st.lists(st.none() | items, max_size=4).map(written)
    two = st.lists(items, min_size=2, max_size=2).map(
        lambda parts: "{" + written([*parts]) + "," + written([*parts]) + "}"
    )
    return st.one_of(one, two)


VALUES: dict[str, st.SearchStrategy[str]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1).map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "numeric": _NUMERIC,
    "numeric(12,3)": st.integers(-(10**11), 10**11).map(lambda number: f"{Decimal(number).scaleb(-3):f}"),
    "real": _floats(32),
    "double precision": _floats(64),
    "boolean": st.sampled_from(["true", "false"]),
    "text": _TEXT,
    "character varying(12)": _TEXT,
    "character(14)": _TEXT,
    "name": _TEXT,
    "bytea": st.binary(max_size=12).map(lambda data: f"\\x{data.hex()}"),
    "uuid": st.uuids().map(str),
    "date": st.one_of(st.dates().map(str), st.sampled_from(["infinity", "0044-03-15 BC", "99999-01-01"])),
    "time without time zone": st.one_of(st.times().map(str), st.just("24:00:00")),
    "time with time zone": st.sampled_from(["12:00:00.5+02", "23:59:59.999999-05:30", "00:00:00+01:02:03"]),
    "timestamp without time zone": _moment(""),
    "timestamp with time zone": _moment("+00"),
    "interval": _INTERVAL,
    "json": _JSON,
    "jsonb": st.one_of(_JSON.filter(lambda text: "\\u0000" not in text), st.just('{"a": 1.50}')),
    "inet": st.one_of(
        st.ip_addresses().map(str), st.sampled_from(["10.1.2.3/8", "::ffff:1.2.3.4", "2001:db8::/33"])
    ),
    "cidr": st.sampled_from(["10.0.0.0/8", "1.2.3.4/32", "2001:db8::/32"]),
    "macaddr": st.just("08:00:2b:01:02:03"),
    "bit varying": _BITS,
    "bit(3)": st.text("01", min_size=3, max_size=3),
    "int8range": st.sampled_from(["[1,5)", "empty", "(,3)", "[7,)"]),
    "numrange": st.sampled_from(["[1.50,2.25]", "(,)"]),
    "tstzrange": st.sampled_from(
        ['["2026-01-01 00:00:00.5+00",)', '("0044-03-15 00:00:00+00 BC","2026-01-01 00:00:00+00"]']
    ),
    "datemultirange": st.sampled_from(["{[2026-01-01,2026-01-05),[2026-02-01,)}", "{}"]),
    "integer[]": _array(st.integers(-(2**31), 2**31 - 1).map(str)),
    "text[]": _array(_TEXT),
    "numeric[]": _array(_NUMERIC),
    "boolean[]": _array(st.sampled_from(["t", "f"])),
    "bytea[]": _array(st.binary(max_size=4).map(lambda data: f"\\x{data.hex()}")),
    "timestamp with time zone[]": _array(_moment("+00")),
    "uuid[]": _array(st.uuids().map(str)),
    "jsonb[]": st.sampled_from(['{"{\\"a\\": [1]}","[1, 2]",NULL}', "{}"]),
    "mood": st.sampled_from(["sad", "happy"]),
    "mood[]": st.sampled_from(["{sad,NULL,happy}", "{}"]),
}
KINDS = list(VALUES)
NAMES = [f"c{at}" for at in range(len(KINDS))]
ROWS = st.lists(st.tuples(*(st.none() | VALUES[kind] for kind in KINDS)), min_size=1, max_size=4)
QUICK = settings(
    max_examples=6,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # a difference names its column; making the rows smaller takes minutes
    suppress_health_check=list(HealthCheck),
)


async def make_source(postgres: Postgres) -> None:
    """The table `everything`, unless it is there."""
    if await postgres.rows(
        "SELECT 1 FROM pg_class WHERE relname = 'everything' AND relnamespace = 'work'::regnamespace"
    ):
        return
    listed = ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, KINDS, strict=True))
    await postgres.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'happy');"
        f" CREATE TABLE everything (id bigint PRIMARY KEY, {listed})"
    )


async def fill_source(postgres: Postgres, rows: list[tuple[str | None, ...]]) -> None:
    casts = ", ".join(f"${at + 2}::text::{kind}" for at, kind in enumerate(KINDS))
    await postgres.execute("TRUNCATE everything")
    await postgres.admin.executemany(
        f"INSERT INTO everything VALUES ($1::bigint, {casts})",
        [(at, *values) for at, values in enumerate(rows)],
    )


async def source_fields(postgres: Postgres) -> tuple[Field, ...]:
    streams = {item.name: item for item in await postgres.driver.discover()}
    return tuple(streams["everything"].fields)


async def read_all(postgres: Postgres, *forms: str) -> list[Any]:
    options = ReadOptions(sync="test", mode="snapshot", forms=frozenset(forms))
    return [page async for page in postgres.driver.read("everything", None, options)]


def rows_of(records: list[Record]) -> list[Row]:
    return [Row(canonical_key([value["id"]]), raw, value, None, "") for raw, value, _ in records]


async def differences(postgres: Postgres, target: str) -> list[str]:
    """Columns of the target that are not those of the source in every row."""
    found = []
    for name, kind in zip(NAMES, KINDS, strict=True):
        # Numbers in documents may be written otherwise, and documents in other layouts.
        cast = "::jsonb" if kind in ("json", "jsonb", "jsonb[]", "mood[]") else "::text"
        same = f"s.{name}{cast} IS NOT DISTINCT FROM t.{name}{cast}"
        if kind == "jsonb[]":
            same = f"s.{name} IS NOT DISTINCT FROM t.{name}"
        if kind == "mood[]":
            same = f"to_jsonb(s.{name}) IS NOT DISTINCT FROM t.{name}"
        there, here = f"s.{name}::text", f"t.{name}::text"
        wrong = f"SELECT {there}, {here} FROM everything s LEFT JOIN {target} t USING (id) WHERE NOT ({same})"
        found += [f"{kind}: {left} became {right}" for left, right in await postgres.rows(wrong)]
    counts = f"SELECT (SELECT count(*) FROM everything) - (SELECT count(*) FROM {target})"
    return found + [f"rows {number}" for (number,) in await postgres.rows(counts) if number]

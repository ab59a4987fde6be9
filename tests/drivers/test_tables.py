from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Field
from platint_tui.core.text import clean
from platint_tui.drivers.tables import (
    MOST_COLUMNS,
    OWN_COLUMNS,
    check_table_name,
    column_name,
    plan_columns,
    quoted,
    version_of,
)

text = st.text(st.characters(), max_size=90)


@given(st.lists(text, unique=True, max_size=30), st.booleans())
def test_every_key_gets_a_name_of_its_own(keys: list[str], fold: bool) -> None:
    columns, added = plan_columns([Field("id", "string")], keys, {}, (), fold=fold)
    names = [column.name for column in columns]
    assert [column.key for column in columns] == list(dict.fromkeys(["id", *keys])) and added == columns
    seen = {name.lower() if fold and name.isascii() else name for name in [*names, *OWN_COLUMNS]}
    assert len(seen) == len(names) + len(OWN_COLUMNS)
    assert all(name.isprintable() and 0 < len(name.encode()) <= 63 for name in names)


@given(text, st.lists(text, max_size=5), st.booleans())
def test_the_name_of_a_key_depends_on_nothing_else(key: str, taken: list[str], fold: bool) -> None:
    assert column_name(key, taken, fold=fold) == column_name(key, list(reversed(taken)), fold=fold)
    assert column_name(key, taken, fold=fold) not in taken


def test_known_keys_keep_their_columns_and_the_number_of_columns_ends() -> None:
    known = {"a": "a_1", "b": "b"}
    columns, added = plan_columns([], [f"k{n}" for n in range(2_000)], known, ["a_1", "b"], fold=True)
    assert {column.key: column.name for column in columns}["a"] == "a_1"
    assert len(columns) + len(OWN_COLUMNS) == MOST_COLUMNS and len(added) == len(columns) - 2


@given(text)
def test_a_table_name_is_usable_or_refused_in_one_line(name: str) -> None:
    try:
        check_table_name(name)
    except ConfigError as error:
        assert clean(error.sentence()) == error.sentence()
    else:
        assert name.isprintable() and 0 < len(name.encode()) <= 63
    assert quoted(name).count('"') % 2 == 0


moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))


@given(moments, moments, st.integers(-12, 12))
def test_versions_of_times_order_as_the_times_do(first: datetime, second: datetime, hours: int) -> None:
    from datetime import timezone

    zone = timezone(timedelta(hours=hours))
    a = first.replace(tzinfo=UTC).astimezone(zone).isoformat()
    b = second.isoformat() + "Z"
    left, right = version_of(a), version_of(b)
    assert isinstance(left, int) and isinstance(right, int)
    assert (left < right) == (first < second) and (left == right) == (first == second)


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (None, None),
        (True, None),
        ([1], None),
        (5, 5),
        (2**63, float(2**63)),
        (1.5, 1.5),
        (Decimal("1.25"), 1.25),
        ("abc", "abc"),
        ("2026-01-01", "2026-01-01"),
        ("2026-13-01T00:00:00Z", "2026-13-01T00:00:00Z"),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01 00:00:01", 1_000_000),
        ("Thu, 01 Jan 1970 00:00:01 +0000", 1_000_000),
        ("Thu, 01 Jan 1970 01:00:01 +0100", 1_000_000),
        ("Thu, 41 Jan 1970 00:00:01 +0000", "Thu, 41 Jan 1970 00:00:01 +0000"),
    ],
)
def test_versions(value: object, version: object) -> None:
    assert version_of(value) == version

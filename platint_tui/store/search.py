# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Which dead letters a filter means, as SQL, and the index of words behind it."""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from platint_tui.core.jsontext import canonical_key
from platint_tui.core.states import DeadLetterState
from platint_tui.store.codec import contains, marks
from platint_tui.store.ports import DeadLetterFilter

_WORD = re.compile(r"\w+")
_COLUMNS = (
    "fingerprint",
    "platform",
    "profile",
    "integration",
    "stream",
    "run",
    "code",
    "bin",
    "direction",
    "field",
    "error_class",
)
_FEW = ("fingerprint", "run")
_LOOKED_AT = 5_000
"""Dead letters found by their words of which the other columns are read one by one."""
_RECENT = 20_000
"""Dead letters since a moment that are few enough to be read one by one."""
_INTEGER = re.compile(r"-?\d{1,18}")
_LAST = "\U0010ffff"
# As the migration that filled the index wrote it: words are found to be removed only by the same text.
_WORDS = (
    "d.record_key || ' ' || d.code || ' ' || d.message || ' ' || CAST(substr(b.payload, 1, 65536) AS TEXT)"
)
_FROM = "FROM dead_letters AS d JOIN dead_letter_bodies AS b ON b.number = d.number WHERE d.number"


def add_words(connection: sqlite3.Connection, number: int) -> None:
    """Make a new dead letter findable by its words."""
    connection.execute(
        f"INSERT INTO dead_letter_words (rowid, words) SELECT d.number, {_WORDS} {_FROM} = ?", (number,)
    )


def remove_words(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Take dead letters out of the index of words; before they are removed themselves."""
    connection.execute(
        "INSERT INTO dead_letter_words (dead_letter_words, rowid, words)"
        f" SELECT 'delete', d.number, {_WORDS} {_FROM} IN ({marks(numbers)})",
        list(numbers),
    )


def matching(connection: sqlite3.Connection, where: DeadLetterFilter) -> list[int]:
    """The numbers of all dead letters that match, ascending."""
    query = _query(where.text)
    if query is None:
        return _numbers(connection, "dead_letters", *led_condition(connection, where))
    found = _numbers(connection, "dead_letter_words", "dead_letter_words MATCH ?", [query])
    rest = replace(where, text="")
    if not found or rest == DeadLetterFilter():
        return found
    if len(found) <= _LOOKED_AT:
        only, values = condition(rest, indexed=False)
        listed = f"number IN (SELECT value FROM json_each(?)) AND {only}"
        return _numbers(connection, "dead_letters", listed, [json.dumps(found), *values])
    # Reading so many rows costs more than to have the numbers of both from their indices.
    others = _numbers(connection, "dead_letters", *led_condition(connection, rest))
    return sorted(set(found).intersection(others))


def _numbers(connection: sqlite3.Connection, table: str, condition: str, values: Sequence[Any]) -> list[int]:
    """The row ids (which are the numbers) that a condition gives, ascending."""
    # As one text: a million rows one by one take half as long again.
    text = connection.execute(
        f"SELECT json_group_array(number) FROM (SELECT rowid AS number FROM {table} WHERE {condition})",
        values,
    ).fetchone()[0]
    found: list[int] = json.loads(text)
    found.sort()
    return found


def led_condition(connection: sqlite3.Connection, where: DeadLetterFilter) -> tuple[str, list[Any]]:
    """`condition`, led by the time where little has failed since then."""
    if where.since_ms is None:
        return condition(where)
    recent = connection.execute(
        "SELECT COUNT(*) FROM (SELECT 1 FROM dead_letters WHERE last_seen_ms >= ? LIMIT ?)",
        (where.since_ms, _RECENT + 1),
    ).fetchone()[0]
    return condition(where, by_time=recent <= _RECENT)


def condition(
    where: DeadLetterFilter, *, indexed: bool = True, by_time: bool = False
) -> tuple[str, list[Any]]:
    """The condition on `dead_letters` and its values; not `indexed` for rows that are found by their numbers,
    `by_time` when `since_ms` narrows most."""
    conditions, values = [], list[Any]()
    narrow = [part for part in (_key(where.key), _text(where.text)) if part is not None]
    # What narrows most leads; a plus keeps SQLite from walking the index of another column instead.
    plain = "+" if narrow or not indexed else ""
    few = plain or ("+" if by_time else "")
    many = few or ("+" if where.fingerprint or where.run else "")
    # The leading column of the index that serves platform, integration and stream is the state.
    scoped = (where.platform or where.integration) and not many
    states = where.states or (tuple(DeadLetterState) if scoped else ())
    if states:
        conditions.append(f"{few}state IN ({marks(states)})")
        values += states
    for column in _COLUMNS:
        value = getattr(where, column)
        if value:
            conditions.append(f"{few if column in _FEW else many}{column} = ?")
            if column == "direction" and value != "record":
                conditions.append("direction <> 'record'")  # so that the index of the others serves
            values.append(value)
    if where.since_ms is not None:
        conditions.append(f"{'' if by_time and not plain else '+'}last_seen_ms >= ?")
        values.append(where.since_ms)
    if where.until_ms is not None:
        conditions.append("first_seen_ms <= ?")
        values.append(where.until_ms)
    for part in narrow:
        conditions.append(part[0] if indexed else f"+{part[0]}")
        values += part[1]
    return " AND ".join(conditions) or "1 = 1", values


def _key(key: str) -> tuple[str, list[Any]] | None:
    """A record by its key: as it is kept (`["a",1]`), one value, or the beginning of one (`cus_*`)."""
    if not key:
        return None
    if key.startswith("["):
        return "record_key = ?", [key]
    if key.endswith("*"):
        start = canonical_key([key[:-1]])[:-2]
        # Between the quotation mark and the highest character: the index of keys gives the range.
        return "record_key >= ? AND record_key < ?", [start, start + _LAST]
    known = [canonical_key([key])]
    if _INTEGER.fullmatch(key):
        known.append(canonical_key([int(key)]))
    return f"record_key IN ({marks(known)})", known


def _text(text: str) -> tuple[str, list[Any]] | None:
    """All the words of `text`, each as the beginning of a word of key, code, message or payload."""
    if not text.strip():
        return None
    query = _query(text)
    if query is not None:
        return "number IN (SELECT rowid FROM dead_letter_words WHERE dead_letter_words MATCH ?)", [query]
    # Signs alone are not in the index of words.
    columns = ("record_key", "message", "code")
    either = " OR ".join(f"{name} LIKE ? ESCAPE '\\'" for name in columns)
    return f"({either})", [contains(text)] * len(columns)


def _query(text: str) -> str | None:
    """What the index of words is asked for, None when there is no word in the text."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text.replace("\x00", " ")))
    return " AND ".join(f'"{word}"*' for word in words) or None

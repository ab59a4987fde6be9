"""CSV as RFC 4180 has it: the first line names the columns, a quoted value may hold delimiters, doubled quotes
and line breaks. An empty value without quotes is null, with quotes it is an empty text.
"""

from __future__ import annotations

import re
from functools import lru_cache

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Record

_END = re.compile(r"\r\n|\n|\r")


@lru_cache(maxsize=16)
def _value(delimiter: str) -> re.Pattern[str]:
    # Possessive: what cannot match is not tried again in other ways.
    return re.compile(r'"([^"]*+(?:""[^"]*+)*+)"|([^' + re.escape(delimiter) + r"\r\n]*+)")


def split_csv(text: str, delimiter: str, where: str = "") -> list[Record | BadElement]:
    """The lines of a CSV as objects of texts, an empty text without a line.

    A line with another number of values than the first, or with text behind a closing quote, is a BadElement
    with its text. Blank lines are left out. Raises SystemicError (code `csv`) when a name stands in the header
    twice or a quote is never closed.
    """
    rows = _Rows(text.removeprefix("\ufeff"), delimiter, where)
    header = rows.next()
    if header is None:
        return []
    names = [name or "" for name in header]
    if rows.fault or len(set(names)) < len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        reason = rows.fault or f"the header has {dumps(doubled[0])} twice"
        raise SystemicError(f"This is not a valid CSV: {reason}.", where=where, code="csv")
    elements: list[Record | BadElement] = []
    while (row := rows.next()) is not None:
        if rows.fault:
            elements.append(BadElement(rows.raw, rows.fault))
        elif len(row) != len(names):
            elements.append(
                BadElement(rows.raw, f"{len(row)} values where the header has {len(names)} names")
            )
        else:
            value = dict(zip(names, row, strict=True))
            elements.append(Record(dumps(value), value))
    return elements


class _Rows:
    """Reads line after line; `raw` is the text of the last one, `fault` why it is no good ('' when it is)."""

    def __init__(self, text: str, delimiter: str, where: str) -> None:
        self._text = text
        self._delimiter = delimiter
        self._where = where
        self._at = 0
        self.raw = ""
        self.fault = ""

    def next(self) -> list[str | None] | None:
        """The values of the next line that is not blank; None at the end."""
        while self._at < len(self._text):
            start = self._at
            values = self._row()
            self.raw = self._text[start : self._at].rstrip("\r\n")
            if self.raw or self.fault:
                return values
        return None

    def _row(self) -> list[str | None]:
        text, pattern = self._text, _value(self._delimiter)
        values: list[str | None] = []
        at = self._at
        self.fault = ""
        while True:
            match = pattern.match(text, at)
            assert match is not None
            quoted, plain = match.groups()
            at = match.end()
            if quoted is not None:
                values.append(quoted.replace('""', '"') if '"' in quoted else quoted)
            elif plain.startswith('"'):
                raise SystemicError(
                    f"This is not a valid CSV: the quote at character {match.start() + 1} is never closed.",
                    where=self._where,
                    code="csv",
                )
            else:
                values.append(plain or None)
            if text.startswith(self._delimiter, at):
                at += 1
                continue
            end = _END.match(text, at)
            if end is None and at < len(text):
                # The line goes on to its end, whatever it holds.
                self.fault = "there is text behind a closing quote"
                end = _END.search(text, at)
            self._at = len(text) if end is None else end.end()
            return values

"""Values of cursors: how a platform writes how new a record is, compared, moved, and put as it wants them.

Types: `iso8601`, `date` (YYYY-MM-DD, a day of UTC), `rfc2822`, `epoch_s`, `epoch_ms`, and without time `int`
and `string`. A value keeps its form (text or number) when it is moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, TypeAlias

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json

TIMES = frozenset({"iso8601", "date", "rfc2822", "epoch_s", "epoch_ms"})
DAY = 86_400

Comparable: TypeAlias = Any
_NUMBERS = (int, float, Decimal)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _iso(value: Json) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _date(value: Json) -> datetime:
    return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)


def _rfc2822(value: Json) -> datetime:
    if not isinstance(value, str):
        raise TypeError("no text")
    moment = parsedate_to_datetime(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _number(value: Json) -> int | float | Decimal:
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip():
        return Decimal(value.strip())
    raise TypeError("no number")


def _string(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("no text")


COMPARE: dict[str, Callable[[Json], Comparable]] = {
    "iso8601": _iso,
    "date": _date,
    "rfc2822": _rfc2822,
    "epoch_s": _number,
    "epoch_ms": _number,
    "int": _number,
    "string": _string,
}
"""From a value to what sorts. Raises ValueError, TypeError or ArithmeticError for another type."""


@dataclass(frozen=True, slots=True)
class CursorRule:
    """How a stream's cursor is read: `path` in the record, its type and order, `lag` in seconds.

    A scan starts `lag` before the greatest value seen, for records that show up late. `server_side`: the
    platform filters; otherwise older records are dropped here. `format` is how the platform wants values (None:
    as it writes them), `window` the seconds that it takes at a time (None: any span).
    """

    path: tuple[str, ...]
    type: str
    order: str = "none"
    lag: float = 0.0
    missing: str = "raise"
    server_side: bool = True
    format: str | None = None
    window: float | None = None

    def comparable(self, value: Json) -> Comparable:
        """`value` in a form that sorts. Raises ValueError, TypeError or ArithmeticError for another type."""
        return COMPARE[self.type](value)

    def lowered(self, value: Json, seconds: float) -> Json:
        """`value` moved back by `seconds` (at least: days and whole numbers are rounded down), in the
        platform's form; types without time stay as they are.
        """
        return self._moved(value, -seconds) if seconds else value

    def raised(self, value: Json, seconds: float) -> Json:
        """`value` moved on by `seconds` (at most, but by one step of its form at least)."""
        moved = self._moved(value, seconds)
        if self.type in TIMES and not self.comparable(moved) > self.comparable(value):
            return self._moved(value, {"date": DAY, "epoch_ms": 0.001}.get(self.type, 1))
        return moved

    def at(self, now_ms: int, seconds: float) -> Json:
        """The platform's form of the moment `seconds` after (before: negative) `now_ms`; of a day, its
        beginning.
        """
        if self.type == "epoch_ms":
            return now_ms + math.floor(seconds * 1000)
        if self.type == "epoch_s":
            return now_ms // 1000 + math.floor(seconds)
        return self._text(datetime.fromtimestamp(now_ms // 1000, UTC) + timedelta(seconds=seconds), "Z")

    def after(self, now_ms: int) -> Json:
        """A bound that nothing made until `now_ms` is beyond, also when it is excluded or rounded down."""
        return self.at(now_ms, granularity(self.format or self.type))

    def sent(self, value: Json) -> Json:
        """`value` as the platform wants it (`format`), rounded down. Raises ConfigError when it is no time."""
        if self.format is None or value is None or self.format == self.type:
            return value
        moment = self._moment(value)
        if self.format == "epoch_s":
            return math.floor((moment - _EPOCH).total_seconds())
        if self.format == "epoch_ms":
            return (moment - _EPOCH) // timedelta(milliseconds=1)
        if self.format == "iso8601":
            exact = "milliseconds" if moment.microsecond else "seconds"
            return moment.isoformat(timespec=exact).replace("+00:00", "Z")
        if self.format == "date":
            return moment.date().isoformat()
        if self.format == "rfc2822":
            return format_datetime(moment, usegmt=True)
        return moment.strftime(self.format)

    def _moment(self, value: Json) -> datetime:
        try:
            if self.type in ("epoch_s", "epoch_ms"):
                number = Decimal(str(_number(value))) / (1000 if self.type == "epoch_ms" else 1)
                return _EPOCH + timedelta(microseconds=int(number * 1_000_000 // 1))
            if self.type in TIMES:
                moment: datetime = COMPARE[self.type](value)
                return moment.astimezone(UTC)
        except (ValueError, TypeError, ArithmeticError):
            pass
        raise ConfigError(f"The cursor of type {self.type} has no time for the format '{self.format}'.")

    def _moved(self, value: Json, seconds: float) -> Json:
        if self.type in ("epoch_s", "epoch_ms"):
            shift = math.floor(seconds * (1000 if self.type == "epoch_ms" else 1))
            moved = math.floor(_number(value)) + shift
            return str(moved) if isinstance(value, str) else moved
        if self.type in TIMES:
            moment: datetime = COMPARE[self.type](value)
            return self._text(moment + timedelta(seconds=seconds), "Z" if str(value).endswith("Z") else "")
        return value

    def _text(self, moment: datetime, zone: str) -> str:
        if self.type == "date":
            return moment.date().isoformat()
        if self.type == "rfc2822":
            return format_datetime(moment)
        text = moment.isoformat()
        return text.replace("+00:00", "Z") if zone == "Z" else text


def granularity(form: str) -> int:
    """Seconds that a value in this form is exact to: of one of the types, or of a pattern of strftime."""
    if form == "date":
        return DAY
    if form in COMPARE:
        return 1
    for seconds, marks in ((1, "sSTcX"), (60, "MR"), (3600, "HI")):
        if any(f"%{mark}" in form for mark in marks):
            return seconds
    return DAY

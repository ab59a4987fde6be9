"""How long a platform asks to wait, in every form that platforms say it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from platint_tui.core.backoff import parse_retry_after
from platint_tui.core.model import Json
from platint_tui.manifest import schema

_CLOCK = re.compile(r"(?:(\d{1,4})[.:])?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_LONGEST = 1e9


def seconds_to_wait(value: Json, form: schema.WaitFormat, now_ms: int) -> float | None:
    """Seconds from now that `value` (of a header or a body) stands for; a moment that has passed is 0. None
    when it says nothing usable: it is no text and no number, negative, or not of this form."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    text = str(value).strip()
    if form == "retry_after":
        return parse_retry_after(text, now_ms)
    if form == "clock":
        return _clock(text)
    if form == "iso8601":
        return _until(_moment(text), now_ms)
    number = _number(text)
    if number is None or number < 0:
        return None
    if form == "epoch_s":
        return _until(number, now_ms)
    if form == "epoch_ms":
        return _until(number / 1000, now_ms)
    seconds = number / 1000 if form == "milliseconds" else number
    return seconds if seconds < _LONGEST else None


def number_of(value: Json) -> float | None:
    """A JSON number, or a text that is one; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    return _number(str(value).strip())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _clock(text: str) -> float | None:
    """A span like 00:00:17, before it days if any (`1.02:00:00` or `1:02:00:00`)."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _until(moment: float | None, now_ms: int) -> float | None:
    if moment is None:
        return None
    seconds = moment - now_ms / 1000
    return max(0.0, seconds) if seconds < _LONGEST else None

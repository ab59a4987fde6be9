"""Durations, sizes and rates as manifests and commands write them: `30s`, `P7D`, `1MiB`, `100/1s`."""

from __future__ import annotations

import re

from platint_tui.core.errors import ConfigError

_SHORT = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_ISO = re.compile(r"(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_SIZES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `30s`, `1h30m`, `7d`, `P7D` or `-P1DT12H`. Raises ConfigError."""
    text = text.strip()
    sign = -1.0 if text.startswith("-") and "P" not in text else 1.0
    short = text.lstrip("-")
    if short and _SHORT.sub("", short) == "":
        return sign * sum(float(number) * _UNITS[unit] for number, unit in _SHORT.findall(short))
    match = _ISO.fullmatch(text)
    if match and any(match.groups()[1:]):
        weeks, days, hours, minutes, seconds = (int(group or 0) for group in match.groups()[1:])
        total = ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds
        return float(-total if match.group(1) else total)
    raise ConfigError(f"'{text}' is not a duration.", hint="Write it like 30s, 5m, 1h30m or P7D.")


def parse_size(text: str) -> int:
    """Bytes of `512B`, `16kB` or `1MiB`. Raises ConfigError."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text.strip())
    if match and (match.group(2).lower() or "b") in _SIZES:
        return int(match.group(1)) * _SIZES[match.group(2).lower() or "b"]
    raise ConfigError(f"'{text}' is not a size.", hint="Write it like 512kB or 1MiB.")


def parse_rate(text: str) -> tuple[int, float]:
    """(count, seconds) of `100/1s` or `500/10m`. Raises ConfigError."""
    count, slash, period = text.partition("/")
    if slash and count.strip().isdigit() and int(count) > 0:
        seconds = parse_duration(period)
        if seconds > 0:
            return int(count), seconds
    raise ConfigError(f"'{text}' is not a rate.", hint="Write it like 100/1s or 500/10m.")

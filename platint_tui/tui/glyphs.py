"""The signs of the console: a glyph for each state, with an ASCII set for terminals that have no others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GlyphSet:
    """One character each; `spark` are eight steps of height, `bar` a full and an empty cell, `cursor` marks a row."""

    dot: str
    ring: str
    half: str
    tick: str
    cross: str
    bang: str
    pause: str
    slash: str
    crumb: str
    rule: str
    separator: str
    up: str
    down: str
    ellipsis: str
    spark: str
    bar: str
    cursor: str


UNICODE = GlyphSet(
    dot="●",
    ring="○",
    half="◐",
    tick="✓",
    cross="✗",
    bang="!",
    pause="‖",
    slash="⊘",
    crumb="›",
    rule="─",
    separator="·",
    up="▲",
    down="▼",
    ellipsis="…",
    spark="▁▂▃▄▅▆▇█",
    bar="━╌",
    cursor="▌",
)
ASCII = GlyphSet(
    dot="*",
    ring="o",
    half="%",
    tick="+",
    cross="x",
    bang="!",
    pause="=",
    slash="-",
    crumb=">",
    rule="-",
    separator="-",
    up="^",
    down="v",
    ellipsis="~",
    spark=" .:-=+*#",
    bar="#.",
    cursor=">",
)


def choose(environ: Mapping[str, str], encoding: str | None = None) -> GlyphSet:
    """The set for this terminal: ASCII when `PLATINT_ASCII` is set, on a plain console, or without UTF-8."""
    if environ.get("PLATINT_ASCII", "") not in ("", "0"):
        return ASCII
    if environ.get("TERM", "") in ("linux", "dumb", "vt100", "vt220"):
        return ASCII
    encoding = encoding if encoding is not None else getattr(sys.__stdout__, "encoding", None) or "utf-8"
    return UNICODE if "utf" in encoding.lower() else ASCII


_CURRENT = UNICODE


def current() -> GlyphSet:
    """The set in use in this process."""
    return _CURRENT


def use(glyphs: GlyphSet) -> None:
    """Set the set in use; done once at the start of the console."""
    global _CURRENT
    _CURRENT = glyphs

"""The edge between data and a terminal: no control, escape or bidi character passes."""

from __future__ import annotations

import re

LONGEST_LINE = 500
_UNSAFE = re.compile(
    # C0, DEL and C1; marks that turn text around, join or hide it; half surrogate pairs; tags.
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
    # What has a width of its own and nothing to see: soft hyphens, fillers, joiners, selectors of variants.
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
_KEEP_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"⟨U+{code:04X}⟩"


def clean(text: str, *, lines: bool = False) -> str:
    """`text` with control, C1, bidi, invisible and surrogate characters as visible pictures.

    `lines=True` keeps tabs and newlines, for text that is shown over several lines.
    """
    return (_KEEP_LINES if lines else _UNSAFE).sub(_picture, text)


def one_line(value: object) -> str:
    """A text of a platform as one harmless line of at most LONGEST_LINE characters; '' for anything else."""
    return clean(" ".join(value.split()))[:LONGEST_LINE] if isinstance(value, str) else ""

"""What a command prints: data on stdout, narration on stderr, nothing that could drive the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean


def note(text: str) -> None:
    """One line of narration."""
    sys.stderr.write(clean(REDACTOR.redact(text), lines=True) + "\n")
    sys.stderr.flush()


def line(text: str = "") -> None:
    """One line of data for a person."""
    sys.stdout.write(clean(text, lines=True) + "\n")


def document(value: Any) -> None:
    """One JSON document for a program; control characters are escaped by JSON itself."""
    # ASCII only: C1 and bidi characters of a payload must not reach a terminal through --json.
    sys.stdout.write(REDACTOR.redact(json.dumps(value, ensure_ascii=True, indent=2, default=str)) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns; numbers to the right. Prints nothing but the head when there is no row."""
    texts = [[clean("" if cell is None else str(cell)) for cell in row] for row in rows]
    right = [bool(texts) and all(_numeric(row[at]) for row in texts) for at in range(len(head))]
    widths = [max([len(head[at]), *(len(row[at]) for row in texts)]) for at in range(len(head))]
    for row in [list(head), *texts]:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _numeric(text: str) -> bool:
    return (
        text.replace(",", "").replace(".", "").replace("%", "").replace("-", "").strip().isdigit()
        or text == ""
    )


def plural(count: int, noun: str) -> str:
    """`1 manifest`, `2,000 manifests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(milliseconds: int | None) -> str:
    """Local time of a UTC moment, '' for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def latency(milliseconds: float | None) -> str:
    """A latency in milliseconds, '' for None."""
    return "" if milliseconds is None else f"{milliseconds:,.1f}"

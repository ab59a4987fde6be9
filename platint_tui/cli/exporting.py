"""What the exports of commands share: to stdout or into a new file, and what is said about it."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from platint_tui.cli.output import note
from platint_tui.core.errors import ExitCode
from platint_tui.core.text import clean
from platint_tui.services.export import Exported, write_new


async def write(texts: AsyncIterator[str], told: Exported, output: Path | None, what: str) -> int:
    """Write the texts of an export and say what came of it; the exit code is 1 when something is damaged or
    nothing could be written. Raises ConfigError when the file cannot be written."""
    if output is not None:
        await write_new(output, texts)
    else:
        # What drives a terminal is shown there as a picture; a file or a program gets it as it is.
        screen = sys.stdout.isatty()
        if not screen and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass", newline="\n")
        async for text in texts:
            sys.stdout.write((clean(text, lines=True) if screen else text) + "\n")
    for why, count in told.left_out.items():
        note(f"{count:,} left out: {why}")
    if output is not None:
        noun = what if told.written == 1 else f"{what}s"
        note(f"{told.written:,} {noun} written to {output}.")
    damaged = any("disk changed" in why for why in told.left_out)
    return ExitCode.FAILED if damaged or (told.left_out and not told.written) else ExitCode.DONE

"""`platint-tui doctor`: where everything is and what works."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from platint_tui.cli.output import document, table
from platint_tui.cli.session import opened
from platint_tui.core.errors import ExitCode
from platint_tui.services.doctor import examine


async def doctor(options: Namespace) -> int:
    """Print the findings; exit code 4 when one is a problem."""
    async with opened(options) as workspace:
        findings = await examine(workspace)
    if options.json:
        document([asdict(item) for item in findings])
    else:
        words = {"ok": "ok", "note": "! note", "problem": "x problem"}
        table(("", "TOPIC", "DETAIL"), [(words[item.state], item.topic, item.detail) for item in findings])
    return ExitCode.CONFIG if any(item.state == "problem" for item in findings) else ExitCode.DONE

"""`platint-tui alerts`: what asks for somebody's attention."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from platint_tui.cli.output import document, moment, note, table
from platint_tui.cli.session import opened
from platint_tui.core.errors import ExitCode
from platint_tui.services import alerts


async def list_alerts(options: Namespace) -> int:
    """Alerts, newest first."""
    async with opened(options) as workspace:
        found = await alerts.list_alerts(workspace, acknowledged=options.all, limit=options.limit)
    if options.json:
        document([asdict(item) for item in found])
        return ExitCode.DONE
    table(
        ("NUMBER", "SEVERITY", "ABOUT", "TIMES", "SINCE", "LAST", "SEEN", "WHAT"),
        [
            (
                item.number,
                item.severity,
                item.subject,
                item.times,
                moment(item.at_ms),
                moment(item.last_ms),
                moment(item.acknowledged_ms),
                item.text,
            )
            for item in found
        ],
    )
    return ExitCode.DONE


async def acknowledge(options: Namespace) -> int:
    """Mark alerts as seen."""
    async with opened(options) as workspace:
        for number in options.numbers:
            await alerts.acknowledge(workspace, number)
    if options.json:
        document({"acknowledged": options.numbers})
    note("What comes after is a new alert.")
    return ExitCode.DONE

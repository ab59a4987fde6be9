"""`platint-tui discover`: what an account offers."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from platint_tui.cli.output import document, note, plural, table
from platint_tui.cli.session import opened
from platint_tui.core.errors import ExitCode
from platint_tui.services import discovery
from platint_tui.services.engine import local_engine


async def discover(options: Namespace) -> int:
    """Discover an account; `--diff` prints only what changed."""
    async with opened(options) as workspace, local_engine(workspace):
        catalogue, changes = await discovery.discover(workspace, options.profile)
    if options.json:
        found = [asdict(change) for change in changes]
        document(found if options.diff else {**asdict(catalogue), "changes": found})
        return ExitCode.DONE
    if not options.diff:
        table(
            ("STREAM", "KEY", "CURSOR", "FIELDS", "RECORDS", "CAN", "NOTES"),
            [
                (
                    stream.name,
                    ", ".join(stream.key) or "-",
                    stream.cursor or "-",
                    len(stream.fields),
                    "" if stream.estimate is None else f"{stream.estimate:,}",
                    "+".join(
                        word for word, can in (("read", stream.readable), ("write", stream.writable)) if can
                    ),
                    "; ".join(stream.notes),
                )
                for stream in catalogue.streams
            ],
        )
    if changes:
        table(
            ("CHANGE", "STREAM", "FIELD", "WHAT"),
            [
                ("! breaking" if item.breaking else "additive", item.stream, item.field, item.detail)
                for item in changes
            ],
        )
    if not catalogue.streams and not options.diff:
        note("There is nothing here that can be read or described yet; a target gets its tables from syncs.")
    note(
        f"{plural(len(catalogue.streams), 'stream')}; {plural(len(changes), 'change')} since the last discovery."
    )
    return ExitCode.DONE

"""`platint-tui events missed`, `gaps`, `backfill`: what did not arrive, and having it after all."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict

from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.gaps import StoredGap
from platint_tui.core.units import parse_duration
from platint_tui.services import gaps
from platint_tui.services.engine import local_engine


async def missed(options: Namespace) -> int:
    """Compare what a platform sent with what is here; exit code 3 when something is missing."""
    try:
        window = parse_duration(options.since)
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from None
    async with opened(options) as workspace, local_engine(workspace):
        since = workspace.clock.now_ms() - int(window * 1000)
        found = await gaps.missed(workspace, options.profile, since)
    if options.json:
        document(asdict(found))
    else:
        note(
            f"{options.profile}: {plural(found.sent, 'event')} since {moment(found.since_ms)}, {found.here} of them "
            f"here, {found.new} newly missing."
        )
        for number in found.gaps:
            note(f"Gap {number}: `platint-tui events backfill {number}` has it filled.")
    return ExitCode.DEAD_LETTERS if found.gaps else ExitCode.DONE


async def list_gaps(options: Namespace) -> int:
    """What did not arrive or was not read, newest first."""
    async with opened(options) as workspace:
        found = await gaps.list_gaps(
            workspace, profile=options.profile, integration=options.integration, ended=options.all
        )
    if options.json:
        document([asdict(item) for item in found])
        return ExitCode.DONE
    _table(found)
    if not found:
        note("No gap is open." if not options.all else "No gap is known.")
    return ExitCode.DONE


async def show(options: Namespace) -> int:
    """One gap with what is missing in it."""
    async with opened(options) as workspace:
        view = await gaps.show(workspace, options.number)
    if options.json:
        document(asdict(view))
        return ExitCode.DONE
    _table([view.gap])
    if view.missed:
        line()
        table(
            ("EVENT", "TYPE", "HAPPENED", "STATE", "WHY"),
            [
                (
                    item.event_id,
                    item.type,
                    moment(item.time_ms) if item.time_ms else "",
                    item.state.value,
                    item.message,
                )
                for item in view.missed
            ],
        )
    if view.why_not:
        note(view.why_not)
    return ExitCode.DONE


async def backfill(options: Namespace) -> int:
    """Fetch what is missing in a gap, or have it sent again."""
    async with opened(options) as workspace, local_engine(workspace):
        done = await gaps.backfill(workspace, options.number)
    if options.json:
        document(asdict(done))
    else:
        parts = [f"{done.fetched} fetched", f"{done.asked} asked for"]
        parts += [f"{done.lost} lost"] if done.lost else []
        note(f"Gap {done.gap}: {done.missing} were missing; {', '.join(parts)}.")
        note("It is filled." if done.filled else f"{plural(done.left, 'event')} of it not here yet.")
    return ExitCode.DONE if not done.lost else ExitCode.DEAD_LETTERS


async def accept(options: Namespace) -> int:
    """Leave a gap as it is."""
    async with opened(options) as workspace:
        view = await gaps.show(workspace, options.number)
        confirm(f"Gap {options.number} will not be filled: {view.gap.reason}", yes=options.yes)
        async with local_engine(workspace):
            await gaps.accept(workspace, options.number, options.note)
    if options.json:
        document({"gap": options.number})
    note(f"Gap {options.number} is accepted.")
    return ExitCode.DONE


def _table(found: Sequence[StoredGap]) -> None:
    table(
        ("GAP", "STATE", "KIND", "OF", "FROM", "TO", "MISSING", "WHY"),
        [
            (
                item.number,
                item.state.value,
                item.kind.value,
                item.profile or f"{item.integration}/{item.stream}",
                moment(item.start_ms) if item.start_ms else item.start,
                moment(item.end_ms) if item.end_ms else item.end or ("goes on" if item.profile else ""),
                item.missing,
                " ".join(part for part in (item.reason, item.note) if part),
            )
            for item in found
        ],
    )

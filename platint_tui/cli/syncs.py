"""`platint-tui syncs`: integrations and their streams."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from platint_tui.cli.output import document, line, moment, note, table
from platint_tui.cli.runs import GLYPHS, print_run, run_document, run_to_end
from platint_tui.cli.session import confirm, opened
from platint_tui.core.errors import ExitCode
from platint_tui.core.model import Integration
from platint_tui.services import account as accounts
from platint_tui.services import syncs
from platint_tui.services.engine import local_engine
from platint_tui.services.syncs import SyncView
from platint_tui.services.workspace import Workspace


async def list_syncs(options: Namespace) -> int:
    """Integrations with where each stream stands."""
    async with opened(options) as workspace:
        views = await syncs.list_syncs(workspace)
    if options.json:
        document([_view(view) for view in views])
        return ExitCode.DONE
    table(
        ("INTEGRATION", "FROM", "TO", "STREAMS", "LAST RUN", "DEAD"),
        [
            (
                view.integration.name,
                view.integration.source_profile,
                view.integration.target_profile,
                ", ".join(item.stream for item in view.integration.streams),
                _last_run(view),
                view.unresolved,
            )
            for view in views
        ],
    )
    return ExitCode.DONE


def _last_run(view: SyncView) -> str:
    if view.last_run:
        return f"{view.last_run.number} {GLYPHS[view.last_run.state]}"
    return "by webhooks" if syncs.by_webhooks_alone(view.integration) else "never ran"


def _view(view: SyncView) -> dict[str, Any]:
    return {
        **asdict(view.integration),
        "positions": [asdict(state) for state in view.states],
        "last_run": run_document(view.last_run) if view.last_run else None,
        "unresolved": view.unresolved,
    }


async def show(options: Namespace) -> int:
    """One integration."""
    async with opened(options) as workspace:
        found = await syncs.find(workspace, options.integration)
        view = next(item for item in await syncs.list_syncs(workspace) if item.integration.name == found.name)
    if options.json:
        document(_view(view))
        return ExitCode.DONE
    line(f"{found.name} version {found.version}: {found.source_profile} -> {found.target_profile}")
    where = {state.stream: state for state in view.states}
    unread = "by webhooks" if syncs.by_webhooks_alone(found) else "from the beginning"
    table(
        ("STREAM", "TARGET", "KEY", "PAGES", "POSITION"),
        [
            (
                item.stream,
                item.target,
                ", ".join(item.key) or "-",
                where[item.stream].seq if item.stream in where else 0,
                where[item.stream].confirmed if item.stream in where else unread,
            )
            for item in found.streams
        ],
    )
    if view.last_run:
        print_run(view.last_run)
    return ExitCode.DONE


async def run(options: Namespace) -> int:
    """Run an integration and watch it; the exit code tells how it ended."""
    async with opened(options) as workspace:
        found = await syncs.find(workspace, options.integration, note)
        if syncs.by_webhooks_alone(found) and found.name != options.integration:
            return _taken_in(found, options)
        await _confirm_deletion(workspace, found, options)
        if options.detach:
            started = await syncs.run(workspace, found.name, options.streams)
            note(f"Run {started.number} is queued: platint-tui runs watch {started.number}")
        else:
            async with local_engine(workspace) as mine:
                started = await run_to_end(workspace, found, options.streams, alone=mine)
    if started.error:
        note(started.error)
    if options.json:
        document(run_document(started))
    elif not options.detach:
        print_run(started)
    return ExitCode.DONE if options.detach else syncs.exit_code(started)


def _taken_in(found: Integration, options: Namespace) -> int:
    """A file of which nothing is run: that it was imported is all there is to it."""
    if options.json:
        document({"integration": found.name, "version": found.version, "run": None})
    note(
        f"'{found.name}' version {found.version} is imported: webhooks of '{found.source_profile}' are delivered to"
        f" '{found.target_profile}' as they come, by `platint-tui serve` or the console. There is nothing to run."
    )
    return ExitCode.DONE


async def _confirm_deletion(workspace: Workspace, integration: Integration, options: Namespace) -> None:
    """Ask before records of a production account are deleted. Raises UsageError unless it is agreed to."""
    writes = await syncs.writes_of(workspace, integration, options.streams)
    if writes.production and writes.deleting:
        name = writes.target.name
        confirm(
            f"'{name}' is a production profile. Delete there every record that {', '.join(writes.deleting)} reads?",
            yes=options.yes,
            word=name,
        )


async def cancel(options: Namespace) -> int:
    """Ask a run to stop."""
    async with opened(options) as workspace:
        found = await syncs.cancel(workspace, options.run)
    if options.json:
        document(run_document(found))
    note(f"Run {found.number} is asked to stop at the next page border; its position is kept.")
    return ExitCode.DONE


async def reset(options: Namespace) -> int:
    """Forget a stream's position."""
    async with opened(options) as workspace:
        confirm(
            f"Read '{options.stream}' of '{options.integration}' from the beginning at the next run?",
            yes=options.yes,
            word=options.stream,
        )
        async with local_engine(workspace):
            before = await syncs.reset(workspace, options.integration, options.stream)
    if options.json:
        document({"before": asdict(before) if before else None})
    note(f"The next run reads '{options.stream}' from the beginning; rows in the target are replaced by key.")
    return ExitCode.DONE


async def recover(options: Namespace) -> int:
    """Decide how a stream goes on whose position its platform has lost."""
    how = "skip" if options.skip else "resnapshot"
    what = (
        "go on from now: what changed meanwhile is not read, and the gap is recorded"
        if options.skip
        else "read everything again: rows in the target are replaced by key"
    )
    async with opened(options) as workspace:
        confirm(
            f"'{options.stream}' of '{options.integration}' is to {what}?",
            yes=options.yes,
            word=options.stream,
        )
        async with local_engine(workspace):
            await syncs.recover(workspace, options.integration, options.stream, how)
    if options.json:
        document({"integration": options.integration, "stream": options.stream, "how": how})
    note(f"The next run will {what}.")
    return ExitCode.DONE


async def gaps(options: Namespace) -> int:
    """Spans that were not read and cannot be any more."""
    async with opened(options) as workspace:
        found = await syncs.gaps(workspace, options.integration)
    if options.json:
        document([asdict(item) for item in found])
        return ExitCode.DONE
    table(
        ("SYNC", "NOTICED", "FROM", "TO", "WHY"),
        [
            (
                f"{item.integration}/{item.stream}",
                moment(item.noticed_ms),
                item.start or "?",
                item.end or "?",
                item.reason,
            )
            for item in found
        ],
    )
    if not found:
        note("No gap is known.")
    return ExitCode.DONE


async def plan(options: Namespace) -> int:
    """What a run would make or change at its target; nothing is changed."""
    async with opened(options) as workspace:
        found = await syncs.find(workspace, options.integration, note)
        async with local_engine(workspace):
            planned = await syncs.plan_target(workspace, found.name, options.streams)
    if options.json:
        document([asdict(item) for item in planned])
    for item in planned if not options.json else ():
        line(f"{item.stream} -> {item.target}")
        for change in item.changes:
            line(f"  {change.kind} {change.field}: {change.detail}".replace(" :", ":"))
            for text in change.statement.splitlines():
                line(f"    {text}")
        if item.error:
            line(f"  ! {item.error}")
        elif not item.changes:
            line("  nothing is made or changed")
    return ExitCode.CONFIG if any(item.error for item in planned) else ExitCode.DONE


async def remove(options: Namespace) -> int:
    """Remove an integration; what it has written stays."""
    async with opened(options) as workspace:
        found = await syncs.find(workspace, options.integration)
        confirm(f"Remove '{found.name}' and forget its positions?", yes=options.yes, word=found.name)
        async with local_engine(workspace):
            await syncs.remove(workspace, found.name, note)
    if options.json:
        document({"removed": found.name})
    note(f"'{found.name}' is removed. Its runs and dead letters stay, and so does what it wrote.")
    return ExitCode.DONE


async def account(options: Namespace) -> int:
    """Compare source and target by key; exit code 1 when a record is nowhere."""
    async with opened(options) as workspace:
        found = await syncs.find(workspace, options.integration)
        result = await accounts.account(workspace, found)
    if options.json:
        document([asdict(item) for item in result])
    else:
        table(
            ("STREAM", "SOURCE", "IN TARGET", "SAME KEY", "DEAD LETTER", "LOST", "STALE"),
            [
                (item.stream, *("?" * 6))
                if item.error
                else (
                    item.stream,
                    f"{item.source:,}",
                    f"{item.in_target:,}",
                    f"{item.same_key:,}",
                    f"{item.in_dead_letters:,}",
                    item.lost,
                    "?" if item.stale is None else item.stale,
                )
                for item in result
            ],
        )
        for item in result:
            if item.error:
                note(f"'{item.stream}' could not be compared: {item.error}")
            if item.same_key:
                names = next((one.key for one in found.streams if one.stream == item.stream), ())
                note(
                    f"{item.same_key:,} of {item.source:,} records of '{item.stream}' have the key "
                    f"({', '.join(names) or 'content'}) of another one: the target holds one row for each key."
                )
        if any(item.stale for item in result):
            note(
                "Stale: the content differs; these changed in the source since the last run, or in the target."
            )
    lost = [key for item in result for key in item.lost_keys]
    for key in lost[:10]:
        note(f"lost: {key}")
    if len(lost) > 10:
        note(f"and {len(lost) - 10:,} more; --json lists them all.")
    return ExitCode.FAILED if lost or any(item.error for item in result) else ExitCode.DONE

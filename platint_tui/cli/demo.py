"""`platint-tui demo`: the whole job on embedded demo platforms, with or without a screen."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from platint_tui.cli.output import document, latency, line, note, table
from platint_tui.cli.replays import replay_progress
from platint_tui.cli.runs import run_document, run_to_end
from platint_tui.core.errors import ExitCode, NotFound
from platint_tui.core.model import Catalogue, Issue, Run
from platint_tui.services import account as accounts
from platint_tui.services import deadletters, discovery, edits, metrics, replays, syncs
from platint_tui.services import demo as service
from platint_tui.services.account import StreamAccount
from platint_tui.services.demo import Demo, DemoOptions
from platint_tui.services.engine import local_engine
from platint_tui.services.workspace import Workspace


async def demo(options: Namespace) -> int:
    """Start the demo platforms and do the job; exit code 3 with dead letters left, 1 when a record is lost."""
    wanted = DemoOptions(options.records, options.seed, options.keep, options.calm)
    if options.headless or options.json:
        async with service.running(wanted) as demo:
            return await _headless(options, demo)
    from platint_tui.cli.console import run_demo

    return await run_demo(options, wanted)


async def _headless(options: Namespace, demo: Demo) -> int:
    workspace = await service.open_demo(demo, getattr(options, "connectors", None))
    started = workspace.clock.now_ms()
    try:
        async with local_engine(workspace) as mine:
            found = await _discover(workspace)
            runs = [
                await run_to_end(workspace, integration, alone=mine)
                for integration in await service.integrations(workspace)
            ]
            issues = await deadletters.issues(workspace)
            _show_issues(options, issues)
            fixed = await _fix(workspace)
        whole = await metrics.headline(workspace, (workspace.clock.now_ms() - started) / 1000 + 60)
        account = [
            item
            for integration in await service.integrations(workspace)
            for item in await accounts.account(workspace, integration)
        ]
        result = _result(demo, found, runs, issues, whole, account, fixed)
    finally:
        await workspace.close()
    if options.json:
        document(result)
    else:
        _print(result, whole, account)
    if result["records"]["lost"]:
        return ExitCode.FAILED
    codes = [syncs.exit_code(run) for run in runs]
    return next((code for code in codes if code not in (ExitCode.DONE, ExitCode.DEAD_LETTERS)), max(codes))


async def _discover(workspace: Workspace) -> dict[str, Catalogue]:
    found = {}
    for profile in ("demo-payments", "demo-crm", "demo-chat"):
        found[profile], _ = await discovery.discover(workspace, profile)
        note(f"discovered {profile}: {', '.join(stream.name for stream in found[profile].streams)}")
    return found


def _show_issues(options: Namespace, issues: list[Issue]) -> None:
    if options.json:
        return
    line("Dead letters by cause")
    table(
        ("OPEN", "WHERE", "CODE", "FIELD", "CAUSE"),
        [
            (issue.open, f"{issue.integration}/{issue.stream}", issue.code, issue.field, issue.message)
            for issue in issues
            if issue.open
        ],
    )


async def _fix(workspace: Workspace) -> dict[str, Any]:
    """Edit one dead letter as an operator would, and replay it."""
    try:
        letter, payload = await service.choose_fix(workspace)
    except NotFound as error:
        note(error.sentence())
        return {"replayed": 0, "edited": None}
    child = await edits.edit(workspace, letter.id, payload)
    note(f"dead letter {letter.number} ({letter.code} {letter.field}) edited; replaying the edit")
    started = await replays.replay(workspace, [child.id])
    jobs = [job async for job in replays.watch_replay(workspace, started.id)]
    job = jobs[-1]
    note(replay_progress(job))
    return {"replayed": job.succeeded, "edited": letter.number}


def _result(
    demo: Demo,
    found: dict[str, Catalogue],
    runs: list[Run],
    issues: list[Issue],
    whole: metrics.Headline,
    account: list[StreamAccount],
    fixed: dict[str, Any],
) -> dict[str, Any]:
    streams = [item for run in runs for item in run.streams]
    return {
        "discovery": {
            profile: [
                {
                    "stream": item.name,
                    "key": list(item.key),
                    "cursor": item.cursor,
                    "fields": len(item.fields),
                    "records": item.estimate,
                }
                for item in catalogue.streams
            ]
            for profile, catalogue in found.items()
        },
        "runs": [run_document(run) for run in runs],
        "records": {
            "read": sum(item.read for item in streams),
            "written": sum(item.written for item in streams),
            "dead_lettered": sum(item.dead_lettered for item in streams),
            "replayed": fixed["replayed"],
            "lost": sum(item.lost for item in account),
        },
        "account": [asdict(item) for item in account],
        "dead_letters": [asdict(issue) for issue in issues],
        "metrics": {
            "api_latency_p50_ms": whole.api_latency_p50_ms,
            "api_latency_p95_ms": whole.api_latency_p95_ms,
            "api_latency_p99_ms": whole.api_latency_p99_ms,
            "error_rate": whole.error_rate,
            "sync_throughput": whole.sync_throughput,
            "webhook_success_rate": whole.webhook_success_rate,
        },
        "paths": {
            "home": str(demo.home),
            "database": str(demo.home / "data" / "platint.sqlite"),
            "warehouse": str(service.warehouse(demo)),
        },
    }


def _print(result: dict[str, Any], whole: metrics.Headline, account: list[StreamAccount]) -> None:
    line()
    line("Account of every record, by comparing source, target and inbox")
    table(
        ("STREAM", "SOURCE", "IN TARGET", "DEAD LETTER", "LOST", "STALE"),
        [
            (
                f"{item.integration}/{item.stream}",
                f"{item.source:,}",
                f"{item.in_target:,}",
                f"{item.in_dead_letters:,}",
                item.lost,
                item.stale,
            )
            for item in account
        ],
    )
    records = result["records"]
    line(
        f"read {records['read']:,}, written {records['written']:,}, dead-lettered {records['dead_lettered']:,}, "
        f"replayed {records['replayed']:,}, lost {records['lost']:,}"
    )
    speed = "-" if whole.sync_throughput is None else f"{whole.sync_throughput:,.0f} records/s"
    line(
        f"API latency ms p50 {latency(whole.api_latency_p50_ms)}, p95 {latency(whole.api_latency_p95_ms)}, "
        f"p99 {latency(whole.api_latency_p99_ms)}; "
        f"errors {whole.error_rate:.1%} of {whole.requests:,} requests; {speed}"
    )

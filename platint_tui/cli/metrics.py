"""`platint-tui metrics`: latency, error rate, throughput."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from platint_tui.cli.output import document, latency, line, table
from platint_tui.cli.session import opened
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.units import parse_duration
from platint_tui.services import metrics as service


async def metrics(options: Namespace) -> int:
    """The window as a table per platform and operation, and as one line."""
    try:
        window = parse_duration(options.since)
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from None
    async with opened(options) as workspace:
        rows = await service.summary(workspace, window)
        whole = await service.headline(workspace, window)
        lags = await service.lags(workspace, window)
    if options.json:
        document(
            {
                "headline": asdict(whole),
                "operations": [asdict(row) for row in rows],
                "lags": {sync: asdict(item) for sync, item in lags.items()},
            }
        )
        return ExitCode.DONE
    table(
        ("PLATFORM", "OPERATION", "REQUESTS", "ERRORS", "P50 MS", "P95 MS", "P99 MS"),
        [
            (
                row.platform,
                row.operation,
                f"{row.count:,}",
                f"{row.error_rate:.2%}",
                latency(row.p50_ms),
                latency(row.p95_ms),
                latency(row.p99_ms),
            )
            for row in rows
        ],
    )
    if lags:
        table(
            ("LAG OF", "RECORDS", "P50 MS", "P95 MS", "P99 MS"),
            [
                (sync, f"{item.count:,}", latency(item.p50_ms), latency(item.p95_ms), latency(item.p99_ms))
                for sync, item in lags.items()
            ],
        )
    speed = "-" if whole.sync_throughput is None else f"{whole.sync_throughput:,.0f} records/s"
    line(f"{whole.requests:,} requests, {whole.error_rate:.2%} errors, throughput {speed}")
    return ExitCode.DONE

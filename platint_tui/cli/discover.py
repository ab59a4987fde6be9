"""`platint-tui discover` and `preview`: what an account offers, and a look at its records."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from platint_tui.cli.output import document, line, note, plural, table
from platint_tui.cli.session import opened
from platint_tui.core.errors import ExitCode
from platint_tui.core.model import CatalogueChange, Stream
from platint_tui.services import discovery
from platint_tui.services.engine import local_engine

_NOTES = 64
"""Characters of the notes of a stream in its line; the JSON has all of them."""
_SIGNS = {"breaking": "! breaking", "additive": "+ additive", "informational": ". informational"}


async def discover(options: Namespace) -> int:
    """Discover an account; `--diff` prints only what changed, and ends with 7 when something breaking did."""
    async with opened(options) as workspace, local_engine(workspace):
        catalogue, changes = await discovery.discover(workspace, options.profile)
        first = len(await discovery.stamp(workspace, options.profile)) < 2
    breaking = sum(change.breaking for change in changes)
    code = ExitCode.BREAKING if options.diff and breaking else ExitCode.DONE
    if options.json:
        found = [_change_document(change) for change in changes]
        document(found if options.diff else {**asdict(catalogue), "changes": found})
        return code
    if not options.diff:
        table(
            ("STREAM", "KEY", "READ BY", "FIELDS", "RECORDS", "CAN", "NOTES"),
            [_row(stream) for stream in catalogue.streams],
        )
    shown = changes if options.diff else [change for change in changes if not change.minor]
    if shown:
        table(
            ("CHANGE", "STREAM", "FIELD", "WHAT", "USED BY"),
            [
                (_SIGNS[item.grade], item.stream, item.field, item.detail, ", ".join(item.used_by))
                for item in shown
            ],
        )
    if not catalogue.streams and not options.diff:
        note("There is nothing here that can be read or described yet; a target gets its tables from syncs.")
    number = plural(len(catalogue.streams), "stream")
    if first:
        note(f"{number}, discovered for the first time.")
    else:
        note(f"{number}; {plural(len(changes), 'change')} since the last discovery, {breaking} breaking.")
    return code


def _change_document(change: CatalogueChange) -> dict[str, Any]:
    return {"grade": change.grade, **asdict(change)}


def _row(stream: Stream) -> tuple[object, ...]:
    can = "+".join(word for word, able in (("read", stream.readable), ("write", stream.writable)) if able)
    notes = [f"Refused: {stream.refused}"] if stream.refused else []
    notes += [f"Needs {', '.join(stream.needs)}."] if stream.needs else []
    facts = ", ".join(f"{name} {value}".strip() for name, value in stream.facts)
    notes += [f"{stream.kind}: {facts}".rstrip(": ")] if stream.kind else []
    return (
        stream.name,
        ", ".join(stream.key) or "-",
        stream.cursor or ", ".join(stream.modes) or (f"({stream.cursors[0]}?)" if stream.cursors else "-"),
        len(stream.fields),
        "" if stream.estimate is None else f"{stream.estimate:,}",
        can or "-",
        _short("; ".join([*notes, *stream.notes])),
    )


def _short(text: str) -> str:
    """As much of a text as a line has room for, whole words."""
    if len(text) <= _NOTES:
        return text
    head = text[: _NOTES - 1]
    return f"{head[: head.rfind(' ')] if ' ' in head else head}…"


async def preview(options: Namespace) -> int:
    """Read a few real records and show them with the exact requests; no position moves, nothing is stored."""
    async with opened(options) as workspace, local_engine(workspace):
        found = await discovery.preview(workspace, options.profile, options.stream, options.limit)
    if options.json:
        document(
            {
                "profile": options.profile,
                "stream": options.stream,
                "records": found.records,
                "bad": found.bad,
                "requests": found.requests,
                "error": found.error.sentence() if found.error else None,
            }
        )
    else:
        _requests(found.requests)
        for record in found.records:
            line(str(record["raw"]))
        for item in found.bad:
            line(f"! no record: {item['reason']}: {item['raw']}")
    if found.error is not None:
        raise found.error
    sent = f", by {plural(len(found.requests), 'request')}" if found.requests else ""
    note(f"{plural(len(found.records), 'record')}, {len(found.bad)} bad{sent}; nothing was stored.")
    return ExitCode.DONE


def _requests(requests: Sequence[Mapping[str, Any]]) -> None:
    for item in requests:
        line(f"{item['method']} {item['url']}")
        for name, value in item["headers"].items():
            line(f"  {name}: {value}")
        if item["body"] is not None:
            line(f"  {item['body']}")
        ended = item["status"] if item["status"] is not None else f"no answer: {item['error']}"
        line(f"  -> {ended} after {item['ms']:.0f} ms")

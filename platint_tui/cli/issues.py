"""`platint-tui dead groups / issue / ack / resolve / ignore / reopen-issue / note`: dead letters by their cause."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from platint_tui.cli.output import document, line, moment, note, table
from platint_tui.cli.session import opened
from platint_tui.core.blame import blame
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.model import Issue
from platint_tui.core.states import IssueState
from platint_tui.core.units import parse_duration
from platint_tui.services import deadletters

_MOVES = {
    "ack": IssueState.ACKNOWLEDGED,
    "resolve": IssueState.RESOLVED,
    "ignore": IssueState.IGNORED,
    "reopen-issue": IssueState.OPEN,
}
_LONGEST_MS = 3_650 * 86_400_000
_SPARK = "▁▂▃▄▅▆▇█"


async def groups(options: Namespace) -> int:
    """Issues, most open dead letters first."""
    async with opened(options) as workspace:
        found = await deadletters.issues(workspace, _states(options.state))
    found = [issue for issue in found if options.bin in ("", issue.bin)]
    if options.json:
        document([deadletters.issue_document(issue) for issue in found])
        return ExitCode.DONE
    table(
        (
            *("FINGERPRINT", "OPEN", "TOTAL", "STATE", "BIN", "FAULT", "LAST 24 H", "LAST"),
            *("WHERE", "CODE", "FIELD", "CAUSE"),
        ),
        [
            (
                issue.fingerprint[:12],
                issue.open,
                issue.total,
                issue.state.value,
                issue.bin,
                blame(issue.error_class, issue.code).value,
                sparkline(issue.hours),
                moment(issue.last_seen_ms),
                issue.place,
                issue.code,
                issue.field,
                issue.message,
            )
            for issue in found
        ],
    )
    return ExitCode.DONE


def sparkline(hours: Sequence[int]) -> str:
    """The failures of the last 24 hours as a line of 12 cells, two hours each; a dot where there was none."""
    cells = [sum(hours[at : at + 2]) for at in range(0, len(hours), 2)]
    top = max(cells, default=0)
    return "".join(_SPARK[(cell * len(_SPARK) - 1) // top] if cell else "·" for cell in cells)


def _states(wanted: Sequence[str]) -> tuple[IssueState, ...]:
    try:
        return () if "any" in wanted else tuple(IssueState(item) for item in wanted)
    except ValueError:
        words = ", ".join([*IssueState, "any"])
        raise UsageError(f"'{wanted[-1]}' is no state of an issue.", hint=f"One of {words}.") from None


async def show(options: Namespace) -> int:
    """One issue whole."""
    async with opened(options) as workspace:
        view = await deadletters.show_issue(workspace, options.fingerprint)
    issue = view.issue
    facts = deadletters.issue_document(issue)
    if options.json:
        alike = [
            {"fingerprint": item.fingerprint, "place": item.place, "open": item.open} for item in view.alike
        ]
        document({**facts, "keys": view.keys, "alike": alike})
        return ExitCode.DONE
    line(f"issue {issue.fingerprint}  {issue.state.value}{_ignored(issue)}")
    line(f"  where    {issue.place} -> {issue.profile} ({issue.platform})")
    line(f"  cause    {issue.error_class.value}/{issue.code} {issue.field}: {issue.message}")
    line(f"  fault    {facts['whose_fault']} ({facts['blame']}, bin {issue.bin})")
    line(f"  next     {facts['next']}")
    line(f"  waiting  {issue.open:,} of {issue.total:,} dead letters, {view.keys:,} records")
    line(f"  seen     first {moment(issue.first_seen_ms)}, last {moment(issue.last_seen_ms)}")
    line(f"  24 hours {sparkline(issue.hours)}  {sum(issue.hours):,} failures")
    if issue.note:
        line(f"  note     {issue.note}")
    for item in view.alike:
        line(f"  also in  {item.place}: {item.open:,} open ({item.fingerprint[:12]})")
    return ExitCode.DONE


def _ignored(issue: Issue) -> str:
    ends = []
    if issue.ignored_until_ms is not None:
        ends.append(moment(issue.ignored_until_ms))
    if issue.ignored_until_total is not None:
        ends.append(f"{issue.ignored_until_total:,} failures")
    return f" until {' or '.join(ends)}" if ends and issue.state is IssueState.IGNORED else ""


async def move(options: Namespace) -> int:
    """Acknowledge, resolve, ignore or reopen issues."""
    state = _MOVES[options.verb]
    async with opened(options) as workspace:
        issues = [await deadletters.issue(workspace, item) for item in options.fingerprints]
        for issue in issues:
            until_ms = until_total = None
            if state is IssueState.IGNORED:
                if options.until:
                    until_ms = workspace.clock.now_ms() + _milliseconds(options.until)
                if options.times:
                    until_total = issue.total + options.times
            await deadletters.set_issue_state(
                workspace, issue.fingerprint, state, until_ms=until_ms, until_total=until_total
            )
            if options.note is not None:
                await deadletters.note_issue(workspace, issue.fingerprint, options.note)
        after = [await deadletters.issue(workspace, issue.fingerprint) for issue in issues]
    if options.json:
        document([deadletters.issue_document(issue) for issue in after])
    for issue in after:
        note(f"Issue {issue.fingerprint[:12]} is {issue.state.value}{_ignored(issue)}.")
        if issue.open and state in (IssueState.RESOLVED, IssueState.IGNORED):
            note(f"Its {issue.open:,} open dead letters stay open: replay or discard them.")
    return ExitCode.DONE


def _milliseconds(duration: str) -> int:
    try:
        span = int(parse_duration(duration) * 1000)
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from None
    if not 0 < span <= _LONGEST_MS:
        raise UsageError(f"'{duration}' is not between now and ten years.", hint="Leave it out for good.")
    return span


async def note_issue(options: Namespace) -> int:
    """Write a note to an issue; an empty one takes it away."""
    async with opened(options) as workspace:
        issue = await deadletters.issue(workspace, options.fingerprint)
        await deadletters.note_issue(workspace, issue.fingerprint, options.text)
        after = await deadletters.issue(workspace, issue.fingerprint)
    if options.json:
        document(deadletters.issue_document(after))
    note(f"Issue {after.fingerprint[:12]}: {after.note or 'no note'}.")
    return ExitCode.DONE

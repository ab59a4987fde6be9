"""Replay jobs of every console with their reports, and fix rules: two lists beside the inbox."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from platint_tui.core.model import ReplayJob
from platint_tui.core.rules import FixRule
from platint_tui.services.replays import ReplayReport
from platint_tui.tui import present
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.deadletters.planwords import Lines, job_words, option_words, settled
from platint_tui.tui.screens.deadletters.words import fact
from platint_tui.tui.widgets.cells import Cell, Column

EMPTY_JOBS = (
    "No replay yet.\n\n"
    "r on an issue plans one: what goes where, a canary first, at which pace.\n"
    "t simulates it before anything is sent."
)
EMPTY_RULES = (
    "No fix rule.\n\n"
    "e edits a dead letter; what the edit did can then be kept as a rule for all that fail alike.\n"
    "A rule is offered when its issue comes back, and applied only at your word."
)


def job_columns(now: Callable[[], int]) -> tuple[Column[ReplayJob], ...]:
    """The list of jobs."""
    return (
        Column("state", lambda job: Cell(*present.state_cell(job.state)), 12),
        Column("", lambda job: Cell(_bar(job), "info"), 10, priority=3),
        Column("sent", lambda job: Cell(f"{present.count(settled(job))} of {present.count(job.total)}"), 14,
               align="right"),
        Column("arrived", lambda job: Cell(present.count(job.succeeded)), 8, align="right"),
        Column("refused", lambda job: _bad(job.failed, "bad"), 8, align="right"),
        Column("unknown", lambda job: _bad(job.unknown, "warn"), 8, align="right", priority=1),
        Column("by", lambda job: Cell(job.operator or "-", "muted"), 8, grow=1, most=16, priority=2),
        Column("how", lambda job: Cell(option_words(job.options), "muted"), 16, grow=4, priority=4),
        Column("when", lambda job: Cell(present.age(job.created_ms, now()), "muted"), 16, align="right"),
    )  # fmt: skip


def _bar(job: ReplayJob) -> str:
    return present.bar(settled(job) / job.total if job.total else 0.0, 10)


def _bad(number: int, tone: str) -> Cell:
    return Cell(present.count(number), tone if number else "muted")


def rule_columns(now: Callable[[], int]) -> tuple[Column[FixRule], ...]:
    """The list of fix rules."""
    return (
        Column("rule", lambda rule: Cell(f"#{rule.number}", "muted"), 6, align="right"),
        Column("issue", lambda rule: Cell(rule.fingerprint[:8], "muted"), 9, priority=2),
        Column("what it does", lambda rule: Cell(rule.words()), 24, grow=4),
        Column("by", lambda rule: Cell(rule.operator or "-", "muted"), 8, grow=1, most=16, priority=3),
        Column("note", lambda rule: Cell(rule.note, "muted"), 10, grow=2, priority=4),
        Column("made", lambda rule: Cell(present.age(rule.created_ms, now()), "muted"), 16, align="right",
               priority=1),
    )  # fmt: skip


class JobsPane(Vertical):
    """The jobs, and the report of the one under the cursor."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(id="pane-jobs")
        self._now = now

    def compose(self) -> ComposeResult:
        """List over report."""
        yield Listing(job_columns(self._now), lambda job: job.id, empty=EMPTY_JOBS, id="jobs")
        with VerticalScroll(id="report-scroll", can_focus=False):
            yield Static("", id="report", markup=False)

    @property
    def listing(self) -> Listing[ReplayJob]:
        """The list."""
        found: Listing[ReplayJob] = self.query_one("#jobs", Listing)
        return found

    def draw(self, report: ReplayReport | None) -> None:
        """Show the report of a job."""
        self.set_class(report is None, "-bare")
        lines = report_lines(report) if report is not None else []
        self.query_one("#report", Static).update(present.lined(lines))


def report_lines(report: ReplayReport) -> Lines:
    """What a job came to: its sentence, how it went about it, and why what did not arrive did not."""
    lines: Lines = [
        [job_words(report.job)],
        fact("how", option_words(report.job.options), end=""),
        fact("asked by", report.job.operator or "-", end=""),
    ]
    for item in report.causes:
        examples = " ".join(f"#{number}" for number in item.examples)
        lines.append(
            [
                (f"{present.count(item.count):>7}  ", "strong"),
                present.state_cell(item.outcome),
                (f"  {item.code or '-'}  {item.message or 'No reason was given.'}", ""),
                (f"  {examples}", "muted"),
            ]
        )
    return lines


class RulesPane(Vertical):
    """The fix rules in force."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(id="pane-rules")
        self._now = now

    def compose(self) -> ComposeResult:
        """The list over the steps of a rule."""
        yield Listing(rule_columns(self._now), lambda rule: rule.id, empty=EMPTY_RULES, id="rules")
        yield Static("", id="rule-facts", markup=False)

    @property
    def listing(self) -> Listing[FixRule]:
        """The list."""
        found: Listing[FixRule] = self.query_one("#rules", Listing)
        return found

    def draw_facts(self) -> None:
        """The steps of the rule under the cursor, and what can be done with it."""
        rule = self.listing.current
        self.set_class(rule is None, "-bare")
        if rule is None:
            return
        lines: Lines = [[(f"{index}. {step.words()}", "")] for index, step in enumerate(rule.patch, 1)]
        lines += [
            [],
            [("t", "key"), (" simulates it on the open ones of its issue, ", "muted"), ("r", "key"),
             (" edits them and plans their replay, ", "muted"), ("d", "key"), (" revokes it", "muted")],
        ]  # fmt: skip
        self.query_one("#rule-facts", Static).update(present.lined(lines))

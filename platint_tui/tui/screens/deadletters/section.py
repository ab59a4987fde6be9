"""Dead letters: the inbox of everything that failed for good."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.reactive import var
from textual.widgets import ContentSwitcher, Static

from platint_tui.core.errors import UsageError
from platint_tui.core.model import Issue, ReplayJob
from platint_tui.core.rules import FixRule
from platint_tui.core.states import UNRESOLVED_DEAD_LETTER_STATES, DeadLetterState, IssueState
from platint_tui.services import deadletters, replays, rules
from platint_tui.services.deadletters import DeadLetterFilter, DeadLetterView, SeenQueue
from platint_tui.services.letterfilters import letter_filter
from platint_tui.services.replays import ReplayReport
from platint_tui.tui import present
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.deadletters import filtering
from platint_tui.tui.screens.deadletters.handlers import Handlers
from platint_tui.tui.screens.deadletters.jobs import JobsPane, RulesPane
from platint_tui.tui.screens.deadletters.keys import ACTIONS
from platint_tui.tui.screens.deadletters.panes import EMPTY_ISSUES, IssuesPane, ItemPane, ItemsPane
from platint_tui.tui.screens.deadletters.planwords import first_line
from platint_tui.tui.screens.deadletters.source import Letters
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.payload import PayloadView
from platint_tui.tui.widgets.virtual_table import VirtualTable

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace

_UNRESOLVED = tuple(sorted(UNRESOLVED_DEAD_LETTER_STATES))
_LIVE_ISSUES = (IssueState.OPEN, IssueState.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class Inbox:
    """What one load brings: the issues as filtered, how many there are in all, and the open dead letter.

    `version` tells whether anything in the store changed since another load.
    """

    version: int
    issues: tuple[Issue, ...]
    all_issues: int
    item: DeadLetterView | None
    queues: tuple[SeenQueue, ...] = ()
    jobs: tuple[ReplayJob, ...] = ()
    report: ReplayReport | None = None
    rules: tuple[FixRule, ...] = ()
    problem: str = ""
    """What is wrong with the filter of the issues."""


class DeadLettersSection(Handlers, SectionView):
    """Issues, then the dead letters of one, then one dead letter; `enter` goes in, `esc` comes back.

    Beside them lie the replay jobs (`J`) and the fix rules (`f`).
    """

    SECTION = "deadletters"
    ACTIONS = ACTIONS
    EMPTY = EMPTY_ISSUES
    LEVELS: ClassVar[tuple[str, ...]] = ("issues", "items", "item", "jobs", "rules")

    level: var[str] = var("issues", init=False)
    issue: Issue | None = None
    number = ""
    every_state = False
    bin = ""
    """Which issues are listed: record, systemic, or "" for both."""
    _listed = -1
    _came_from = "issues"
    every_issue = False
    """Whether the list of dead letters is of every issue, by a filter."""

    def compose(self) -> ComposeResult:
        """The panes and the line of a replay that is not done."""
        with ContentSwitcher(initial="pane-issues", id="panes"):
            yield IssuesPane(self._now)
            yield ItemsPane(self._now)
            yield ItemPane(self._now)
            yield JobsPane(self._now)
            yield RulesPane(self._now)
        yield Static("", id="job", markup=False)

    def _now(self) -> int:
        return self.console.clock.now_ms()

    # --- parts ------------------------------------------------------------------------------------------

    @property
    def issues_pane(self) -> IssuesPane:
        """The list of issues."""
        return self.query_one(IssuesPane)

    @property
    def items_pane(self) -> ItemsPane:
        """The dead letters of an issue."""
        return self.query_one(ItemsPane)

    @property
    def item_pane(self) -> ItemPane:
        """One dead letter."""
        return self.query_one(ItemPane)

    @property
    def jobs_pane(self) -> JobsPane:
        """The replay jobs."""
        return self.query_one(JobsPane)

    @property
    def rules_pane(self) -> RulesPane:
        """The fix rules."""
        return self.query_one(RulesPane)

    @property
    def filter_bar(self) -> FilterBar | None:
        """The filter of the depth that is shown, None where nothing is filtered."""
        names = {"issues": "#filter-issues", "items": "#filter-items", "item": "#filter-item"}
        return self.query_one(names[self.level], FilterBar) if self.level in names else None

    # --- snapshot ---------------------------------------------------------------------------------------

    async def load(self, workspace: Workspace) -> Inbox:
        """Issues (filtered in SQL), and the dead letter that is open on the screen."""
        version = await workspace.changed()
        states = () if self.every_state else _LIVE_ISSUES
        text = self.query_one("#filter-issues", FilterBar).text
        whole = await deadletters.issues(workspace, states)
        found, problem = whole, ""
        if text:
            try:
                wanted = filtering.read(text)
            except UsageError as error:
                problem = error.sentence()
            else:
                some = await deadletters.issues(workspace, states, wanted.text) if wanted.text else whole
                found = filtering.narrowed(some, wanted)
        if self.bin:
            found = [issue for issue in found if issue.bin == self.bin]
        item = None
        if self.level == "item" and self.number:
            item = await deadletters.show(workspace, self.number)
        queues = tuple(await deadletters.dead_queues(workspace))
        jobs = tuple(await replays.replay_jobs(workspace))
        report = None
        if self.level == "jobs" and jobs:
            chosen = self.jobs_pane.listing.current or jobs[0]
            report = await replays.replay_report(workspace, chosen.id)
        fixes = tuple(await rules.list_rules(workspace))
        return Inbox(version, tuple(found), len(whole), item, queues, jobs, report, fixes, problem)

    def show(self, snapshot: Inbox) -> None:
        """Put a snapshot on the screen."""
        bar = self.query_one("#filter-issues", FilterBar)
        empty = EMPTY_ISSUES
        if bar.text:
            empty = "No issue matches. enter looks in the dead letters themselves, esc clears the filter."
            count = f"{present.count(len(snapshot.issues))} of {present.count(snapshot.all_issues)}"
            bar.found(snapshot.problem or f"{count}   enter: the dead letters")
        elif self.bin:
            empty = "No issue of this kind; i shows the others."
        elif self.every_state:
            empty = "No dead letters were ever kept."
        self.rules = snapshot.rules
        self.take_jobs(snapshot.jobs)
        self.jobs_pane.listing.show(snapshot.jobs)
        self.jobs_pane.draw(snapshot.report)
        self.rules_pane.listing.show(snapshot.rules)
        self.rules_pane.draw_facts()
        self.issues_pane.queues = snapshot.queues
        self.issues_pane.rules = snapshot.rules
        self.issues_pane.listing.show(snapshot.issues, empty=empty)
        self.issues_pane.draw_facts()
        if self.issue is not None:
            same = [issue for issue in snapshot.issues if issue.fingerprint == self.issue.fingerprint]
            self.issue = same[0] if same else self.issue
        if self.level == "items":
            if snapshot.version != self._listed:
                self._listed = snapshot.version
                self.items_pane.table.reload()
            self._draw_items_head()
        if snapshot.item is not None and self.level == "item":
            other = self.issue is None or self.issue.fingerprint != snapshot.item.letter.fingerprint
            if other and not self.every_issue:
                self.issue = self._known_issue(snapshot, snapshot.item.letter.fingerprint)
            self.item_pane.draw(snapshot.item)

    @staticmethod
    def _known_issue(snapshot: Inbox, fingerprint: str) -> Issue | None:
        return next((issue for issue in snapshot.issues if issue.fingerprint == fingerprint), None)

    def identities(self, snapshot: Inbox) -> Sequence[Hashable]:
        """One per dead letter that was ever in an issue."""
        return [
            (issue.fingerprint, number)
            for issue in snapshot.issues
            for number in range(min(issue.total, 1000))
        ]

    # --- where the person is ----------------------------------------------------------------------------

    def watch_level(self) -> None:
        """Show the pane of the depth."""
        self.query_one("#panes", ContentSwitcher).current = f"pane-{self.level}"
        self.draw_jobs()
        self.focus_first()
        self.console.refresh_keys()

    def crumbs(self) -> tuple[str, ...]:
        """The issue, the dead letter."""
        parts: list[str] = []
        if self.level in ("jobs", "rules"):
            return ("replays" if self.level == "jobs" else "fix rules",)
        if self.level == "issues" and self.bin:
            return ("of records" if self.bin == "record" else "of systems",)
        if self.level == "items" and self.issue is None:
            return ("every issue",)
        if self.level != "issues" and self.issue is not None:
            parts.append(issue_title(self.issue))
        if self.level == "item":
            shown = self.item_pane.shown
            parts.append(f"#{shown.letter.number}" if shown else f"#{self.number}")
        return tuple(parts)

    def go_back(self) -> bool:
        """Close the filter, else the dead letter, else the issue."""
        bar = self.filter_bar
        if bar is not None and bar.close():
            self.focus_first()
            return True
        if self.level in ("jobs", "rules"):
            self.level = self._came_from
            self.console.reload()
            return True
        if self.level == "item":
            self.level = "items" if self.issue is not None or self.every_issue else "issues"
            if self.level == "items" and self.items_pane.table.count == 0:
                self._show_items()
            self.console.reload()
            return True
        if self.level == "items":
            self.level = "issues"
            self.console.reload()
            return True
        return False

    def focus_first(self) -> None:
        """The list, the table or the payload."""
        if self.level == "issues":
            self.issues_pane.listing.focus()
        elif self.level == "items":
            self.items_pane.table.focus()
        elif self.level == "jobs":
            self.jobs_pane.listing.focus()
        elif self.level == "rules":
            self.rules_pane.listing.focus()
        else:
            self.item_pane.focus_face()

    def open_jobs(self) -> None:
        """Show the replay jobs, the cursor on the one in the line, else on the newest."""
        self._go_beside("jobs")
        job = first_line(self.jobs) or (self.jobs[0] if self.jobs else None)
        if job is not None:
            self.jobs_pane.listing.go_to(job.id)

    def open_rules(self, rule: FixRule | None) -> None:
        """Show the fix rules, the cursor on this one."""
        self._go_beside("rules")
        if rule is not None:
            self.rules_pane.listing.go_to(rule.id)
            self.rules_pane.draw_facts()

    def _go_beside(self, level: str) -> None:
        if self.level not in ("jobs", "rules"):
            self._came_from = self.level
        self.level = level
        self.console.reload()

    def open_object(self, kind: str, id: str) -> None:
        """An issue by fingerprint, a dead letter by number or id, or a text to look for."""
        if kind == "dead":
            self._open_item(id)
        elif kind == "issue":
            for issue in self.issues_pane.listing.rows:
                if issue.fingerprint == id:
                    self.issues_pane.listing.go_to(id)
                    self._open_issue(issue)
                    return
            self.run_worker(self._find_issue(id), group="open", exclusive=True)
        elif kind == "jobs":
            self.open_jobs()
        elif kind == "search":
            self.level = "issues"
            self.query_one("#filter-issues", FilterBar).put(id)

    async def _find_issue(self, fingerprint: str) -> None:
        for issue in await deadletters.issues(self.console.workspace):
            if issue.fingerprint == fingerprint:
                self._open_issue(issue)
                return
        self.console.report(f"There is no issue {fingerprint}.", ok=False)

    def _open_issue(self, issue: Issue) -> None:
        self.issue, self.every_issue = issue, False
        self.every_state = self.every_state or not issue.open
        self.query_one("#filter-items", FilterBar).close()
        self.items_pane.table.clear_marks()
        self.level = "items"
        self._show_items()

    def _open_item(self, number: str) -> None:
        if self.level != "items":
            self.every_issue = False
        self.number = number
        self.item_pane.forget()
        self.level = "item"
        self.console.reload()

    @property
    def items_where(self) -> DeadLetterFilter:
        """Which dead letters the table lists. Raises UsageError for a filter that cannot be read."""
        states: tuple[DeadLetterState, ...] = () if self.every_state else _UNRESOLVED
        text = self.query_one("#filter-items", FilterBar).text
        where = letter_filter(text, self._now(), states)
        return replace(where, fingerprint=self.issue.fingerprint) if self.issue is not None else where

    def _show_items(self) -> None:
        text = self.query_one("#filter-items", FilterBar).text
        try:
            where = self.items_where
        except UsageError as error:
            self.query_one("#filter-items", FilterBar).found(error.sentence())
            return
        empty = "Nothing is left to do here. v shows those that are resolved."
        if text:
            empty = "Nothing matches. esc clears the filter."
        elif self.every_state:
            empty = "No dead letters of this issue are kept any more."
        self.items_pane.table.set_source(Letters(self.console.workspace, where, self._found), empty=empty)

    def open_all(self, text: str) -> None:
        """List the dead letters of every issue that match a filter."""
        self.issue, self.every_issue = None, True
        self.query_one("#filter-issues", FilterBar).close()
        self.items_pane.table.clear_marks()
        self.level = "items"
        self.query_one("#filter-items", FilterBar).put(text)
        self._show_items()
        self.focus_first()

    def _found(self, count: int, whole: int | None) -> None:
        bar = self.query_one("#filter-items", FilterBar)
        bar.found(f"{present.count(count)} of {present.count(whole)}" if whole is not None else "")

    def _draw_items_head(self) -> None:
        title = issue_title(self.issue) if self.issue is not None else "Every issue"
        self.items_pane.draw_head(title, self.every_state)

    # --- what widgets say -------------------------------------------------------------------------------

    @on(Listing.Moved, "#issues")
    def _issue_moved(self) -> None:
        self.issues_pane.draw_facts()
        self.console.refresh_keys()

    @on(Listing.Moved, "#jobs")
    def _job_moved(self) -> None:
        self.console.reload()
        self.console.refresh_keys()

    @on(Listing.Moved, "#rules")
    def _rule_moved(self) -> None:
        self.rules_pane.draw_facts()
        self.console.refresh_keys()

    @on(Listing.Opened, "#issues")
    def _issue_opened(self) -> None:
        issue = self.issues_pane.listing.current
        if issue is not None:
            self._open_issue(issue)

    @on(VirtualTable.RowOpened, "#letters")
    def _letter_opened(self, message: VirtualTable.RowOpened) -> None:
        self._open_item(str(message.row_id))

    @on(VirtualTable.RowHighlighted, "#letters")
    @on(VirtualTable.Changed, "#letters")
    def _table_changed(self) -> None:
        self._draw_items_head()
        self.console.refresh_keys()

    @on(FilterBar.Changed)
    def _filter_changed(self, message: FilterBar.Changed) -> None:
        if message.bar.id == "filter-issues":
            message.bar.found("")
            self.console.reload()
        elif message.bar.id == "filter-items":
            self._show_items()
        elif self.item_pane.face != "attempts":
            self.item_pane.payload.search(message.text)

    @on(FilterBar.Accepted)
    def _filter_accepted(self, message: FilterBar.Accepted) -> None:
        if message.bar.id == "filter-issues" and message.bar.text:
            try:
                letters = filtering.asks_letters(filtering.read(message.bar.text))
            except UsageError:
                return
            if letters or not self.issues_pane.listing.rows:
                self.open_all(message.bar.text)
                return
        self.focus_first()

    @on(PayloadView.Searched)
    def _searched(self, message: PayloadView.Searched) -> None:
        bar = self.query_one("#filter-item", FilterBar)
        if bar.text:
            found = f"{message.current:,} of {message.count:,}  n N" if message.count else "nothing found"
            bar.found(found)


def issue_title(issue: Issue) -> str:
    """An issue in a few words: `missing_field in email`."""
    cause = issue.code or str(issue.error_class)
    return f"{cause} in {issue.field}" if issue.field else cause

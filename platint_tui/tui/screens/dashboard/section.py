"""The dashboard: health of platforms, work that goes on, open issues, the last runs. Everything is a door."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from platint_tui.core.model import Issue, Run
from platint_tui.tui import present, progress
from platint_tui.tui.actions import Action, Context
from platint_tui.tui.listing import Listing
from platint_tui.tui.pace import Pace
from platint_tui.tui.progress import Progress
from platint_tui.tui.screens.dashboard import incoming
from platint_tui.tui.screens.dashboard.incoming import Door
from platint_tui.tui.screens.dashboard.welcome import Welcome
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.cells import Cell, Column

if TYPE_CHECKING:
    from platint_tui.services.dashboard import Dashboard, PlatformHealth
    from platint_tui.services.workspace import Workspace
    from platint_tui.tui.app import PlatintApp


def _demo_reason(context: Context) -> str | None:
    view = context.view
    if isinstance(view, DashboardSection) and view.demo_code is None:
        return "Leave with ^q and start `platint-tui demo`."
    if isinstance(view, DashboardSection) and not view.welcoming:
        return "There are profiles already; `platint-tui demo` has data of its own."
    return None


def _alert_reason(context: Context) -> str | None:
    view = context.view
    alert = isinstance(view, DashboardSection) and view.alert
    return None if alert else "Choose an alert."


def _health_cell(row: PlatformHealth) -> Cell:
    profile = row.view.profile
    tone = "accent" if profile.environment == "production" else "muted"
    return Cell(profile.environment.value, tone)


def _health_columns() -> tuple[Column[PlatformHealth], ...]:
    return (
        Column("", lambda row: Cell(*present.state_cell(row.word)), 10),
        Column("", lambda row: Cell(row.view.profile.name), 12, grow=2, most=28),
        Column(
            "platform", lambda row: Cell(row.view.platform_name, "muted"), 14, grow=2, most=24, priority=2
        ),
        Column("", _health_cell, 11, priority=3),
        Column("p95", lambda row: Cell(_p95(row), "muted"), 8, align="right"),
        Column("errors", lambda row: _errors(row), 7, align="right"),
        Column(
            "",
            lambda row: Cell(row.reason, "muted" if row.word == "unknown" else "warn"),
            24,
            grow=4,
            priority=1,
        ),
    )


def _p95(row: PlatformHealth) -> str:
    return present.milliseconds(row.latency.p95_ms) if row.latency else "-"


def _errors(row: PlatformHealth) -> Cell:
    if row.latency is None or not row.latency.count:
        return Cell("-", "muted")
    rate = row.latency.error_rate
    return Cell(present.percent(rate), "warn" if rate > 0.02 else "muted")


class DashboardSection(SectionView):
    """What an operator looks at first."""

    SECTION = "dashboard"
    EMPTY = "Nothing is configured yet."
    ACTIONS = (
        Action(
            "dashboard.open",
            ("enter",),
            "open",
            "Go to what the row stands for.",
            "open_row",
            section="dashboard",
            footer=10,
        ),
        Action(
            "dashboard.acknowledge",
            ("c",),
            "acknowledge",
            "Say that somebody has seen this alert.",
            "acknowledge",
            section="dashboard",
            footer=15,
            writes=True,
            enabled=_alert_reason,
        ),
        Action(
            "dashboard.add",
            ("a",),
            "add a profile",
            "Add an account on a platform.",
            "add_profile",
            section="dashboard",
            footer=20,
            writes=True,
        ),
        Action(
            "dashboard.demo",
            ("d",),
            "demo",
            "Set up the demo platforms, when nothing is configured yet.",
            "run_demo",
            section="dashboard",
            footer=0,
            writes=True,
            enabled=_demo_reason,
        ),
    )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pace = Pace()
        self.welcoming = False
        self._arranged = False

    def compose(self) -> ComposeResult:
        """The welcome, and the panels."""
        yield Welcome(id="welcome")
        with VerticalScroll(id="panels", can_focus=False):
            yield Static(id="headline", markup=False)
            with Horizontal(id="columns"):
                with Vertical(id="now"):
                    yield Listing(
                        _health_columns(), lambda row: row.view.profile.name, heading="Platforms", id="health"
                    )
                    yield Listing(incoming.columns(), lambda row: row.key, heading="Incoming", id="incoming")
                    yield Listing(
                        progress.columns(0),
                        lambda row: row.key,
                        heading="At work",
                        empty="Nothing runs.  4 starts a sync.",
                        id="work",
                    )
                with Vertical(id="past"):
                    yield Listing(
                        self._issue_columns(),
                        lambda row: row.fingerprint,
                        heading="Open issues",
                        empty="No open issue: every record arrived.",
                        id="issues",
                    )
                    yield Listing(
                        self._run_columns(),
                        lambda row: row.id,
                        heading="Last runs",
                        empty="No run yet.",
                        id="runs",
                    )

    def _issue_columns(self) -> tuple[Column[Issue], ...]:
        return (
            Column("open", lambda row: Cell(present.count(row.open), "bad"), 6, align="right"),
            Column("stream", lambda row: Cell(row.place), 16, grow=2, most=32),
            Column("why", lambda row: Cell(row.message, "muted"), 18, grow=5),
            Column("last", lambda row: Cell(self._age(row.last_seen_ms), "muted"), 10, align="right"),
        )

    def _run_columns(self) -> tuple[Column[Run], ...]:
        def written(run: Run) -> Cell:
            return Cell(present.count(sum(stream.written for stream in run.streams)))

        def dead(run: Run) -> Cell:
            return progress.dead_cell(sum(stream.dead_lettered for stream in run.streams))

        return (
            Column("run", lambda row: Cell(str(row.number), "muted"), 6, align="right"),
            Column("integration", lambda row: Cell(row.integration), 14, grow=3, most=36),
            Column("state", lambda row: Cell(*present.state_cell(row.state)), 13),
            Column("written", written, 9, align="right"),
            Column("dead", dead, 6, align="right", priority=1),
            Column(
                "when",
                lambda row: Cell(self._age(row.started_ms or row.created_ms), "muted"),
                16,
                align="right",
            ),
        )

    def _age(self, at_ms: int | None) -> str:
        return present.age(at_ms, self.console.clock.now_ms())

    @property
    def demo_code(self) -> int | None:
        """The exit code that asks the command line for the demo, None when it offers none."""
        return cast("PlatintApp", self.app).options.demo_code

    async def load(self, workspace: Workspace) -> Dashboard:
        """The service's snapshot."""
        from platint_tui.services import dashboard

        return await dashboard.load(workspace)

    def show(self, snapshot: Dashboard) -> None:
        """Fill the panels, or welcome when nothing is configured."""
        welcoming = not snapshot.health and not snapshot.recent
        if welcoming != self.welcoming or not self._arranged:
            self.welcoming, self._arranged = welcoming, True
            self.query_one("#welcome").display = welcoming
            self.query_one("#panels").display = not welcoming
            self.focus_first()
        now = self.console.clock.now_ms()
        self._headline(snapshot)
        health = self.query_one("#health", Listing)
        health.show(snapshot.health)
        bad = sum(row.troubled for row in snapshot.health)
        health.remark(f"{bad} in trouble" if bad else "", "warn")
        rows = incoming.doors(snapshot.incoming, now)
        doors = self.query_one("#incoming", Listing)
        doors.display = bool(rows)
        doors.show(rows)
        doors.remark(*incoming.listener_words(snapshot.incoming, now))
        work = self.query_one("#work", Listing)
        work.set_columns(progress.columns(now))
        work.show(progress.progress_of((*snapshot.active, *snapshot.parked), self._pace, now))
        issues = self.query_one("#issues", Listing)
        issues.show(snapshot.issues[:8])
        issues.remark(present.plural(snapshot.open_dead_letters, "dead letter") if snapshot.issues else "")
        self.query_one("#runs", Listing).show(snapshot.recent)

    def _headline(self, snapshot: Dashboard) -> None:
        """Numbers of the last hour, as many as fit, over two sparklines."""
        line = snapshot.headline
        room = (self.size.width or self.app.size.width) - 6
        facts = [
            ("", present.plural(line.requests, "request")),
            ("p50 ", present.milliseconds(line.api_latency_p50_ms)),
            ("p95 ", present.milliseconds(line.api_latency_p95_ms)),
            ("p99 ", present.milliseconds(line.api_latency_p99_ms)),
            ("errors ", present.percent(line.error_rate if line.requests else None)),
            ("committed ", present.rate(line.sync_throughput)),
        ]
        if snapshot.native_letters:
            facts.insert(1, ("in brokers' dead-letter queues ", present.count(snapshot.native_letters)))
        if snapshot.lag_p95_ms is not None:
            facts.insert(1, ("lag p95 ", present.milliseconds(snapshot.lag_p95_ms)))
        pieces: list[tuple[str, str]] = [("Last hour", "strong")]
        used = len("Last hour")
        for label, value in facts:
            used += 3 + len(label) + len(value)
            if used <= room:
                pieces += [("   ", ""), (label, "muted"), (value, "")]
        width = max(8, min(60, (room - 22) // 2))
        latency = present.sparkline([point.p95_ms for point in snapshot.series], width)
        errors = present.sparkline(
            [point.errors / point.count if point.count else None for point in snapshot.series], width
        )
        sparks = [("\np95  ", "muted"), (latency, "info"), ("   errors  ", "muted"), (errors, "warn")]
        self.query_one("#headline", Static).update(present.joined([*pieces, *sparks], lines=True))

    def focus_first(self) -> None:
        """The first list that has rows, or the welcome."""
        if self.welcoming:
            self.query_one("#welcome").focus()
            return
        for listing in self.query(Listing):
            if listing.rows:
                listing.focus()
                return

    @on(Listing.Opened)
    def _row_opened(self) -> None:
        self.open_row()

    def open_row(self) -> None:
        """Go to what the row under the cursor stands for."""
        listing = self.app.focused
        row = listing.current if isinstance(listing, Listing) else None
        if isinstance(row, Issue):
            self.console.go("deadletters", "issue", row.fingerprint)
        elif isinstance(row, Run):
            self.console.go("history", "run", row.id)
        elif isinstance(row, Door):
            self.console.go(row.section, row.kind, row.id)
        elif isinstance(row, Progress):
            self.console.go("syncs", "sync", row.run.integration)
        elif row is not None:
            self.console.go("profiles", "profile", row.view.profile.name)

    @property
    def alert(self) -> int:
        """The number of the alert under the cursor, 0 for none."""
        listing = self.app.focused
        row = listing.current if isinstance(listing, Listing) else None
        return row.alert if isinstance(row, Door) else 0

    async def acknowledge(self) -> str | None:
        """Somebody has seen the alert under the cursor."""
        from platint_tui.services import inbound

        number = self.alert
        if not number:
            return None
        await inbound.acknowledge_alert(self.console.workspace, number)
        return "The alert is acknowledged; it comes again if it happens again."

    @on(Listing.Moved)
    def _row_moved(self) -> None:
        self.console.refresh_keys()

    def add_profile(self) -> None:
        """The form for a profile."""
        self.console.go("profiles", "new")

    def run_demo(self) -> None:
        """Leave this empty installation; the command line opens the demo's."""
        code = self.demo_code
        if code is not None:
            self.app.exit(code, return_code=code)

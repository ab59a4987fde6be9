"""Sending dead letters again: foreseen, planned, followed and steered; part of the section."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from textual.widgets import Static

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Issue, ReplayJob
from platint_tui.core.replays import AS_USUAL, BulkPlan, ReplayOptions, Simulation
from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.services import deadletters, replays
from platint_tui.services.deadletters import DeadLetterFilter, DeadLetterView
from platint_tui.services.replays import ReplayPlan, Selection
from platint_tui.tui import present
from platint_tui.tui.dialogs.confirm import Confirmation, needs_name
from platint_tui.tui.screens.deadletters import planwords
from platint_tui.tui.screens.deadletters.bulk import BulkScreen
from platint_tui.tui.screens.deadletters.forecast import ForecastScreen, Progress
from platint_tui.tui.widgets.cells import fit

if TYPE_CHECKING:
    from platint_tui.tui.screens.deadletters.section import DeadLettersSection

_TALL = 26
_BAR_FROM = 100
_STEERABLE = (ReplayState.CANARY, ReplayState.RUNNING, ReplayState.PAUSED, ReplayState.WAITING)


def _me(self: object) -> DeadLettersSection:
    return cast("DeadLettersSection", self)


class Replaying:
    """Replay, simulate, and what can be done to a job that runs; of this console or of another one."""

    jobs: tuple[ReplayJob, ...] = ()
    """The newest replay jobs, of every console."""

    # --- what is meant ----------------------------------------------------------------------------------

    @property
    def job(self) -> ReplayJob | None:
        """The job that can be steered: the one under the cursor in the list of jobs, else the one in the line."""
        view = _me(self)
        if view.level == "jobs":
            return view.jobs_pane.listing.current
        return planwords.first_line(self.jobs)

    async def _selection(self) -> tuple[Selection, str] | None:
        """What is chosen, and in words."""
        view = _me(self)
        letter = view.one_letter
        if letter is not None:
            return Selection(ids=(letter.id,)), f"dead letter {letter.number}"
        if view.level == "items" and view.items_pane.table.marks:
            marked = tuple(item.id for item in await view._chosen())
            return Selection(ids=marked), present.plural(len(marked), "dead letter")
        return self._what_is_listed()

    # --- replay -----------------------------------------------------------------------------------------

    async def replay_chosen(self) -> str | None:
        """The dead letter, the marked ones, or the whole issue when the list of issues is shown."""
        view = _me(self)
        if view.level == "rules":
            return await view.apply_rule()
        letter = view.one_letter
        if letter is not None:
            return await self._replay_one(letter.id)
        found = await self._selection()
        return await self._replay_many(*found) if found is not None else None

    async def replay_issue(self) -> str | None:
        """Every open dead letter that is listed, or of the issue."""
        found = self._what_is_listed()
        return await self._replay_many(*found) if found is not None else None

    def _what_is_listed(self) -> tuple[Selection, str] | None:
        view = _me(self)
        issue = view.current_issue
        if view.level == "items":
            where = replace(view.items_where, states=(DeadLetterState.OPEN,))
            text = f"the dead letters that are listed ({present.count(view.items_pane.table.count)})"
            if issue is None or where != _whole(issue):
                return Selection(where=where), text
        if issue is None:
            return None
        return replays.of_fingerprint(issue.fingerprint), present.plural(issue.open, "dead letter")

    async def _replay_one(self, id: str) -> str:
        view = _me(self)
        workspace = view.console.workspace
        plan = await replays.plan_replay(workspace, [id])
        first = await deadletters.show(workspace, id)
        room = 5 if view.app.size.height >= _TALL else 3
        if not await view.console.confirm(
            plan_confirmation(plan, first, view.console.clock.now_ms(), bodies=room)
        ):
            return "Nothing was sent."
        self._draw_line("Asking the engine…", "muted")
        return await self._follow(replays.replay(workspace, [id]))

    async def _replay_many(self, what: Selection, text: str, options: ReplayOptions = AS_USUAL) -> str:
        view = _me(self)
        workspace = view.console.workspace

        shown = what

        async def plan(wanted: ReplayOptions) -> BulkPlan:
            nonlocal shown
            found = await replays.plan_bulk(workspace, what, wanted)
            shown = what.as_planned(found)
            return found

        async def simulate(wanted: ReplayOptions) -> None:
            await self._foresee(what, text, wanted, onward=False)

        screen = BulkScreen(f"Replay {text}", plan, simulate, view.console.clock.now_ms, options)
        chosen = await view.app.push_screen_wait(screen)
        if chosen is None:
            return "Nothing was sent."
        self._draw_line("Asking the engine…", "muted")
        view.items_pane.table.clear_marks()
        return await self._follow(replays.start_bulk(workspace, shown, chosen))

    async def _follow(self, started: Awaitable[ReplayJob]) -> str:
        """Start, then watch the job until it ends or wants a word; what is said of it."""
        workspace = _me(self).console.workspace
        try:
            job = await started
            async for found in replays.watch_replay(workspace, job.id):
                job = found
        finally:
            self.draw_jobs()
        said, tone = planwords.job_words(job)
        if tone == "bad":
            raise PlatintError(said, hint="The attempts of each dead letter say why; J has the report.")
        return f"{said} P sends the others, x leaves them." if job.state == ReplayState.WAITING else said

    # --- simulate ---------------------------------------------------------------------------------------

    async def simulate_chosen(self) -> str | None:
        """What a replay of what is chosen would do; nothing is sent."""
        if _me(self).level == "rules":
            return await _me(self).simulate_rule()
        found = await self._selection()
        if found is None:
            return None
        what, text = found
        if await self._foresee(what, text, AS_USUAL, onward=True) == "replay":
            return await self._replay_many(what, text)
        return None

    async def _foresee(
        self, what: Selection, text: str, options: ReplayOptions, *, onward: bool, rule: str = ""
    ) -> str | None:
        view = _me(self)
        workspace = view.console.workspace

        async def simulate(progress: Progress) -> Simulation:
            return await replays.simulate(
                workspace, what, rule=rule, options=options, recorded=True, progress=progress
            )

        screen = ForecastScreen(f"Simulate the replay of {text}", simulate, onward=onward)
        return await view.app.push_screen_wait(screen)

    # --- jobs -------------------------------------------------------------------------------------------

    def show_jobs(self) -> None:
        """The list of replay jobs with their reports, or back from it."""
        view = _me(self)
        if view.level == "jobs":
            view.go_back()
        else:
            view.open_jobs()

    async def steer_job(self) -> str | None:
        """Pause a job that sends, let a paused one go on, send the rest after a canary."""
        job = self.job
        if job is None or job.state not in _STEERABLE:
            return None
        workspace = _me(self).console.workspace
        if job.state in (ReplayState.CANARY, ReplayState.RUNNING):
            await replays.pause_replay(workspace, job.id)
            return "The replay is paused; what is on its way settles. P lets it go on."
        if job.state == ReplayState.PAUSED:
            return await self._follow(replays.resume_replay(workspace, job.id))
        return await self._follow(replays.continue_replay(workspace, job.id))

    async def cancel_job(self) -> str | None:
        """Stop the job; what was not sent stays open."""
        job = self.job
        if job is None:
            return None
        await replays.cancel_replay(_me(self).console.workspace, job.id)
        return "The replay is being cancelled; what was not sent stays open."

    def take_jobs(self, jobs: Sequence[ReplayJob]) -> None:
        """The jobs as the store has them now."""
        self.jobs = tuple(jobs)
        self.draw_jobs()

    def draw_jobs(self) -> None:
        """The line of the job that wants attention most."""
        job = planwords.first_line(self.jobs)
        if job is None or _me(self).level == "jobs":
            self._draw_line("", "")
            return
        text, tone, keys = planwords.line_words(job)
        others = sum(1 for item in self.jobs if item.ended_ms is None) - 1
        more = f", J has {present.plural(others, 'more', 'more')}" if others else ""
        whose = f"{job.operator}: " if job.operator else ""
        share = planwords.settled(job) / job.total if job.total else 0.0
        wide = _me(self).app.size.width >= _BAR_FROM
        pieces = [
            (f"{present.bar(share, 12)}  " if wide else "", "info"),
            (whose, "muted"),
            (text, tone),
            (f"   {keys}{more}", "muted"),
        ]
        self._put_line(pieces)

    def _draw_line(self, text: str, tone: str) -> None:
        self._put_line([(text, tone)] if text else [])

    def _put_line(self, pieces: Sequence[tuple[str, str]]) -> None:
        view = _me(self)
        view.query_one("#job", Static).update(present.joined(pieces))
        view.set_class(bool(pieces), "-busy")
        view.console.refresh_keys()


def _whole(issue: Issue) -> DeadLetterFilter:
    return DeadLetterFilter(fingerprint=issue.fingerprint, states=(DeadLetterState.OPEN,))


def plan_confirmation(
    plan: ReplayPlan, first: DeadLetterView, now_ms: int, *, bodies: int = 5
) -> Confirmation:
    """What the replay of one dead letter would do, as the question before it; `bodies`: lines of payload."""
    lines = [
        f"to        {plan.target_profile} ({plan.target_platform}, {plan.environment})",
        f"where     {plan.address or 'as its profile says'}",
        f"oldest    {present.age(plan.oldest_ms, now_ms)}",
    ]
    if first.letter.state == DeadLetterState.UNKNOWN:
        lines.append("caution   an earlier answer was lost: the target may have it already")
    lines.append("")
    lines += [fit(" ".join(body.split()), 64).rstrip() for body in plan.first[:bodies]]
    number = len(plan.ids)
    return Confirmation(
        title=f"Replay {present.plural(number, 'dead letter')} to {plan.target_profile}",
        verb="Replay",
        lines=tuple(lines),
        typed=plan.target_profile if needs_name(environment=plan.environment, count=number) else "",
    )

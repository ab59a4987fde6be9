"""What the actions of the section of events do; part of the section."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.events import SourceState
from platint_tui.core.exports import as_curl
from platint_tui.core.gaps import StoredGap
from platint_tui.core.text import clean
from platint_tui.services import events, export, gaps, inbound, subscriptions
from platint_tui.services.events import EventFilter, Resent
from platint_tui.services.inbound import SourceView
from platint_tui.tui import present
from platint_tui.tui.dialogs.ask import Question
from platint_tui.tui.dialogs.choose import Choice, ChooseScreen
from platint_tui.tui.dialogs.confirm import Confirmation, needs_name
from platint_tui.tui.screens.deadletters import output
from platint_tui.tui.screens.events.subscribe import ByHandScreen, SubscribeScreen
from platint_tui.tui.widgets.payload import text_of

if TYPE_CHECKING:
    from platint_tui.tui.screens.events.section import EventsSection

_DAY_MS = 86_400_000


def _me(self: object) -> EventsSection:
    return cast("EventsSection", self)


class Handlers:
    """Look, resend, steer sources, register webhooks, fill gaps, copy, save."""

    # --- looking ----------------------------------------------------------------------------------------

    def start_filter(self) -> None:
        """Type a filter; over the sources it filters the events of all of them."""
        view = _me(self)
        if view.level == "sources":
            view.open_source("")
        bar = view.filter_bar
        if bar is not None:
            bar.open()

    def change_view(self) -> None:
        """Events or refused requests; of one the next face."""
        view = _me(self)
        if view.level == "event":
            if view.event_pane.next_face() == "signature" and view.event_pane.event is not None:
                view.check_again()
            return
        if view.level == "sources":
            row = view.current_source
            view.open_source(row.name if row is not None else "", refused=True)
            return
        view.open_source(view.source, refused=not view.events_pane.refused)

    @property
    def dead_letter(self) -> str:
        """The dead letter of the open event's deliveries, "" for none."""
        shown = _me(self).event_pane.event
        found = (item.dead_letter for item in shown.deliveries) if shown is not None else ()
        return next((letter for letter in found if letter), "")

    def open_letter(self) -> None:
        """Go to the dead letter of the open event."""
        view = _me(self)
        if view.level == "event" and self.dead_letter:
            view.console.go("deadletters", "dead", self.dead_letter)

    def mark_row(self) -> None:
        """Mark the event under the cursor."""
        view = _me(self)
        if view.level == "events":
            view.events_pane.table.action_mark()

    # --- resend -----------------------------------------------------------------------------------------

    async def resend(self) -> str | None:
        """Deliver the chosen events to the integrations of today, after showing what would go where."""
        view = _me(self)
        workspace = view.console.workspace
        rows = await events.rows(workspace, sorted(view.chosen_events))
        ids = [row.id for row in rows]
        if not ids:
            return None
        fresh = await events.resend(workspace, ids, dry_run=True)
        plan, again = fresh, False
        if not fresh.total and fresh.left:
            plan, again = await events.resend(workspace, ids, again=True, dry_run=True), True
        if not plan.total:
            raise _nowhere(plan)
        profile = view.view_of(rows[0].profile)
        if not await view.console.confirm(resend_question(plan, again, profile)):
            return "Nothing was sent."
        done = await events.resend(workspace, ids, again=again)
        view.events_pane.table.clear_marks()
        return (
            f"{present.plural(done.total, 'delivery', 'deliveries')} on the way; v shows them at the event."
        )

    # --- sources ----------------------------------------------------------------------------------------

    async def pause_source(self) -> str | None:
        """Keep what arrives without delivering it; or deliver again, what was kept first."""
        row = _me(self).current_source
        if row is None:
            return None
        paused = row.source.state is SourceState.PAUSED
        said = "is paused: what arrives is kept, nothing is delivered" if not paused else "delivers again"
        wanted = SourceState.ACTIVE if paused else SourceState.PAUSED
        return await self._set_state(row, wanted, said)

    async def disable_source(self) -> str | None:
        """Refuse what arrives, after asking; or take it again."""
        view = _me(self)
        row = view.current_source
        if row is None:
            return None
        if row.source.state is SourceState.DISABLED:
            return await self._set_state(
                row, SourceState.ACTIVE, "takes webhooks again; b looks for what was missed"
            )
        asked = Confirmation(
            f"Disable {row.name}",
            "Disable",
            (
                "Its webhooks are refused with 503. The vendor tries again for a while, then gives up,",
                "and a gap is open from now on. P pauses instead: everything is kept, nothing is delivered.",
            ),
            typed=row.name if row.profile.environment == "production" else "",
        )
        if not await view.console.confirm(asked):
            return "Nothing was changed."
        return await self._set_state(row, SourceState.DISABLED, "is disabled: its webhooks are refused")

    async def _set_state(self, row: SourceView, state: SourceState, said: str) -> str:
        console = _me(self).console
        before = row.source.state
        await events.set_state(console.workspace, row.name, state)

        async def undo() -> str:
            await events.set_state(console.workspace, row.name, before)
            return f"{row.name} is {before} again."

        console.offer_undo(f"{state} of {row.name}", undo)
        return f"{row.name} {said}."

    async def test_url(self) -> str | None:
        """Whether the public address leads to this receiver."""
        row = _me(self).current_source
        found = await subscriptions.check_address(_me(self).console.workspace, row.name if row else "")
        if not found.ok:
            raise PlatintError(found.message, hint=found.hint)
        return f"{found.message or f'{found.address} leads here.'}"

    # --- webhooks at the platform -----------------------------------------------------------------------

    async def subscribe(self) -> str | None:
        """Register a webhook at the platform, or say what to do there by hand."""
        view = _me(self)
        row = view.current_source
        if row is None:
            return None
        ways = subscriptions.ways(view.console.workspace, row.profile.platform)
        made = await view.app.push_screen_wait(SubscribeScreen(view.console.workspace, row, ways))
        if made is None:
            return "Nothing was registered."
        if made.by_hand:
            await view.app.push_screen_wait(ByHandScreen(row, made, view.console))
            return None
        notes = " ".join(made.notes)
        number = present.plural(len(made.subscriptions), "webhook")
        return f"{number} of {row.name} registered at {row.platform_name}. {notes}".rstrip()

    async def remove_chosen(self) -> str | None:
        """Remove a webhook at its platform; in the list of gaps: leave the gap as it is."""
        view = _me(self)
        if view.level == "gaps":
            return await self._accept_gap()
        row = view.current_source
        if row is None or not row.subscriptions:
            return None
        chosen = row.subscriptions[0]
        if len(row.subscriptions) > 1:
            choices = tuple(
                Choice(f"s{index}", str(index), item.remote_id or item.id[:12],
                       " ".join([*item.scope.values(), *item.types[:3]]) or item.url)
                for index, item in enumerate(row.subscriptions[:9], 1)
            )  # fmt: skip
            stay = Choice("stay", "escape", "none", "Nothing is removed.")
            answer = await view.app.push_screen_wait(
                ChooseScreen("Remove which webhook?", (), (stay, *choices))
            )
            if answer is None or answer == "stay":
                return "Nothing was removed."
            chosen = row.subscriptions[int(answer[1:]) - 1]
        asked = Confirmation(
            f"Remove a webhook of {row.name}",
            "Remove",
            (f"{row.platform_name} sends no more of: {', '.join(chosen.types[:8]) or 'everything'}",),
            host=chosen.url,
            method=f"remove {chosen.remote_id or chosen.id} at {row.platform_name}",
            typed=row.name if needs_name(environment=row.profile.environment, deletes=True) else "",
        )
        if not await view.console.confirm(asked):
            return "Nothing was removed."
        await subscriptions.unsubscribe(view.console.workspace, chosen.id)
        return f"The webhook of {row.name} is removed at {row.platform_name}."

    # --- gaps -------------------------------------------------------------------------------------------

    async def backfill(self) -> str | None:
        """Of a source: compare with what the platform sent within a day and list the gaps; of a gap: fill it."""
        view = _me(self)
        workspace = view.console.workspace
        if view.level == "gaps":
            gap = view.gaps_pane.listing.current
            return await self._fill(gap) if gap is not None else None
        row = view.current_source
        if row is None:
            return None
        view.open_gaps(row.name)
        since = min([gap.start_ms for gap in row.gaps if gap.start_ms is not None], default=None)
        now = view.console.clock.now_ms()
        found = await gaps.missed(workspace, row.name, since if since is not None else now - _DAY_MS)
        said = (
            f"{row.platform_name} sent {present.plural(found.sent, 'event')} since "
            f"{present.moment(found.since_ms)}; {present.count(found.here)} are here"
        )
        missing = found.sent - found.here
        return f"{said}, {present.count(missing)} are missing. b fills a gap." if missing else f"{said}."

    async def _fill(self, gap: StoredGap) -> str:
        view = _me(self)
        whole = await gaps.show(view.console.workspace, gap.number)
        if not whole.fillable:
            raise ConfigError(whole.why_not or f"Gap {gap.number} is {gap.state}.")
        done = await gaps.backfill(view.console.workspace, gap.number)
        parts = [f"{present.count(done.fetched)} fetched"]
        if done.asked:
            parts.append(f"{present.count(done.asked)} asked for again, they come as webhooks")
        if done.lost:
            parts.append(f"{present.count(done.lost)} lost for good")
        if done.left:
            parts.append(f"{present.count(done.left)} left")
        end = "it is filled" if done.filled else "it stays open"
        return f"Gap {gap.number}: {', '.join(parts)}; {end}."

    async def _accept_gap(self) -> str | None:
        view = _me(self)
        gap = view.gaps_pane.listing.current
        if gap is None:
            return None
        note = await view.console.ask(
            Question(
                f"Leave gap {gap.number} as it is",
                "Why it may stay unfilled; the gap keeps your words.",
                placeholder="the nightly sync brought the records",
                verb="Leave it",
            )
        )
        if note is None:
            return "Nothing was changed."
        await gaps.accept(view.console.workspace, gap.number, note)
        return f"Gap {gap.number} is left as it is: {note}"

    # --- copy, save -------------------------------------------------------------------------------------

    async def copy_row(self) -> None:
        """The event, refused request or gap as JSON; of a source its address."""
        view = _me(self)
        console = view.console
        row = view.current_source
        if view.level == "sources" and row is not None:
            if not row.address:
                raise ConfigError("There is no address yet.", hint="Tell the public URL in Settings (9).")
            console.copy(row.address, "the address for the vendor")
            return
        gap = view.gaps_pane.listing.current
        if view.level == "gaps" and gap is not None:
            console.copy(_json(asdict(gap)), "the gap as JSON")
            return
        if view.events_pane.refused:
            number = view.opened if view.level == "event" else _key(view.events_pane.listing.current)
            refused = await inbound.rejection(console.workspace, int(number)) if number else None
            if refused is not None:
                document = {**asdict(refused), "body": text_of(refused.body)[0]}
                console.copy(_json(document), "the refused request as JSON")
            return
        found = [await inbound.show(console.workspace, str(number)) for number in sorted(view.chosen_events)]
        text = "\n".join(_json(events.document(item.event, item.deliveries)) for item in found)
        if found:
            console.copy(text, f"{present.plural(len(found), 'event')} as JSON")

    def copy_curl(self) -> None:
        """The request as a curl line, secrets left out."""
        view = _me(self)
        pane = view.event_pane
        item = pane.event.event if pane.event is not None else pane.rejection
        if item is None or view.snapshot is None:
            return
        receiver = view.snapshot.inbound.receiver
        base = receiver.public_url or receiver.address
        line = clean(as_curl(export.event_request(item, base)), lines=True)
        view.console.copy(line, "the request as curl, secrets left out")

    async def save_file(self) -> str | None:
        """The events that are listed, or the open one, as JSON lines into a new private file."""
        view = _me(self)
        row = view.current_source
        where = EventFilter(profile=row.name if row is not None and view.level == "sources" else view.source)
        if view.level == "events":
            where = view.where
        elif view.level == "event" and view.one_event is not None:
            where = EventFilter(profile=view.one_event.profile, text=view.one_event.event_id)
        name = where.profile or "events"
        answer = await view.console.ask(
            Question(
                "Save to a file",
                "A new file; one that exists is never written over.",
                value=str(output.chosen_path(f"{name}-events.jsonl")),
                hint="JSON lines with the exact bodies. Only you can read the file.",
                verb="Save",
            )
        )
        if answer is None:
            return None
        path = output.chosen_path(answer)
        ids = await events.matching(view.console.workspace, (), where)
        lines = export.event_texts(view.console.workspace, ids, export.Form.JSONL, export.Exported())
        return f"Saved {present.plural(await export.write_new(path, lines), 'event')} to {path}."


def resend_question(plan: Resent, again: bool, source: SourceView | None) -> Confirmation:
    """What delivering once more would do, as the question before it."""
    lines = [
        f"to       {where}: {present.count(number)}" for where, number in {**plan.new, **plan.again}.items()
    ]
    if again:
        lines.append("caution  they arrived before: the same happens there a second time")
    left = sum(plan.left.values())
    if left:
        lines.append(f"left out {present.plural(left, 'delivery', 'deliveries')} that arrived or wait")
    if plan.unwanted:
        lines.append(f"left out {present.plural(plan.unwanted, 'event')} that no integration wants")
    environment = source.profile.environment if source is not None else ""
    return Confirmation(
        f"Deliver {present.plural(plan.events, 'event')} {'again' if again else 'now'}",
        "Deliver",
        tuple(lines),
        typed=source.name if source and needs_name(environment=environment, count=plan.total) else "",
    )


def _nowhere(plan: Resent) -> ConfigError:
    if plan.waiting:
        return ConfigError(
            "These events are not routed yet.", hint="They are delivered by themselves, in their order."
        )
    return ConfigError(
        "No integration wants these events.",
        hint="One that lists this profile with `type: webhook` gets them; 4 imports its file.",
    )


def _json(document: object) -> str:
    return clean(json.dumps(document, ensure_ascii=True, indent=2, default=str), lines=True)


def _key(row: object) -> str:
    return str(getattr(row, "number", "") or "")

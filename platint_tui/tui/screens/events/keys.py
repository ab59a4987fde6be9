"""The actions of the section of events, and when each works."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from platint_tui.tui.actions import Action, Context

if TYPE_CHECKING:
    from platint_tui.tui.screens.events.section import EventsSection

SECTION = "events"


def _view(context: Context) -> EventsSection:
    return cast("EventsSection", context.view)


def _always(context: Context) -> str | None:
    return None


def _source(context: Context) -> str | None:
    return None if _view(context).current_source is not None else "Choose a source."


def _resend(context: Context) -> str | None:
    view = _view(context)
    if view.level == "events" and view.events_pane.refused:
        return "What was refused is not an event: correct the secret, and have the vendor send it again."
    return None if view.chosen_events else "Open a source and choose an event."


def _dead_letter(context: Context) -> str | None:
    view = _view(context)
    if view.level != "event":
        return None if view.something else "There is nothing here to open."
    return None if view.dead_letter else "No delivery of this event is a dead letter."


def _mark(context: Context) -> str | None:
    view = _view(context)
    marks = view.level == "events" and not view.events_pane.refused and view.events_pane.table.count
    return None if marks else "Open a source: its events are marked."


def _remove(context: Context) -> str | None:
    view = _view(context)
    if view.level == "gaps":
        return None if view.gaps_pane.listing.current is not None else "There is no gap."
    source = view.current_source
    if source is None:
        return _source(context)
    return None if source.subscriptions else "No webhook is registered from here."


def _filter(context: Context) -> str | None:
    view = _view(context)
    if view.level == "event" and not view.event_pane.searchable:
        return "There is nothing to search here."
    filterable = view.level != "gaps" and not (view.level == "events" and view.events_pane.refused)
    return None if filterable else "There is nothing to filter here."


def _anything(context: Context) -> str | None:
    return None if _view(context).something else "There is nothing here to choose."


def _curl(context: Context) -> str | None:
    view = _view(context)
    return None if view.level == "event" else "Open an event first."


def _switch(context: Context) -> str | None:
    return None if _view(context).level in ("sources", "events", "event") else "There is no other view here."


def _backfill(context: Context) -> str | None:
    view = _view(context)
    if view.level == "gaps":
        return None if view.gaps_pane.listing.current is not None else "There is no gap."
    return _source(context)


def _action(
    name: str,
    key: str,
    label: str,
    help: str,
    handler: str,
    enabled: Callable[[Context], str | None],
    *,
    writes: bool = False,
    footer: int = 0,
) -> Action:
    return Action(
        f"events.{name}",
        (key,),
        label,
        help,
        handler,
        section=SECTION,
        writes=writes,
        footer=footer,
        enabled=enabled,
    )


ACTIONS: tuple[Action, ...] = (
    _action("open", "enter", "open", "Open the row; in the deliveries of an event its dead letter.",
            "open_letter", _dead_letter),
    _action("resend", "r", "resend", "Deliver the event, or the marked ones, to the integrations of today.",
            "resend", _resend, writes=True, footer=1),
    _action("filter", "slash", "filter", "Filter as you type: type:customer.* state:unwanted since:2h a text.",
            "start_filter", _filter, footer=2),
    _action("view", "v", "view", "Events or refused requests; in one: payload, raw, headers, deliveries, signature.",
            "change_view", _switch, footer=3),
    _action("add", "a", "subscribe", "Register a webhook at the platform, or see how to do it there by hand.",
            "subscribe", _source, writes=True, footer=4),
    _action("pause", "P", "pause", "Keep what arrives without delivering it, or deliver it all in its order.",
            "pause_source", _source, writes=True, footer=5),
    _action("disable", "D", "disable", "Refuse what arrives (the vendor keeps it and tries again), or take it again.",
            "disable_source", _source, writes=True, footer=7),
    _action("backfill", "b", "missed", "Compare with what the platform sent; on a gap: fetch exactly what is missing.",
            "backfill", _backfill, writes=True, footer=6),
    _action("test", "t", "test URL", "Call the public URL and see whether it leads to this receiver.",
            "test_url", _always, writes=True, footer=8),
    _action("remove", "d", "remove", "Remove the webhook at the platform; on a gap: leave it as it is.",
            "remove_chosen", _remove, writes=True, footer=9),
    _action("mark", "space", "mark", "Mark an event, to resend several.", "mark_row", _mark, footer=10),
    _action("copy", "y", "copy", "Copy the row as JSON; of a source its address.", "copy_row", _anything, footer=11),
    _action("curl", "Y", "copy curl", "Copy the request as curl, without secrets.", "copy_curl", _curl),
    _action("save", "o", "save", "Save what is listed to a new file, as JSON lines.", "save_file", _anything),
)  # fmt: skip
"""Registered by the app."""

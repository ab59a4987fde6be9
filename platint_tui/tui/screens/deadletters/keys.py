"""The actions of the inbox, and when each works."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.tui.actions import Action, Context

if TYPE_CHECKING:
    from platint_tui.tui.screens.deadletters.section import DeadLettersSection

SECTION = "deadletters"


def _view(context: Context) -> DeadLettersSection:
    return cast("DeadLettersSection", context.view)


def _anything(context: Context) -> str | None:
    return None if _view(context).has_selection else "There is nothing here to choose."


def _replay(context: Context) -> str | None:
    view = _view(context)
    if view.level == "rules":
        return None if view.current_rule is not None else "There is no fix rule."
    letter = view.one_letter
    if letter is not None and letter.state not in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN):
        return f"This one is {letter.state}."
    return _anything(context)


def _simulate(context: Context) -> str | None:
    return _replay(context)


def _discard(context: Context) -> str | None:
    view = _view(context)
    if view.level == "rules":
        return None if view.current_rule is not None else "There is no fix rule."
    return _anything(context)


def _all(context: Context) -> str | None:
    view = _view(context)
    listed = view.level == "items" and view.items_pane.table.count
    return None if listed else _issue(context)


def _not_beside(context: Context) -> str | None:
    return "Back to the inbox first: esc." if _view(context).level in ("jobs", "rules") else None


def _at_issues(context: Context) -> str | None:
    return None if _view(context).level == "issues" else "The list of issues has this: esc."


def _one(context: Context) -> str | None:
    return None if _view(context).one_letter is not None else "Open an issue and choose a dead letter."


def _mark(context: Context) -> str | None:
    view = _view(context)
    rows = view.level == "items" and view.items_pane.table.count
    return None if rows else "Open an issue: its dead letters are marked."


def _edit(context: Context) -> str | None:
    letter = _view(context).one_letter
    if letter is None:
        return _one(context)
    return (
        None if letter.state == DeadLetterState.OPEN else f"Only an open one is edited; it is {letter.state}."
    )


def _running(context: Context) -> str | None:
    job = _view(context).job
    return None if job is not None and job.ended_ms is None else "No replay is running."


def _steerable(context: Context) -> str | None:
    job = _view(context).job
    if job is None or job.ended_ms is not None:
        return "No replay is running."
    planning = job.state in (ReplayState.PLANNING, ReplayState.CANCELLING)
    return f"The replay is {job.state}." if planning else None


def _issue(context: Context) -> str | None:
    return None if _view(context).current_issue is not None else "There is no issue here."


def _sent(context: Context) -> str | None:
    letter = _view(context).one_letter
    return None if letter is not None and _view(context).level == "item" else "Open a dead letter first."


def _filter(context: Context) -> str | None:
    view = _view(context)
    if view.level in ("jobs", "rules"):
        return "There is nothing to filter here."
    attempts = view.level == "item" and view.item_pane.face == "attempts"
    return "There is nothing to search in the attempts." if attempts else None


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
        f"dead.{name}",
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
    _action("replay", "r", "replay", "Send the dead letter again, the marked ones, or the whole issue.",
            "replay_chosen", _replay, writes=True, footer=1),
    _action("replay_all", "R", "replay all", "Send every open dead letter that is listed, or of the issue, again.",
            "replay_issue", _all, writes=True, footer=6),
    _action("simulate", "t", "simulate", "Foresee a replay, without sending anything: how many would pass, why not.",
            "simulate_chosen", _simulate, writes=True, footer=2),
    _action("edit", "e", "edit", "Change the payload; the original is kept.",
            "edit_here", _edit, writes=True, footer=2),
    _action("editor", "E", "$EDITOR", "Change the payload in your own editor.",
            "edit_in_editor", _edit, writes=True),
    _action("mark", "space", "mark", "Mark a dead letter, for one replay or discard of several.",
            "mark_row", _mark, footer=8),
    _action("discard", "d", "discard", "Put dead letters aside, or ignore an issue. Brokers' own are removed there.",
            "discard_chosen", _discard, writes=True, footer=3),
    _action("acknowledge", "c", "acknowledge", "Say that somebody has seen this issue, or open it again.",
            "acknowledge", _issue, writes=True, footer=7),
    _action("state", "S", "state", "Acknowledge, resolve, ignore (for a time) or reopen an issue, or write a note.",
            "choose_state", _issue, writes=True, footer=13),
    _action("bin", "i", "fault", "Issues of records, of systems (target, credential, network), or both.",
            "next_bin", _at_issues, footer=14),
    _action("steer", "P", "pause/go on", "Pause a replay, let it go on, or send the rest after its canary.",
            "steer_job", _steerable, writes=True, footer=9),
    _action("jobs", "J", "replays", "Replays of every console, with their reports.",
            "show_jobs", lambda context: None, footer=12),
    _action("rules", "f", "fix rules", "Corrections that are kept for all that fail alike.",
            "show_rules", lambda context: None, footer=12),
    _action("cancel", "x", "cancel replay", "Stop a running replay; what was not sent stays open.",
            "cancel_job", _running, writes=True, footer=9),
    _action("filter", "slash", "filter", "Filter as you type: key:cus_1 code:too_long since:2h; or search a payload.",
            "start_filter", _filter, footer=4),
    _action("view", "v", "view", "Unresolved or all; in a dead letter: payload, raw, exchange, attempts.",
            "change_view", _not_beside, footer=5),
    _action("copy", "y", "copy", "Copy the row as JSON.", "copy_row", _anything, footer=10),
    _action("pull", "a", "brokers", "Bring in the dead letters that brokers keep themselves; nothing is taken there.",
            "pull_native", _not_beside, writes=True, footer=11),
    _action("curl", "Y", "copy curl", "Copy the request as curl, without secrets.", "copy_curl", _sent),
    _action("save", "o", "save", "Save what is listed to a new file, as JSON lines.", "save_file", _anything),
)  # fmt: skip
"""Registered by the app."""

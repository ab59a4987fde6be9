"""What can be done with syncs, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from platint_tui.tui.actions import Action, Context
from platint_tui.tui.screens.syncs.detail import LOST

if TYPE_CHECKING:
    from platint_tui.tui.screens.syncs.section import SyncsSection


def _view(context: Context) -> SyncsSection:
    return cast("SyncsSection", context.view)


def _chosen(context: Context) -> str | None:
    return None if _view(context).current is not None else "There is no integration; a imports one."


def _may_run(context: Context) -> str | None:
    return _chosen(context) or ("A run is active; x cancels it." if _view(context).active else None)


def _may_cancel(context: Context) -> str | None:
    return _chosen(context) or (None if _view(context).active else "No run is active.")


def _may_open(context: Context) -> str | None:
    row = _view(context).current
    return _chosen(context) or (None if row and row.view.last_run else "It has not run yet.")


def _on_stream(context: Context) -> str | None:
    row = _view(context).current
    return _chosen(context) or (None if row and row.stream else "Choose one of the streams.")


def _may_reset(context: Context) -> str | None:
    reason = _on_stream(context)
    if reason is not None:
        return reason
    if _view(context).active:
        return "A run is active; cancel it first."
    row = _view(context).current
    known = row is not None and row.state is not None and row.state.confirmed is not None
    return None if known else "It has no position to forget."


def _may_recover(context: Context) -> str | None:
    reason = _on_stream(context)
    if reason is not None:
        return reason
    if _view(context).active:
        return "A run is active; cancel it first."
    row = _view(context).current
    lost = row is not None and row.progress is not None and row.progress.error_code == LOST
    return None if lost else "Its platform still has what follows the position."


ACTIONS = (
    Action(
        "syncs.run",
        ("r",),
        "run",
        "Run the integration, or only the stream under the cursor.",
        "run_sync",
        section="syncs",
        writes=True,
        footer=10,
        enabled=_may_run,
    ),
    Action(
        "syncs.cancel",
        ("x",),
        "cancel",
        "Stop the active run at its next page border; the position is kept.",
        "cancel_run",
        section="syncs",
        writes=True,
        footer=20,
        enabled=_may_cancel,
    ),
    Action(
        "syncs.open",
        ("enter",),
        "last run",
        "Open the newest run in the history.",
        "open_run",
        section="syncs",
        footer=30,
        enabled=_may_open,
    ),
    Action(
        "syncs.add",
        ("a",),
        "import",
        "Import an integration file; again after a change for a new version.",
        "import_file",
        section="syncs",
        writes=True,
        footer=40,
    ),
    Action(
        "syncs.reset",
        ("d",),
        "reset",
        "Forget the position of a stream: the next run reads it from the beginning.",
        "reset_stream",
        section="syncs",
        writes=True,
        footer=50,
        enabled=_may_reset,
    ),
    Action(
        "syncs.plan",
        ("c",),
        "plan",
        "Show the tables and columns that a run would make or change.",
        "plan_target",
        section="syncs",
        footer=55,
        enabled=_chosen,
    ),
    Action(
        "syncs.recover",
        ("e",),
        "recover",
        "Decide how a stream goes on whose position its platform has lost.",
        "recover_stream",
        section="syncs",
        writes=True,
        footer=0,
        enabled=_may_recover,
    ),
    Action(
        "syncs.preview",
        ("v",),
        "preview",
        "Show real records of the stream, in Discovery.",
        "preview",
        section="syncs",
        footer=60,
        enabled=_on_stream,
    ),
    Action(
        "syncs.copy",
        ("y",),
        "copy",
        "Copy the row as JSON.",
        "copy_row",
        section="syncs",
        footer=0,
        enabled=_chosen,
    ),
)

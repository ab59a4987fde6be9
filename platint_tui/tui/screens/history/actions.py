"""What can be done with runs, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from platint_tui.tui.actions import Action, Context

if TYPE_CHECKING:
    from platint_tui.tui.screens.history.section import HistorySection


def _view(context: Context) -> HistorySection:
    return cast("HistorySection", context.view)


def _chosen(context: Context) -> str | None:
    return None if _view(context).chosen is not None else "There is no run."


def _may_open(context: Context) -> str | None:
    return "It is open." if _view(context).opened else _chosen(context)


def _may_run(context: Context) -> str | None:
    return _chosen(context) or ("It is still active." if _view(context).may_cancel else None)


def _may_cancel(context: Context) -> str | None:
    return _chosen(context) or (None if _view(context).may_cancel else "It has ended.")


def _may_compare(context: Context) -> str | None:
    view = _view(context)
    if not view.marked:
        return "Mark another run with space first."
    return "That is the marked run." if view.chosen and view.chosen.id == view.marked else _chosen(context)


def _in_list(context: Context) -> str | None:
    return "Close the run first." if _view(context).opened else None


ACTIONS = (
    Action(
        "history.open",
        ("enter",),
        "open",
        "Show the streams, errors, positions and configuration of the run.",
        "open_run",
        section="history",
        footer=10,
        enabled=_may_open,
    ),
    Action(
        "history.run",
        ("r",),
        "run again",
        "Run the same integration again.",
        "run_again",
        section="history",
        writes=True,
        footer=20,
        enabled=_may_run,
    ),
    Action(
        "history.cancel",
        ("x",),
        "cancel",
        "Stop the run at its next page border.",
        "cancel_run",
        section="history",
        writes=True,
        footer=40,
        enabled=_may_cancel,
    ),
    Action(
        "history.filter",
        ("slash",),
        "filter",
        "Show only runs of an integration, or in a state, as you type.",
        "start_filter",
        section="history",
        footer=30,
        enabled=_in_list,
    ),
    Action(
        "history.mark",
        ("space",),
        "mark",
        "Mark a run to compare another one with it.",
        "mark",
        section="history",
        footer=50,
        enabled=_chosen,
    ),
    Action(
        "history.compare",
        ("c",),
        "compare",
        "Show the marked run and this one beside each other.",
        "compare_runs",
        section="history",
        footer=60,
        enabled=_may_compare,
    ),
    Action(
        "history.copy",
        ("y",),
        "copy",
        "Copy the run as JSON.",
        "copy_row",
        section="history",
        footer=0,
        enabled=_chosen,
    ),
)

"""The action registry: every key of the console, declared once.

Footer, help, palette, key bindings and the key table of the README are generated from the `Action`s declared
here and in the sections. A key has one meaning everywhere: `GRAMMAR` lists the keys and their verb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platint_tui.tui.sections import SectionView

GRAMMAR: dict[str, str] = {
    "1": "go to Dashboard",
    "2": "go to Profiles",
    "3": "go to Discovery",
    "4": "go to Syncs",
    "5": "go to Dead letters",
    "6": "go to Events",
    "7": "go to History",
    "8": "go to Metrics",
    "9": "go to Settings",
    "enter": "open",
    "escape": "back, or clear the filter",
    "minus": "previous view",
    "slash": "filter",
    "s": "sort",
    "space": "mark",
    "a": "add",
    "e": "edit",
    "E": "edit in $EDITOR",
    "d": "discard, delete or reset",
    "r": "run or replay",
    "R": "run or replay all",
    "t": "test",
    "x": "cancel",
    "v": "preview or view another way",
    "c": "acknowledge, or compare",
    "o": "save to a file",
    "w": "change the window of time, or the theme",
    "y": "copy as JSON",
    "Y": "copy the request as curl, without secrets",
    "z": "undo",
    "p": "pause the live view",
    "P": "pause the work itself, or let it go on",
    "D": "disable or enable",
    "b": "backfill what was missed",
    "f": "fix rules",
    "i": "whose fault: of records, of systems, or all",
    "J": "replay jobs",
    "S": "change the state",
    "ctrl+r": "refresh",
    "question_mark": "help",
    "colon": "palette",
    "ctrl+p": "palette",
    "ctrl+o": "jump",
    "ctrl+q": "quit",
    "ctrl+c": "quit",
    "j": "down",
    "k": "up",
    "h": "left",
    "l": "right",
    "g": "to the top",
    "G": "to the end",
    "ctrl+d": "half a page down",
    "ctrl+u": "half a page up",
    "tab": "next pane",
    "shift+tab": "previous pane",
}
"""Textual's name of each key to its verb. A section that needs another key extends this table first."""

_KEY_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "minus": "-",
    "escape": "esc",
    "shift+tab": "S-tab",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What an action may look at to tell whether it works here and now.

    `view` is the section on screen. `reason` is why nothing that writes works ("" when it does): the store is
    not open yet, or the console is read-only. `undo` is what `z` would take back, "" for nothing.
    """

    view: SectionView | None = None
    ready: bool = False
    read_only: bool = False
    paused: bool = False
    undo: str = ""


def always(context: Context) -> str | None:
    """The action works everywhere."""
    return None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a person can do.

    `handler` names a method: of the section's view when `section` is set, else of the app. It may be a
    coroutine and may return the sentence that reports its result. `enabled` returns None when the action
    works in this context, else the reason shown to the person. `writes` refuses it in a read-only console.
    `footer` orders the footer (0 keeps it out; lower numbers come first and survive on narrow screens).
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    handler: str
    section: str = ""
    writes: bool = False
    needs_store: bool = True
    footer: int = 50
    enabled: Callable[[Context], str | None] = field(default=always, compare=False)

    def unavailable(self, context: Context) -> str | None:
        """Why the action does not work in this context, None when it does."""
        if self.needs_store and not context.ready:
            return "The store is not open yet."
        if self.writes and context.read_only:
            return "This console is read-only."
        return self.enabled(context)


def key_name(key: str) -> str:
    """A key as people write it: `slash` is `/`, `ctrl+p` is `^p`."""
    if key in _KEY_NAMES:
        return _KEY_NAMES[key]
    return f"^{key[5:]}" if key.startswith("ctrl+") else key


def _undo_reason(context: Context) -> str | None:
    return None if context.undo else "There is nothing to undo."


def _everywhere(
    id: str,
    keys: str,
    label: str,
    help: str,
    handler: str,
    *,
    footer: int = 0,
    needs_store: bool = False,
    enabled: Callable[[Context], str | None] = always,
) -> Action:
    return Action(
        id, tuple(keys.split()), label, help, handler, footer=footer, needs_store=needs_store, enabled=enabled
    )


SECTION_TITLES: tuple[tuple[str, str, str], ...] = (
    ("1", "dashboard", "Dashboard"),
    ("2", "profiles", "Profiles"),
    ("3", "discovery", "Discovery"),
    ("4", "syncs", "Syncs"),
    ("5", "deadletters", "Dead letters"),
    ("6", "events", "Events"),
    ("7", "history", "History"),
    ("8", "metrics", "Metrics"),
    ("9", "settings", "Settings"),
)
"""Key, id and title of the nine sections, in the order of the rail."""

GLOBAL: tuple[Action, ...] = (
    *(
        _everywhere(f"go.{section}", number, title, f"Show {title}.", f"go_{section}")
        for number, section, title in SECTION_TITLES
    ),
    _everywhere(
        "undo",
        "z",
        "undo",
        "Take back the last reversible action.",
        "undo_last",
        footer=90,
        enabled=_undo_reason,
    ),
    _everywhere(
        "pause", "p", "pause", "Hold the live view still; it says how much is new.", "toggle_pause", footer=92
    ),
    _everywhere("help", "question_mark", "help", "What every key does here.", "show_help", footer=96),
    _everywhere(
        "palette",
        "colon ctrl+p",
        "palette",
        "Find an action or an object, as in `:run 12` or `:dead stripe`.",
        "show_palette",
        footer=97,
    ),
    _everywhere(
        "quit",
        "ctrl+q ctrl+c",
        "quit",
        "Leave the console; asks what happens to active runs.",
        "ask_quit",
        footer=98,
    ),
    _everywhere(
        "refresh", "ctrl+r", "refresh", "Read the view again from the store.", "refresh_now", needs_store=True
    ),
    _everywhere("back", "escape", "back", "Close what is open, or clear the filter.", "step_back"),
    _everywhere("previous", "minus", "previous", "The view that was shown before.", "go_previous"),
    _everywhere("jump", "ctrl+o", "jump", "Move the focus to a pane by its letter.", "show_jump"),
    _everywhere("down", "j", "down", "One row down (also the arrow).", "move_down"),
    _everywhere("up", "k", "up", "One row up (also the arrow).", "move_up"),
    _everywhere("left", "h", "left", "Left (also the arrow).", "move_left"),
    _everywhere("right", "l", "right", "Right (also the arrow).", "move_right"),
    _everywhere("top", "g", "top", "To the first row.", "move_top"),
    _everywhere("end", "G", "end", "To the last row.", "move_end"),
    _everywhere("half_down", "ctrl+d", "half down", "Half a page down.", "move_half_down"),
    _everywhere("half_up", "ctrl+u", "half up", "Half a page up.", "move_half_up"),
    _everywhere("next_pane", "tab", "next pane", "Focus the next pane.", "next_pane"),
    _everywhere("previous_pane", "shift+tab", "previous pane", "Focus the pane before.", "previous_pane"),
)
"""Actions that exist in every section."""


class Registry:
    """All actions; sections register theirs when they are loaded."""

    def __init__(self, actions: Iterable[Action] = GLOBAL) -> None:
        self._actions: dict[str, Action] = {}
        self.add(actions)

    def add(self, actions: Iterable[Action]) -> None:
        """Register actions. Raises ValueError for a key outside the grammar or taken twice in one section."""
        for action in actions:
            for key in action.keys:
                if key not in GRAMMAR:
                    raise ValueError(f"{action.id}: key {key!r} is not in the grammar")
                taken = self.find(key, action.section)
                if taken is not None and taken.id != action.id and taken.section == action.section:
                    raise ValueError(f"{action.id}: key {key!r} is taken by {taken.id}")
            self._actions[action.id] = action

    def get(self, action_id: str) -> Action | None:
        """An action by id."""
        return self._actions.get(action_id)

    def find(self, key: str, section: str) -> Action | None:
        """What `key` does in `section`: the section's own action first, then the global one."""
        for wanted in (section, ""):
            for action in self._actions.values():
                if action.section == wanted and key in action.keys:
                    return action
        return None

    def of(self, section: str, *, everywhere: bool = True) -> list[Action]:
        """Actions of a section, then (if `everywhere`) the global ones that it does not replace."""
        own = [action for action in self._actions.values() if action.section == section]
        if not everywhere or not section:
            return own
        keys = {key for action in own for key in action.keys}
        return own + [
            action
            for action in self._actions.values()
            if not action.section and not keys.issuperset(action.keys)
        ]

    def footer(self, section: str) -> list[Action]:
        """Actions for the footer, most useful first."""
        return sorted((action for action in self.of(section) if action.footer), key=lambda item: item.footer)

    def all(self) -> Sequence[Action]:
        """Every action."""
        return tuple(self._actions.values())


def keys_markdown(registry: Registry) -> str:
    """The key table of the README: keys everywhere, then each section's own."""
    lines = ["| key | everywhere |", "|---|---|", *_rows(registry.of("", everywhere=False))]
    for _, section, title in SECTION_TITLES:
        own = registry.of(section, everywhere=False)
        if own:
            lines += ["", f"| key | {title} |", "|---|---|", *_rows(own)]
    return "\n".join(lines) + "\n"


def _rows(actions: Iterable[Action]) -> list[str]:
    rows = []
    for action in actions:
        keys = " ".join(f"`{key_name(key)}`" for key in action.keys)
        rows.append(f"| {keys} | {action.help} |")
    return rows

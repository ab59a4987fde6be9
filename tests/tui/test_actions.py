"""One registry: every key has one meaning, every action a handler, and the documents come from it."""

from __future__ import annotations

import pytest

from platint_tui.tui.actions import GRAMMAR, SECTION_TITLES, Action, Context, Registry, keys_markdown
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.sections import SECTIONS


def full() -> Registry:
    registry = Registry()
    for info in SECTIONS.values():
        registry.add(info.load().ACTIONS)
    return registry


def test_every_section_has_a_view_that_says_what_it_is() -> None:
    for _, section, title in SECTION_TITLES:
        view = SECTIONS[section].load()
        assert section == view.SECTION
        assert SECTIONS[section].title == title
        assert view.EMPTY


def test_every_action_has_a_handler_where_it_belongs() -> None:
    for action in full().all():
        owner = SECTIONS[action.section].load() if action.section else PlatintApp
        assert callable(getattr(owner, action.handler, None)), action.id
        assert action.label and action.help.endswith("."), action.id


def test_every_key_is_in_the_grammar_and_the_frame_binds_it() -> None:
    bound = {binding.key for binding in PlatintApp.BINDINGS}  # type: ignore[union-attr]
    for action in full().all():
        for key in action.keys:
            assert key in GRAMMAR, action.id
            assert key in bound


def test_keys_of_old_terminals_are_never_the_only_one() -> None:
    for action in full().all():
        assert not set(action.keys) <= {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+left_square_bracket"}


def test_a_key_outside_the_grammar_or_taken_twice_is_refused() -> None:
    registry = Registry()
    with pytest.raises(ValueError, match="grammar"):
        registry.add([Action("a", ("f12",), "a", "A.", "a", section="syncs")])
    registry.add([Action("a", ("r",), "a", "A.", "a", section="syncs")])
    with pytest.raises(ValueError, match="taken"):
        registry.add([Action("b", ("r",), "b", "B.", "b", section="syncs")])
    registry.add([Action("c", ("r",), "c", "C.", "c", section="history")])
    found = registry.find("r", "history")
    assert found is not None and found.id == "c"


def test_an_action_says_why_it_does_not_work() -> None:
    action = Action("a", ("r",), "run", "Run.", "run", section="syncs", writes=True)
    assert action.unavailable(Context()) == "The store is not open yet."
    assert action.unavailable(Context(ready=True, read_only=True)) == "This console is read-only."
    assert action.unavailable(Context(ready=True)) is None


def test_a_section_replaces_a_global_action_of_the_same_key() -> None:
    registry = Registry()
    registry.add([Action("own", ("p",), "own", "Own.", "own", section="syncs")])
    ids = [action.id for action in registry.of("syncs")]
    assert "own" in ids and "pause" not in ids
    assert "pause" in [action.id for action in registry.of("history")]


def test_the_key_table_of_the_readme_names_every_action() -> None:
    registry = full()
    table = keys_markdown(registry)
    for action in registry.all():
        assert action.help in table
    assert "| `:` `^p` |" in table
    for _, _, title in SECTION_TITLES[:5]:
        assert f"| key | {title} |" in table

"""Forms: what is typed or pasted, what is masked, errors under their field; and the filter line, and differences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input, Static

from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.form import MOST_SECRET, Choice, FieldSpec, Form, Line, single_line
from platint_tui.tui.widgets.lines import difference

FIELDS = (
    FieldSpec("profile name", "Name", "What it is called.", value="stripe-live", required=True),
    FieldSpec("api_key", "API key", secret=True, required=True),
    FieldSpec("mode", "Mode", value="b", choices=(("a", "first"), ("b", "second"), ("c", "third"))),
    FieldSpec("évil [/foo]", "[red]Label[/]", "\x1b[2Jhelp"),
)


class FormApp(App[None]):
    submitted = 0

    def compose(self) -> ComposeResult:
        yield Form(FIELDS)

    def on_form_submitted(self) -> None:
        self.submitted += 1


@given(st.text(), st.integers(1, 50))
def test_M11_pasted_text_is_one_bounded_line(text: str, most: int) -> None:
    line, notice = single_line(text, most)
    assert len(line) <= most
    assert line.splitlines() in ([], [line])
    assert (line == text.strip()) == (not notice)


async def test_a_form_gives_what_was_entered() -> None:
    app = FormApp()
    async with app.run_test(size=(80, 30)) as pilot:
        form = app.query_one(Form)
        form.focus_first()
        await pilot.press("enter", *"sk_123", "tab", "right", "right", "tab", *"x", "enter")
        assert form.values() == {
            "profile name": "stripe-live",
            "api_key": "sk_123",
            "mode": "a",
            "évil [/foo]": "x",
        }
        assert app.submitted == 1
        visible = "\n".join(str(widget.render()) for widget in app.query(Static))
        assert "[red]Label[/]" in visible and "\x1b" not in visible
        screen = app.export_screenshot()
        assert "sk_123" not in screen and "[2J" in screen.replace("&#160;", " ")


async def test_M11_a_pasted_secret_loses_its_line_ends_and_says_so() -> None:
    app = FormApp()
    async with app.run_test(size=(80, 30)) as pilot:
        form = app.query_one(Form)
        form.focus_first()
        await pilot.press("tab")
        secret = app.focused
        assert isinstance(secret, Line) and secret.password
        secret.post_message(events.Paste("  sk_\r\nlive\n" + "x" * (5 * 1024 * 1024)))
        await pilot.pause()
        await pilot.pause()
        value = form.values()["api_key"]
        assert value.startswith("sk_livexxx") and len(value) == MOST_SECRET
        box = app.query_one("#field-api_5f_key")
        assert box.has_class("failed")
        assert "line ends were taken out" in str(box.query_one(".error", Static).render())
        await pilot.press("backspace")
        assert not box.has_class("failed")
        form.forget_secrets()
        assert form.values()["api_key"] == ""


async def test_an_error_stands_under_its_field() -> None:
    app = FormApp()
    async with app.run_test(size=(60, 12)) as pilot:
        form = app.query_one(Form)
        assert form.fail("évil [/foo]", "[bold]It is missing.")
        await pilot.pause()
        assert app.focused is not None and app.focused.id == "input-_e9_vil_20__5b__2f_foo_5d_"
        failed = app.query(".failed")
        assert len(failed) == 1
        assert str(failed.first().query_one(".error", Static).render()) == "[bold]It is missing."
        assert form.fail("api_key", "Refused.") and len(app.query(".failed")) == 1
        assert not form.fail("absent", "?")


async def test_secrets_that_were_typed_are_not_brought_to_light() -> None:
    app = FormApp()
    async with app.run_test(size=(80, 30)) as pilot:
        form = app.query_one(Form)
        form.focus_first()
        await pilot.press("tab", *"sk_123")
        form.mask(hide=False)
        line = app.query_one("#input-api_5f_key", Line)
        assert line.value == "" and not line.password
        line.value = "env:KEY"
        form.mask(hide=True)
        assert line.password and line.value == "env:KEY"


async def test_a_choice_shows_all_its_options() -> None:
    app = FormApp()
    async with app.run_test(size=(80, 30)) as pilot:
        choice = app.query_one(Choice)
        assert str(choice.render()).replace("\u00a0", " ") == "○ first   ● second   ○ third"
        choice.focus()
        await pilot.press("left", "left")
        assert choice.value == "c"


class FilterApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def compose(self) -> ComposeResult:
        yield FilterBar()

    def on_filter_bar_changed(self, message: FilterBar.Changed) -> None:
        self.said.append(message.text)

    def on_filter_bar_accepted(self) -> None:
        self.said.append("accepted")


async def test_a_filter_speaks_when_the_typing_rests() -> None:
    app = FilterApp()
    async with app.run_test(size=(60, 5)) as pilot:
        bar = app.query_one(FilterBar)
        assert not bar.close()
        bar.open()
        await pilot.press(*"stripe")
        assert app.said == []
        while not app.said:
            await pilot.pause(0.02)
        assert app.said == ["stripe"] and bar.text == "stripe"
        await pilot.press("backspace", "enter")
        await pilot.pause()
        assert app.said[1:] == ["strip", "accepted"]
        assert bar.close() and bar.text == "" and not bar.is_open
        await pilot.pause()
        assert app.said[-1] == "" and app.query_one(Input).value == ""


@pytest.mark.parametrize("lines", [10, 20_000])
def test_a_difference_shows_what_changed(lines: int) -> None:
    old = "\n".join(f"line {index}" for index in range(lines))
    new = old.replace("line 5\n", "line five\n")
    shown = ["".join(text for text, _ in line) for line in difference(old, new)]
    assert "  - line 5" in shown and "  + line five" in shown
    assert len(shown) <= 9
    assert difference(old, old) == []


def test_a_difference_of_everything_is_a_sentence() -> None:
    old, new = "\n".join(map(str, range(20_000))), "\n".join(map(str, range(20_000, 40_000)))
    assert "too many" in difference(old, new)[0][0][0]

"""What is typed or pasted into an input: in order, and no character of it reaches the terminal as a command."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import App, ComposeResult

from platint_tui.core.text import clean
from platint_tui.tui.paste import BEGIN, END, PasteGuard, PasteParser
from platint_tui.tui.widgets.form import single_line
from platint_tui.tui.widgets.inputs import JsonArea, LineInput, escaped, harmless

ATTACK = "tok_\x1b[31m\x1b]0;PWNED\x07\u202eevil[/foo][@click=app.quit]x[/]"
SHOWN = "tok_[31m]0;PWNEDevil[/foo][@click=app.quit]x[/]"
ROOT = Path(__file__).parents[2]


class Inputs(App[None]):
    """One input and one area."""

    def compose(self) -> ComposeResult:
        """Both."""
        yield LineInput("start \x1b[2J", id="line", max_length=200)
        yield JsonArea('{"a": "\x1b\u202e"}', id="area")


async def test_M4_M5_an_input_holds_no_harmful_character() -> None:
    app = Inputs()
    async with app.run_test() as pilot:
        line = app.query_one("#line", LineInput)
        assert line.value == "start [2J"
        line.focus()
        await pilot.press("end")
        app.post_message(events.Paste(f"ab{ATTACK}\nX"))
        await pilot.pause()
        assert line.value == f"start [2Jab{SHOWN}X"
        assert line.cursor_position == len(line.value)
        line.value = "\x9b31m\u2066z"
        assert line.value == "31mz"
        app.post_message(events.Paste("y" * 500))
        await pilot.pause()
        assert line.value == "31mz" + "y" * 196


async def test_M4_M5_the_editor_of_json_escapes_what_is_pasted() -> None:
    app = Inputs()
    async with app.run_test() as pilot:
        area = app.query_one("#area", JsonArea)
        assert area.text == '{"a": "\\u001b\\u202e"}'
        area.load_text("")
        area.focus()
        app.post_message(events.Paste('{"b":\t"\x9b\U000e0041"\r\n}'))
        await pilot.pause()
        assert area.text == '{"b":\t"\\u009b\\udb40\\udc41"\n}'


@given(st.text(), st.lists(st.integers(1, 5), max_size=30))
def test_a_paste_is_one_event_however_it_arrives(text: str, sizes: list[int]) -> None:
    text = text.replace(END, "").replace("\x00", "")
    guard = PasteGuard()
    sent, passed = f"a{BEGIN}{text}{END}\x1b[A", ""
    for size in [*sizes, len(sent)]:
        passed += guard.pass_on(sent[:size])
        sent = sent[size:]
    assert passed == f"a{BEGIN}{text.replace(chr(27), chr(26))}{END}\x1b[A"
    assert harmless(text.replace("\x1b", "\x1a")) == harmless(text)


def test_a_pasted_escape_presses_no_key() -> None:
    parser = PasteParser()
    found = [
        *parser.feed(f"{BEGIN}ab\x1b[31m\x1b[A and more than the parser looks ahead, much mo"),
        *parser.feed(f"re X{END}q"),
    ]
    pasted = [item.text for item in found if isinstance(item, events.Paste)]
    assert len(pasted) == 1 and pasted[0].startswith("ab\x1a[31m\x1a[A and") and pasted[0].endswith("more X")
    assert [item.key for item in found if isinstance(item, events.Key)] == ["q"]


@given(st.text())
def test_escaped_text_is_harmless_and_means_the_same(text: str) -> None:
    made = escaped(text)
    assert clean(made, lines=True) == made
    assert escaped(made) == made


def test_every_input_is_a_harmless_one() -> None:
    for path in (ROOT / "platint_tui" / "tui").rglob("*.py"):
        if path.name == "inputs.py":
            continue
        text = path.read_text()
        for plain in ("yield Input(", "class Line(Input)", "= TextArea(", "yield TextArea("):
            assert plain not in text, f"{plain} in {path}"


def test_a_paste_with_control_characters_says_so() -> None:
    line, said = single_line(f"ab{ATTACK}zz", 200)
    assert line == f"ab{SHOWN}zz" and said == "The text was pasted: control characters were taken out."

"""Payloads: exact numbers, hostile text, sixteen megabytes, search, and the way back to editable JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from platint_tui.core.text import clean
from platint_tui.tui.widgets import jsonview
from platint_tui.tui.widgets.payload import PayloadView, RawText, text_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=40,
)


class PayloadApp(App[None]):
    def compose(self) -> ComposeResult:
        yield PayloadView()


def shown(view: PayloadView) -> str:
    """The visible part as text."""
    lines = ["".join(segment.text for segment in view.render_line(y)) for y in range(view.size.height)]
    return "\n".join(line.rstrip() for line in lines)


@given(JSON)
def test_K12_editing_nothing_changes_nothing(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    pretty = jsonview.pretty(jsonview.parse(text))
    assert json.loads(pretty) == value
    assert clean(pretty, lines=True) == pretty
    assert jsonview.pretty(jsonview.parse(pretty)) == pretty


@pytest.mark.parametrize(
    "number", ["1.10", "1e400", "0.1000000000000000055", "12345678901234567890123", "-0.0"]
)
def test_numbers_stay_as_they_are_written(number: str) -> None:
    root = jsonview.parse(f'{{"amount": {number}}}')
    lines = jsonview.flatten(root, jsonview.open_small(root), 80)
    assert lines[1].value == number
    assert number in jsonview.pretty(root)


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a": 1} x', "[" * 100_000, "nul"])
def test_what_is_no_json_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"No|Nested"):
        jsonview.parse(text)


def test_names_that_occur_twice_are_both_shown() -> None:
    root = jsonview.parse('{"a": 1, "a": 2}')
    assert [line.value for line in jsonview.flatten(root, jsonview.open_small(root), 80)[1:]] == ["1", "2"]


@given(JSON, st.integers(10, 120))
@settings(max_examples=60)
def test_every_line_is_reachable(value: object, width: int) -> None:
    root = jsonview.parse(json.dumps(value))
    folding = jsonview.Folding()
    everything = jsonview.find(root, "")
    for path in everything:
        jsonview.reveal(folding, path)
    lines = {line.path for line in jsonview.flatten(root, folding, width)}
    assert set(everything) <= lines


@given(st.text(max_size=400), st.integers(12, 80))
def test_M5_raw_rows_fit_and_lose_nothing(text: str, width: int) -> None:
    raw = RawText(text, width)
    rows = [raw.row(index) for index in range(raw.height)]
    assert all(cell_len(number + content) <= width for (number, _), (content, _) in rows)
    if "\t" not in text and text.isascii():
        assert "".join(content for _, (content, _) in rows) == clean(text, lines=True).replace("\n", "")
    numbers = [int(number) for (number, _), _ in rows if number.strip()]
    assert numbers == list(range(1, len(raw.lines) + 1))


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    text, note = text_of(b'{"a": "\xff\xfe"}')
    assert "\\xff\\xfe" in text and "Not UTF-8" in note
    assert text_of(b"{}") == ("{}", "")


async def test_a_payload_unfolds_and_the_refused_field_is_marked() -> None:
    app = PayloadApp()
    async with app.run_test(size=(80, 20)) as pilot:
        view = app.query_one(PayloadView)
        view.focus()
        document = {"id": "cus_1", "address": {"lines": ["a", "b"], "zip": None}, "note": "x" * 300}
        view.show(json.dumps(document).encode(), flaw="address.zip", why="missing_field")
        await pilot.pause()
        text = shown(view)
        assert 'id       "cus_1"' in text and "null  ◂ missing_field" in text and "300 characters" in text
        await pilot.press("enter")
        assert shown(view).strip().splitlines() == ["▌▸ 3 fields"]
        await pilot.press("right", "G", "enter")
        assert shown(view).count("xxxx") > 1
        await pilot.press("left", "left")
        assert "x" * 70 not in shown(view)


@pytest.mark.parametrize(
    "text",
    [
        "[/foo]",
        "[@click=app.quit]x[/]",
        "\x1b]52;c;aGk=\x07",
        "\x9b2J",
        "a\u202eb",
        "z" + "\u0335" * 9000,
        "界" * 4000,
    ],
)
async def test_M4_hostile_payloads_are_only_shown(text: str) -> None:
    app = PayloadApp()
    async with app.run_test(size=(60, 20)) as pilot:
        view = app.query_one(PayloadView)
        for payload in (json.dumps({text: [text, {"deep": text}]}, ensure_ascii=False), text):
            view.show(payload)
            for mode in ("tree", "raw"):
                view.mode = mode if view._root is not None else "raw"
                view._arrange()
                await pilot.pause()
                visible = shown(view)
                assert clean(visible, lines=True) == visible
                assert all(cell_len(line) <= 60 for line in visible.splitlines())


async def test_a_payload_of_sixteen_megabytes_is_read_in_the_background_and_searched() -> None:
    rows = [{"id": index, "text": "x" * 60, "amount": "1.10"} for index in range(160_000)]
    payload = json.dumps(rows).encode()
    assert len(payload) > 16 * 1024 * 1024
    app = PayloadApp()
    async with app.run_test(size=(100, 30)) as pilot:
        view = app.query_one(PayloadView)
        view.focus()
        view.show(payload)
        assert "160,000 items" not in shown(view), "it is read behind the screen, not before the next frame"
        await view.settled()
        await pilot.pause()
        assert "160,000 items" in shown(view)
        await pilot.press("G")
        assert "159,500 more" in shown(view)
        await pilot.press("enter")
        await pilot.press("G")
        assert "159,000 more" in shown(view)
        view.search("159998")
        await view.settled()
        await pilot.pause()
        assert "159998" in shown(view) and len(view._matches) == 1
        assert view.change_mode() == "raw"
        await view.settled()
        await pilot.press("G")
        assert shown(view).rstrip().endswith("]")


async def test_search_goes_round_in_tree_and_raw() -> None:
    app = PayloadApp()
    async with app.run_test(size=(60, 16)) as pilot:
        view = app.query_one(PayloadView)
        view.focus()
        view.show('{"a": {"Needle": 1}, "b": ["x", "needle", {"c": "a NEEDLE here"}]}')
        view.search("needle")
        assert len(view._matches) == 3
        before = view._cursor
        await pilot.press("n", "n", "n")
        assert view._cursor == before
        await pilot.press("N")
        assert view._cursor != before
        view.search("absent")
        assert view._matches == []
        view.change_mode()
        view.search("needle")
        assert len(view._matches) == 1


async def test_what_is_no_json_is_shown_raw_with_the_reason() -> None:
    app = PayloadApp()
    async with app.run_test(size=(60, 10)):
        view = app.query_one(PayloadView)
        view.show(b"<html>\xff not json")
        assert view.mode == "raw" and "Not UTF-8" in view.note and "No JSON" in view.note
        assert view.change_mode() == "raw"
        assert "<html>\\xff not json" in shown(view)

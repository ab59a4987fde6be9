"""Drawing a chart: pure, complete, never outside its picture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from platint_tui.tui.widgets.chart import LineChart, Series, nice_top, plot

VALUES = st.lists(st.none() | st.floats(0, 1e6), max_size=200)


def text_lines(
    series: list[Series], width: int, height: int, top: float, ascii_only: bool = False
) -> list[str]:
    drawn = plot(series, width, height, top, ascii_only=ascii_only)
    return ["".join(text for text, _ in line) for line in drawn]


@given(st.lists(VALUES, max_size=3), st.integers(1, 120), st.integers(1, 40))
def test_a_picture_has_the_size_that_was_asked_for(
    many: list[list[float | None]], width: int, height: int
) -> None:
    series = [Series(str(index), values, "info") for index, values in enumerate(many)]
    lines = text_lines(series, width, height, 1e6)
    assert len(lines) == height
    assert all(len(line) == width for line in lines)
    something = any(value is not None for values in many for value in values)
    assert any(char != " " for line in lines for char in line) == something


@given(st.floats(0, 1e12))
def test_a_scale_is_round_and_holds_its_values(value: float) -> None:
    top = nice_top(value)
    assert top > 0 and top >= value * (1 - 1e-6)
    assert top <= max(1.0, value * 1.67)


def test_a_rising_line_and_its_gap() -> None:
    lines = text_lines([Series("p50", [0.0, 1.0], "info")], 4, 2, 1.0)
    assert lines[0][-1] != " " and lines[0][0] == " "
    assert lines[1][0] != " " and lines[1][-1] == " "
    gap = text_lines([Series("p50", [1.0, None, 1.0], "info")], 5, 1, 1.0)[0]
    assert gap[0] != " " and gap[2] == " " and gap[4] != " "


def test_the_last_line_is_on_top_and_ascii_has_no_dots() -> None:
    drawn = plot([Series("p99", [1.0, 1.0], "warn"), Series("p50", [1.0, 1.0], "info")], 6, 1, 1.0)
    assert [tone for _, tone in drawn[0]] == ["info"]
    assert text_lines([Series("p50", [1.0, 1.0], "info")], 3, 1, 1.0, ascii_only=True) == ["***"]


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LineChart(label=lambda value: f"{value:.0f} ms", id="chart")


async def test_the_scale_and_the_times_are_written() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 12)) as pilot:
        chart = app.query_one(LineChart)
        chart.show([Series("p50", [10.0, 80.0, None, 30.0], "info")], ["13:00", "13:30", "now"])
        await pilot.pause()
        lines = ["".join(segment.text for segment in chart.render_line(y)) for y in range(chart.size.height)]
        assert lines[0].startswith("80 ms") and "0 ms" in lines[-2]
        assert lines[-1].split() == ["13:00", "13:30", "now"]
        chart.show([], [], note="No requests.")
        assert "No requests." in "".join(segment.text for segment in chart.render_line(1))

"""The table over a million rows of a real database: it fetches little, keeps its place, and survives a bad source."""

from __future__ import annotations

import asyncio
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from platint_tui.core.errors import StoreError
from platint_tui.core.text import clean
from platint_tui.tui.widgets.cells import Cell, Column
from platint_tui.tui.widgets.virtual_table import LOOK_AHEAD, VirtualTable

Row = tuple[int, str, str]
COLUMNS: tuple[Column[Row], ...] = (
    Column("#", lambda row: Cell(str(row[0]), "muted"), 8, align="right"),
    Column("key", lambda row: Cell(row[1]), 10, grow=1, most=20),
    Column("message", lambda row: Cell(row[2], "warn"), 10, grow=2, priority=1),
)


class Rows:
    """Rows of a table `d` in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.asked: list[int] = []
        self.fail = ""
        self.where = "1 = 1"
        self.gate: asyncio.Event | None = None

    async def ids(self) -> Sequence[int]:
        if self.fail:
            raise StoreError(self.fail)

        def work() -> array[int]:
            return array(
                "q",
                [row[0] for row in self.db.execute(f"SELECT n FROM d WHERE {self.where} ORDER BY n DESC")],
            )

        return await asyncio.to_thread(work)

    async def rows(self, ids: Sequence[int]) -> Sequence[Row]:
        if self.gate is not None:
            await self.gate.wait()
        self.asked += ids
        marks = ",".join("?" * len(ids))
        return await asyncio.to_thread(
            lambda: self.db.execute(f"SELECT n, k, m FROM d WHERE n IN ({marks})", list(ids)).fetchall()
        )


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "rows.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE d (n INTEGER PRIMARY KEY, k TEXT, m TEXT)")
    db.execute(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000)"
        " INSERT INTO d SELECT n, 'cus_' || n, 'email is required' FROM c"
    )
    db.commit()
    db.close()
    return path


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Rows]:
    source = Rows(tmp_path / "few.sqlite")
    source.db.execute("CREATE TABLE d (n INTEGER PRIMARY KEY, k TEXT, m TEXT)")
    source.db.executemany("INSERT INTO d VALUES (?, ?, ?)", [(n, f"cus_{n}", "m") for n in range(1, 101)])
    source.db.commit()
    yield source
    source.db.close()


class TableApp(App[None]):
    def __init__(self, source: Rows, **options: str) -> None:
        super().__init__()
        self.source = source
        self.options = options
        self.said: list[object] = []

    def compose(self) -> ComposeResult:
        yield VirtualTable(COLUMNS, lambda row: row[0], source=self.source, **self.options)  # type: ignore[arg-type]

    @property
    def table(self) -> VirtualTable[Row]:
        found: VirtualTable[Row] = self.query_one(VirtualTable)
        return found

    def on_virtual_table_row_opened(self, message: VirtualTable.RowOpened) -> None:
        self.said.append(("opened", message.row_id, message.row))

    def on_virtual_table_row_highlighted(self, message: VirtualTable.RowHighlighted) -> None:
        self.said.append(("at", message.row_id))

    def on_virtual_table_failed(self, message: VirtualTable.Failed) -> None:
        self.said.append(("failed", message.sentence))


def lines(table: VirtualTable[Row]) -> list[str]:
    return ["".join(segment.text for segment in table.render_line(y)) for y in range(table.size.height)]


async def settle(app: TableApp, pilot: Pilot[None]) -> None:
    await asyncio.wait_for(app.table.settled(), 20)
    await pilot.pause()
    await asyncio.wait_for(app.table.settled(), 20)


async def test_a_million_rows_are_never_read_whole(million: Path) -> None:
    source = Rows(million)
    app = TableApp(source)
    async with app.run_test(size=(100, 30)) as pilot:
        app.table.focus()
        await settle(app, pilot)
        assert app.table.count == 1_000_000
        assert lines(app.table)[1].split() == ["▌", "1000000", "cus_1000000", "email", "is", "required"]
        for key, at in (
            ("G", 999_999),
            ("ctrl+u", 999_985),
            ("g", 0),
            ("ctrl+d", 14),
            ("end", 999_999),
            ("pageup", 999_971),
        ):
            await pilot.press(key)
            await settle(app, pilot)
            assert app.table.cursor == at, key
            shown = [int(line.replace("▌", " ").split()[0]) for line in lines(app.table)[1:]]
            assert 1_000_000 - at in shown
        assert len(source.asked) < 6 * (30 + 2 * LOOK_AHEAD)
        assert app.table.go_to(500_000)
        await settle(app, pilot)
        assert any("cus_500000 " in line and "▌" in line for line in lines(app.table))
    source.db.close()


async def test_rows_that_are_not_there_yet_have_a_placeholder(few: Rows) -> None:
    few.gate = asyncio.Event()
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        while not app.table.count:
            await pilot.pause()
        assert lines(app.table)[1].split() == ["▌", "…"]
        app.table.focus()
        await pilot.press("down", "down")
        assert app.table.cursor == 2 and app.table.cursor_row is None
        few.gate.set()
        await settle(app, pilot)
        assert app.table.cursor_row == (98, "cus_98", "m")


async def test_the_cursor_and_the_marks_stay_on_their_rows(few: Rows) -> None:
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        app.table.focus()
        await settle(app, pilot)
        await pilot.press("down", "down", "space", "space", "down")
        assert app.table.marked == (98, 97) and app.table.cursor_id == 95
        few.db.executemany("INSERT INTO d VALUES (?, ?, ?)", [(n, "new", "m") for n in range(101, 141)])
        few.db.execute("DELETE FROM d WHERE n = 98")
        few.db.commit()
        app.table.reload()
        await settle(app, pilot)
        assert app.table.cursor_id == 95 and app.table.marked == (97,)
        assert any("▌" in line and "cus_95" in line for line in lines(app.table))
        few.db.execute("DELETE FROM d WHERE n = 95")
        few.db.commit()
        app.table.reload()
        await settle(app, pilot)
        assert app.table.cursor_id == 94
        few.db.execute("UPDATE d SET m = 'changed' WHERE n = 94")
        few.db.commit()
        app.table.reload()
        await settle(app, pilot)
        assert app.table.cursor_row == (94, "cus_94", "changed")


async def test_another_filter_and_the_way_back(few: Rows) -> None:
    app = TableApp(few, empty="Nothing here yet.")
    async with app.run_test(size=(80, 20)) as pilot:
        app.table.focus()
        await settle(app, pilot)
        await pilot.press("G")
        few.where = "0"
        app.table.set_source(few, empty="Nothing matches. esc clears the filter.")
        await settle(app, pilot)
        assert app.table.count == 0 and app.table.cursor_id is None
        assert "Nothing matches" in "".join(lines(app.table))
        await pilot.press("down", "space", "enter", "G")
        assert not [item for item in app.said if isinstance(item, tuple) and item[0] == "opened"]
        few.where = "1 = 1"
        app.table.set_source(few)
        await settle(app, pilot)
        await pilot.press("enter")
        assert app.said[-1] == ("opened", 100, (100, "cus_100", "m"))


async def test_many_reloads_become_few(few: Rows) -> None:
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        await settle(app, pilot)
        asked = 0
        original = few.ids

        async def counted() -> Sequence[int]:
            nonlocal asked
            asked += 1
            return await original()

        few.ids = counted  # type: ignore[method-assign]
        for _ in range(200):
            app.table.reload()
        await settle(app, pilot)
        assert 1 <= asked <= 3


async def test_a_source_that_cannot_be_read_says_so_in_place(few: Rows) -> None:
    few.fail = "The database is not to be read."
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        await settle(app, pilot)
        assert "The database is not to be read." in "".join(lines(app.table))
        assert ("failed", "The database is not to be read.") in app.said
        few.fail = ""
        app.table.reload()
        await settle(app, pilot)
        assert "cus_100" in lines(app.table)[1]


async def test_M5_hostile_rows_keep_their_columns(few: Rows) -> None:
    evil = "[/foo][@click=app.quit]\x1b]52;c;x\x07\u202e日本" + "\u0301" * 500 + "界" * 3000
    few.db.execute("UPDATE d SET k = ?, m = ?", (evil, evil))
    few.db.commit()
    app = TableApp(few)
    for width in (30, 61, 100, 161):
        async with app.run_test(size=(width, 12)) as pilot:
            await settle(app, pilot)
            for y in range(app.table.size.height):
                strip = app.table.render_line(y)
                assert strip.cell_length == app.table.size.width
                text = "".join(segment.text for segment in strip)
                assert clean(text) == text
                assert not any(
                    segment.style and (segment.style.link or segment.style.meta) for segment in strip
                )
        app = TableApp(few)


async def test_M7_any_size_is_survived(few: Rows) -> None:
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        await settle(app, pilot)
        app.table.focus()
        await pilot.press("G")
        for width, height in ((20, 5), (1, 1), (200, 60), (40, 2), (80, 20)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            lines(app.table)
            assert app.table.cursor == 99
        await settle(app, pilot)
        assert any("▌" in line and "cus_1 " in line for line in lines(app.table))


async def test_a_click_moves_and_a_second_one_opens(few: Rows) -> None:
    app = TableApp(few)
    async with app.run_test(size=(80, 20)) as pilot:
        await settle(app, pilot)
        await pilot.click(VirtualTable, offset=(5, 4))
        assert app.table.cursor == 3
        await pilot.click(VirtualTable, offset=(5, 0))
        assert app.table.cursor == 3
        await pilot.click(VirtualTable, offset=(5, 4))
        await pilot.pause()
        assert app.said[-1] == ("opened", 97, (97, "cus_97", "m"))

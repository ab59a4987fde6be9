"""Discovery from the keyboard: streams, fields, changes, previews of real records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from console_kit import Console, ready, text_of, wait_for
from live_kit import installation, open_console
from rich.cells import cell_len
from seeding import NOW_MS, FixedClock, seed
from textual.pilot import Pilot

from platint_tui.core.model import Catalogue, CatalogueChange, Field, Stream
from platint_tui.core.text import clean
from platint_tui.services import discovery, profiles
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.screens.discovery import words
from platint_tui.tui.screens.discovery.changes import ChangesScreen
from platint_tui.tui.screens.discovery.preview import PreviewScreen
from platint_tui.tui.screens.discovery.section import DiscoverySection


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Workspace]:
    async with installation(tmp_path / "home", records=40) as workspace:
        yield workspace


def view(app: PlatintApp) -> DiscoverySection:
    assert isinstance(app.view, DiscoverySection)
    return app.view


async def wait_said(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    await wait_for(pilot, lambda: any(text in report.text for report in app.log_book.reports()))


async def choose(app: PlatintApp, pilot: Pilot[int], name: str) -> None:
    await wait_for(pilot, lambda: view(app).accounts.go_to(name))
    await wait_for(pilot, lambda: view(app)._offer is not None and view(app)._offer.profile == name)


async def test_a_catalogue_is_a_tree(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(size=(80, 24), section="discovery") as (app, pilot):
        assert "Not discovered yet" in text_of(app)
        await choose(app, pilot, "payments")
        assert "customers" in text_of(app) and "~2,000" in text_of(app) and "updated_at" not in text_of(app)
        await pilot.press("enter", "enter")
        text = text_of(app)
        assert "at most 80" in text and "cursor, required" in text and "payments › customers" in text
        await pilot.press("left", "down", "y")
        assert '"name":"charges"' in app.clipboard
        await pilot.press("escape")
        assert app.focused is view(app).accounts
        app.go("discovery", "stream", "payments/charges")
        await wait_for(pilot, lambda: "amount" in text_of(app))


async def test_discovery_runs_and_shows_real_records(live: Workspace) -> None:
    async with open_console(live, "discovery", (120, 36)) as (app, pilot):
        await choose(app, pilot, "demo-payments")
        await pilot.press("v")
        assert "Choose a stream first" in text_of(app)
        await pilot.press("r")
        await wait_said(app, pilot, "demo-payments offers")
        await wait_for(pilot, lambda: "customers" in text_of(app))
        await pilot.press("enter", "v")
        await wait_for(pilot, lambda: isinstance(app.screen, PreviewScreen))
        await wait_for(pilot, lambda: "items" in text_of(app) and '"' in text_of(app))
        assert "5 records, 0 bad, 1 request" in text_of(app)
        await pilot.press("v", "v", "tab")
        await wait_for(pilot, lambda: "GET http://127.0.0.1" in text_of(app))
        text = text_of(app)
        assert "x-api-key: •••" in text and "-> 200" in text and " ms" in text
        await pilot.press("escape")
        await wait_said(app, pilot, "were read; nothing was stored")


async def test_changes_against_the_discovery_before(live: Workspace) -> None:
    found, _ = await discovery.discover(live, "demo-payments")
    older = [
        replace(
            found.streams[0],
            fields=(*found.streams[0].fields[1:], Field("legacy", "string")),
            cursor="something",
        ),
        Stream("removed", ("id",), None, ()),
    ]
    await live.store.catalogues.save(
        Catalogue("demo-payments", "demo-payments", "0.1.0", live.clock.now_ms() + 1, tuple(older))
    )
    async with open_console(live, "discovery", (120, 36)) as (app, pilot):
        await choose(app, pilot, "demo-payments")
        await pilot.press("r")
        await wait_said(app, pilot, "breaking.")
        await wait_for(pilot, lambda: "against the discovery before" in text_of(app))
        text = text_of(app)
        assert "! breaking" in text and "The stream is gone" in text and "legacy" in text
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, ChangesScreen) and "+ additive" in text_of(app))
        text = text_of(app)
        assert "removed" in text and "The cursor went from something" in text
        await pilot.press("escape")


async def test_a_platform_that_does_not_answer_is_one_sentence_in_place(live: Workspace) -> None:
    await profiles.add(
        live,
        name="away",
        platform="sqlite",
        environment="sandbox",
        values={"path": "/proc/none/x.sqlite"},
        secrets={},
    )
    async with open_console(live, "discovery", (100, 30)) as (app, pilot):
        await choose(app, pilot, "away")
        await pilot.press("r")
        await wait_for(pilot, lambda: bool(view(app)._problems))
        await wait_for(pilot, lambda: not app.log_book.reports()[0].ok)
        assert "away" in text_of(app) and "discovering" not in text_of(app) and not app.crashed


async def test_without_profiles_it_says_what_to_do(console: Console) -> None:
    async with console(size=(80, 24), section="discovery") as (app, pilot):
        await ready(pilot)
        assert "Add a profile first: 2, then a." in text_of(app)
        await pilot.press("r")
        assert "Add a profile first" in text_of(app)


EVIL = "[/foo]\x1b]52;c;x\x07\u202e界"


@pytest.mark.parametrize("width", [20, 50, 76, 150])
def test_M5_lines_fit_and_are_harmless(width: int) -> None:
    field = Field(EVIL * 9, "timestamp", True, 12, EVIL * 20)
    stream = Stream(EVIL * 9, (EVIL * 9,), EVIL, (field,), True, True, 5_000_000, EVIL, (EVIL * 50,))
    branch = words.branches([stream], [CatalogueChange("type_changed", stream.name, field.name, True, EVIL)])[
        0
    ]
    for pieces in (branch.draw(width), *(leaf.draw(width) for leaf in branch.leaves())):
        text = "".join(part for part, _ in pieces)
        assert clean(text) == text
        if width >= 76:
            assert cell_len(text) <= width


def test_what_is_only_written_has_nothing_to_say_of_reading() -> None:
    def line(stream: Stream) -> str:
        return "".join(part for part, _ in words.stream_line(stream, "", 10, 120))

    written = Stream("events", (), None, (), False, True)
    assert "write" in line(written) and "cursor" not in line(written) and "key" not in line(written)
    assert "none: read whole every time" in line(replace(written, readable=True))
    assert "none: read whole every time" in line(replace(written, refused="No scope."))


def test_every_change_is_told_by_how_grave_it_is() -> None:
    changes = [
        CatalogueChange("field_removed", "s" + EVIL, EVIL, True, EVIL * 9, used_by=(EVIL, "billing")),
        CatalogueChange("field_added", "s", "f", False, "A new field."),
        CatalogueChange("description_changed", "s", "f", False, "Other words.", True),
    ]
    lines = ["".join(part for part, _ in line) for line in words.all_changes(changes)]
    assert all(clean(line) == line for line in lines)
    heads = [line for line in lines if line[:1] in "!+." and line]
    assert heads == ["! breaking  1 change", "+ additive  1 change", ". informational  1 change"]
    assert any("used by" in line and "billing" in line for line in lines)


def test_requests_and_bad_elements_are_harmless_and_fit() -> None:
    request = {
        "method": "GET", "url": f"https://x.example/{EVIL}", "headers": {"x": EVIL * 20}, "body": EVIL * 90,
        "status": None, "ms": 3.2, "error": EVIL,
    }  # fmt: skip
    lines = [*words.request_lines([request], 60), *words.bad_lines([{"raw": EVIL * 99, "reason": EVIL}], 60)]
    texts = ["".join(part for part, _ in line) for line in lines]
    assert all(clean(text) == text for text in texts) and any("no answer" in text for text in texts)


async def test_a_large_catalogue_is_shown_and_read_once(
    workspace: Workspace, clock: FixedClock, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(workspace, clock)
    fields = tuple(Field(f"field_{number}", "string", description="Words.") for number in range(300))
    streams = tuple(Stream(f"items.s{number}", ("field_0",), None, fields) for number in range(500))
    await workspace.store.catalogues.save(
        Catalogue("payments", "demo-payments", "1.0.0", NOW_MS + 1, streams)
    )
    read = 0
    newest = discovery.newest

    async def counted(*args: object) -> object:
        nonlocal read
        read += args[1] == "payments"
        return await newest(*args)  # type: ignore[arg-type] # the arguments as they came

    monkeypatch.setattr(discovery, "newest", counted)
    async with console(size=(80, 24), section="discovery") as (app, pilot):
        await choose(app, pilot, "payments")
        await wait_for(pilot, lambda: "items.s0" in text_of(app))
        before = read
        await pilot.press("enter", "G", "enter")
        await wait_for(pilot, lambda: "items.s499" in text_of(app) and "field_" in text_of(app))
        await pilot.press("slash", *"s47", "enter")
        await wait_for(pilot, lambda: "11 of 500" in text_of(app))
        assert "items.s470" in text_of(app) and "items.s12" not in text_of(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(view(app).outline._lines) > 500)
        await pilot.press("ctrl+r", "ctrl+r")
        await pilot.pause()
        assert read == before and len(view(app).outline._lines) == 500 + 300 + 0


def test_changes_are_counted_and_cut() -> None:
    changes = [CatalogueChange("field_removed", "s", f"f{n}", n < 2, "The field is gone.") for n in range(9)]
    text = "".join(part for part, _ in words.change_lines(changes, 5))
    assert "9 changes" in text and "2 breaking" in text and "and 5 more" in text
    assert NOW_MS and "none breaking" in "".join(part for part, _ in words.change_lines(changes[3:], 9))

"""A short list: what it says while it has no rows."""

from __future__ import annotations

from textual.app import App, ComposeResult

from platint_tui.tui.listing import Listing
from platint_tui.tui.widgets.cells import Column


class Empty(App[None]):
    def compose(self) -> ComposeResult:
        yield Listing([Column("name", lambda row: row, 20)], lambda row: row, empty="Every record arrived.")


def said(listing: Listing[str]) -> str:
    return "\n".join(
        "".join(part.text for part in listing.render_line(y)) for y in range(listing.size.height)
    )


async def test_that_there_is_nothing_is_said_only_once_it_is_known() -> None:
    app = Empty()
    async with app.run_test(size=(60, 10)) as pilot:
        listing: Listing[str] = app.query_one(Listing)
        await pilot.pause()
        assert "Loading…" in said(listing) and "arrived" not in said(listing)
        listing.show([])
        assert "Every record arrived." in said(listing) and "Loading" not in said(listing)

"""Events from the keyboard: sources, what arrived, what was refused, the check of a signature, gaps."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from console_kit import Console, text_of, wait_for
from live_kit import open_console
from seeding import FAULTS, MINUTE, NOW_MS, FixedClock, seed
from seeding_events import PUBLIC, account, listen, new_event, refusal, seed_events
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Button, Input

from platint_tui.core.clock import SystemClock
from platint_tui.core.events import DeliveryOutcome, DeliveryState, EventState, SourceState
from platint_tui.core.gaps import GapState
from platint_tui.core.model import NewDeadLetter
from platint_tui.core.text import clean
from platint_tui.services import events, inbound
from platint_tui.services.events import DeliveryFilter, EventFilter
from platint_tui.services.workspace import Workspace, open_workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.dialogs.confirm import ConfirmScreen
from platint_tui.tui.screens.events.section import EventsSection
from platint_tui.tui.screens.events.subscribe import ByHandScreen, SubscribeScreen

STRIPE, GITHUB = "stripe-live", "github-org"
SCREENS = {
    "sources": (STRIPE,),
    "a source that is paused": (GITHUB,),
    "events of a source": (STRIPE, "enter", "*events", "space", "down"),
    "what was refused": (STRIPE, "v", "*refused"),
    "a refused request": (STRIPE, "v", "*refused", "enter", "*open"),
    "an event": (STRIPE, "enter", "*events", "enter", "*open"),
    "its deliveries": (STRIPE, "enter", "*events", "enter", "*open", "v", "v", "v"),
    "gaps": (STRIPE, "*gaps"),
}


def section(app: PlatintApp) -> EventsSection:
    assert isinstance(app.view, EventsSection)
    return app.view


async def walk(app: PlatintApp, pilot: Pilot[int], keys: tuple[str, ...]) -> None:
    """Press keys; a word with a star waits for what it names."""
    view = section(app)
    for key in keys:
        if key == "*events":
            await wait_for(pilot, lambda: view.events_pane.table.cursor_row is not None)
        elif key == "*refused":
            await wait_for(pilot, lambda: bool(view.events_pane.listing.rows))
        elif key == "*open":
            await wait_for(pilot, lambda: (view.event_pane.event or view.event_pane.rejection) is not None)
        elif key == "*gaps":
            app.go("events", "gaps", "")
            await wait_for(pilot, lambda: bool(view.gaps_pane.listing.rows))
        else:
            await pilot.press(key)
    await pilot.pause(0.02)


async def wait_said(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    def came() -> bool:
        return any(text in report.text for report in app.log_book.reports())

    try:
        await wait_for(pilot, came)
    except AssertionError:
        said = [report.text for report in app.log_book.reports()]
        raise AssertionError(f"'{text}' was not said: {said}\n{text_of(app)}") from None


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
async def test_the_screens_look_as_they_should(
    workspace: Workspace,
    clock: FixedClock,
    console: Console,
    snapshot: SnapshotAssertion,
    size: tuple[int, int],
) -> None:
    await seed_events(workspace, clock)
    async with console(size=size, section="events") as (app, pilot):
        for name, (source, *keys) in SCREENS.items():
            while section(app).go_back():
                await pilot.pause()
            section(app).sources_pane.listing.go_to(source)
            await walk(app, pilot, tuple(keys))
            text = text_of(app)
            assert all(len(line) <= size[0] for line in text.splitlines()), name
            assert text == snapshot(name=name)


async def test_an_empty_installation_says_how_to_begin(workspace: Workspace, console: Console) -> None:
    async with console(section="events", size=(80, 24)) as (app, _):
        text = text_of(app)
        assert "No webhook can arrive yet" in text and "adds a profile" in text
        assert "not listening" in text and "no public URL" in text


@pytest.mark.parametrize(
    ("silent_ms", "words"), [(0, "listening on 127.0.0.1:8787"), (5 * MINUTE, "stale"), (30_001, "stale")]
)
async def test_a_listener_that_gives_no_sign_of_life_is_stale(
    workspace: Workspace, console: Console, silent_ms: int, words: str
) -> None:
    await listen(workspace, beat_ms=NOW_MS - silent_ms)
    await workspace.store.profiles.put(account("stripe-live", "stripe"))
    async with console(section="events") as (app, _):
        text = text_of(app)
        assert words in text and (silent_ms == 0 or "listening on" not in text)


async def test_a_listener_that_cannot_listen_says_why(workspace: Workspace, console: Console) -> None:
    await listen(workspace)
    await workspace.store.settings.put("receiver.status", {"address": "", "error": "Port 8787 is taken."})
    async with console(section="events") as (app, _):
        assert "not listening: Port 8787 is taken." in text_of(app)


async def test_events_are_filtered_in_the_store_and_a_wrong_word_is_one_sentence(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed_events(workspace, clock)
    async with console(section="events") as (app, pilot):
        table = section(app).events_pane.table
        await pilot.press("slash")
        await wait_for(pilot, lambda: table.count == 45)
        field = section(app).query_one("#filter-events Input", Input)
        for text, count in (
            ("source:stripe-live type:customer.*", 30),
            ("state:unwanted", 10),
            ("since:2m source:stripe-live", 4),
            ("evt_0007", 1),
            ("cus_3 source:stripe-live", 6),
        ):
            field.value = text
            await wait_for(pilot, lambda count=count: table.count == count)  # type: ignore[misc]
            assert f"{count} of " in text_of(app)
        field.value = "tipe:customer"
        await wait_for(pilot, lambda: "Did you mean type:?" in text_of(app))
        assert table.count == 6
        field.value = "state:lost"
        await wait_for(pilot, lambda: "An event is never 'lost'" in text_of(app))
        await pilot.press("escape")
        await wait_for(pilot, lambda: table.count == 45)


async def test_a_source_is_paused_and_the_pause_undone(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed_events(workspace, clock)

    async def state() -> SourceState:
        rows = (await events.sources(workspace)).rows
        return next(row.source.state for row in rows if row.source.profile == "stripe-live")

    async with console(section="events") as (app, pilot):
        section(app).sources_pane.listing.go_to("stripe-live")
        await pilot.press("P")
        await wait_said(app, pilot, "stripe-live is paused")
        assert await state() is SourceState.PAUSED
        await pilot.press("z")
        await wait_said(app, pilot, "stripe-live is active again")
        assert await state() is SourceState.ACTIVE


async def test_disabling_a_production_source_wants_its_name(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed_events(workspace, clock)
    async with console(section="events") as (app, pilot):
        section(app).sources_pane.listing.go_to("stripe-live")
        await pilot.press("D")
        await wait_for(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "a gap is open from now on" in text_of(app) and "Type stripe-live" in text_of(app)
        await pilot.press("y")
        assert isinstance(app.screen, ConfirmScreen)
        app.screen.query_one("#name", Input).value = "stripe-live"
        await wait_for(pilot, lambda: not app.screen.query_one("#confirm", Button).disabled)
        app.screen.query_one("#confirm", Button).press()
        await wait_said(app, pilot, "stripe-live is disabled")
        await wait_for(pilot, lambda: "requests are refused, D takes them again" in text_of(app))


async def test_a_gap_is_left_as_it_is_only_with_a_reason(
    workspace: Workspace, clock: FixedClock, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed_events(workspace, clock)

    async def accept(workspace: Workspace, number: int, note: str = "") -> None:
        await workspace.store.gaps.accept(number, note)

    monkeypatch.setattr("platint_tui.services.gaps.accept", accept)
    async with console(section="events") as (app, pilot):
        app.go("events", "gaps", "stripe-live")
        await wait_for(pilot, lambda: "6 of 6" in text_of(app))
        number = section(app).gaps_pane.listing.rows[0].number
        await pilot.press("d", "enter")
        assert "Type something" in text_of(app)
        await pilot.press(*"seen", "enter")
        await wait_said(app, pilot, f"Gap {number} is left as it is: seen")
        await wait_for(pilot, lambda: "No gap is open" in text_of(app))
    gap = await workspace.store.gaps.get(number)
    assert gap is not None and gap.state is GapState.ACCEPTED and gap.note == "seen"


async def test_the_form_of_a_webhook_asks_for_what_the_platform_needs(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed_events(workspace, clock)
    async with console(section="events", size=(80, 24)) as (app, pilot):
        section(app).sources_pane.listing.go_to("github-org")
        await pilot.press("a")
        await wait_for(pilot, lambda: isinstance(app.screen, SubscribeScreen))
        text = text_of(app)
        assert "repo" in text and "issues" in text and "webhook_secret" not in text
        await pilot.press("ctrl+s")
        await wait_for(pilot, lambda: "name it" in text_of(app))
        assert isinstance(app.screen, SubscribeScreen)
        await pilot.press("escape")
        await wait_said(app, pilot, "Nothing was registered.")


async def test_what_must_be_done_by_hand_is_told_with_the_address(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    from platint_tui.services.subscriptions import Registered

    await seed_events(workspace, clock)
    async with console(section="events") as (app, pilot):
        row = section(app).view_of("shop")
        assert row is not None
        made = Registered(row.address, (), ("Open Settings > Notifications.", "Paste the address."))
        app.push_screen(ByHandScreen(row, made, section(app).console))
        await wait_for(pilot, lambda: "2. Paste the address." in text_of(app))
        await pilot.press("y")
        assert app.clipboard == f"{PUBLIC}/webhooks/shop"


async def test_copies_hold_no_signature_and_no_control_character(
    workspace: Workspace, clock: FixedClock, console: Console, tmp_path: Path
) -> None:
    await seed_events(workspace, clock)
    async with console(section="events") as (app, pilot):
        section(app).sources_pane.listing.go_to("stripe-live")
        await pilot.press("y")
        assert app.clipboard == f"{PUBLIC}/webhooks/stripe-live"
        await walk(app, pilot, ("enter", "*events", "enter", "*open", "y"))
        await wait_for(pilot, lambda: '"event_id": "evt_0039"' in app.clipboard)
        await pilot.press("Y")
        assert "curl " in app.clipboard and "https://hooks.example.com/webhooks/stripe-live" in app.clipboard
        assert "5f2a90" not in app.clipboard and "evt_0039" in app.clipboard
        await pilot.press("escape", "o")
        await wait_for(pilot, lambda: len(app.screen_stack) > 1)
        app.screen.query_one("#answer", Input).value = str(tmp_path / "out.jsonl")
        await pilot.press("enter")
        await wait_said(app, pilot, "Saved 40 events")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["event_id"] for line in lines] == [f"evt_{n:04d}" for n in range(40)]
    assert lines[1]["deliveries"][0]["state"] == "done"


async def test_the_dashboard_has_doors_to_what_comes_in(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    await seed_events(workspace, clock)
    await workspace.store.alerts.raise_alert("warning", "events of stripe-live", "An id came twice.")
    async with console(section="dashboard", size=(160, 48)) as (app, pilot):
        text = text_of(app)
        assert "listening on 127.0.0.1:8787" in text and "13 refused" in text and "1 gap" in text
        incoming = app.query_one("#incoming")
        incoming.focus()
        await pilot.press("c")
        await wait_said(app, pilot, "The alert is acknowledged")
        await wait_for(pilot, lambda: "An id came twice" not in text_of(app))
        await pilot.press("end")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.section == "events" and section(app).level == "gaps")


async def test_a_sync_that_webhooks_feed_shows_them_instead_of_a_position(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed_events(workspace, clock)
    await workspace.store.deliveries.hold(
        "webhook-customers", "customers", "unreachable", "The target does not answer.", NOW_MS + 60_000
    )
    async with console(section="syncs") as (app, _):
        text = text_of(app)
        assert "25 arrived, 5 waiting" in text and "held: The target does not answer." in text


async def test_a_dead_delivery_leads_to_its_dead_letter(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    await seed_events(workspace, clock)
    store = workspace.store
    (waiting,) = (await store.deliveries.list(DeliveryFilter(states=(DeliveryState.PENDING,)), limit=1))[:1]
    clock.at_ms += 60_000
    claimed = await store.deliveries.claim("webhook-customers", "customers", "eng_test", 100)
    mine = next(item.delivery for item in claimed if item.delivery.number == waiting.number)
    why = FAULTS[0]
    lost = NewDeadLetter(
        profile="books", platform="sqlite", integration="webhook-customers", stream="customers", run="",
        manifest_version="0.1.0", record_key=mine.record_key, payload=b"{}", content_hash="h",
        idempotency_key="k", fingerprint="f" * 16, fault=why, direction="event",
    )  # fmt: skip
    await store.deliveries.settle(
        [DeliveryOutcome(mine.number, DeliveryState.DEAD, why.code, why.message, letter=lost)]
    )
    async with console(section="events") as (app, pilot):
        app.go("events", "event", str(mine.event_number))
        await walk(app, pilot, ("*open", "v", "v", "v"))
        assert "enter opens it" in text_of(app)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.section == "deadletters" and why.message in text_of(app))


ATTACKS = (
    "[/foo][@click=app.quit]x[/]",
    "\x1b]52;c;aGk=\x1b\\\x1b[2J\x9b2J",
    "a\u202eb\u2066c\u200bd" + "\u0335" * 400,
    "界" * 2000,
)


async def test_hostile_events_are_shown_and_not_obeyed(workspace: Workspace, console: Console) -> None:
    await listen(workspace)
    await workspace.store.profiles.put(account("stripe-live", "stripe"))
    for number, text in enumerate(ATTACKS):
        evil = new_event(
            STRIPE, number, text, 5_000, event_id=text, order_key=text, target=text, verified_by=text,
            headers=((text, text), ("x-a", text)), body=json.dumps({text: [text]}, ensure_ascii=False).encode(),
        )  # fmt: skip
        await workspace.store.events.ingest([evil])
        refused = refusal(STRIPE, text, text, 1_000, headers=((text, text),), target=text, body=text.encode())
        await workspace.store.events.reject([refused])
    async with console(size=(80, 24), section="events") as (app, pilot):

        async def step(*keys: str) -> None:
            await walk(app, pilot, keys)
            shown = text_of(app)
            assert not app.crashed and clean(shown, lines=True) == shown, keys
            for strip in app.screen._compositor.render_strips():
                assert not any(segment.style and segment.style.link for segment in strip)

        await step()
        await step("enter", "*events")
        for _ in ATTACKS:
            await step("enter", "*open")
            for _ in range(4):
                await step("v")
            await step("y", "Y", "escape")
            assert clean(app.clipboard, lines=True) == app.clipboard
            await step("down")
        await step("v", "*refused")
        for _ in ATTACKS:
            await step("enter", "*open")
            await step("v")
            await step("v")
            await step("y", "escape")
            await step("down")


# --- with a real receiver ---------------------------------------------------------------------------------

SECRET = "whsec_for_the_tests_only"


@pytest.fixture
async def receiving(tmp_path: Path) -> AsyncIterator[Workspace]:
    """An installation whose engine receives webhooks of Stripe, in this process."""
    import asyncio

    from platint_tui.engine.lock import EngineLock
    from platint_tui.engine.receiver import ReceiverOptions
    from platint_tui.engine.serve import run_engine

    environ = {
        "PLATINT_HOME": str(tmp_path / "home"),
        "PLATINT_SECRET__STRIPE_LIVE__WEBHOOK_SECRET": SECRET,
    }
    workspace = await open_workspace(environ=environ)
    made = account("stripe-live", "stripe")
    await workspace.store.profiles.put(
        replace(made, secrets={"webhook_secret": "env:PLATINT_SECRET__STRIPE_LIVE__WEBHOOK_SECRET"})
    )
    lock = EngineLock(workspace.paths.engine_lock)
    assert lock.try_acquire()
    stop = asyncio.Event()
    engine = asyncio.create_task(
        run_engine(
            workspace.paths, workspace.registry, workspace.vault, clock=SystemClock(), stop=stop, lock=lock,
            receiver=ReceiverOptions(listen="127.0.0.1:0"),
        )
    )  # fmt: skip
    yield workspace
    stop.set()
    await engine
    lock.release()
    await workspace.close()


async def post(address: str, body: bytes, secret: str) -> int:
    """Send a webhook as Stripe does."""
    import aiohttp

    now = int(time.time())
    signed = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={now},v1={signed}", "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/webhooks/stripe-live", data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_a_webhook_arrives_and_its_check_is_shown_step_by_step(receiving: Workspace) -> None:
    async with open_console(receiving, "events") as (app, pilot):
        await wait_for(pilot, lambda: "listening on 127.0.0.1:" in text_of(app))
        address = (await inbound.receiver(receiving)).address
        body = json.dumps({"id": "evt_live", "type": "customer.created", "data": {"object": {"id": "cus_1"}}})
        assert await post(address, body.encode(), SECRET) == 200
        assert await post(address, body.encode(), "another") == 401
        await wait_for(pilot, lambda: section(app).view_of("stripe-live").source.rejected == 1)  # type: ignore[union-attr]
        await walk(app, pilot, ("enter", "*events", "enter", "*open"))
        assert "customer.created" in text_of(app) and "evt_live" in text_of(app)
        await pilot.press("v", "v", "v", "v")
        await wait_for(pilot, lambda: "Accepted with webhook_secret" in text_of(app))
        assert SECRET not in text_of(app)
        await pilot.press("escape")
        await walk(app, pilot, ("v", "*refused", "enter", "*open"))
        text = text_of(app)
        assert "the signature is wrong" in text and "signature" in text and SECRET not in text
    (found,) = await events.rows(receiving, await events.numbers(receiving, EventFilter()))
    assert found.state in (EventState.NEW, EventState.UNWANTED)

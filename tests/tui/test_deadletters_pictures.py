"""Pictures of the sections, as text, on the two screens that are promised; and hostile text at every depth."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from console_kit import Console, text_of, wait_for
from seeding import NOW_MS, FixedClock, Page, fault, integration, profile, seed, seed_run
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from platint_tui.core.model import Run, Trigger
from platint_tui.core.patch import Step
from platint_tui.core.replays import (
    BulkPlan,
    Forecast,
    PlannedTarget,
    Reason,
    Rendered,
    ReplayOptions,
    Settlement,
    Simulation,
)
from platint_tui.core.states import RunState
from platint_tui.core.text import clean
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.screens.deadletters.section import DeadLettersSection

SCREENS = {
    "issues": ("deadletters", ()),
    "dead letters of an issue": ("deadletters", ("enter", "*items", "space", "down")),
    "a dead letter": ("deadletters", ("enter", "*items", "enter", "*item")),
    "its exchange": ("deadletters", ("enter", "*items", "enter", "*item", "v", "v")),
    "its editor": ("deadletters", ("enter", "*items", "e", "*dialog")),
    "the plan of a replay": ("deadletters", ("R", "*dialog", "*planned")),
    "what a replay would do": ("deadletters", ("t", "*dialog", "*simulated")),
    "replays": ("deadletters", ("J", "*jobs")),
    "fix rules": ("deadletters", ("f", "*rules")),
    "what becomes of an issue": ("deadletters", ("S", "*dialog")),
    "profiles": ("profiles", ("down",)),
    "platforms": ("profiles", ("a", "*dialog")),
    "discovery": ("discovery", ("down", "down", "down", "*streams", "enter", "enter")),
    "metrics": ("metrics", ()),
}


async def walk(app: PlatintApp, pilot: Pilot[int], keys: tuple[str, ...]) -> None:
    """Press keys; a word with a star waits for what it names."""
    view = app.view
    for key in keys:
        if key == "*items":
            assert isinstance(view, DeadLettersSection)
            await wait_for(pilot, lambda: view.items_pane.table.cursor_row is not None)
        elif key == "*item":
            assert isinstance(view, DeadLettersSection)
            await wait_for(pilot, lambda: view.item_pane.shown is not None)
        elif key == "*dialog":
            await wait_for(pilot, lambda: len(app.screen_stack) > 1)
        elif key == "*planned":
            await wait_for(pilot, lambda: getattr(app.screen, "plan", None) is not None)
        elif key == "*simulated":
            await wait_for(pilot, lambda: getattr(app.screen, "result", None) is not None)
        elif key == "*jobs":
            assert isinstance(view, DeadLettersSection)
            await wait_for(pilot, lambda: bool(view.jobs_pane.listing.rows) and "how" in text_of(app))
        elif key == "*rules":
            assert isinstance(view, DeadLettersSection)
            await wait_for(pilot, lambda: bool(view.rules_pane.listing.rows))
        elif key == "*streams":
            await wait_for(pilot, lambda: "charges" in text_of(app))
        else:
            await pilot.press(key)
    await pilot.pause(0.2)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_looks_as_it_should(
    workspace: Workspace,
    clock: FixedClock,
    console: Console,
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: tuple[int, int],
) -> None:
    await seed(workspace, clock)
    if name in ("the plan of a replay", "what a replay would do", "replays", "fix rules"):
        await foreseen(workspace, monkeypatch)
    section, keys = SCREENS[name]
    async with console(size=size, section=section) as (app, pilot):
        await walk(app, pilot, keys)
        text = text_of(app)
        assert all(len(line) <= size[0] for line in text.splitlines())
        assert text == snapshot


RENDERED = tuple(
    Rendered(
        number,
        f'["cus_{number:04d}"]',
        "crm/contacts",
        {"method": "POST", "url": "http://127.0.0.1:4702/v1/contacts", "body": {"id": f"cus_{number:04d}"}},
    )
    for number in range(1, 6)
)


async def foreseen(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan and a simulation as an engine makes them, a job that waits after its canary, and a fix rule."""
    target = PlannedTarget("billing", "crm", "demo-crm", "sandbox", "http://127.0.0.1:4702", 12, True, 4, 8.0)
    plan = BulkPlan(
        12,
        (target,),
        NOW_MS - 2_400_000,
        2,
        1,
        1,
        0,
        0,
        3,
        0,
        RENDERED,
        1.5,
        ("The stream has no order key.",),
    )
    wrong = Reason("target", "too_long", "name", "name has 212 characters, at most 80 are allowed", 2, (4, 9))
    odd = Reason("source", "wrong_type", "country", "country is a number in 1 record", 1, (7,))
    found = Simulation(
        12, 12, 10, 0, (Forecast("a38f0ee4ef1208f3", 12, 10, 0, (wrong,)),), (odd,), RENDERED[:2], 3
    )

    async def plan_bulk(*args: object, **options: object) -> BulkPlan:
        return plan

    async def simulate(*args: object, **options: object) -> Simulation:
        return found

    monkeypatch.setattr("platint_tui.services.replays.plan_bulk", plan_bulk)
    monkeypatch.setattr("platint_tui.services.replays.simulate", simulate)
    letters = await workspace.store.dead_letters.rows(list(range(1, 13)))
    replays = workspace.store.replays
    job = await replays.plan(
        [letter.id for letter in letters],
        Trigger.BULK,
        options=ReplayOptions(canary=2, rate=5),
        operator="anna",
    )
    sent = await replays.claim(job.id, "eng_test", 2)
    await replays.settle_all(
        job.id,
        [
            Settlement(sent[0].id, "succeeded"),
            Settlement(sent[1].id, "failed", "too_long", "name has 212 characters"),
        ],
    )
    issue = (await workspace.store.dead_letters.issues())[0]
    steps = (Step("default", ("email",), "unknown@example.com"), Step("drop", ("fax",)))
    await workspace.store.rules.add(issue.fingerprint, steps, note="agreed with sales", operator="anna")


ATTACKS = (
    "[/foo][@click=app.quit]x[/]",
    "\x1b]52;c;aGk=\x1b\\\x1b[2J\x9b2J",
    "a\u202eb\u2066c\u200bd" + "\u0335" * 400,
    "界" * 2000,
)


async def poison(workspace: Workspace, clock: FixedClock, text: str) -> Run:
    """Dead letters of which every part is hostile, the payload too."""
    await workspace.store.profiles.put(profile("crm", "demo-crm", base_url="http://127.0.0.1:4702"))
    made = await workspace.store.integrations.put(integration("evil", "payments", "crm", "customers"))
    why = replace(
        fault(text, "a", text, text),
        request={"method": text, "url": text, "headers": {text: text}},
        response={"status": 422, "body": text, text: text},
    )
    run = await seed_run(
        workspace,
        clock,
        made,
        (Page("customers", 5, ((why, 2),)),),
        started_ms=NOW_MS - 9_000,
        ends=RunState.PARTIAL,
    )
    payload = json.dumps({text: text, "a": [text, {text: text}]}, ensure_ascii=False)
    for letter in await workspace.store.dead_letters.rows(range(1, 3)):
        await workspace.store.dead_letters.edit(letter.id, payload.encode(), json.dumps([text]), text)
    return run


@pytest.mark.parametrize("attack", range(len(ATTACKS)))
async def test_M4_hostile_dead_letters_at_every_depth(
    workspace: Workspace, clock: FixedClock, console: Console, attack: int
) -> None:
    await poison(workspace, clock, ATTACKS[attack])
    async with console(size=(80, 24), section="deadletters") as (app, pilot):
        steps: tuple[tuple[str, ...], ...] = (
            (),
            ("enter", "*items"),
            ("space", "up", "v"),
            ("v", "*items", "enter", "*item"),
            ("down", "enter", "v"),
            ("v", "G", "enter"),
            ("v",),
            ("v", "slash", "x", "enter"),
            ("escape", "e", "*dialog"),
            ("enter", "x", "backspace", "ctrl+s"),
            ("escape", "escape", "escape"),
            ("r", "*dialog"),
            ("escape", "y"),
            ("Y",),
        )
        for step in steps:
            await walk(app, pilot, step)
            assert not app.crashed, step
            text = text_of(app)
            assert clean(text, lines=True) == text, step
            for strip in app.screen._compositor.render_strips():
                assert not any(segment.style and segment.style.link for segment in strip)
        assert clean(app.clipboard, lines=True) == app.clipboard

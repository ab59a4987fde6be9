"""Hostile text through every column of every section: shown, never obeyed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from console_kit import Console, ready, text_of, wait_for
from seeding import (
    MINUTE,
    NOW_MS,
    FixedClock,
    Page,
    fault,
    integration,
    profile,
    seed_run,
)
from seeding_events import new_event, refusal

from platint_tui.core.histogram import Histogram
from platint_tui.core.model import Capability, Catalogue, Field, Stream
from platint_tui.core.states import RunState
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import MetricRow
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.sections import SECTIONS

ATTACKS = {
    "M1_closing_tag": "[/foo]",
    "M2_M3_action_and_link": "[@click=app.quit]x[/] [link=https://evil.example]x[/link] [red on blue]x",
    "M4_escape_sequences": "\x1b]52;c;aGk=\x1b\\ \x1b[2J\x1b[?1049l \x9b2J\x9d0;t\x9c a\x00b\x7fc\r\nd\te",
    "M5_bidi_combining_wide": "a\u202eb\u2066c\u200bd\ufeff z" + "\u0335" * 300 + "界" * 3000,
}


async def poison(workspace: Workspace, clock: FixedClock, text: str) -> None:
    """An installation where everything that can hold text holds this one."""
    store = workspace.store
    evil = replace(profile(text, text, base_url=text), origins=(text,), secrets={text: f"keyring:{text}"})
    await store.profiles.put(evil)
    await store.profiles.save_check(text, False, (Capability(text, False, False, text, 1.0),))
    stream = Stream(text, (text,), text, (Field(text, text, True, 3, text),), estimate=5, notes=(text,))
    await store.catalogues.save(Catalogue(text, text, text, NOW_MS, (stream,)))
    made = replace(integration(text, text, text, text), text=text, target_platform=text, source_platform=text)
    made = await store.integrations.put(made)
    why = fault(text, text, text, text)
    pages = (Page(text, 5, ((why, 3),)),)
    await seed_run(
        workspace,
        clock,
        made,
        pages,
        started_ms=NOW_MS - 9_000,
        ends=RunState.PARTIAL,
        failed=(text, text),
    )
    await seed_run(workspace, clock, made, pages, started_ms=NOW_MS - 4_000, ends=None)
    await store.events.ingest(
        [new_event(text, 1, text, 5_000, platform=text, event_id=text, order_key=text, body=text.encode())]
    )
    await store.events.reject([refusal(text, text, text, 5_000, headers=((text, text),), body=text.encode())])
    await store.alerts.raise_alert(text, text, text)
    await store.deliveries.hold(text, text, text, text, NOW_MS + MINUTE)
    histogram = Histogram()
    histogram.add(0.02)
    row = MetricRow(NOW_MS - MINUTE, text, text, text, 1, 1, histogram.to_bytes())
    await store.metrics.save("eng_test", [row])


def obeyed(app: PlatintApp) -> list[str]:
    """What of the attack reached the terminal: control characters, links, actions."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            for char in segment.text:
                code = ord(char)
                if code < 0x20 or 0x7F <= code <= 0x9F or char in "\u202e\u2066\u200b\ufeff":
                    found.append(f"U+{code:04X}")
            if segment.style is not None:
                if segment.style.link:
                    found.append(f"link {segment.style.link}")
                meta = segment.style.meta
                found += [f"{name} {value}" for name, value in meta.items() if name == "@click"]
    return found


@pytest.mark.parametrize("attack", ATTACKS)
async def test_hostile_text_is_shown_and_not_obeyed(
    workspace: Workspace, clock: FixedClock, console: Console, attack: str
) -> None:
    text = ATTACKS[attack]
    await poison(workspace, clock, text)
    async with console(size=(120, 40)) as (app, pilot):
        app.report(text, ok=False)
        for info in SECTIONS.values():
            await pilot.press(info.key)
            await wait_for(pilot, lambda wanted=info.id: app.section == wanted)  # type: ignore[misc]
            await ready(pilot)
            for keys in ((), ("enter",), ("tab", "enter"), ("escape",), ("question_mark",), ("escape",)):
                await pilot.press(*keys)
                await pilot.pause(0.05)
                assert not obeyed(app), (info.id, keys)
                assert not app.crashed
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
                await pilot.pause()
        await pilot.press("colon", *"dead")
        await pilot.pause(0.1)
        assert not obeyed(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(app.screen_stack) == 1)
        lines = text_of(app).splitlines()
        assert len(lines) == 40

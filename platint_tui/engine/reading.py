"""Reading ahead: from a source into the buffer that the writer takes from, once or without an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from platint_tui.core.clock import Clock
from platint_tui.core.errors import SystemicError
from platint_tui.core.model import JsonObject, Page, ReadOptions
from platint_tui.core.ports import Driver, Following
from platint_tui.engine.buffer import PageBuffer
from platint_tui.engine.failpoints import failpoint

_NOTED_EVERY = 0.25
"""Seconds between two notes of how far reading is."""

Note = Callable[[JsonObject], Awaitable[None]]


async def read_ahead(
    source: Driver,
    stream: str,
    position: JsonObject | None,
    options: ReadOptions,
    buffer: PageBuffer,
    clock: Clock,
    note: Note,
    pause: float,
) -> None:
    """Put the pages of one scan into `buffer` and close it, with what ended the reading if that was an error.

    With `options.follow` no page is the last one: a source that does not follow by itself is asked again
    `pause` seconds after each scan. `note` is told the newest read position now and then.
    """
    try:
        while True:
            position = await _scan(source, stream, position, options, buffer, clock, note)
            if not options.follow:
                break
            await clock.sleep(pause)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        await buffer.close(error)
    else:
        await buffer.close()


async def _scan(
    source: Driver,
    stream: str,
    position: JsonObject | None,
    options: ReadOptions,
    buffer: PageBuffer,
    clock: Clock,
    note: Note,
) -> JsonObject | None:
    """The position after one scan, or after a feed that has ended."""
    noted = clock.monotonic()
    endless = options.follow and isinstance(source, Following) and source.follows(stream, options)
    asked = options if endless else replace(options, follow=False)
    last = False
    # A driver may ask for the next page while this one is stored, so each is as old as the asking for the one before.
    before = asking = clock.now_ms()
    pages = source.read(stream, position, asked)
    async with contextlib.aclosing(pages):  # type: ignore[type-var]  # drivers give generators
        async for page in pages:
            failpoint("after_fetch")
            last, position = page.last, page.position
            page, before, asking = replace(page, asked_ms=before), asking, clock.now_ms()
            await buffer.put(replace(page, last=False) if last and options.follow else page)
            if clock.monotonic() - noted >= _NOTED_EVERY:
                noted = clock.monotonic()
                await note(position)
            if last:
                break
    if not last:
        raise SystemicError(
            "The platform's pages ended without a last one; what follows may be missing.",
            code="no_last_page",
        )
    return position


def is_sign_of_life(page: Page, position: JsonObject | None) -> bool:
    """Whether a page says only that the source is there: nothing is to be stored for it."""
    return not (page.records or page.bad or page.gaps or page.last) and page.position == position

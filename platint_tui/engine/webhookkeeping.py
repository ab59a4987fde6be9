"""What is done about webhooks without being asked: times in which nobody listened become gaps, what platforms sent is
compared with what is here, webhooks that expire are renewed, and what we have is compared with what the platforms have.

Nothing is remembered that is not in the store but when each of these was last tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from platint_tui.core.errors import PlatintError, StoreError
from platint_tui.core.gaps import OPEN_GAP_STATES, GapKind
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.engine.context import Context
from platint_tui.engine.missed import DAY_MS, UNDER_WAY_MS, compare
from platint_tui.engine.subscriptions import compared, renewed
from platint_tui.engine.webhookaccounts import LIVING, SETTING, STATUS
from platint_tui.manifest.subscribing import can_compare

log = logging.getLogger("platint.engine")

HEARD = "receiver.heard"
"""The setting with the time at which the receiver last listened."""
COMPARED = "webhooks.compared"
"""The setting with the time up to which each profile was compared."""
LOOK_SECONDS, SOON_SECONDS = 5.0, 0.5
HEARD_MS = 10_000
SILENCE_MS = 30_000
"""Nobody listened for longer than this: a gap."""
COMPARE_MINUTES = 15
OVERLAP_MS = 600_000
"""What is compared once more: a platform may list an event late."""
RENEW_BEFORE_MS = 7 * DAY_MS
RETRY_MS = 3_600_000
CHECK_MS = 3_600_000
CREATING_MS = 300_000


class WebhookKeeping:
    """Looks again and again while the engine runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._started_ms = context.clock.now_ms()
        self._due: dict[str, int] = {}

    async def run(self) -> None:
        """Look every few seconds; never ends by itself."""
        # A platform that answers late must not make it look as if nobody had listened meanwhile.
        await asyncio.gather(self._repeat(self.listen), self._repeat(self.look))

    async def _repeat(self, look: Callable[[], Awaitable[bool]]) -> None:
        listens = False
        while True:
            await asyncio.sleep(LOOK_SECONDS if listens else SOON_SECONDS)
            try:
                listens = await look()
            except PlatintError as error:
                log.error("webhooks: %s", REDACTOR.redact(error.sentence()))
            except Exception as error:
                log.error("webhooks: %s", REDACTOR.redact(repr(error)), exc_info=error)

    async def listen(self) -> bool:
        """Note whether this engine receives webhooks, which it returns, and since when nobody did."""
        if not await self._listens():
            return False
        await self._listened(await self._used(await self._context.store.subscriptions.list()))
        return True

    async def look(self) -> bool:
        """One look, and whether this engine receives webhooks: one that does not asks nobody."""
        if not await self._listens():
            return False
        store = self._context.store
        rows = await store.subscriptions.list()
        used = await self._used(rows)
        for row in rows:
            await self._renew(row)
        for profile in sorted({row.profile for row in rows}):
            ours = [row for row in rows if row.profile == profile]
            unsure = any(row.state is SubscriptionState.CREATING for row in ours)
            await self._now_and_then(
                f"check {profile}",
                CREATING_MS if unsure else CHECK_MS,
                partial(self._check, profile),
            )
        every = await self._compare_every()
        for profile in sorted(used):
            await store.gaps.settle(profile)
            await self._now_and_then(f"missed {profile}", every, partial(self._compare, profile))
        return True

    async def _used(self, rows: Sequence[Subscription]) -> set[str]:
        """The profiles whose platforms send something: those with webhooks, and those that something came of."""
        used = {item.profile for item in rows if item.state in LIVING}
        return used | {item.profile for item in await self._context.store.events.sources() if item.events}

    async def _listens(self) -> bool:
        status = await self._context.store.settings.get(STATUS)
        if not isinstance(status, Mapping) or not status.get("address"):
            return False
        # What an engine left behind that was killed says nothing of this one.
        return int(status.get("since_ms") or 0) >= self._started_ms

    async def _listened(self, used: set[str]) -> None:
        """Note that somebody listens now; the time before, in which nobody did, is a gap of every source in use."""
        store, now = self._context.store, self._context.clock.now_ms()
        heard = await store.settings.get(HEARD)
        if isinstance(heard, int) and now - heard > SILENCE_MS:
            for profile in sorted(used):
                reason = "Nobody listened for webhooks: the engine did not run, could not listen, or the machine slept."
                await store.gaps.begin(profile, GapKind.RECEIVER_DOWN, reason, heard, now)
                self._due[f"missed {profile}"] = now + UNDER_WAY_MS + 1_000
        if not isinstance(heard, int) or not 0 <= now - heard < HEARD_MS:
            await store.settings.put(HEARD, now)

    async def _compare_every(self) -> int:
        setting = await self._context.store.settings.get(SETTING)
        minutes = setting.get("compare_minutes") if isinstance(setting, Mapping) else None
        return (minutes if isinstance(minutes, int) and minutes > 0 else COMPARE_MINUTES) * 60_000

    async def _compare(self, name: str) -> None:
        """Compare what came since the last time, and the gaps of which that was not done yet."""
        store, now = self._context.store, self._context.clock.now_ms()
        profile = await store.profiles.get(name)
        if profile is None:
            return
        webhooks = self._context.registry.get(profile.platform).webhooks
        if webhooks is None or not can_compare(webhooks.missed):
            return
        noted = await store.settings.get(COMPARED)
        times = dict(noted) if isinstance(noted, Mapping) else {}
        since = int(times.get(name) or now - DAY_MS) - OVERLAP_MS
        for gap in await store.gaps.list(profile=name, states=OPEN_GAP_STATES):
            if gap.start_ms is not None and (gap.compared_ms or 0) < (gap.end_ms or now):
                since = min(since, gap.start_ms)
        seen, _, until = await compare(self._context, profile, since, now)
        await store.settings.put(COMPARED, {**times, name: until})
        if seen.new:
            await store.alerts.raise_alert(
                "warning",
                f"events of {name}",
                f"{seen.new} events that the platform sent are not here. `platint-tui events gaps` lists them.",
            )

    async def _check(self, name: str) -> None:
        """Bring what we have of a profile up to what its platform has."""
        async with self._context.registering:
            rows = await self._context.store.subscriptions.list(name)
            if rows:
                await compared(self._context, rows)

    async def _renew(self, row: Subscription) -> None:
        now = self._context.clock.now_ms()
        if row.expires_ms is None or row.state not in LIVING:
            return
        life = max(row.expires_ms - row.created_ms, 0)
        key = f"renew {row.id}"
        if row.expires_ms - now > min(RENEW_BEFORE_MS, max(life // 3, UNDER_WAY_MS)) or now < self._due.get(
            key, 0
        ):
            return
        self._due[key] = now + RETRY_MS
        try:
            async with self._context.registering:
                if await self._context.store.subscriptions.get(row.id) is not None:
                    await renewed(self._context, row)
        except StoreError:
            raise
        except PlatintError as error:
            text = (
                f"The webhook {row.id} of '{row.profile}' expires and cannot be renewed: {error.sentence()}"
            )
            await self._context.store.alerts.raise_alert(
                "error", f"webhook {row.profile}/{row.id}", REDACTOR.redact(text)
            )

    async def _now_and_then(self, key: str, every_ms: int, work: Callable[[], Awaitable[Any]]) -> None:
        """Do `work` when it is due; what fails is said in the log and tried again next time."""
        now = self._context.clock.now_ms()
        due = self._due.setdefault(key, now + UNDER_WAY_MS)
        if now < due <= now + max(every_ms, 2 * UNDER_WAY_MS):  # further ahead: the clock was set back
            return
        self._due[key] = now + every_ms
        try:
            await work()
        except StoreError:
            raise
        except PlatintError as error:
            log.warning("%s: %s", key, REDACTOR.redact(error.sentence()))

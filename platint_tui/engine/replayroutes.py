"""The open ways of a replay job to its targets, and what was left on them by an engine that is gone."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from platint_tui.core.errors import PlatintError, StoreError
from platint_tui.core.model import NATIVE, DeadLetter, Profile, ReplayJob
from platint_tui.core.ports import Driver, Target
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.replays import MappingOf
from platint_tui.engine.context import Context
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.ways import QUEUED, in_flight, plan_way

log = logging.getLogger("platint.engine")


@dataclass(slots=True, eq=False)
class Route:
    """An open way to one target of one stream. `in_flight` items may be out on it at a time, `busy` are."""

    plan: StreamPlan
    target: Target
    in_flight: int
    busy: int = 0


class Routes:
    """The routes of one job, opened as they are needed; one that cannot be opened is its error."""

    def __init__(self, context: Context, job: ReplayJob) -> None:
        self._context = context
        self._job = job
        self._drivers: dict[str, Driver] = {}
        self._opening = asyncio.Lock()
        self._routes: dict[tuple[str, str, int | None], Route | PlatintError] = {}
        self.returning = asyncio.Semaphore(QUEUED)
        """What goes back to the platforms that kept it."""

    @property
    def in_flight(self) -> int:
        """How many items may be out at a time on the routes that are known."""
        return min([item.in_flight for item in self._open()], default=QUEUED)

    @property
    def idempotent(self) -> bool:
        """Whether every target that is known takes a repeat."""
        known = self._open()
        return bool(known) and all(item.plan.idempotent for item in known)

    def _open(self) -> list[Route]:
        return [item for item in self._routes.values() if isinstance(item, Route)]

    async def of(self, letter: DeadLetter) -> Route | PlatintError:
        """The route of a dead letter, or why there is none. Raises StoreError."""
        key = self._key(letter)
        found = self._routes.get(key)
        if found is None:
            try:
                found = await self._opened(*key)
            except StoreError:
                raise
            except PlatintError as error:
                found = error
            self._routes[key] = found
        return found

    def _key(self, letter: DeadLetter) -> tuple[str, str, int | None]:
        then = self._job.options.mapping is MappingOf.THEN
        return letter.integration, letter.stream, letter.integration_version if then else None

    async def _opened(self, integration: str, stream: str, version: int | None) -> Route:
        plan = await plan_way(self._context, integration, stream, self._job.options, version)
        most = in_flight(self._context.registry.get(plan.target.platform))
        driver = await self.driver(plan.target.profile)
        # A replay moves no position, so it needs no epoch of a run.
        target = await driver.open_target(replace(plan.target_plan(0, self._job.id), in_flight=most))
        return Route(plan, target, most)

    async def driver(self, profile: Profile) -> Driver:
        """The driver of a profile, opened once."""
        async with self._opening:
            if profile.name not in self._drivers:
                self._drivers[profile.name] = await self._context.open_driver(profile)
            return self._drivers[profile.name]

    async def recover(self) -> None:
        """Settle what was left in flight: sent again where the target takes a repeat, else unknown."""
        left = await self._context.store.replays.on_their_way(self._job.id)
        if not left:
            return
        known: dict[tuple[str, str, int | None], bool] = {}
        again: set[str] = set()
        for letter in left:
            if letter.direction == NATIVE:
                continue  # whether it was sent back is not known, and the origin takes it twice
            key = self._key(letter)
            if key not in known:
                known[key] = await self._takes_repeats(*key)
            if known[key]:
                again.add(letter.id)
        count = await self._context.store.replays.recover(self._job.id, [], again)
        log.info("replay %s: %d in flight recovered, %d of them go again", self._job.id, count, len(again))

    async def _takes_repeats(self, integration: str, stream: str, version: int | None) -> bool:
        try:
            plan = await plan_way(self._context, integration, stream, self._job.options, version)
        except PlatintError as error:
            log.warning("replay %s: %s", self._job.id, REDACTOR.redact(error.sentence()))
            return False
        return plan.idempotent

    async def close(self) -> None:
        """Close every target and driver."""
        for route in self._open():
            await _quietly(route.target)
        for driver in self._drivers.values():
            await _quietly(driver)


async def _quietly(thing: Target | Driver) -> None:
    try:
        await thing.close()
    except Exception as error:
        log.warning("a target did not close: %s", REDACTOR.redact(repr(error)))

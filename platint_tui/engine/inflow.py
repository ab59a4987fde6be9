"""Events in the engine: one task routes what is new, one task a stream delivers what waits for it."""

from __future__ import annotations

import asyncio
import logging

from platint_tui.core.errors import PlatintError, StoreError
from platint_tui.core.model import Fault
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.delivering import Held, RouteTask
from platint_tui.engine.deliveryoutcomes import fault_of, text_of
from platint_tui.engine.routing import Router
from platint_tui.engine.targets import Targets

log = logging.getLogger("platint.engine")

_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds until a held route is tried again: the first time, the second, and so on."""
_ROUTER_PAUSE = 2.0


class Inflow:
    """What the engine does about events, as level-triggered as everything else that it does."""

    def __init__(self, context: Context, stop: asyncio.Event) -> None:
        self._context = context
        self._stop = stop
        self._targets = Targets(context.store.deliveries, context.clock)
        self._router = Router(context)
        self._routing: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._routes: dict[tuple[str, str], tuple[RouteTask, asyncio.Task[None]]] = {}
        self._held: dict[tuple[str, str], tuple[int, float]] = {}

    async def begin(self) -> None:
        """Breakers of an earlier engine are no more."""
        await self._context.store.deliveries.forget_health()

    async def look(self) -> None:
        """Start what is to be done and is not being done. Raises StoreError."""
        now = self._context.clock.monotonic()
        deliveries = self._context.store.deliveries
        if self._routing is None and now >= self._not_before and await deliveries.unrouted_sources():
            self._routing = asyncio.create_task(self._route(), name="routing")
        for pair in await deliveries.waiting():
            if pair not in self._routes and now >= self._held.get(pair, (0, 0.0))[1]:
                task = RouteTask(self._context, self._targets, *pair, self._stop)
                self._routes[pair] = (
                    task,
                    asyncio.create_task(self._deliver(pair, task), name=f"delivering {pair[0]}/{pair[1]}"),
                )
        for pair, (task, _) in self._routes.items():
            task.wake.set()
            if task.works:
                self._held.pop(pair, None)

    async def wanted(self) -> bool:
        """Whether something is to be routed, or waits and is not held."""
        deliveries = self._context.store.deliveries
        if self._context.clock.monotonic() >= self._not_before and await deliveries.unrouted_sources():
            return True
        return any(pair not in self._held for pair in await deliveries.waiting())

    def busy(self) -> bool:
        """Whether something is being done."""
        return self._routing is not None or any(not task.idle for task, _ in self._routes.values())

    def tasks(self) -> list[asyncio.Task[None]]:
        """What is to end before the engine does; it begins nothing new once the engine stops."""
        for task, _ in self._routes.values():
            task.wake.set()
        own = [] if self._routing is None else [self._routing]
        return [*own, *(task for _, task in self._routes.values())]

    async def _route(self) -> None:
        try:
            await self._router.route_new()
        except Exception as error:
            self._not_before = self._context.clock.monotonic() + _ROUTER_PAUSE
            _tell("routing events", error)
        else:
            if self._router.blocked:
                self._not_before = self._context.clock.monotonic() + _ROUTER_PAUSE
        finally:
            self._routing = None
            self._context.wake.set()

    async def _deliver(self, pair: tuple[str, str], task: RouteTask) -> None:
        try:
            await task.execute()
        except Held as held:
            await self._hold(pair, held.fault, held.until_ms)
        except StoreError as error:
            self._pause(pair)
            _tell(f"delivering {pair[0]}/{pair[1]}", error)
        except Exception as error:
            _tell(f"delivering {pair[0]}/{pair[1]}", error)
            await self._hold(pair, fault_of(error), None)
        else:
            self._held.pop(pair, None)
        finally:
            del self._routes[pair]
            self._context.wake.set()

    async def _hold(self, pair: tuple[str, str], fault: Fault, until_ms: int | None) -> None:
        """Show why a route waits, and remember when it is tried again."""
        clock = self._context.clock
        pause = self._pause(pair)
        if until_ms is not None:
            pause = max(0.05, min((until_ms - clock.now_ms()) / 1000, 86_400.0))
            self._held[pair] = (0, clock.monotonic() + pause)
        log.info("%s/%s is held: %s", *pair, text_of(fault))
        try:
            await self._context.store.deliveries.hold(
                *pair, fault.code, text_of(fault), clock.now_ms() + int(pause * 1000)
            )
        except PlatintError as error:
            _tell(f"holding {pair[0]}/{pair[1]}", error)

    def _pause(self, pair: tuple[str, str]) -> float:
        times = self._held.get(pair, (0, 0.0))[0]
        pause = _PAUSES[min(times, len(_PAUSES) - 1)]
        self._held[pair] = (times + 1, self._context.clock.monotonic() + pause)
        return pause


def _tell(what: str, error: Exception) -> None:
    text = error.sentence() if isinstance(error, PlatintError) else repr(error)
    log.error("%s: %s", what, REDACTOR.redact(text), exc_info=error)

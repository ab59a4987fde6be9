"""The receiver of webhooks: listens, follows the settings, shows how it is, and ends without losing anything."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import ssl
from collections.abc import Mapping

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import Json
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.receiver.intake import Intake
from platint_tui.engine.receiver.options import (
    SETTING,
    STATUS,
    Listening,
    ReceiverOptions,
    listening,
    tls_context,
)
from platint_tui.engine.receiver.sources import Endpoint, Sources
from platint_tui.engine.receiver.wire import Connection, date_line

log = logging.getLogger("platint.receiver")

MAX_CONNECTIONS = 1_000
BACKLOG = 1_024
SLOW_SECONDS = 2.0
"""How long a request may take where others wait for its connection."""
WATCH_SECONDS = 0.25
RETRY_SECONDS = 5.0
"""How often an address that cannot be had is tried again."""
STOP_SECONDS = 10.0
"""How long requests in hand may take when the receiver ends."""


class Receiver:
    """Listens while there is a profile that receives webhooks, or somebody says where.

    `run` follows the store until it is cancelled; `stop` then takes nothing more, answers what is in hand, closes.
    """

    def __init__(
        self,
        context: Context,
        options: ReceiverOptions | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._context = context
        self._options = options or ReceiverOptions()
        self._environ = os.environ if environ is None else environ
        self._sources = Sources(context)
        self._serving: _Serving | None = None
        self._wanted: Listening | None = None
        self._shown: tuple[str, str, str] | None = None
        self._retry_at = 0.0

    @property
    def address(self) -> str:
        """scheme://HOST:PORT while it listens, "" while it does not."""
        return self._serving.address if self._serving else ""

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections there are, and how many of them have nothing on them."""
        return self._serving.connections if self._serving else (0, 0)

    @property
    def held(self) -> int:
        """Bytes of bodies in memory."""
        return self._serving.intake.held if self._serving else 0

    def receives(self, profile: str) -> Endpoint | None:
        """The endpoint of a profile, None when it receives no webhooks."""
        return self._sources.get(profile)

    async def flush(self) -> None:
        """Have the refused requests written that are held for a moment."""
        if self._serving is not None:
            await self._serving.intake.refusals.flush()

    async def run(self) -> None:
        """Listen where it is wanted, follow profiles, sources and settings. Never ends by itself."""
        seen = -1
        self._context.followers.append(self._sources.refresh)
        while True:
            try:
                version = await self._context.store.data_version()
                if version != seen:
                    seen = version
                    await self._sources.refresh()
                    setting = await self._context.store.settings.get(SETTING)
                    await self._follow(setting)
                elif self._retry_at and self._context.clock.monotonic() >= self._retry_at:
                    await self._listen(self._wanted)
            except PlatintError as error:
                log.error("webhooks: %s", REDACTOR.redact(error.sentence()))
            except Exception as error:
                log.error("webhooks: %s", REDACTOR.redact(repr(error)), exc_info=error)
            await asyncio.sleep(1.0 if self._context.pressure.busy else WATCH_SECONDS)

    async def stop(self) -> None:
        """Take nothing more, answer what is in hand, close."""
        await self._end_serving()
        await self._sources.close()
        await self._show("", "")

    async def _follow(self, setting: Json) -> None:
        """Listen somewhere else, or not at all, when that is what is wanted now."""
        try:
            wanted = listening(self._options, self._environ, setting)
        except ConfigError as error:
            self._wanted = None
            await self._end_serving()
            await self._show("", error.sentence())
            return
        if wanted is not None and not wanted.wanted and not len(self._sources):
            wanted = None
        if wanted != self._wanted or (wanted is None and self._shown is None):
            await self._listen(wanted)

    async def _listen(self, wanted: Listening | None) -> None:
        self._retry_at = 0.0
        if self._serving is not None and wanted is not None and self._serving.follow(wanted):
            self._wanted = wanted
            await self._show(self._serving.address, "")
            return
        await self._end_serving()
        self._wanted = wanted
        if wanted is None:
            await self._show("", "")
            return
        serving = _Serving(self._context, self._sources, wanted)
        try:
            await serving.start(tls_context(wanted))
        except (OSError, ConfigError) as error:
            self._retry_at = self._context.clock.monotonic() + RETRY_SECONDS
            await self._show("", _why_not(wanted, error))
            return
        self._serving = serving
        await self._show(serving.address, "")

    async def _end_serving(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.stop()

    async def _show(self, address: str, error: str) -> None:
        """Say how it is, in the log and where the console looks, when that has changed."""
        public_url = self._wanted.public_url if self._wanted else ""
        if self._shown == (address, public_url, error):
            return
        before, self._shown = self._shown, (address, public_url, error)
        if error:
            log.error("webhooks are not received: %s", REDACTOR.redact(error))
        elif address:
            log.info("webhooks are received on %s", address)
        elif before is None and not await self._context.store.settings.get(STATUS):
            # Nothing was ever said, so there is nothing to take back.
            return
        try:
            await self._context.store.settings.put(
                STATUS,
                {
                    "address": address,
                    "public_url": public_url,
                    "since_ms": self._context.clock.now_ms(),
                    "error": error,
                },
            )
        except PlatintError as fault:
            self._shown = before
            log.error("%s", REDACTOR.redact(fault.sentence()))


class _Serving:
    """One address that is listened on, with its connections: the `wire.Handler` of them."""

    def __init__(self, context: Context, sources: Sources, where: Listening) -> None:
        self._context = context
        self._where = where
        self._connections: set[Connection] = set()
        self.intake = Intake(context, sources, where)
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._most = MAX_CONNECTIONS
        self._empty = asyncio.Event()
        self.address = ""
        self.date = b""
        self.now = self._loop.time()
        self.begun = self.intake.begun
        self.received = self.intake.received
        self.too_large = self.intake.too_large
        self.reserve = self.intake.reserve
        self.release = self.intake.release

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            # The store and the targets need files too.
            self._most = max(16, min(MAX_CONNECTIONS, files // 2))
        self._tick()
        self._server = await self._loop.create_server(
            lambda: Connection(self),
            self._where.host,
            self._where.port,
            ssl=tls,
            backlog=BACKLOG,
            reuse_address=True,
        )
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._where.host}]" if ":" in self._where.host else self._where.host
        self.address = f"{self._where.scheme}://{host}:{port}"
        self._sweeper = asyncio.create_task(self._sweep())

    def follow(self, wanted: Listening) -> bool:
        """Go by other settings without interrupting anything; False when that needs another address."""
        if (wanted.host, wanted.port, wanted.cert, wanted.key) != (
            self._where.host,
            self._where.port,
            self._where.cert,
            self._where.key,
        ):
            return False
        self._where = wanted
        self.intake.follow(wanted)
        return True

    async def stop(self) -> None:
        """Take no new connection and no new request; answer what came whole; close."""
        self.intake.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.finish()
        try:
            await asyncio.wait_for(self.intake.drained(), STOP_SECONDS)
        except TimeoutError:
            log.error("webhooks in hand were not stored in time; their senders keep them")
        if self._connections:
            # Refusals are answered a moment after they were judged.
            try:
                await asyncio.wait_for(self._empty.wait(), 1.0)
            except TimeoutError:
                pass
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    @property
    def connections(self) -> tuple[int, int]:
        """How many there are, and how many of them are idle."""
        return len(self._connections), sum(item.idle for item in self._connections)

    def opened(self, connection: Connection) -> bool:
        """Count a connection; where there are too many, the one goes that has been idle longest, else the slowest."""
        if len(self._connections) >= self._most:
            idle = [item for item in self._connections if item.idle]
            # Whoever sends a request byte by byte must not keep others out for as long as that may take.
            late = self.now - SLOW_SECONDS
            slow = [item for item in self._connections if item.unfinished and item.since <= late]
            if idle:
                min(idle, key=lambda item: item.deadline).abort()
            elif slow:
                min(slow, key=lambda item: item.since).abort()
            else:
                return False
        self._connections.add(connection)
        self._empty.clear()
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def _sweep(self) -> None:
        """Every second: the date, and the connections whose time is over."""
        while True:
            await asyncio.sleep(1.0)
            self._tick()
            for connection in [item for item in self._connections if item.deadline < self.now]:
                connection.expire()

    def _tick(self) -> None:
        self.now = self._loop.time()
        self.date = date_line(self._context.clock.now_ms() / 1000)


def _why_not(where: Listening, error: OSError | ConfigError) -> str:
    if isinstance(error, ConfigError):
        return error.sentence()
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"{where.host}:{where.port} cannot be listened on ({reason}). Another program may use it: stop that one, or"
        " choose another address with --listen; it is tried again every few seconds."
    )

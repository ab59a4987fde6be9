"""Certificates and key sets that requests are verified with: fetched before, kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from platint_tui.core.clock import Clock
from platint_tui.core.errors import PlatintError
from platint_tui.core.text import one_line
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.drivers.http.webhooks.schemes.chains import BadCertificate, as_pem, missing_issuer
from platint_tui.drivers.http.webhooks.schemes.signedby import allowed
from platint_tui.drivers.http.webhooks.verifying import compile_verifier
from platint_tui.manifest.schema import Connector

MAX_SIZE = 64 * 1024
TIMEOUT = 10.0
FRESH = 3600.0
"""Seconds for which what was fetched is used without a question; platforms announce a new key for longer."""
KEPT = 24 * 3600.0
"""Seconds for which it is used while the address cannot be reached."""
AGAIN = 30.0
"""Seconds until an address is asked again that failed, or that is asked for out of turn."""
MAX_KEPT = 32
PER_MINUTE = 30
"""Addresses that are asked in a minute: whoever sends us requests says which."""
_MAX_ISSUERS = 3


@dataclass(slots=True)
class _Entry:
    """What is known of an address; times are on the monotonic clock."""

    data: bytes | None = None
    fetched: float = 0.0
    asked: float = 0.0
    fault: str = ""


class Certificates:
    """The certificates of one connector. A call gives what is known of an address: hand it in as `certificates`.

    `fetch` asks for addresses (those of `needs`): by https on the manifest's hosts only, without redirects, at most
    64 KiB each, one request at a time for an address. An issuer's certificate that was left out is fetched too.
    """

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        authorities: bytes = b"",
    ) -> None:
        verifier = compile_verifier(connector)
        self._hosts, self._issuers = verifier.hosts, verifier.issuers
        self._clock = clock
        self._transport = transport
        self._authorities = authorities
        self._entries: dict[str, _Entry] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asked: list[float] = []

    def __call__(self, address: str) -> bytes | None:
        """What was found at an address, None when it is not known."""
        entry = self._entries.get(address)
        if entry is None or entry.data is None or self._clock.monotonic() - entry.fetched > KEPT:
            return None
        return entry.data

    def fault(self, address: str) -> str:
        """Why an address could not be had the last time, "" when it could."""
        entry = self._entries.get(address)
        return entry.fault if entry else ""

    async def fetch(self, addresses: Iterable[str], *, again: bool = False) -> None:
        """Have what is at these addresses known; what cannot be had stays unknown, with its `fault`.

        `again`: ask although it is known, for a key that is newer than the key set (at most every 30 s).
        """
        tasks = []
        for address in addresses:
            if not self._is_due(address, again):
                continue
            task = self._running.get(address)
            if task is None:
                task = self._running[address] = asyncio.create_task(self._ask(address))
                task.add_done_callback(lambda _, name=address: self._running.pop(name, None))  # type: ignore[misc]  # its default
            tasks.append(task)
        # Whoever gives up waiting does not take the answer from the others.
        if tasks:
            await asyncio.shield(asyncio.gather(*tasks))

    async def aclose(self) -> None:
        """End what is running and close the connections."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()

    def _is_due(self, address: str, again: bool) -> bool:
        entry = self._entries.get(address)
        if entry is None:
            return True
        now = self._clock.monotonic()
        if now - entry.asked < AGAIN:
            return False
        return again or entry.data is None or now - entry.fetched > FRESH

    async def _ask(self, address: str) -> None:
        now = self._clock.monotonic()
        entry = self._entry(address)
        entry.asked = now
        self._asked = [time for time in self._asked if now - time < 60]
        if len(self._asked) >= PER_MINUTE:
            entry.fault = f"more than {PER_MINUTE} addresses were asked for within a minute"
            return
        self._asked.append(now)
        try:
            async with asyncio.timeout(TIMEOUT):
                data = await self._get(address, self._hosts)
                entry.data = await self._completed(data) if self._issuers else data
            entry.fetched, entry.fault = now, ""
        except TimeoutError:
            entry.fault = f"there was no answer within {TIMEOUT:g} s"
        except (_Unfit, BadCertificate) as error:
            entry.fault = str(error)
        except (httpx.HTTPError, PlatintError, OSError) as error:
            entry.fault = one_line(str(error)) or type(error).__name__

    def _entry(self, address: str) -> _Entry:
        """The entry of an address; for a new one the oldest that is of least use goes."""
        entry = self._entries.get(address)
        if entry is None:
            if len(self._entries) >= MAX_KEPT:
                idle = [name for name in self._entries if name not in self._running]
                idle.sort(key=lambda name: (self._entries[name].data is not None, self._entries[name].asked))
                for name in idle[:1]:
                    del self._entries[name]
            entry = self._entries[address] = _Entry()
        return entry

    async def _get(self, address: str, hosts: tuple[str, ...]) -> bytes:
        if not allowed(address, hosts):
            raise _Unfit(f"it is asked for on {', '.join(hosts)} by https only")
        if self._transport is None:
            self._transport = AiohttpTransport(connect=TIMEOUT, read=TIMEOUT)
        headers = {"accept-encoding": "identity", "user-agent": "platint-tui"}
        request = httpx.Request("GET", address, headers=headers)
        response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                raise _Unfit(f"the answer was HTTP {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _Unfit("the answer is compressed, which was not asked for")
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > MAX_SIZE:
                    raise _Unfit(f"there is more than {MAX_SIZE // 1024} KiB")
        finally:
            await response.aclose()
        return bytes(data)

    async def _completed(self, data: bytes) -> bytes:
        """A chain with the certificates of its issuers, as far as they are to be had."""
        if data.lstrip()[:1] == b"{":
            return data
        chain = as_pem(data)
        for _ in range(_MAX_ISSUERS):
            address = missing_issuer(chain, self._authorities)
            if address is None or not allowed(address, self._issuers):
                break
            chain += as_pem(await self._get(address, self._issuers))
        return chain


class _Unfit(Exception):
    """An answer that is not used; the text says why."""

"""What is done with one request: whose it is, whether it is genuine, its events on the disk, the answer.

Whoever sends a request without a valid signature learns nothing: one and the same answer, after one and the same
time, whether the source exists, has a secret, or got a wrong signature.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Collection, Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from platint_tui.core.errors import PlatintError
from platint_tui.core.events import EventState, SourceState
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.webhooks import Cause, Reply, Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import answer, events_of, handshake_of, needs, verify, visit_of
from platint_tui.drivers.http.webhooks.reaching import MAX_NONCE, PROBE, proof
from platint_tui.drivers.http.webhooks.visiting import visit
from platint_tui.engine.context import Context
from platint_tui.engine.receiver.batches import Batches
from platint_tui.engine.receiver.options import Listening, host_of, is_address
from platint_tui.engine.receiver.refusals import Refusals
from platint_tui.engine.receiver.sources import Endpoint, Sources
from platint_tui.engine.receiver.wire import OVERLOADED, Answer, Exchange, Head, empty, rendered
from platint_tui.manifest.webhooks import Handshake

log = logging.getLogger("platint.receiver")

PREFIX = "/webhooks/"
_PROBE = f"{PREFIX}{PROBE}?nonce="
REFUSED_AFTER = 0.1
"""Seconds from the end of a request that is not genuine to its answer."""
MAX_WAITING = 4_000
"""Requests that wait for the disk; more are told to come back."""
MAX_HELD = 64 * 1024 * 1024
"""Bytes of bodies in memory, of all connections together."""
LARGE = 512 * 1024
"""Bodies from this size on are looked at in another thread."""
DEFAULT_LIMIT = 1024 * 1024

UNAUTHORIZED = empty(401)
NOT_FOUND = empty(404)
MISDIRECTED = empty(421)
FAILED = empty(500)
NOT_STORED = empty(503, retry_after="10")
DISABLED = empty(503, retry_after="300")
_DECOY_KEY = secrets.token_bytes(32)


class Intake:
    """Takes requests from the connections and answers them. `listening` says which addresses are ours."""

    def __init__(self, context: Context, sources: Sources, listening: Listening) -> None:
        self.batches = Batches(context)
        self.refusals = Refusals(context)
        self.held = 0
        self.stopping = False
        self._context = context
        self._sources = sources
        self._listening = listening
        self._last_host = ""
        self._public = urlsplit(listening.public_url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def follow(self, listening: Listening) -> None:
        """Go by these settings from now on."""
        self._listening = listening
        self._public = urlsplit(listening.public_url)
        self._last_host = ""

    # --- memory -----------------------------------------------------------------------------------------

    def reserve(self, count: int) -> bool:
        """Account for bytes of a body in memory; False when there is no room."""
        if self.held + count > MAX_HELD:
            return False
        self.held += count
        return True

    def release(self, count: int) -> None:
        """Those bytes are no longer in memory."""
        self.held -= count

    # --- before the body --------------------------------------------------------------------------------

    def begun(self, head: Head, length: int) -> int | Answer:
        """How many bytes the body may have, or the answer to a request that needs none of it."""
        if not head.target.startswith(PREFIX):
            return NOT_FOUND
        if self.stopping or len(self.batches) >= MAX_WAITING or self.held + length > MAX_HELD:
            return OVERLOADED
        if not self._is_for_us(head):
            self.refusals.add("", Cause.WRONG_HOST, self._wrong_host(head), head, b"")
            return MISDIRECTED
        if head.method == "GET" and head.target.startswith(_PROBE):
            return self._proof(head)
        endpoint = self._endpoint(head)
        if endpoint is None:
            # As a source of the usual kind would: its name is not to be found out.
            return DEFAULT_LIMIT if head.method == "POST" else _not_allowed(("POST",))
        if head.method not in endpoint.answers:
            name = endpoint.profile.name
            allowed = ", ".join(sorted(endpoint.answers))
            text = f"'{name}' takes {allowed}, not {head.method[:20]}."
            self.refusals.add(name, Cause.WRONG_METHOD, text, head, b"", webhooks=endpoint.webhooks)
            return _not_allowed(endpoint.answers)
        return endpoint.webhooks.max_body

    def too_large(self, head: Head, beginning: bytes) -> None:
        """A body was larger than the manifest of its source allows."""
        endpoint = self._endpoint(head)
        limit = endpoint.webhooks.max_body if endpoint else DEFAULT_LIMIT
        self.refusals.add(
            endpoint.profile.name if endpoint else "",
            Cause.TOO_LARGE,
            f"The body is larger than {limit} bytes (webhooks.max_body of the manifest).",
            head,
            beginning,
            webhooks=endpoint.webhooks if endpoint else None,
        )

    def _endpoint(self, head: Head) -> Endpoint | None:
        name = head.target[len(PREFIX) :]
        found = self._sources.get(name)
        if found is None and ("?" in name or "%" in name):
            found = self._sources.get(unquote(name.partition("?")[0]))
        return found

    def _is_for_us(self, head: Head) -> bool:
        """Whether the Host is one of ours: a web page that points a name of its own here has that name in it."""
        header = head.header("host") or ""
        if header == self._last_host:
            return True
        host = host_of(header)
        ours = (
            host in ("localhost", self._listening.host, self._public.hostname or "")
            or is_address(host)
            or (self._listening.forwarded and not self._listening.public_url)
        )
        if ours:
            self._last_host = header
        return ours

    def _proof(self, head: Head) -> Answer:
        """Show whoever asks through the public address that it leads to this process."""
        nonce = head.target.removeprefix(_PROBE)[:MAX_NONCE]
        text = proof(self._context.probe_key, nonce).encode()
        return rendered(Reply(200, {"content-type": "text/plain", "cache-control": "no-store"}, text))

    def _wrong_host(self, head: Head) -> str:
        host = host_of(head.header("host") or "")
        known = self._listening.public_url or "not set"
        return f"The request was for the host '{host}', which is none of ours: the public URL is {known}."

    # --- the whole request ------------------------------------------------------------------------------

    def received(self, exchange: Exchange, body: bytes) -> None:
        """Judge a request and answer it, at once where nothing has to be waited for."""
        head = exchange.head
        endpoint = self._endpoint(head)
        request = WebhookRequest(head.method, head.target, head.headers, body, self._url(head))
        if endpoint is None:
            self._unknown(exchange, request)
            return
        if endpoint.known and len(body) < LARGE:
            if endpoint.is_stale(self._context.clock.monotonic()):
                self._start(_ignored(endpoint.read(self._context)))
            try:
                if self._judge_at_once(exchange, endpoint, request):
                    return
            except Exception as error:
                self._broken(exchange, endpoint, request, error)
                return
        self._start(self._judge(exchange, endpoint, request))

    def _judge_at_once(self, exchange: Exchange, endpoint: Endpoint, request: WebhookRequest) -> bool:
        """Accept a request without waiting for anything; False when it takes more than that."""
        handshake = handshake_of(endpoint.connector, request)
        if handshake is not None and (handshake.visit or not handshake.verified):
            return False
        verdict = self._verify(endpoint, request)
        if not verdict.accepted:
            return False
        if endpoint.state is SourceState.DISABLED:
            self._disabled(exchange, endpoint)
        else:
            self._accept(exchange, endpoint, request, verdict, handshake)
        return True

    async def _judge(self, exchange: Exchange, endpoint: Endpoint, request: WebhookRequest) -> None:
        began = self._loop.time()
        try:
            handshake = handshake_of(endpoint.connector, request)
            if handshake is not None and not handshake.verified:
                if endpoint.state is SourceState.DISABLED:
                    self._disabled(exchange, endpoint)
                    return
                exchange.answer(_reply(handshake, request))
                if handshake.tells is not None:
                    name, head = endpoint.profile.name, exchange.head
                    self.refusals.add(
                        name,
                        Cause.HANDSHAKE,
                        handshake.tells,
                        head,
                        request.body,
                        webhooks=endpoint.webhooks,
                    )
                return
            verdict = await self._verdict(endpoint, request)
            if not verdict.accepted:
                self._refuse(exchange, endpoint, request, verdict, began)
            elif endpoint.state is SourceState.DISABLED:
                self._disabled(exchange, endpoint)
            elif await self._confirmed(endpoint, request, handshake):
                self._accept(exchange, endpoint, request, verdict, handshake)
            else:
                exchange.answer(NOT_STORED)
        except Exception as error:
            self._broken(exchange, endpoint, request, error)

    async def _verdict(self, endpoint: Endpoint, request: WebhookRequest) -> Verdict:
        """The verdict, after the secrets were asked for again where that may change it."""
        if not endpoint.known:
            await endpoint.read(self._context)
        addresses = needs(endpoint.connector, request)
        if addresses:
            await endpoint.certificates.fetch(addresses)
        verdict = await self._verify_beside(endpoint, request)
        if verdict.accepted:
            return verdict
        if addresses:
            # The key may be newer than what is known.
            await endpoint.certificates.fetch(addresses, again=True)
        again = endpoint.may_ask_again(self._context.clock.monotonic()) and await endpoint.read(self._context)
        return await self._verify_beside(endpoint, request) if again or addresses else verdict

    async def _verify_beside(self, endpoint: Endpoint, request: WebhookRequest) -> Verdict:
        if len(request.body) < LARGE:
            return self._verify(endpoint, request)
        return await asyncio.to_thread(self._verify, endpoint, request)

    def _verify(self, endpoint: Endpoint, request: WebhookRequest) -> Verdict:
        now = self._context.clock.now_ms() / 1000
        return verify(endpoint.connector, request, endpoint.values, now, endpoint.certificates)

    async def _confirmed(
        self, endpoint: Endpoint, request: WebhookRequest, handshake: Handshake | None
    ) -> bool:
        """Call the address by which a platform wants a handshake confirmed; False when it did not answer."""
        if handshake is None or handshake.visit is None:
            return True
        address = visit_of(handshake, request)
        failed = "it is no address that the manifest allows." if address is None else await visit(address)
        if failed:
            log.error(
                "webhooks of %s: the %s cannot be confirmed: %s",
                endpoint.profile.name,
                handshake.name,
                failed,
            )
        return not failed

    def _accept(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        request: WebhookRequest,
        verdict: Verdict,
        handshake: Handshake | None,
    ) -> None:
        """Store what a genuine request brings, then answer it."""
        reply = endpoint.accepted if handshake is None else _reply(handshake, request)
        events = events_of(
            endpoint.connector, endpoint.profile.name, request, self._context.clock.now_ms(), verdict.secret
        )
        if handshake is not None:
            events = tuple(replace(event, state=EventState.HANDSHAKE) for event in events)

        def done(stored: bool) -> None:
            exchange.answer(reply if stored else NOT_STORED)

        self.batches.add(events, done)

    def _disabled(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Tell a genuine sender to come back: only these are counted, and only these learn that it is disabled."""
        name = endpoint.profile.name
        text = f"'{name}' is disabled."
        self.refusals.add(name, Cause.DISABLED, text, exchange.head, b"", webhooks=endpoint.webhooks)
        exchange.answer(DISABLED)

    def _refuse(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        request: WebhookRequest,
        verdict: Verdict,
        began: float,
    ) -> None:
        name, head = endpoint.profile.name, exchange.head
        text = verdict.message
        if endpoint.problem is not None:
            text = f"{text} The secrets of '{name}' cannot be read: {endpoint.problem.message}"
        self.refusals.add(
            name, verdict.cause, text, head, request.body, steps=verdict.steps, webhooks=endpoint.webhooks
        )
        if endpoint.problem is not None or verdict.cause == Cause.NO_CERTIFICATE:
            # Nobody can tell whether it is genuine: the sender is to keep it.
            exchange.answer(NOT_STORED)
        else:
            self._turn_away(exchange, began)

    def _unknown(self, exchange: Exchange, request: WebhookRequest) -> None:
        """A request for a source that there is not: as much work as for one that there is, and the same answer."""
        began = self._loop.time()
        hmac.digest(_DECOY_KEY, request.body, "sha256")
        text = "No profile of this name receives webhooks."
        self.refusals.add("", Cause.UNKNOWN_SOURCE, text, exchange.head, request.body)
        self._turn_away(exchange, began)

    def _turn_away(self, exchange: Exchange, began: float) -> None:
        self._loop.call_later(
            max(0.0, began + REFUSED_AFTER - self._loop.time()), exchange.answer, UNAUTHORIZED
        )

    def _broken(
        self, exchange: Exchange, endpoint: Endpoint, request: WebhookRequest, error: Exception
    ) -> None:
        """Something of ours failed: the sender keeps the request and learns nothing."""
        known = isinstance(error, PlatintError)
        text = REDACTOR.redact(error.sentence() if isinstance(error, PlatintError) else repr(error))
        log.error("webhooks of %s: %s", endpoint.profile.name, text, exc_info=None if known else error)
        exchange.answer(FAILED)

    # --- the rest ---------------------------------------------------------------------------------------

    def _url(self, head: Head) -> str:
        """The address that the sender called."""
        listening = self._listening
        if listening.public_url:
            return listening.public_url + head.target
        scheme, host = listening.scheme, head.header("host") or ""
        if listening.forwarded:
            scheme = head.header("x-forwarded-proto") or scheme
            host = head.header("x-forwarded-host") or host
        return f"{scheme}://{host}{head.target}"

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self) -> None:
        """Wait until every request that came whole is judged and stored."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.batches.drained()
        await self.refusals.flush()


async def _ignored(work: Coroutine[Any, Any, object]) -> None:
    await work


def _reply(handshake: Handshake, request: WebhookRequest) -> Answer:
    return rendered(answer(handshake, request), body=request.method != "HEAD")


def _not_allowed(methods: Collection[str]) -> Answer:
    return rendered(Reply(405, {"allow": ", ".join(sorted(methods))}))

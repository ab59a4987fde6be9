"""Refused requests on their way to the store: kept to be looked at, and never able to fill it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from platint_tui.core.errors import PlatintError
from platint_tui.core.events import Rejection
from platint_tui.core.redaction import MASK, REDACTOR
from platint_tui.core.webhooks import Step
from platint_tui.engine.context import Context
from platint_tui.engine.receiver.wire import Head
from platint_tui.manifest.verifying import BasicScheme, JwtScheme, TokenScheme
from platint_tui.manifest.webhooks import Webhooks

log = logging.getLogger("platint.receiver")

FLUSH_SECONDS = 0.25
BODY_KEPT = 64 * 1024
_HEADERS_KEPT = 8 * 1024
_TARGET_KEPT = 1024
_PRIVATE = re.compile(r"auth|cookie|token|secret|password|passwd|api-?key|credential|session", re.I)


class Refusals:
    """One sample of each source and cause is held, the others are counted; all of it is written now and then.

    So a flood costs one row a minute and cause, and no more memory than one body each.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held: dict[tuple[str, str, str], Rejection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(
        self,
        profile: str,
        cause: str,
        message: str,
        head: Head,
        body: bytes,
        *,
        steps: Sequence[Step] = (),
        webhooks: Webhooks | None = None,
    ) -> None:
        """Keep or count a refused request; `profile` "" is for one of no source."""
        now = self._context.clock.now_ms()
        key = (profile, cause, head.method)
        held = self._held.get(key)
        if held is not None:
            self._held[key] = replace(held, times=held.times + 1, last_ms=now)
            return
        self._held[key] = Rejection(
            number=0,
            profile=profile,
            cause=cause,
            message=REDACTOR.redact(message),
            received_ms=now,
            last_ms=now,
            times=1,
            method=head.method,
            target=_shown_target(head.target, webhooks),
            headers=_shown_headers(head.headers, webhooks),
            body=_redacted(body[:BODY_KEPT]),
            truncated=len(body) > BODY_KEPT,
            steps=tuple(replace(step, detail=REDACTOR.redact(step.detail)) for step in steps),
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._begin)

    async def flush(self) -> None:
        """Write what is held. What the store does not take is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._held = list(self._held.values()), {}
        if not batch:
            return
        try:
            await self._context.store.events.reject(batch)
        except PlatintError as error:
            times = sum(item.times for item in batch)
            log.error("%d refused requests are not kept: %s", times, REDACTOR.redact(error.sentence()))

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self.flush())


def _redacted(body: bytes) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    return REDACTOR.redact(text).encode("utf-8", "surrogateescape")


def _shown_headers(
    headers: Iterable[tuple[str, str]], webhooks: Webhooks | None
) -> tuple[tuple[str, str], ...]:
    """The headers without what would let somebody in: signatures may be seen, tokens may not."""
    signatures, private = _headers_of(webhooks)
    shown: list[tuple[str, str]] = []
    left = _HEADERS_KEPT
    for name, value in headers:
        hidden = name in private or (name not in signatures and _PRIVATE.search(name) is not None)
        text = MASK if hidden else REDACTOR.redact(value)
        left -= len(name) + len(text)
        if left < 0:
            break
        shown.append((name, text))
    return tuple(shown)


def _headers_of(webhooks: Webhooks | None) -> tuple[frozenset[str], frozenset[str]]:
    """The headers of signatures, and those of tokens and passwords."""
    signatures: set[str] = set()
    private = {"authorization", "proxy-authorization", "cookie"}
    for scheme in webhooks.verify if webhooks else ():
        own = {
            str(getattr(scheme, name)).lower()
            for name in ("header", "timestamp", "id")
            if getattr(scheme, name, None)
        }
        if isinstance(scheme, TokenScheme | BasicScheme | JwtScheme):
            private |= own
        else:
            signatures |= own
    return frozenset(signatures - private), frozenset(private)


def _shown_target(target: str, webhooks: Webhooks | None) -> str:
    """Path and query, the values of parameters masked that are secret or sound so."""
    path, mark, query = target.partition("?")
    secret = {
        name for scheme in (webhooks.verify if webhooks else ()) if (name := getattr(scheme, "query", None))
    }
    parts = []
    for item in query.split("&"):
        name, equals, _ = item.partition("=")
        hidden = equals and (name in secret or _PRIVATE.search(name))
        parts.append(f"{name}={MASK}" if hidden else item)
    return REDACTOR.redact(f"{path}{mark}{'&'.join(parts)}"[:_TARGET_KEPT])

"""A token in a header: got on first use, renewed before its end and once after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from platint_tui.core.backoff import RetryPolicy, backoff
from platint_tui.core.errors import SystemicError, TransientError
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned

T = TypeVar("T")
_TRIES = 3
_MAX_LIFETIME = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and the monotonic second from which a new one is wanted (None: when it is refused)."""

    value: Secret
    renew_at: float | None = None


class Renewing(Authorizer):
    """Signs with a token that subclasses get; however many requests wait, one of them gets it."""

    refreshable = True

    def __init__(self, context: DriverContext, header: str, prefix: str, margin: float) -> None:
        """`margin`: seconds before its end in which a token is renewed."""
        self.context = context
        self._header = header.lower()
        self._prefix = prefix
        self._margin = margin
        self._lock = asyncio.Lock()
        self._token: Token | None = None

    async def sign(self, request: Unsigned) -> Signed:
        """The request with a token that is not about to expire."""
        token = await self.present()
        return Signed(request.url, {**request.headers, self._header: self._text(token)})

    async def refresh(self, used: Signed) -> None:
        """A new token, unless another task has got one since `used` was signed."""
        async with self._lock:
            token = self._token
            if token is None or used.headers.get(self._header) == self._text(token):
                self._token = await self._renew(token)

    async def present(self) -> Token:
        """A token that is not about to expire."""
        token = self._token
        if token is None or self._due(token):
            async with self._lock:
                if self._token is token:
                    self._token = await self._renew(None)
                token = self._token
        assert token is not None
        return token

    async def _renew(self, refused: Token | None) -> Token:
        """Another token than `refused` (None: than the one that is about to expire). Raises PlatintError."""
        raise NotImplementedError

    def token_of(self, text: object, lifetime: float | None, where: str, left: float | None = None) -> Token:
        """A token as an answer gives it; `lifetime` in seconds, None when nobody knows; `left` of it.

        Raises SystemicError for what no header can carry.
        """
        if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable():
            raise SystemicError(
                "The token endpoint gave no usable access token.", where=where, code="token_endpoint"
            )
        if lifetime is None:
            return Token(Secret(text))
        left = lifetime if left is None else left
        return Token(Secret(text), self.context.clock.monotonic() + left - margin_of(self._margin, lifetime))

    async def attempts(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, tried again after failures that may pass."""
        return await attempts(self.context, ask)

    def _text(self, token: Token) -> str:
        return self._prefix + token.value.reveal()

    def _due(self, token: Token) -> bool:
        return token.renew_at is not None and self.context.clock.monotonic() >= token.renew_at


async def attempts(
    context: DriverContext,
    ask: Callable[[], Awaitable[T]],
    final: Callable[[TransientError], bool] = lambda _: False,
) -> T:
    """What `ask` gives, tried again after failures that may pass and are not `final`. Each try is measured."""
    clock = context.clock
    policy = RetryPolicy(attempts=_TRIES, base=0.5, cap=5.0)
    for attempt in range(1, _TRIES + 1):
        started = clock.monotonic()
        ok = False
        try:
            found = await ask()
            ok = True
            return found
        except TransientError as error:
            if attempt == _TRIES or final(error):
                raise
        finally:
            context.telemetry.observe("token", clock.monotonic() - started, ok)
        await clock.sleep(backoff(policy, attempt, context.rng))
    raise AssertionError("unreachable")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. Whoever cancels waits until it is done; the cancellation takes effect then."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            # There is nobody left to tell of a failure.
            task.exception()
        raise


def margin_of(margin: float, lifetime: float) -> float:
    """Seconds before the end of a token in which a new one is got: at most half of its life, or a new one
    would be asked for before every request.
    """
    return min(margin, lifetime / 2)


def lifetime_of(value: object) -> float | None:
    """Seconds until expiry; None (use it until it is refused) for anything that is no sensible number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MAX_LIFETIME:
        return float(value)
    return None

"""A transport that takes down what is sent, for somebody who wants to see the exact requests."""

from __future__ import annotations

import time

import httpx

from platint_tui.core.wire import Watch


class WatchedTransport(httpx.AsyncBaseTransport):
    """Hands requests on and notes each: what was sent, the status, milliseconds until the answer began."""

    def __init__(self, inner: httpx.AsyncBaseTransport, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the transport behind."""
        started = time.perf_counter()
        status: int | None = None
        error = ""
        try:
            response = await self._inner.handle_async_request(request)
            status = response.status_code
        except BaseException as failure:
            error = str(failure) or type(failure).__name__
            raise
        finally:
            self._watch.note(
                request.method,
                str(request.url),
                dict(request.headers.items()),
                request.content or None,
                status=status,
                ms=(time.perf_counter() - started) * 1000,
                error=error,
            )
        return response

    async def aclose(self) -> None:
        """Close the transport behind."""
        await self._inner.aclose()

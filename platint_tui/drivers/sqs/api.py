"""Requests to SQS by its JSON protocol, signed and sent by the http driver.

Source: AWS, "Making Query API requests using AWS JSON protocol in Amazon SQS", and the API reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from platint_tui.core.errors import ErrorClass, PlatintError, SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Json
from platint_tui.core.ports import Telemetry
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.session import Session

BATCH = 10
"""Entries that a batch request takes."""
_AT_ONCE = 4
_TRIES = 3
_PAUSE = 0.2
_WAITED = 1.0
RECEIVE = "receive"


class Api:
    """Sends the requests of one profile."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def call(
        self,
        action: str,
        body: Mapping[str, Json],
        *,
        operation: str,
        stream: str = "",
        safe: bool = True,
        brief: bool = False,
    ) -> dict[str, Any]:
        """The answer to one action. `operation` names it to the telemetry, `stream` is what it is for; one that
        is not `safe` is never sent twice, `brief` is for a person who waits.

        Raises PlatintError: CredentialError and ConfigError with the remedy, TransientError when no answer
        came (code `unknown_outcome` when one that is not safe may have been carried out), RateLimited.
        """
        session = self._session
        await session.ready()
        headers = {**session.headers, "x-amz-target": f"AmazonSQS.{action}"}
        url = session.base_url.rstrip("/") + "/"
        content = dumps(body).encode()
        request = Outgoing("POST", url, headers, content, safe, resource=stream)
        name = f"{operation} {stream}".strip()
        result = await session.caller.call(name, "read" if safe else "write", request, brief=brief)
        verdict, answer = result.verdict, result.answer
        if verdict is not None:
            if verdict.error_class is ErrorClass.RECORD and safe:
                raise SystemicError(verdict.message, hint=verdict.hint, where=stream, code=verdict.code)
            raise verdict.error(stream, session.context.clock.now_ms())
        document = loads(answer.body, action) if answer is not None and answer.body else {}
        if not isinstance(document, dict):
            raise SystemicError(f"The answer to {action} is no object.", where=stream, code="answer")
        return document

    async def batch(
        self, action: str, url: str, entries: Sequence[Mapping[str, Json]], *, operation: str, stream: str
    ) -> None:
        """Send entries that may be sent again (deletes, visibility), ten in a request and a few at a time.

        An entry that fails for now is sent again a few times; one whose receipt is no longer good is left: its
        message comes again. Raises what `call` raises.
        """
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(portion: Sequence[Mapping[str, Json]]) -> None:
            async with turn:
                await self._portion(action, url, portion, operation, stream)

        portions = [entries[start : start + BATCH] for start in range(0, len(entries), BATCH)]
        await in_full(one(portion) for portion in portions)

    async def _portion(
        self, action: str, url: str, entries: Sequence[Mapping[str, Json]], operation: str, stream: str
    ) -> None:
        for number in range(_TRIES):
            numbered = [{"Id": str(place), **entry} for place, entry in enumerate(entries)]
            answer = await self.call(
                action, {"QueueUrl": url, "Entries": numbered}, operation=operation, stream=stream
            )
            failed = answer.get("Failed") or ()
            entries = [entries[int(item["Id"])] for item in failed if not item.get("SenderFault", True)]
            if not entries:
                return
            await self._session.context.clock.sleep(_PAUSE * (number + 1))


async def in_full(work: Iterable[Any]) -> list[Any]:
    """What all of these come to. Raises the first error when every one of them has ended."""
    done = await asyncio.gather(*work, return_exceptions=True)
    errors = [item for item in done if isinstance(item, BaseException)]
    for error in sorted(errors, key=lambda item: isinstance(item, PlatintError)):
        raise error
    return done


class Measured:
    """The telemetry without the time in which a receive only waited for messages: that is no latency."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """As `Telemetry.observe`; a successful receive counts when it was answered at once."""
        if not (ok and seconds >= _WAITED and operation.startswith(f"{RECEIVE} ")):
            self._telemetry.observe(operation, seconds, ok)

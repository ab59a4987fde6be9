"""What a scan of one resource asks and what it gets: shared by scans by pages and by jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from platint_tui.core.errors import ErrorClass, PlatintError, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Json
from platint_tui.drivers.http.answers import Split, Splitter
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.formats import file_name, shape_of
from platint_tui.drivers.http.pagination import State
from platint_tui.drivers.http.requests import ACCEPT
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.session import Session
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

_LARGE = 1024 * 1024
"""Bytes of a body above which it is taken apart in a thread, so that everything else goes on meanwhile. So is
one that is packed in itself: it may become much larger."""
_RETRIED_ONCE = ("json", "encoding", "empty_body", "csv", "xml")


class Source(Protocol):
    """Where the pages of one scan come from. Its state is a small JSON document in the position."""

    def start(self) -> State:
        """The state to begin with."""

    def resume(self, state: Mapping[str, Json]) -> State:
        """A stored state, checked. Raises SystemicError (code `position`)."""

    async def fetch(self, state: State) -> Split:
        """What this state brings. Raises PlatintError."""

    def following(self, state: State, split: Split) -> State | None:
        """The state after it, None at the end. Raises SystemicError."""

    async def close(self) -> None:
        """Give up what is still running on the platform."""


@dataclass(frozen=True)
class Asking:
    """One scan of one resource (for one parent): who asks for what, with which values for templates."""

    session: Session
    name: str
    read: schema.Read
    parent: Json
    scope: Mapping[str, Json]

    @property
    def splitter(self) -> Splitter:
        """What takes the answers apart."""
        cap = self.session.context.connector.transport.max_body
        return Splitter(self.read, self.name, self.session.caller.host, self.parent, cap)

    def bounds(self) -> dict[str, str]:
        """The query parameters that ask for what is new: the cursor's `start_param` and `end_param`."""
        spec = self.read.cursor
        asked = ((spec.start_param, "start"), (spec.end_param, "end")) if spec is not None else ()
        found: dict[str, str] = {}
        for name, key in asked:
            value = lookup(self.scope, ("cursor", key))
            if name and value is not None:
                found[name] = value if isinstance(value, str) else dumps(value)
        return found

    async def fetch(
        self, make: Callable[[], Outgoing], refused: Callable[[Verdict, Answer | None], Split | None]
    ) -> Split:
        """One answer with records, taken apart.

        `refused` may know what an error answer means; otherwise it is raised. An answer that cannot be read is
        asked for once more before that is an error.
        """
        requests = 0
        caller = self.session.caller
        while True:
            request = make()
            shape = shape_of(self.read.format, self.read.compression, request.url)
            if shape is None:
                return _no_file(request.url)
            if self.read.format != "json" and request.headers.get("accept") == ACCEPT:
                # The manifest does not say what it accepts, and this is not what it expects.
                request = replace(request, headers={**request.headers, "accept": "*/*"})
            result = await caller.call(f"read {self.name}", "read", request)
            requests += result.requests
            verdict, answer = result.verdict, result.answer
            if verdict is not None:
                if verdict.action == "ignore":
                    return Split(None, (), (), answer, requests, ended=True)
                known = refused(verdict, answer)
                if known is None:
                    raise self.error(verdict)
                return known._replace(requests=known.requests + requests)
            assert answer is not None
            try:
                if len(answer.body) > _LARGE or shape.gzip:
                    return await asyncio.to_thread(self.splitter.split, answer, requests, shape)
                return self.splitter.split(answer, requests, shape)
            except SystemicError as error:
                if error.code not in _RETRIED_ONCE or requests > result.requests:
                    raise

    def error(self, verdict: Verdict) -> PlatintError:
        """A refusal as the error that ends the stream."""
        if verdict.error_class is ErrorClass.RECORD:
            return SystemicError(verdict.message, hint=verdict.hint, where=self.name, code=verdict.code)
        return verdict.error(self.name, self.session.context.clock.now_ms())


def _no_file(url: str) -> Split:
    """What is no file of a known form is not asked for: a folder is nothing, anything else a bad element."""
    name = file_name(url)
    bad = [
        BadElement(dumps({"file": name}), "its ending is none of .json, .ndjson, .jsonl, .csv, .xml (.gz)")
    ]
    return Split(None, (), bad if name else (), None, 0, ended=True)

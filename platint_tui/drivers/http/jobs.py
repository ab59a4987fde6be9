"""Reading by a job: the platform is asked to make the results, asked again until they are there, and then they
are downloaded part by part.

The request that makes the job is sent again when its answer was lost, like any read: a job changes nothing on the
platform, so that a second one costs what it costs there, and nothing is lost or doubled here. A run that failed for
want of that answer would make a second one as well, only later.

The state is {"n", "job", "at", "part" | "locator"}: the job's id and when it was made (epoch ms), and which part
comes next. It is stored as soon as the job exists, so that a scan which was interrupted finds it again. A stored
job that the platform has forgotten, or given up meanwhile, is made anew once; its parts come from the first on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from platint_tui.core.backoff import parse_retry_after
from platint_tui.core.errors import PlatintError, SystemicError
from platint_tui.core.model import Json
from platint_tui.drivers.http.answers import Split
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import tree_of, words
from platint_tui.drivers.http.formats import leaves
from platint_tui.drivers.http.matching import same
from platint_tui.drivers.http.pagination import State, stale_position
from platint_tui.drivers.http.requests import USER_AGENT, with_query
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.source import Asking
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

ABORT_SECONDS = 3.0
"""How long giving up a job may take."""
LONGEST_PAUSE = 60.0
GROWTH = 1.5
LONGEST_TOLD = 300.0
"""Seconds that a platform may ask to wait between two questions."""
_GONE = (404, 410)
_STALE_URL = (400, 401, 403, 404, 410)
_SAYS_WHY = re.compile("error|message|reason", re.IGNORECASE)


class _ForgottenError(Exception):
    """The platform does not know the job any more."""


class Job:
    """The parts of one job's results, as a `Source`."""

    def __init__(self, asking: Asking, page: schema.JobPage) -> None:
        self._asking = asking
        self._page = page
        self._next: State | None = None
        self._found: Answer | None = None
        self._stored = False
        self._again = False
        self._running: Json = None

    def start(self) -> State:
        """Nothing is there yet."""
        return {"n": 1}

    def resume(self, state: Mapping[str, Json]) -> State:
        """A stored job, checked."""
        try:
            checked: State = {"n": int(state["n"])}
            if "job" not in state:
                if set(state) - {"n"}:
                    raise KeyError("job")
                return checked
            if not isinstance(state["job"], str | int):
                raise TypeError("job")
            checked.update(job=state["job"], at=int(state["at"]))
            if "part" in state:
                checked["part"] = int(state["part"])
            if "locator" in state:
                checked["locator"] = str(state["locator"])
        except (KeyError, ValueError, TypeError):
            raise stale_position() from None
        self._stored = True
        return checked

    async def fetch(self, state: State) -> Split:
        """Make the job, or wait for it and bring its next part."""
        self._next = None
        try:
            if "job" not in state:
                return await self._create()
            self._running = state["job"]
            try:
                split = await self._part(state)
            except _ForgottenError:
                return self._anew()
            self._running = None
            return split
        except PlatintError as error:
            # A scan that waits, or is tried again, goes on with this job.
            if error.code != "job_timeout":
                self._running = None
            raise

    def following(self, state: State, split: Split) -> State | None:
        """The part after this one."""
        following, self._next = self._next, None
        return None if following is None else {"n": state["n"] + 1, **following}

    async def close(self) -> None:
        """Give up a job that is still running."""
        job, self._running = self._running, None
        if job is None or self._page.abort is None:
            return
        request = self._asking.session.outgoing(self._page.abort, self._scope(job))
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await self._asking.session.caller.call("abort job", "read", request, brief=True)
        except (PlatintError, TimeoutError):
            # It ends by itself; the scan was given up for another reason.
            return

    def _scope(self, job: Json) -> dict[str, Json]:
        return {**self._asking.scope, "job": {"id": job}}

    async def _create(self) -> Split:
        asking = self._asking
        request = asking.session.outgoing(asking.read.request, asking.scope, asking.bounds())
        result = await asking.session.caller.call(f"read {asking.name}", "read", request)
        if result.verdict is not None:
            raise asking.error(_may_run(result.verdict))
        answer, requests = result.answer, result.requests
        assert answer is not None
        job = lookup(tree_of(answer), self._page.id)
        if not isinstance(job, str | int) or isinstance(job, bool) or job == "":
            raise SystemicError(
                f"{asking.session.caller.host} made no job: its answer has no id at '{self._page.id}'.",
                where=asking.name,
                code="no_job",
            )
        self._running = job
        self._next = {"job": job, "at": asking.session.context.clock.now_ms()}
        return Split(None, (), (), answer, requests)

    def _anew(self) -> Split:
        """Begin again, once."""
        self._running = None
        if self._again:
            raise SystemicError(
                f"{self._asking.session.caller.host} forgot the job a second time before its results were read.",
                where=self._asking.name,
                code="job_expired",
            )
        self._again, self._stored, self._found = True, False, None
        self._next = {}
        return Split(None, (), (), None, 0)

    async def _part(self, state: State) -> Split:
        requests = 0
        # A locator goes straight to its part; an address is asked for again, because addresses expire.
        if self._found is None and "locator" not in state:
            self._found, requests = await self._finished(state)
        if self._page.url is not None:
            split = await self._download(state)
        else:
            split = await self._results(state)
        return split._replace(requests=split.requests + requests)

    async def _finished(self, state: State) -> tuple[Answer, int]:
        """Ask until the job is done; the last answer and the number of requests."""
        page, context = self._page, self._asking.session.context
        requests = 0
        waited, pause = 0.0, page.every
        while True:
            answer, asked = await self._ask(page.poll, self._scope(state["job"]), forgets=True)
            requests += asked
            tree = tree_of(answer)
            status = lookup(tree, page.status)
            if _among(status, page.done):
                return answer, requests
            if self._stored and (status is None or _among(status, page.failed)):
                # What became of it since it was stored tells nothing of a new one.
                raise _ForgottenError
            if _among(status, page.failed):
                raise self._failed(status, tree)
            now_ms = context.clock.now_ms()
            if max(waited, (now_ms - state["at"]) / 1000) >= page.timeout:
                raise SystemicError(
                    f"The job on {self._asking.session.caller.host} is not done after {page.timeout:.0f} s"
                    f"{f' ({words(status, 40)})' if status is not None else ''}.",
                    hint="Raise page.timeout in the manifest if it is known to take longer.",
                    where=self._asking.name,
                    code="job_timeout",
                )
            self._stored = False
            told = parse_retry_after(answer.headers.get("retry-after", ""), now_ms) or 0.0
            await context.clock.sleep(wait := max(pause, min(told, LONGEST_TOLD)))
            waited += wait
            pause = min(pause * GROWTH, max(page.every, LONGEST_PAUSE))

    def _failed(self, status: Json, tree: Json) -> SystemicError:
        self._running = None
        around = lookup(tree, self._page.status.rpartition(".")[0]) if "." in self._page.status else tree
        said = [
            words(value, 200)
            for name, value in (around.items() if isinstance(around, Mapping) else ())
            if _SAYS_WHY.search(name) and value is not status
        ]
        told = "; ".join(text for text in said if text)
        return SystemicError(
            f"The job on {self._asking.session.caller.host} ended as {words(status, 40)}"
            f"{f': {told}' if told else ''}.",
            where=self._asking.name,
            code="job_failed",
        )

    async def _results(self, state: State) -> Split:
        page, asking = self._page, self._asking
        locator = page.locator
        if page.results is None:
            raise SystemicError(
                "The manifest says neither `results` nor `url` for this job.",
                where=asking.name,
                code="no_results",
            )
        request = asking.session.outgoing(page.results, self._scope(state["job"]))
        if locator is not None and "locator" in state:
            url = with_query(request.url, {locator.param: state["locator"]})
            request = replace(request, url=url)
        split = await asking.fetch(lambda: request, self._gone)
        if locator is not None and split.answer is not None:
            following = split.answer.headers.get(locator.header.lower(), "")
            if following and following not in locator.end:
                if following == state.get("locator"):
                    raise SystemicError(
                        f"{asking.session.caller.host} names a part of the results again as the next one.",
                        where=asking.name,
                        code="repeated_cursor",
                    )
                self._next = {"job": state["job"], "at": state["at"], "locator": following}
        return split

    async def _download(self, state: State) -> Split:
        asking = self._asking
        part = state.get("part", 0)
        requests = 0
        for last in (False, True):
            if self._found is None:
                self._found, requests = await self._finished({**state, "part": part})
            urls = list(leaves(tree_of(self._found), (self._page.url or "").split(".")))
            if not urls:
                return Split(None, (), (), self._found, requests)
            if part >= len(urls):
                raise _ForgottenError
            request = self._address(urls[part], self._found.url)
            # An address that expired is asked for anew, once.
            refused = self._gone if last else self._stale
            try:
                split = await asking.fetch(lambda: request, refused)  # noqa: B023 - awaited at once
            except _StaleError:
                self._found = None
                continue
            if part + 1 < len(urls):
                self._next = {"job": state["job"], "at": state["at"], "part": part + 1}
            return split._replace(requests=split.requests + requests)
        raise AssertionError("the second round returns or raises")

    def _address(self, url: Json, base: str) -> Outgoing:
        asking = self._asking
        if not isinstance(url, str) or not url:
            raise SystemicError(
                f"The results at '{self._page.url}' have no address.", where=asking.name, code="no_results"
            )
        endpoint = self._page.poll.endpoint
        target, trusted = asking.session.origins.at(endpoint).download(base, url, "download")
        headers = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": USER_AGENT}
        return Outgoing("GET", target, headers, endpoint=endpoint, resource=asking.name, bare=not trusted)

    async def _ask(
        self, request: schema.Request, scope: Mapping[str, Json], *, forgets: bool = False
    ) -> tuple[Answer, int]:
        """An answer about the job. Raises _ForgottenError when there is no such job any more."""
        asking = self._asking
        outgoing = asking.session.outgoing(request, scope)
        result = await asking.session.caller.call(f"read {asking.name}", "read", outgoing)
        if result.verdict is not None:
            if forgets and result.verdict.status in _GONE:
                raise _ForgottenError
            raise asking.error(result.verdict)
        assert result.answer is not None
        return result.answer, result.requests

    def _gone(self, verdict: Verdict, answer: Answer | None) -> Split | None:
        if verdict.status in _GONE:
            raise _ForgottenError
        return None

    def _stale(self, verdict: Verdict, answer: Answer | None) -> Split | None:
        if verdict.status in _STALE_URL:
            raise _StaleError
        return None


def _may_run(verdict: Verdict) -> Verdict:
    """A creation that got no answer may have made a job."""
    if verdict.status:
        return verdict
    told = (
        "The platform may have made the job all the same: it only reads, and the next run makes another one."
    )
    return replace(verdict, hint=f"{verdict.hint} {told}".strip())


class _StaleError(Exception):
    """The address of a part does not work any more."""


def _among(status: Any, wanted: tuple[Any, ...]) -> bool:
    return any(same(status, item) or (isinstance(status, str) and status == str(item)) for item in wanted)

"""A server on loopback that knows of a platform only what the vendor's own description says (its extract), and refuses
the rest: an unknown path (404), method (405), query parameter or header value of another type, a missing required
parameter, a body member that is not described (422), another media type (415). Each refusal fails the test, in a
sentence. What the server answers is held against the description too.

    from contract.mock import Mock, Reply, bearer, cursor_pages

    with Mock("discord", auth=[bearer("token", word="Bot")]) as mock:
        mock.records("GET /users/@me/guilds", [{"id": "1", "name": "one"}, {"id": "2", "name": "two"}],
                     pages=cursor_pages(param="after", size="limit", key="id"))
        ...                                   # run the driver, the engine or the command line against mock.url
        assert mock.asked("GET /users/@me/guilds")[0].query["limit"] == "100"

`mock.url` is the address of the server, `mock.base` the same with the path of the description's servers
(`http://127.0.0.1:PORT/api/v10`): give the profile's base_url the one that the manifest's own address corresponds to.
On leaving the block, or with `mock.verify()`, everything that was refused is raised as one AssertionError.

**A scenario** is a set of answers, one for each operation. Operations are named as the extract names them,
`"GET /repos/{owner}/{repo}/issues"`: method and path template, without the server's own path when that is enough to
find one (`mock.operations()` lists all; operations of one path are told apart by a selector behind it,
`"POST / X-Amz-Target=DynamoDB_20120810.Scan"`).

- `mock.records(name, rows, pages=..., at="data", match=...)`: a collection. `rows` is a list of dicts, or a function
  of the Call that gives one (filters, parents). Each row is put over a sample that has what the description requires,
  so only what matters is written. `at` is where the list is (dotted; '' is the answer itself). `pages` is one of the
  page styles below, or a function of your own, `(call, rows) -> (Reply, rows of the page)`; the rows are already
  filtered by `match(call, row)`.
- `mock.on(name, handler)`: `handler(call)` gives a Reply, or JSON that becomes a 200; use
  `mock.make(name, **members)` for a body with everything that is required. A list of replies is used up one by one,
  the last one stays.
- `mock.once(name, reply)`: the next request of the operation is answered so, then the scenario goes on: rate limits
  (`too_many({"Retry-After": "1"}, body)`), errors (`refused(422, body)`), an HTML page
  (`Reply(200, text="<html>", headers={"Content-Type": "text/html"})`). Replies of 400 and more, and `checked=False`,
  are not held against the description.
- `mock.graphql(path, root)`: answers documents by the extract's schema; `root` is a dict of values or functions
  `(info, **arguments)`, as graphql-core resolves them; a root with `errors` is answered as it is.
- `mock.free("POST", "/oauth/token", handler)`: a path that is in no description (token endpoints); nothing is
  checked there.
- `mock.calls`: every request that was answered, in order (`Call`: operation, method, path, params of the path, query,
  headers, body, form); `mock.asked(name)` those of one operation. `mock.violations`: what was refused so far.
  `mock.forgive("part of a sentence")` drops violations that the test provoked.

What is on the platform's allow-list (`allowed/<platform>.yaml`) is accepted: parameters, headers and members named
there, and the parameters of signatures.

**Page styles**: `link_header(page="page", size="per_page", most=100)`,
`cursor_pages(param, size, key=... | next_at=..., more=...)`, `offset_pages(offset, size, total=..., more=...)`,
`number_pages(page, size, total_pages=...)`, `next_link(at, param, size)`, `one_page()`.
**Ways to sign in** (any of the list is enough): `bearer(token, word="Bearer")`, `basic(user, password)`,
`header(name, value)`, `query(name, value)`; `auth_refusal=Reply(...)` is the vendor's answer to others.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from aiohttp import web
from contract.allowlist import allowed
from contract.extract import load
from contract.mock_check import check_answer, check_request
from contract.mock_pages import (
    Call,
    Pages,
    Reply,
    cursor_pages,
    link_header,
    next_link,
    number_pages,
    offset_pages,
    one_page,
    placed,
    refused,
    too_many,
)
from contract.mock_signin import Signin, basic, bearer, header, query
from contract.schema import find, items, sample
from contract.specs.view import Operation

__all__ = [
    "Call",
    "Mock",
    "Reply",
    "basic",
    "bearer",
    "cursor_pages",
    "header",
    "link_header",
    "next_link",
    "number_pages",
    "offset_pages",
    "one_page",
    "query",
    "refused",
    "too_many",
]

Answer: TypeAlias = Any
Handler: TypeAlias = Callable[[Call], Answer]
Rows: TypeAlias = list[dict[str, Any]] | Callable[[Call], list[dict[str, Any]]]


@dataclass
class Mock:
    """The mock server of one platform; see the module."""

    platform: str
    auth: list[Signin] = field(default_factory=list)
    auth_refusal: Reply = field(default_factory=lambda: Reply(401, {"message": "Unauthorized"}))
    path: str = ""
    """A path of this server under which the whole platform is (`/ex/jira/1`); '' for none."""

    def __post_init__(self) -> None:
        self.view = load(self.platform)
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self._handlers: dict[str, Handler] = {}
        self._once: dict[str, list[Reply]] = {}
        self._free: dict[tuple[str, str], Handler] = {}
        self._graphql: dict[str, Any] = {}
        self._allowed = {rule.value for rule in allowed(self.platform)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self.url = ""

    # --- life

    def __enter__(self) -> Mock:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        self.url = f"http://127.0.0.1:{port}{self.path}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        if kind is None:
            self.verify()

    async def _start(self) -> int:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def base(self) -> str:
        """The address with the path that the first description's server has."""
        first = self.view.operations[0].paths[0] if self.view.operations else ""
        shared = first
        for operation in self.view.operations:
            while not operation.paths[0].startswith(shared):
                shared = shared.rpartition("/")[0]
        return self.url + shared.partition("{")[0].rstrip("/")

    def verify(self) -> None:
        """Raise AssertionError with everything that was refused."""
        if self.violations:
            raise AssertionError(
                f"{self.platform}'s description does not allow this:\n  " + "\n  ".join(self.violations)
            )

    def forgive(self, part: str) -> None:
        """Drop the violations that hold `part`."""
        self.violations = [line for line in self.violations if part not in line]

    # --- the scenario

    def operations(self) -> list[str]:
        """The names of all operations of the extract."""
        return [operation.name for operation in self.view.operations]

    def operation(self, name: str) -> Operation:
        """The operation called `name`, the server's own path left out or not. Raises KeyError."""
        exact = [item for item in self.view.operations if item.name == name]
        method, _, path = name.partition(" ")
        ending = [item for item in self.view.operations if item.method == method and item.name.endswith(path)]
        found = exact or sorted(ending, key=lambda item: len(item.name))[:1]
        if not found:
            raise KeyError(f"{self.platform} has no operation {name}; it has {', '.join(self.operations())}")
        return found[0]

    def on(self, name: str, answer: Handler | Answer | list[Reply]) -> None:
        """Answer an operation with a handler, with JSON, with a Reply, or with one Reply after the other."""
        if callable(answer):
            self._handlers[self.operation(name).name] = answer
        elif isinstance(answer, list) and answer and all(isinstance(item, Reply) for item in answer):
            left = list(answer)
            self._handlers[self.operation(name).name] = lambda call: left.pop(0) if len(left) > 1 else left[0]
        else:
            self._handlers[self.operation(name).name] = lambda call: answer

    def once(self, name: str, *replies: Reply) -> None:
        """Answer the next requests of an operation so."""
        self._once.setdefault(self.operation(name).name, []).extend(replies)

    def free(self, method: str, path: str, handler: Handler | Answer) -> None:
        """Answer a path that no description has; nothing is checked there."""
        self._free[(method, path)] = handler if callable(handler) else lambda call: handler

    def graphql(self, path: str, root: Mapping[str, Any]) -> None:
        """Answer GraphQL at `path` from `root` by the extract's schema."""
        self._graphql[path] = root

    def records(
        self,
        name: str,
        rows: Rows,
        *,
        at: str = "",
        pages: Pages | None = None,
        match: Callable[[Call, dict[str, Any]], bool] | None = None,
    ) -> None:
        """A collection; see the module."""
        operation = self.operation(name)
        style = pages or one_page()

        def handler(call: Call) -> Reply:
            own = rows(call) if callable(rows) else rows
            chosen = [row for row in own if match is None or match(call, row)]
            reply, shown = style(call, chosen)
            full = [self.record(name, at, **row) for row in shown]
            reply.json = placed(self._envelope(operation, at), at, full, reply.json)
            return reply

        self._handlers[operation.name] = handler

    def record(self, name: str, at: str = "", /, **members: Any) -> dict[str, Any]:
        """One record of an operation's list at `at`, with what the description requires."""
        operation = self.operation(name)
        level = items(find(operation.successes(), operation.root, _parts(at)), operation.root)
        made = sample(level[0], operation.root) if level else {}
        return {**(made if isinstance(made, dict) else {}), **members}

    def make(self, name: str, /, **members: Any) -> dict[str, Any]:
        """A whole answer of an operation, with what the description requires."""
        operation = self.operation(name)
        schemas = operation.successes()
        made = sample(schemas[0], operation.root) if schemas else {}
        return {**(made if isinstance(made, dict) else {}), **members}

    def _envelope(self, operation: Operation, at: str) -> Any:
        schemas = operation.successes()
        made = sample(schemas[0], operation.root) if schemas and at else {}
        return made if isinstance(made, dict) else {}

    def asked(self, name: str) -> list[Call]:
        """The requests of one operation, in order."""
        wanted = self.operation(name).name
        return [call for call in self.calls if call.operation == wanted]

    # --- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = await _call(request, self.path)
        reply = self._answer(call)
        call.status = reply.status
        self.calls.append(call)
        body = reply.text if reply.json is None else json.dumps(reply.json)
        raw = reply.raw if reply.raw is not None else body.encode()
        headers = {"Content-Type": "application/json", **reply.headers}
        return web.Response(status=reply.status, body=raw, headers=headers)

    def _answer(self, call: Call) -> Reply:
        free = self._free.get((call.method, call.path))
        if free is not None:
            return _reply(free(call))
        refusal = self._signed(call)
        if refusal is not None:
            return refusal
        if call.path in self._graphql:
            from contract.mock_graphql import graphql_answer

            sdl = self.view.graphql
            return _reply(graphql_answer(sdl, self._graphql[call.path], call, self.violations))
        return self._described(call)

    def _signed(self, call: Call) -> Reply | None:
        if not self.auth or any(way(call) for way in self.auth):
            return None
        return self.auth_refusal

    def _described(self, call: Call) -> Reply:
        best = check_request(self.view, call, self._allowed)
        if best.operation is None or best.problems:
            for problem in best.problems:
                self.violations.append(f"{call.method} {call.path}: {problem}")
            return Reply(best.status, {"message": "; ".join(best.problems)})
        call.operation = best.operation.name
        call.params = best.params
        waiting = self._once.get(call.operation)
        if waiting:
            return waiting.pop(0)
        handler = self._handlers.get(call.operation)
        if handler is None:
            self.violations.append(f"{call.operation}: the scenario has no answer for it")
            return Reply(501, {"message": "no answer"})
        try:
            reply = _reply(handler(call))
        except Exception as error:
            self.violations.append(f"{call.operation}: the scenario failed with {error!r}")
            return Reply(500, {"message": "the scenario failed"})
        if reply.checked and reply.status < 400:
            for problem in check_answer(best.operation, reply, self._allowed):
                self.violations.append(f"the answer of {call.operation}: {problem}")
        return reply


def _reply(answer: Answer) -> Reply:
    return answer if isinstance(answer, Reply) else Reply(200, answer)


def _parts(at: str) -> tuple[str, ...]:
    return tuple(at.split(".")) if at else ()


async def _call(request: web.Request, prefix: str) -> Call:
    raw = await request.read()
    kind = request.headers.get("Content-Type", "")
    body: Any = None
    form: list[tuple[str, str]] = []
    if "x-www-form-urlencoded" in kind:
        form = parse_qsl(raw.decode(), keep_blank_values=True)
    elif raw and "json" in kind and "ndjson" not in kind:
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
    path = request.rel_url.raw_path.removeprefix(prefix) if prefix else request.rel_url.raw_path
    pairs = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(request.method, path, dict(pairs), pairs, headers, body, dict(form), form, raw, kind)

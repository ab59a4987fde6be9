"""A vendor's API on loopback as one test needs it: routes with answers in the vendor's shapes, pages, refusals; and an
account on it, driven through its manifest only.

Requests and answers are held against the extract of the vendor's own description, where there is one: what it does not
allow fails the test. Required members that an answer leaves out are filled in from the description.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from contract.allowlist import allowed
from contract.extract import load
from contract.mock_check import check_answer, check_request
from contract.mock_graphql import graphql_answer
from contract.mock_pages import Call
from contract.mock_pages import Reply as Answered
from contract.schema import items, resolve, sample
from contract.specs.view import Operation

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Batch, Capability, Environment, Profile, Row, TargetPlan, WriteResult
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector
from tests.http.hostile import Hurried, Limits, Notes, Rig

FOLDER = Path(__file__).parents[2] / "connectors"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `path` is not decoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Reply:
    """An answer: `body` is a document, or text as it is. `checked`: it is held against the description."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    checked: bool = True


Answerer = Callable[..., Reply | Any]


class Description:
    """The extract of a platform's description; `wrong` are the sentences about what it does not allow."""

    def __init__(self, platform: str) -> None:
        self._view = load(platform)
        self._allowed = {rule.value for rule in allowed(platform)}
        self._paths = [path for operation in self._view.operations for path in operation.paths]
        self.wrong: list[str] = []

    def begins_with(self, base: str) -> bool:
        """Whether the description writes its paths with `base`."""
        return any(path.startswith(base) for path in self._paths)

    def graphql(self, asked: Asked, root: Mapping[str, Any]) -> Reply:
        """The answer to a GraphQL document by the platform's schema, from the values or functions of `root`."""
        given = graphql_answer(self._view.graphql, root, self._call(asked), self.wrong)
        return Reply(given.json, given.status)

    def request(self, asked: Asked) -> Operation | None:
        """The operation that a request is; notes what is wrong with it."""
        verdict = check_request(self._view, self._call(asked), self._allowed)
        self.wrong += [f"{asked.method} {asked.path}: {problem}" for problem in verdict.problems]
        return verdict.operation

    @staticmethod
    def _call(asked: Asked) -> Call:
        kind = asked.headers.get("content-type", "")
        form = parse_qsl(asked.body.decode(), keep_blank_values=True) if "form-urlencoded" in kind else []
        body = asked.json if "json" in kind else None
        return Call(
            asked.method,
            asked.path,
            asked.query,
            list(asked.query.items()),
            dict(asked.headers),
            body,
            dict(form),
            form,
            asked.body,
            kind,
        )

    def answer(self, operation: Operation | None, reply: Reply) -> Reply:
        """The answer with what the description requires; notes what is wrong with it."""
        if operation is None or reply.status >= 300 or not reply.checked:
            return reply
        if not isinstance(reply.body, (dict, list)):
            return reply
        schemas = operation.successes()
        body = filled(reply.body, schemas, operation.root)
        answered = Answered(reply.status, body, dict(reply.headers))
        problems = check_answer(operation, answered, self._allowed)
        self.wrong += [f"the answer of {operation.name}: {problem}" for problem in problems]
        return Reply(body, reply.status, reply.headers)


def filled(value: Any, schemas: Any, root: Any) -> Any:
    """A document with the members that its schema requires; what it has stays."""
    level = [resolve(item, root) for item in schemas]
    if isinstance(value, list):
        inner = items(level, root)
        return [filled(item, inner[:1], root) for item in value] if inner else value
    if not isinstance(value, dict) or not level:
        return value
    made = sample(level[0], root)
    result = {**made, **value} if isinstance(made, dict) else dict(value)
    properties = level[0].get("properties") or {}
    for name, item in value.items():
        if name in properties:
            result[name] = filled(item, [properties[name]], root)
    return result


@dataclass
class Vendor:
    """The server. `guard` looks at every request first and may refuse it; `refusals` are answers that come instead of
    the next ones whose path matches. With `platform`, requests and answers must fit that platform's description, whose
    paths begin with `base`; `undescribed` are paths (`*` for anything) that
    it does not have.
    """

    platform: str = ""
    base: str = ""
    undescribed: tuple[str, ...] = ()
    url: str = ""
    guard: Callable[[Asked], Reply | None] = lambda asked: None
    seen: list[Asked] = field(default_factory=list)
    refusals: list[tuple[str, Reply]] = field(default_factory=list)
    _routes: list[tuple[str, re.Pattern[str], Answerer]] = field(default_factory=list)

    def on(self, route: str, answer: Answerer | Reply | Sequence[Any] | Mapping[str, Any]) -> None:
        """Answer `METHOD /path/{name}`: with a document, a Reply, or what a function of the request and the names
        gives. Later routes win.
        """
        method, _, path = route.partition(" ")
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
        made = answer if callable(answer) else lambda asked, **names: answer
        self._routes.insert(0, (method, pattern, made))

    def refuse(self, path: str, reply: Reply, times: int = 1) -> None:
        """Answer the next `times` requests to a path with `reply`."""
        self.refusals += [(path, reply)] * times

    def asked(self, route: str) -> list[Asked]:
        """The requests of a method and path so far."""
        method, _, path = route.partition(" ")
        return [item for item in self.seen if item.method == method and item.path == path]

    async def serve(self, request: web.Request) -> web.Response:
        """One exchange."""
        asked = Asked(
            request.method,
            request.rel_url.raw_path,
            dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        own = replace(asked, path=asked.path.removeprefix(self.base))
        self.seen.append(own)
        reply = self._answer(own)
        if self.description is None or any(fnmatchcase(own.path, pattern) for pattern in self.undescribed):
            return _response(reply)
        operation = self.description.request(asked if self.description.begins_with(self.base) else own)
        return _response(self.description.answer(operation, reply))

    def __post_init__(self) -> None:
        self.description = Description(self.platform) if self.platform else None

    def forgive(self, part: str) -> None:
        """Drop what a test sent on purpose: a sentence with `part`, which must be there."""
        wrong = self.description.wrong if self.description else []
        kept = [item for item in wrong if part not in item]
        assert len(kept) < len(wrong), f"nothing says {part!r}"
        wrong[:] = kept

    def verify(self) -> None:
        """Raise AssertionError with everything that the description does not allow."""
        wrong = self.description.wrong if self.description else []
        assert not wrong, "the description does not allow this:\n  " + "\n  ".join(dict.fromkeys(wrong))

    def _answer(self, asked: Asked) -> Reply:
        for number, (path, reply) in enumerate(self.refusals):
            if path == asked.path:
                del self.refusals[number]
                return replace(reply, checked=False)
        refused = self.guard(asked)
        if refused is not None:
            return refused
        for method, pattern, answer in self._routes:
            found = pattern.fullmatch(asked.path)
            if method == asked.method and found:
                given = answer(asked, **found.groupdict())
                return given if isinstance(given, Reply) else Reply(given)
        return Reply({"message": "no such route in this test"}, 404)


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": "application/json", **reply.headers}
    text = reply.body if isinstance(reply.body, (str, bytes)) else json.dumps(reply.body)
    body = b"" if reply.body is None else text if isinstance(text, bytes) else text.encode()
    return web.Response(status=reply.status, body=body, headers=headers)


@asynccontextmanager
async def running(vendor: Vendor) -> AsyncIterator[Vendor]:
    """The vendor on a free loopback port."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", vendor.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    vendor.url = f"http://127.0.0.1:{port}{vendor.base}"
    try:
        yield vendor
    finally:
        await runner.cleanup()
    vendor.verify()


@dataclass
class Account(Rig):
    """An account: reading as `Rig` does, and writing, checking, discovering."""

    def __post_init__(self) -> None:
        self.capabilities: dict[str, Capability] = {}

    async def check(self) -> dict[str, Capability]:
        """The probes by name."""
        self.capabilities = {item.id: item for item in await self.driver.check()}
        return self.capabilities

    def waited(self, seconds: float) -> bool:
        """Whether it waited so long, or a little longer (waits are spread)."""
        return any(seconds <= slept <= seconds * 1.5 + 1 for slept in self.clock.slept)

    async def streams(self) -> set[str]:
        """The names that discovery finds."""
        return {item.name for item in await self.driver.discover()}

    async def write(self, resource: str, operation: str, *rows: Mapping[str, Any]) -> WriteResult:
        """Write rows by one operation."""
        plan = TargetPlan("s", resource, resource, ("id",), None, (), 1, "run", operation=operation)
        target = await self.driver.open_target(plan)
        made = [
            Row(json.dumps([number]), json.dumps(value), dict(value), None, f"key-{number}")
            for number, value in enumerate(rows)
        ]
        return await target.write(Batch(made, None))

    async def refused(self, stream: str) -> PlatintError:
        """The error that reading a stream ends with."""
        try:
            await self.read(stream=stream)
        except PlatintError as error:
            return error
        raise AssertionError(f"{stream} was read")


@asynccontextmanager
async def account(
    platform: str, fields: Mapping[str, str], secrets: Mapping[str, str]
) -> AsyncIterator[Account]:
    """A profile on `platform` with a driver whose sleeps are over at once."""
    connector = load_connector(FOLDER / f"{platform}.yaml")
    checked = validate_fields(connector, dict(fields), secrets=dict.fromkeys(secrets))
    origins = origins_of(connector, checked, secrets, "sandbox")
    profile = Profile("p", platform, Environment.SANDBOX, checked, {}, origins)
    limits, notes, clock = Limits(), Notes(), Hurried()
    held = {name: Secret(value) for name, value in secrets.items()}
    driver = HttpDriver(DriverContext(connector, profile, held, limits, notes, clock))
    try:
        yield Account(driver, limits, notes, clock)
    finally:
        await driver.close()

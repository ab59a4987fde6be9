"""Looks requests up: operation, path, parameters, headers, body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contract.looked import (
    MEDIA,
    OPEN,
    STANDARD_HEADERS,
    Found,
    Lookup,
    Records,
    Touched,
    as_text,
    form_level,
    form_parts,
    signed,
)
from contract.manifests import Base, Data, bases, holed, is_literal
from contract.schema import Schema, find, items, resolve, validate, validate_text
from contract.specs.view import HOLE, Operation, View, param_schemas


class Requests:
    """The requests of one manifest, looked up in the view of its platform."""

    def __init__(self, data: Data, view: View, documents: Mapping[str, tuple[str, ...]]) -> None:
        self.data = data
        self.view = view
        self.documents = documents
        self.results: list[Lookup] = []
        self.touched: dict[str, Touched] = {}
        self.fields = {item["id"]: item for item in data["profile"]["fields"]}
        self._records: dict[str, Records | None] = {}

    def say(self, entry: str, value: Any, problem: str = "") -> None:
        self.results.append(Lookup(entry, str(value), problem))

    def _operation(self, entry: str, request: Data) -> tuple[Operation | None, list[tuple[str, str, str]]]:
        """The operation that a request is, and the texts at its path parameters."""
        endpoint = request.get("endpoint")
        documents = self.documents.get(endpoint or "-")
        path, _, literal = request["path"].partition("?")
        best: tuple[int, Operation, dict[str, str]] | None = None
        known = bases(self.data, endpoint)
        for base in known:
            full = base.path + holed(path, self.fields)
            level: tuple[int, Operation, dict[str, str]] | None = None
            for candidate in self.view.candidates(request["method"], full):
                weight, operation, texts = candidate
                if documents is not None and operation.document not in (*documents, "allow-list"):
                    continue
                chosen = _selected(operation, request, literal)
                if chosen is None or not _host_fits(base, operation):
                    continue
                score = 10 * weight + 10_000 * chosen - self._unfit(operation, request)
                if level is None or score > level[0]:
                    level = (score, operation, texts)
            if level is None:
                shown = f"{request['method']} {(base.path + path)} at {base.host}".replace(HOLE, "{}")
                value = f"{request['method']} {request['path']}"
                self.say(f"{entry}.path", value, f"no operation {shown} is described")
                return None, []
            best = level
        assert best is not None
        _, operation, texts = best
        self._touch_operation(operation)
        return operation, [(name, text, request["path"]) for name, text in texts.items()]

    def _common(self, request: Data) -> Mapping[str, str]:
        """The headers that the transport and the endpoint add."""
        transport = self.data["transport"]
        endpoint = request.get("endpoint")
        return {**transport["headers"], **(transport["endpoints"][endpoint]["headers"] if endpoint else {})}

    def _unfit(self, operation: Operation, request: Data) -> int:
        """How much speaks against an operation of several with the same path: what it needs and is not sent."""
        query = {name.split("[")[0] for name in request.get("query") or {}}
        headers = {name.lower() for name in {**(request.get("headers") or {}), **self._common(request)}}
        count = sum(param.required and name not in query for name, param in operation.query.items())
        count += sum(param.required and name not in headers for name, param in operation.header.items())
        sent = request.get("body") is not None
        return count + (sent and operation.body_of(request.get("encode") or "json") is None)

    def _request(
        self, entry: str, request: Data, form: str = "json", sent: frozenset[str] = frozenset()
    ) -> Found:
        """Look a request up. `sent` are the parameters in the query that something else of the manifest sends."""
        if request.get("graphql"):
            from contract.lookups_graphql import graphql_request

            return graphql_request(self, entry, request)
        operation, texts = self._operation(entry, request)
        if operation is None:
            return Found(None)
        self.say(f"{entry}.path", request["path"])
        for name, text, _ in texts:
            if text != HOLE:
                self._path_value(f"{entry}.path", name, text, operation)
        found = Found(operation, tuple(operation.successes(MEDIA.get(form, ""))), operation.root)
        chosen = {(place, name.lower()) for place, name, _ in operation.selectors}
        query = dict(request.get("query") or {})
        for name, value in query.items():
            if ("query", name.lower()) not in chosen:
                self._query(f"{entry}.query.{name}", name, value, operation)
        headers = dict(request.get("headers") or {})
        for name, value in headers.items():
            if name.lower() not in STANDARD_HEADERS and ("header", name.lower()) not in chosen:
                self._header(f"{entry}.headers.{name}", name, value, operation)
        self._required(entry, operation, {*query, *sent}, {*headers, *self._common(request)}, request)
        self._body(entry, request, operation, chosen)
        return found

    def _path_value(self, entry: str, name: str, text: str, operation: Operation) -> None:
        """Text written in the manifest where the description has a parameter: it must say that it is allowed."""
        param = operation.path.get(name)
        schema = resolve(param.schema, operation.root) if param else {}
        shown = text.replace(HOLE, "{}")
        if schema.get("enum") or schema.get("pattern"):
            problems = validate_text(text.replace(HOLE, "x"), schema, operation.root, f"{{{name}}}")
            self.say(f"{entry} {{{name}}}", shown, "; ".join(problems))
        else:
            self.say(
                f"{entry} {{{name}}}", shown, f"the description does not say that {{{name}}} may be {shown}"
            )

    def _query(self, entry: str, name: str, value: Any, operation: Operation) -> None:
        schemas = param_schemas(operation.query, name, operation.root)
        if not schemas:
            self.say(entry, name, f"{operation.name} has no query parameter {name}")
            return
        self.say(entry, name)
        if any(schema.get("x-selects") for schema in schemas):
            self._selects(entry, holed(str(value)), operation)
        elif is_literal(value) and value != "":
            text = as_text(value)
            problems = [validate_text(text, schema, operation.root, name) for schema in schemas]
            if all(problems):
                self.say(f"{entry} =", text, problems[0][0])

    def _selects(self, entry: str, text: str, operation: Operation) -> None:
        """Each name in a text that picks members of the answer: `jobs[name,lastBuild[number]]{0,10}`."""
        path: list[str] = []
        levels: list[list[Schema]] = [[resolve(item, operation.root) for item in operation.successes()]]
        last: list[Schema] = []
        for sign in re.findall(r"\w+|[\[\]]", re.sub(r"\{[^}]*\}", "", text)):
            if sign == "[":
                levels.append([*last, *items(last, operation.root)])
            elif sign == "]":
                levels.pop()
                path = path[: len(levels) - 1]
            else:
                path = [*path[: len(levels) - 1], sign]
                last = find(levels[-1], operation.root, (sign,), named=True)
                self._touch_operation(operation).answer.add(tuple(path))
                problem = "" if last else f"{operation.name} answers nothing at {'.'.join(path)}"
                self.say(f"{entry}: {'.'.join(path)}", sign, problem)

    def _header(self, entry: str, name: str, value: Any, operation: Operation) -> None:
        param = operation.header.get(name.lower())
        self.say(entry, name, "" if param else f"{operation.name} has no header {name}")
        if param and is_literal(value):
            problems = validate_text(str(value), param.schema, operation.root, name)
            if problems:
                self.say(f"{entry} =", value, problems[0])

    def _required(
        self, entry: str, operation: Operation, query: set[str], headers: set[str], request: Data
    ) -> None:
        sent = {name.split("[")[0] for name in query}
        for name, param in operation.query.items():
            if param.required and name.split("[")[0] not in sent and not signed(name):
                self.say(f"{entry}.query.{name}", name, f"{operation.name} needs the query parameter {name}")
        lower = {name.lower() for name in headers} | STANDARD_HEADERS
        for name, param in operation.header.items():
            if param.required and name not in lower and not signed(name):
                self.say(f"{entry}.headers.{name}", name, f"{operation.name} needs the header {name}")

    def _body(self, entry: str, request: Data, operation: Operation, chosen: set[tuple[str, str]]) -> None:
        body = request.get("body")
        if body is None:
            if operation.body_required and operation.body:
                self.say(f"{entry}.body", "", f"{operation.name} needs a body")
            return
        encoding = request.get("encode") or "json"
        if not operation.body and isinstance(body, str) and request["method"] == "DELETE":
            return  # the default body of a manifest's deletion is not sent without a description of one
        schemas = operation.body_of(encoding)
        if schemas is None:
            takes = ", ".join(operation.body) or "no body"
            self.say(f"{entry}.encode", encoding, f"{operation.name} takes {takes}")
            return
        self.say(f"{entry}.encode", encoding)
        if not isinstance(body, str) and encoding not in ("text",):
            form = encoding in ("form", "multipart")
            self._members(f"{entry}.body", body, schemas, operation, (), form, chosen)

    def _members(
        self,
        entry: str,
        value: Any,
        schemas: list[Schema],
        operation: Operation,
        path: tuple[str, ...],
        form: bool,
        chosen: set[tuple[str, str]],
    ) -> None:
        root = operation.root
        if isinstance(value, Mapping):
            for name, item in value.items():
                if name == "...":
                    continue  # the members of a record, put in here
                if form and not path and ("form", name.lower()) in chosen:
                    continue
                below = form_level(schemas, name, root) if form else find(schemas, root, (name,))
                here = (*path, *form_parts(name)) if form else (*path, name)
                if not below:
                    self.say(
                        f"{entry}.{name}",
                        name,
                        f"{operation.name} has no member {'.'.join(here)} in its body",
                    )
                    continue
                open_ = not form and not find(schemas, root, (name,), named=True)
                self.say(f"{entry}.{name}", name, OPEN if open_ else "")
                self._touch_operation(operation).body.add(here)
                self._members(f"{entry}.{name}", item, below, operation, here, form, chosen)
            missing = _missing(value, schemas, root)
            for name in missing:
                if ("form", name.lower()) not in chosen:
                    self.say(
                        f"{entry}.{name}",
                        name,
                        f"{operation.name} needs {'.'.join((*path, name))} in its body",
                    )
        elif isinstance(value, (list, tuple)):
            inner = items(schemas, root)
            for number, item in enumerate(value):
                if inner:
                    self._members(f"{entry}.{number}", item, inner, operation, (*path, "0"), form, chosen)
        elif is_literal(value) and schemas:
            if form:
                problems = [validate_text(as_text(value), schema, root, entry) for schema in schemas]
            else:
                problems = [validate(value, schema, root, entry) for schema in schemas]
            if all(problems):
                self.say(f"{entry} =", value, problems[0][0])

    def _names(self, entry: str, request: Data, found: Found | None) -> None:
        """A parameter's name alone, as `request["query"]`'s only key, is known to the operation."""
        name = next(iter(request["query"]))
        if found is None or found.operation is None:
            return
        known = param_schemas(found.operation.query, name, found.operation.root)
        self.say(entry, name, "" if known else f"{found.operation.name} has no query parameter {name}")

    def _touch_operation(self, operation: Operation) -> Touched:
        return self.touched.setdefault(f"{operation.document} {operation.name}", Touched(operation))

    def _touch(self, found: Found, part: str, path: tuple[str, ...]) -> None:
        if found.operation is not None:
            getattr(self._touch_operation(found.operation), part).add(path)


def _selected(operation: Operation, request: Data, literal: str) -> int | None:
    """How many selectors of the operation the request has; None when it lacks one."""
    for place, name, value in operation.selectors:
        if place == "query":
            pairs = (part.partition("=") for part in literal.split("&") if part)
            sent = {key: text for key, _, text in pairs}
            sent |= {key: as_text(item) for key, item in (request.get("query") or {}).items()}
        elif place == "header":
            sent = {key.lower(): str(item) for key, item in (request.get("headers") or {}).items()}
            name = name.lower()
        else:
            body = request.get("body")
            sent = {key: str(item) for key, item in body.items()} if isinstance(body, Mapping) else {}
        if sent.get(name) != value:
            return None
    return len(operation.selectors)


def _host_fits(base: Base, operation: Operation) -> bool:
    """Whether one of the operation's hosts can be the manifest's (parts that the profile says are anything)."""
    if base.host == "*" or not operation.hosts:
        return True
    host = base.host.split(":")[0]
    for known in operation.hosts:
        pattern = "".join(
            ".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]*\})", known)
        )
        if re.fullmatch(pattern, host.replace(HOLE, "x")):
            return True
        own = "".join(".+" if part == HOLE else re.escape(part) for part in re.split(f"({HOLE})", host))
        if re.fullmatch(own, known):
            return True
    return False


def _missing(value: Mapping[str, Any], schemas: list[Schema], root: Mapping[str, Any]) -> list[str]:
    """Members that every alternative needs and that are not sent."""
    lacking: set[str] | None = None
    for schema in schemas:
        own = resolve(schema, root)
        required = set(own.get("required") or ())
        for part in own.get("allOf") or ():
            required |= set(resolve(part, root).get("required") or ())
        sent = {re.split(r"[\[.]", name)[0] for name in value}
        missing = {name for name in required if name not in sent}
        lacking = missing if lacking is None else lacking & missing
    return sorted(lacking or ())

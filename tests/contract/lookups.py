"""Looks everything up that a manifest says of a platform's API: one `Lookup` for each entry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from contract.manifests import Base, Data, bases, expressions, holed, is_literal
from contract.schema import Schema, find, items, kinds, names, resolve, validate, validate_text
from contract.specs.graphql_sdl import definitions
from contract.specs.view import HOLE, Operation, View, level_at, param_schemas

STANDARD_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "content-type",
        "content-length",
        "host",
        "prefer",
        "user-agent",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "range",
    ]
)
"""Headers of HTTP itself, which descriptions do not list."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One entry of a manifest and what the description says of it: nothing (`problem` is empty) when it fits."""

    entry: str
    value: str
    problem: str = ""


@dataclass
class Touched:
    """What the look-ups used of an operation: the places in its answers and its body."""

    operation: Operation
    answer: set[tuple[str, ...]] = field(default_factory=set)
    error: set[tuple[str, ...]] = field(default_factory=set)
    body: set[tuple[str, ...]] = field(default_factory=set)
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The operation of a request (None: unknown) and what it answers."""

    operation: Operation | None
    answers: tuple[Schema, ...] = ()
    root: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Records:
    """The schemas of one record of a resource, and where they are in the answer."""

    schemas: tuple[Schema, ...]
    found: Found
    prefix: tuple[str, ...]
    made: frozenset[str] = frozenset()
    """Members that the manifest itself puts into the record."""


class Checker:
    """Looks the entries of one manifest up in the view of its platform."""

    def __init__(self, data: Data, view: View, documents: Mapping[str, tuple[str, ...]]) -> None:
        self.data = data
        self.view = view
        self.documents = documents
        self.results: list[Lookup] = []
        self.touched: dict[str, Touched] = {}
        self.fields = {item["id"]: item for item in data["profile"]["fields"]}
        self._records: dict[str, Records | None] = {}

    # --- the parts of a manifest

    def parts(self) -> list[str]:
        """The parts that can be looked up apart from each other."""
        return [
            "transport",
            "auth",
            "check",
            "discover",
            *(f"resources.{name}" for name in self.data["resources"]),
        ]

    def all(self) -> list[Lookup]:
        """Every look-up of the manifest."""
        return [lookup for part in self.parts() for lookup in self.part(part)]

    def part(self, name: str) -> list[Lookup]:
        """The look-ups of one part."""
        self.results = []
        if name == "transport":
            self._transport()
        elif name == "auth":
            self._auth()
        elif name == "check":
            for number, probe in enumerate(self.data["check"]):
                self._probe(f"check.{number}", probe)
        elif name == "discover":
            self._discover()
        else:
            self._resource(name.removeprefix("resources."))
        return self.results

    def _say(self, entry: str, value: Any, problem: str = "") -> None:
        self.results.append(Lookup(entry, str(value), problem))

    # --- transport, auth, probes, discovery

    def _transport(self) -> None:
        used = [item.operation for item in self._used()]
        for name in self.data["transport"]["headers"]:
            self._transport_header(f"transport.headers.{name}", name, used)
        for key, endpoint in self.data["transport"]["endpoints"].items():
            for name in endpoint["headers"]:
                self._transport_header(f"transport.endpoints.{key}.headers.{name}", name, used)

    def _transport_header(self, entry: str, name: str, used: Iterable[Operation]) -> None:
        if name.lower() not in STANDARD_HEADERS:
            known = any(name.lower() in operation.header for operation in used)
            self._say(entry, name, "" if known else f"no operation that is used knows the header {name}")

    def _used(self) -> list[Touched]:
        """The operations of all requests: the others are in `view` too, but of no concern."""
        from contract.manifests import requests

        before, self.results = self.results, []
        for entry, request in requests(self.data):
            if not request.get("graphql"):
                self._operation(entry, request)
        self.results = before
        return list(self.touched.values())

    def _auth(self) -> None:
        auths = [("auth", self.data["auth"])]
        for key, endpoint in self.data["transport"]["endpoints"].items():
            if endpoint["auth"]:
                auths.append((f"transport.endpoints.{key}.auth", endpoint["auth"]))
        for place, auth in auths:
            ways = auth["of"] if auth["type"] == "first_of" else ({"auth": auth},)
            for number, way in enumerate(ways):
                entry = f"{place}.of.{number}.auth" if auth["type"] == "first_of" else place
                self._way(entry, way["auth"])

    def _way(self, entry: str, auth: Data) -> None:
        if auth["type"] == "jwt_exchange":
            found = self._request(entry, {"method": "POST", "path": auth["path"]})
            self._answer(f"{entry}.token", auth["token"], found)
            if auth["expires"]:
                self._answer(f"{entry}.expires", auth["expires"], found)
        crumb = auth.get("crumb")
        if crumb:
            found = self._request(f"{entry}.crumb", {"method": "GET", "path": crumb["path"]})
            self._answer(f"{entry}.crumb.name", crumb["name"], found)
            self._answer(f"{entry}.crumb.value", crumb["value"], found)

    def _probe(self, entry: str, probe: Data) -> None:
        if not probe["request"]:
            return
        found = self._request(f"{entry}.request", probe["request"])
        if probe["shows"]:
            self._answer(f"{entry}.shows", probe["shows"], found)
        if probe["expect"]["body"]:
            self._answer(f"{entry}.expect.body.path", probe["expect"]["body"]["path"], found)

    def _discover(self) -> None:
        discover = self.data["discover"]
        if discover["request"] and discover["type"] != "graphql":
            self._request("discover.request", discover["request"])
        for number, listing in enumerate(discover["listings"]):
            entry = f"discover.listings.{number}"
            found = self._request(f"{entry}.request", listing["request"])
            records = self._element(entry, listing, found)
            self._pages(f"{entry}.page", listing["page"], listing["request"], found, records)
            for word in ("name", "description", "estimate"):
                if listing[word] and not (listing["scalar"] == listing[word]):
                    self._member(f"{entry}.{word}", listing[word], records)
            for index, match in enumerate(listing["when"]):
                self._member(f"{entry}.when.{index}.path", match["path"], records)

    # --- resources

    def _resource(self, name: str) -> None:
        resource = own(self.data["resources"][name], name)
        entry = f"resources.{name}"
        if resource["read"]:
            self._read(entry, name, resource)
        for word, operation in (resource["write"] or {}).items():
            if operation:
                self._write(f"{entry}.write.{word}", operation)
        if resource["describe"]:
            self._describe(f"{entry}.describe", resource["describe"])

    def _read(self, entry: str, name: str, resource: Data) -> None:
        read = resource["read"]
        if read["request"]["method"] not in ("GET", "POST", "HEAD"):
            self._say(f"{entry}.read.request.method", read["request"]["method"], "reading changes nothing")
        parent = self.records(resource["parent"]["resource"]) if resource["parent"] else None
        self._parents(f"{entry}.read", read["request"], parent)
        if read["page"]["type"] == "async_job":
            found = self._job(f"{entry}.read", read)
            csv = read["format"] != "json"
            records = None if csv or found is None else self._element(f"{entry}.read", read, found)
        else:
            found = self._request(f"{entry}.read.request", read["request"], read["format"], _sent(read))
            records = self._element(f"{entry}.read", read, found)
            self._pages(f"{entry}.read.page", read["page"], read["request"], found, records)
        self._cursor(f"{entry}.read.cursor", read, found, records)
        if read["total"] and found is not None:
            self._answer(f"{entry}.read.total", read["total"], found)
        for index, match in enumerate(read["skip"]):
            self._member(f"{entry}.read.skip.{index}.path", match["path"], records)
        for target, path in read["from_parent"].items():
            self._member(f"{entry}.read.from_parent.{target}", path, parent)
        made = _made(read)
        for index, key in enumerate(resource["key"] or ()):
            if key.split(".")[0] not in made:
                self._member(f"{entry}.key.{index}", key, records)
        for index, item in enumerate(resource["fields"]):
            if item["name"] not in made:
                self._field(f"{entry}.fields.{index}", item, records)

    def records(self, name: str) -> Records | None:
        """The record of another resource, from its read alone."""
        if name not in self._records:
            before, self.results = self.results, []
            resource = self.data["resources"].get(name)
            resource = own(resource, name) if resource else None
            self._records[name] = None
            if resource and resource["read"]:
                read = resource["read"]
                found = self._request("", read["request"], read["format"], _sent(read))
                made = self._element("", read, found)
                self._records[name] = replace(made, made=_made(read)) if made else None
            self.results = before
        return self._records[name]

    def _parents(self, entry: str, request: Data, parent: Records | None) -> None:
        """`${parent.…}` anywhere in a request is a member of the parent's record."""
        for place, text in _texts(request):
            for expression in expressions(text):
                if expression[0] == "parent":
                    self._member(f"{entry}.request.{place}", ".".join(expression[1:]), parent)

    def _job(self, entry: str, read: Data) -> Found | None:
        page = read["page"]
        found = self._request(f"{entry}.request", read["request"])
        self._answer(f"{entry}.page.id", page["id"], found)
        poll = self._request(f"{entry}.page.poll", page["poll"])
        self._answer(f"{entry}.page.status", page["status"], poll)
        states = self._at(poll, page["status"])
        for word in ("done", "failed"):
            for value in page[word]:
                if states and not any(not validate(value, schema, poll.root) for schema in states):
                    self._say(f"{entry}.page.{word}", value, f"the status is never {value!r}")
        results: Found | None = None
        if page["url"]:
            self._answer(f"{entry}.page.url", page["url"], poll)
        if page["results"]:
            results = self._request(f"{entry}.page.results", page["results"], read["format"])
        if page["locator"]:
            request = {**(page["results"] or {}), "query": {page["locator"]["param"]: "${x}"}}
            self._names(f"{entry}.page.locator.param", request, results)
            self._answer_header(f"{entry}.page.locator.header", page["locator"]["header"], results)
        if page["abort"]:
            self._request(f"{entry}.page.abort", page["abort"])
        return results

    def _cursor(self, entry: str, read: Data, found: Found | None, records: Records | None) -> None:
        cursor = read["cursor"]
        if not cursor:
            return
        made = _made(read)
        if cursor["field"].split(".")[0] not in made:
            self._member(f"{entry}.field", cursor["field"], records)
        for word in ("start_param", "end_param"):
            if cursor[word]:
                self._names(f"{entry}.{word}", {**read["request"], "query": {cursor[word]: "${x}"}}, found)

    def _describe(self, entry: str, describe: Data) -> None:
        if describe["graphql"]:
            known = describe["graphql"] in definitions(self.view.graphql)
            name = describe["graphql"]
            self._say(f"{entry}.graphql", name, "" if known else f"the schema has no type {name}")
        if not describe["request"]:
            return
        found = self._request(f"{entry}.request", describe["request"])
        records = self._element(entry, describe, found)
        for word in ("name", "type", "description", "required", "nullable", "max_length"):
            if describe[word] and not (word == "name" and describe["entries"]):
                self._member(f"{entry}.{word}", describe[word], records)
        if describe["key"]:
            self._answer(f"{entry}.key.records", describe["key"]["records"], found)

    def _write(self, entry: str, operation: Data) -> None:
        request = dict(operation)
        if operation["bulk"] and isinstance(request["body"], Mapping):
            item = operation["bulk"]["item"]
            request["body"] = _with_items(request["body"], item)
        found = self._request(entry, request)
        for name, path in operation["returns"].items():
            self._answer(f"{entry}.returns.{name}", path, found)
        idempotency = operation["idempotency"]
        if idempotency and found.operation is not None:
            header = idempotency["header"]
            known = header.lower() in found.operation.header
            self._say(
                f"{entry}.idempotency.header", header, "" if known else f"no header {header} is described"
            )
        results = operation["bulk"]["results"] if operation["bulk"] else None
        if results and found.operation is not None:
            self._bulk(f"{entry}.bulk.results", results, found)

    def _bulk(self, entry: str, results: Data, found: Found) -> None:
        records = self._element(entry, {"records": results["path"], "_key": "path"}, found)
        if results["unwrap"] and records is not None:
            schemas: list[Schema] = []
            for schema in records.schemas:
                for name in sorted(names(schema, found.root)[0]):
                    schemas += find([schema], found.root, (name,))
                extra = resolve(schema, found.root).get("additionalProperties")
                if isinstance(extra, Mapping):
                    schemas.append(resolve(extra, found.root))
            self._touch(found, "answer", (*records.prefix, "*", ""))
            records = Records(tuple(schemas), found, (*records.prefix, "*"))
        for word in ("id", "status", "code", "message", "field"):
            if results[word]:
                self._member(f"{entry}.{word}", results[word], records)
        if results["failed"]:
            self._member(f"{entry}.failed.path", results["failed"]["path"], records)

    # --- requests

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
                self._say(f"{entry}.path", value, f"no operation {shown} is described")
                return None, []
            best = level
        assert best is not None
        _, operation, texts = best
        self._touch_operation(operation)
        return operation, [(name, text, request["path"]) for name, text in texts.items()]

    def _unfit(self, operation: Operation, request: Data) -> int:
        """How much speaks against an operation of several with the same path: what it needs and is not sent."""
        query = {name.split("[")[0] for name in request.get("query") or {}}
        headers = {
            name.lower() for name in {**(request.get("headers") or {}), **self.data["transport"]["headers"]}
        }
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
        self._say(f"{entry}.path", request["path"])
        for name, text, _ in texts:
            if text != HOLE:
                self._path_value(f"{entry}.path", name, text, operation)
        found = Found(operation, tuple(operation.successes(_MEDIA.get(form, ""))), operation.root)
        chosen = {(place, name.lower()) for place, name, _ in operation.selectors}
        query = dict(request.get("query") or {})
        for name, value in query.items():
            if ("query", name.lower()) not in chosen:
                self._query(f"{entry}.query.{name}", name, value, operation)
        headers = dict(request.get("headers") or {})
        for name, value in headers.items():
            if name.lower() not in STANDARD_HEADERS and ("header", name.lower()) not in chosen:
                self._header(f"{entry}.headers.{name}", name, value, operation)
        self._required(
            entry, operation, {*query, *sent}, {*headers, *self.data["transport"]["headers"]}, request
        )
        self._body(entry, request, operation, chosen)
        return found

    def _path_value(self, entry: str, name: str, text: str, operation: Operation) -> None:
        """Text written in the manifest where the description has a parameter: it must say that it is allowed."""
        param = operation.path.get(name)
        schema = resolve(param.schema, operation.root) if param else {}
        shown = text.replace(HOLE, "{}")
        if schema.get("enum") or schema.get("pattern"):
            problems = validate_text(text.replace(HOLE, "x"), schema, operation.root, f"{{{name}}}")
            self._say(f"{entry} {{{name}}}", shown, "; ".join(problems))
        else:
            self._say(
                f"{entry} {{{name}}}", shown, f"the description does not say that {{{name}}} may be {shown}"
            )

    def _query(self, entry: str, name: str, value: Any, operation: Operation) -> None:
        schemas = param_schemas(operation.query, name, operation.root)
        if not schemas:
            self._say(entry, name, f"{operation.name} has no query parameter {name}")
            return
        self._say(entry, name)
        if is_literal(value) and value != "":
            text = _as_text(value)
            problems = [validate_text(text, schema, operation.root, name) for schema in schemas]
            if all(problems):
                self._say(f"{entry} =", text, problems[0][0])

    def _header(self, entry: str, name: str, value: Any, operation: Operation) -> None:
        param = operation.header.get(name.lower())
        self._say(entry, name, "" if param else f"{operation.name} has no header {name}")
        if param and is_literal(value):
            problems = validate_text(str(value), param.schema, operation.root, name)
            if problems:
                self._say(f"{entry} =", value, problems[0])

    def _required(
        self, entry: str, operation: Operation, query: set[str], headers: set[str], request: Data
    ) -> None:
        sent = {name.split("[")[0] for name in query}
        for name, param in operation.query.items():
            if param.required and name.split("[")[0] not in sent and not _signed(name):
                self._say(f"{entry}.query.{name}", name, f"{operation.name} needs the query parameter {name}")
        lower = {name.lower() for name in headers} | STANDARD_HEADERS
        for name, param in operation.header.items():
            if param.required and name not in lower and not _signed(name):
                self._say(f"{entry}.headers.{name}", name, f"{operation.name} needs the header {name}")

    def _body(self, entry: str, request: Data, operation: Operation, chosen: set[tuple[str, str]]) -> None:
        body = request.get("body")
        if body is None:
            if operation.body_required and operation.body:
                self._say(f"{entry}.body", "", f"{operation.name} needs a body")
            return
        encoding = request.get("encode") or "json"
        if not operation.body and isinstance(body, str) and request["method"] == "DELETE":
            return  # the default body of a manifest's deletion is not sent without a description of one
        schemas = operation.body_of(encoding)
        if schemas is None:
            takes = ", ".join(operation.body) or "no body"
            self._say(f"{entry}.encode", encoding, f"{operation.name} takes {takes}")
            return
        self._say(f"{entry}.encode", encoding)
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
                below = _form_level(schemas, name, root) if form else find(schemas, root, (name,))
                here = (*path, *_form_parts(name)) if form else (*path, name)
                if not below:
                    self._say(
                        f"{entry}.{name}",
                        name,
                        f"{operation.name} has no member {'.'.join(here)} in its body",
                    )
                    continue
                open_ = not form and not find(schemas, root, (name,), named=True)
                self._say(f"{entry}.{name}", name, _OPEN if open_ else "")
                self._touch_operation(operation).body.add(here)
                self._members(f"{entry}.{name}", item, below, operation, here, form, chosen)
            missing = _missing(value, schemas, root)
            for name in missing:
                if ("form", name.lower()) not in chosen:
                    self._say(
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
                problems = [validate_text(_as_text(value), schema, root, entry) for schema in schemas]
            else:
                problems = [validate(value, schema, root, entry) for schema in schemas]
            if all(problems):
                self._say(f"{entry} =", value, problems[0][0])

    def _names(self, entry: str, request: Data, found: Found | None) -> None:
        """A parameter's name alone, as `request["query"]`'s only key, is known to the operation."""
        name = next(iter(request["query"]))
        if found is None or found.operation is None:
            return
        known = param_schemas(found.operation.query, name, found.operation.root)
        self._say(entry, name, "" if known else f"{found.operation.name} has no query parameter {name}")

    # --- pages

    def _pages(self, entry: str, page: Data, request: Data, found: Found, records: Records | None) -> None:
        kind = page["type"]
        if request.get("graphql") is None and found.operation is None:
            return
        if kind == "link_body":
            self._answer(f"{entry}.path", page["path"], found)
            if page["rel"]:
                href = Records(
                    tuple(items(self._at(found, page["path"]), found.root)), found, _parts(page["path"])
                )
                self._member(f"{entry}.href", page["href"], href)
        elif kind == "link_header":
            self._answer_header(f"{entry}.type", "link", found)
        elif kind == "token_header":
            self._answer_header(f"{entry}.name", page["name"], found)
        elif kind == "cursor":
            source = page["from"]
            if source.startswith("last_record."):
                self._member(f"{entry}.from", source.removeprefix("last_record."), records)
            else:
                self._answer(f"{entry}.from", source, found)
        for word in ("more", "done", "total", "total_pages"):
            if page.get(word):
                self._answer(f"{entry}.{word}", page[word], found)
        for word in ("param", "limit_param", "size_param"):
            if page.get(word):
                self._page_param(f"{entry}.{word}", page[word], page["in"], request, found)

    def _page_param(self, entry: str, name: str, place: str, request: Data, found: Found) -> None:
        operation = found.operation
        if operation is None:
            if place == "body" and request.get("graphql"):
                from contract.lookups_graphql import graphql_variable

                graphql_variable(self, entry, name, request)
            return
        if place == "query":
            known = bool(param_schemas(operation.query, name, operation.root))
        elif place == "header":
            known = name.lower() in operation.header
        else:
            encoding = request.get("encode") or "json"
            schemas = operation.body_of(encoding) or []
            known = bool(
                _form_level(schemas, name, operation.root)
                if encoding == "form"
                else find(schemas, operation.root, _parts(name))
            )
            self._touch_operation(operation).body.add(_parts(name))
        self._say(entry, name, "" if known else f"{operation.name} has no {name} in the {place}")

    # --- answers

    def _element(self, entry: str, read: Data, found: Found) -> Records | None:
        """The records of an answer, with the look-up of where they are."""
        if found.operation is None and not found.answers:
            return None
        path = _parts(read["records"])
        self._touch(found, "answer", (*path, ""))
        schemas = find(found.answers, found.root, path)
        place = f"{entry}.{read.get('_key', 'records')}"
        if not schemas:
            self._say(
                place, read["records"], f"{_name(found)} answers nothing at {read['records'] or 'the top'}"
            )
            return None
        if read.get("single"):
            self._say(place, read["records"])
            return Records(tuple(schemas), found, path)
        if read.get("entries"):
            inside = []
            for schema in schemas:
                extra = resolve(schema, found.root).get("additionalProperties")
                if isinstance(extra, Mapping):
                    inside.append(resolve(extra, found.root))
                elif extra or kinds(schema, found.root) & {"object"}:
                    inside += [
                        item
                        for name in names(schema, found.root)[0]
                        for item in find([schema], found.root, (name,))
                    ]
            self._touch(found, "answer", (*path, "*", ""))
            problem = (
                "" if inside or any(kinds(s, found.root) & {"object"} for s in schemas) else "it is no object"
            )
            self._say(place, read["records"], problem)
            return Records(tuple(inside), found, (*path, "*"))
        inside = items(schemas, found.root)
        if not inside and read.get("format") in ("xml", "csv", "file"):
            inside = schemas  # one element is a list of one
        self._say(
            place,
            read["records"],
            "" if inside else f"{_name(found)} has no list at {read['records'] or 'the top'}",
        )
        return Records(tuple(inside), found, path) if inside else None

    def _at(self, found: Found, path: str) -> list[Schema]:
        return find(found.answers, found.root, _parts(path))

    def _answer(self, entry: str, path: str, found: Found) -> None:
        if found.operation is None and not found.answers:
            return
        self._touch(found, "answer", _parts(path))
        self._say(
            entry,
            path,
            _judged(found.answers, found.root, _parts(path), f"{_name(found)} answers nothing at"),
        )

    def _answer_header(self, entry: str, name: str, found: Found | None) -> None:
        """Answer headers are looked up where the description lists any."""
        if found is None or found.operation is None or found.operation.answer_headers is None:
            return
        known = name.lower() in found.operation.answer_headers
        self._say(entry, name, "" if known else f"{found.operation.name} answers no header {name}")

    def _member(self, entry: str, path: str, records: Records | None) -> None:
        if records is None or not path or path.split(".")[0] in records.made:
            return
        self._touch(records.found, "answer", (*records.prefix, *_parts(path)))
        what = f"a record of {_name(records.found)} has no"
        self._say(entry, path, _judged(records.schemas, records.found.root, _parts(path), what))

    def _field(self, entry: str, item: Data, records: Records | None) -> None:
        if records is None:
            return
        name = item["name"]
        self._touch(records.found, "answer", (*records.prefix, name))
        schemas = find(records.schemas, records.found.root, (name,))
        if not schemas:
            self._say(f"{entry}.name", name, f"a record of {_name(records.found)} has no {name}")
            return
        what = f"a record of {_name(records.found)} has no"
        self._say(f"{entry}.name", name, _judged(records.schemas, records.found.root, (name,), what))
        said = {kind for schema in schemas for kind in kinds(schema, records.found.root)} - {"null"}
        if said and not (said & _TYPES[item["type"]]):
            self._say(f"{entry}.type", f"{name}: {item['type']}", f"{name} is {' or '.join(sorted(said))}")

    # --- what was used

    def _touch_operation(self, operation: Operation) -> Touched:
        return self.touched.setdefault(f"{operation.document} {operation.name}", Touched(operation))

    def _touch(self, found: Found, part: str, path: tuple[str, ...]) -> None:
        if found.operation is not None:
            getattr(self._touch_operation(found.operation), part).add(path)


_MEDIA = {"json": "json", "xml": "xml", "csv": "csv", "ndjson": "json", "file": ""}
_ANY = frozenset({"string", "integer", "number", "boolean", "object", "array"})
_TYPES: Mapping[str, frozenset[str]] = {
    "string": frozenset({"string"}),
    "integer": frozenset({"integer", "number"}),
    "number": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "timestamp": frozenset({"string", "integer", "number"}),
    "object": frozenset({"object"}),
    "array": frozenset({"array"}),
    "any": _ANY,
}


_OPEN = "the description allows any name here, so this one must be known from elsewhere"


def _judged(schemas: Iterable[Schema], root: Mapping[str, Any], path: tuple[str, ...], what: str) -> str:
    """What is wrong with a path: nothing, unknown, or allowed only because anything is."""
    known = tuple(schemas)
    if find(known, root, path, named=True):
        return ""
    return _OPEN if find(known, root, path) else f"{what} {'.'.join(path)}"


def _made(read: Data) -> frozenset[str]:
    """The members of a record that come from its parent, or that name it."""
    return frozenset({*read["from_parent"], *(read[word] for word in ("entries", "scalar") if read[word])})


def own(value: Any, name: str) -> Any:
    """A resource with its own name in its templates; a family's streams have theirs only when they are read."""
    if name == "*" or name.endswith(".*"):
        return value
    if isinstance(value, str):
        return _OF.sub(name, value)
    if isinstance(value, Mapping):
        return {key: own(item, name) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [own(item, name) for item in value]
    return value


_OF = re.compile(r"\$\{resource\.of(?: *\| *\w+)*\}")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _name(found: Found) -> str:
    return found.operation.name if found.operation is not None else "the query"


def _as_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _signed(name: str) -> bool:
    """Parameters that the way to sign in adds."""
    return name.lower() in ("token", "x-amz-date", "authorization", "x-ms-date")


def _sent(read: Data) -> frozenset[str]:
    """Parameters in the query that pages and the cursor send."""
    page, cursor = read["page"], read["cursor"] or {}
    found = [page.get("param"), page.get("limit_param"), page.get("size_param")]
    return frozenset(name for name in [*found, cursor.get("start_param"), cursor.get("end_param")] if name)


def _selected(operation: Operation, request: Data, literal: str) -> int | None:
    """How many selectors of the operation the request has; None when it lacks one."""
    for place, name, value in operation.selectors:
        if place == "query":
            sent = {
                **dict(
                    part.split("=", 1) if "=" in part else (part, "") for part in literal.split("&") if part
                )
            }
            sent |= {key: _as_text(item) for key, item in (request.get("query") or {}).items()}
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


def _form_parts(name: str) -> tuple[str, ...]:
    head, *rest = (part.rstrip("]") for part in name.split("["))
    return (head, *("0" if part == "" or part.isdigit() else part for part in rest))


def _form_level(schemas: list[Schema], name: str, root: Mapping[str, Any]) -> list[Schema]:
    """The schemas of a form's field: itself, `name[member]`, `name[0]`, or `Name.member.1.Key`."""
    known = find(schemas, root, (name,))
    if known:
        return known
    parts = _form_parts(name)
    if len(parts) > 1:
        return level_at(find(schemas, root, parts[:1]), parts[1:], root)
    level = schemas
    for part in name.split("."):
        if part.isdigit():
            level = items(level, root)
        else:
            named = [item for item in level if resolve(item, root).get("x-in") == part]
            level = named or find(level, root, (part,))
    return level if "." in name else []


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


def _with_items(body: Any, item: Any) -> Any:
    if body == "${items}":
        return [item]
    if isinstance(body, Mapping):
        return {name: _with_items(value, item) for name, value in body.items()}
    return body


def _texts(request: Data) -> Iterator[tuple[str, str]]:
    """Every text of a request with its place."""
    yield "path", request["path"]
    for word in ("query", "headers"):
        for name, value in (request.get(word) or {}).items():
            if isinstance(value, str):
                yield f"{word}.{name}", value
    yield from _inside("body", request.get("body"))
    if request.get("graphql"):
        yield from _inside("graphql.variables", request["graphql"]["variables"])


def _inside(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _inside(f"{place}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _inside(f"{place}.{number}", item)

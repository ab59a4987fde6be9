"""Looks everything up that a manifest says of a platform's API: one `Lookup` for each entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from contract.look_webhooks import Webhooks
from contract.looked import STANDARD_HEADERS, Found, Lookup, Records, Touched, made_by, own, sent_by
from contract.manifests import Data, expressions, requests
from contract.schema import Schema, find, items, names, resolve, validate
from contract.specs.graphql_sdl import definitions
from contract.specs.view import Operation

__all__ = ["Checker", "Lookup", "Touched"]


class Checker(Webhooks):
    """Looks the entries of one manifest up in the view of its platform."""

    def parts(self) -> list[str]:
        """The parts that can be looked up apart from each other."""
        return [
            "transport",
            "auth",
            "check",
            "discover",
            *(f"resources.{name}" for name in self.data["resources"]),
            *self.webhook_parts(),
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
        elif name.startswith("webhooks."):
            self._webhook_part(name)
        else:
            self._resource(name.removeprefix("resources."))
        return self.results

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
            self.say(entry, name, "" if known else f"no operation that is used knows the header {name}")

    def _used(self) -> list[Touched]:
        """The operations of all requests: the others are in `view` too, but of no concern."""
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
                if listing[word] and listing["scalar"] != listing[word]:
                    self._member(f"{entry}.{word}", listing[word], records)
            for index, match in enumerate(listing["when"]):
                self._member(f"{entry}.when.{index}.path", match["path"], records)

    def _resource(self, name: str) -> None:
        resource = own(self.data["resources"][name], name)
        entry = f"resources.{name}"
        if resource["read"]:
            self._read(entry, name, resource)
        if resource["one"]:
            self._one(f"{entry}.one", name, resource)
        for word, operation in (resource["write"] or {}).items():
            # A sink's driver makes its requests itself.
            if isinstance(operation, dict) and not resource["sink"]:
                self._write(f"{entry}.write.{word}", operation)
        if resource["describe"]:
            self._describe(f"{entry}.describe", resource["describe"])

    def _read(self, entry: str, name: str, resource: Data) -> None:
        read = resource["read"]
        if read["request"]["method"] not in ("GET", "POST", "HEAD"):
            self.say(f"{entry}.read.request.method", read["request"]["method"], "reading changes nothing")
        parent = self.records(resource["parent"]["resource"]) if resource["parent"] else None
        self._parents(f"{entry}.read", read["request"], parent)
        if read["page"]["type"] == "async_job":
            found = self._job(f"{entry}.read", read)
            text = read["format"] != "json"
            records = None if text or found is None else self._element(f"{entry}.read", read, found)
            if found is not None and found.lines:
                records = Records(found.lines, found, ())
        else:
            found = self._request(f"{entry}.read.request", read["request"], read["format"], sent_by(read))
            records = self._element(f"{entry}.read", read, found)
            self._pages(f"{entry}.read.page", read["page"], read["request"], found, records)
        self._cursor(f"{entry}.read.cursor", read, found, records)
        if read["total"] and found is not None:
            self._answer(f"{entry}.read.total", read["total"], found)
        for index, match in enumerate(read["skip"]):
            self._member(f"{entry}.read.skip.{index}.path", match["path"], records)
        for target, path in read["from_parent"].items():
            self._member(f"{entry}.read.from_parent.{target}", path, parent)
        made = made_by(read)
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
                found = self._request("", read["request"], read["format"], sent_by(read))
                made = self._element("", read, found)
                self._records[name] = replace(made, made=made_by(read)) if made else None
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
                    self.say(f"{entry}.page.{word}", value, f"the status is never {value!r}")
        results: Found | None = replace(found, operation=None) if found.lines else None
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
        made = made_by(read)
        if cursor["field"].split(".")[0] not in made:
            self._member(f"{entry}.field", cursor["field"], records)
        for word in ("start_param", "end_param"):
            if cursor[word]:
                self._names(f"{entry}.{word}", {**read["request"], "query": {cursor[word]: "${x}"}}, found)

    def _describe(self, entry: str, describe: Data) -> None:
        if describe["graphql"]:
            known = describe["graphql"] in definitions(self.view.graphql)
            name = describe["graphql"]
            self.say(f"{entry}.graphql", name, "" if known else f"the schema has no type {name}")
        if not describe["request"]:
            return
        found = self._request(f"{entry}.request", describe["request"])
        records = self._element(entry, describe, found)
        for word in ("name", "type", "description", "required", "nullable", "max_length"):
            if describe[word] and not (word == "name" and describe["entries"]):
                self._member(f"{entry}.{word}", describe[word], records)
        if describe["key"]:
            self._answer(f"{entry}.key.records", describe["key"]["records"], found)

    def _one(self, entry: str, name: str, resource: Data) -> None:
        """One record by itself has every declared field, and no member that the list has not."""
        one, listed = resource["one"], self.records(name)
        if one["request"]["method"] not in ("GET", "POST"):
            self.say(f"{entry}.request.method", one["request"]["method"], "reading changes nothing")
        found = self._request(f"{entry}.request", one["request"], resource["read"]["format"])
        if one["missing_when"]:
            self.say(f"{entry}.missing_when.path", one["missing_when"]["path"])
        element = {"records": one["record"], "_key": "record", "single": True}
        records = self._element(entry, element, found)
        if records is None or listed is None:
            return
        inside = items(records.schemas, found.root)
        if inside:
            records = replace(records, schemas=tuple(inside))
        made = frozenset({*one["from_event"], *listed.made})
        for item in resource["fields"]:
            if item["name"] not in made:
                self._member(f"{entry}.fields.{item['name']}", item["name"], records)
        for number, key in enumerate(resource["key"] or ()):
            if key.split(".")[0] not in made:
                self._member(f"{entry}.key.{number}", key, records)
        for extra in one["without"]:
            self._member(f"{entry}.without.{extra}", extra, records)
        lists = _members_of(listed)
        for extra in sorted(_members_of(records) - lists - {*one["without"], *made}) if lists else ():
            self.say(f"{entry}.without", extra, f"only the answer with one record has {extra}")

    def _write(self, entry: str, operation: Data) -> None:
        request = dict(operation)
        if operation["bulk"]:
            request["body"] = _with_items(request["body"], operation["bulk"]["item"])
        found = self._request(entry, request)
        for name, path in operation["returns"].items():
            self._answer(f"{entry}.returns.{name}", path, found)
        idempotency = operation["idempotency"]
        if idempotency and found.operation is not None:
            header = idempotency["header"]
            known = header.lower() in found.operation.header
            self.say(
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


def _members_of(records: Records) -> set[str]:
    """The members of a record that the description names."""
    return {name for schema in records.schemas for name in names(schema, records.found.root)[0]}


def _with_items(body: Any, item: Any) -> Any:
    if body == "${items}":
        return list(item) if isinstance(item, (list, tuple)) else [item]  # a list is several lines
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

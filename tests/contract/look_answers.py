"""Looks up what the manifest takes from answers: records, members, pages."""

from __future__ import annotations

from collections.abc import Mapping

from contract.look_requests import Requests
from contract.looked import Found, Records, form_level, judged, name_of, parts_of
from contract.manifests import Data
from contract.schema import Schema, find, items, kinds, names, resolve
from contract.specs.view import param_schemas


class Answers(Requests):
    """The answers of one manifest's requests."""

    def _pages(self, entry: str, page: Data, request: Data, found: Found, records: Records | None) -> None:
        kind = page["type"]
        if request.get("graphql") is None and found.operation is None:
            return
        if kind == "link_body":
            self._answer(f"{entry}.path", page["path"], found)
            if page["rel"]:
                href = Records(
                    tuple(items(self._at(found, page["path"]), found.root)), found, parts_of(page["path"])
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
                form_level(schemas, name, operation.root)
                if encoding == "form"
                else find(schemas, operation.root, parts_of(name))
            )
            self._touch_operation(operation).body.add(parts_of(name))
        self.say(entry, name, "" if known else f"{operation.name} has no {name} in the {place}")

    def _element(self, entry: str, read: Data, found: Found) -> Records | None:
        """The records of an answer, with the look-up of where they are."""
        if found.operation is None and not found.answers:
            return None
        path = parts_of(read["records"])
        self._touch(found, "answer", (*path, ""))
        schemas = find(found.answers, found.root, path)
        place = f"{entry}.{read.get('_key', 'records')}"
        if not schemas:
            self.say(
                place, read["records"], f"{name_of(found)} answers nothing at {read['records'] or 'the top'}"
            )
            return None
        if read.get("single"):
            self.say(place, read["records"])
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
            self.say(place, read["records"], problem)
            return Records(tuple(inside), found, (*path, "*"))
        inside = items(schemas, found.root)
        if not inside and read.get("format") in ("xml", "csv", "file"):
            inside = schemas  # one element is a list of one
        self.say(
            place,
            read["records"],
            "" if inside else f"{name_of(found)} has no list at {read['records'] or 'the top'}",
        )
        return Records(tuple(inside), found, path) if inside else None

    def _at(self, found: Found, path: str) -> list[Schema]:
        return find(found.answers, found.root, parts_of(path))

    def _answer(self, entry: str, path: str, found: Found) -> None:
        if found.operation is None and not found.answers:
            return
        self._touch(found, "answer", parts_of(path))
        self.say(
            entry,
            path,
            judged(found.answers, found.root, parts_of(path), f"{name_of(found)} answers nothing at"),
        )

    def _answer_header(self, entry: str, name: str, found: Found | None) -> None:
        """Answer headers are looked up where the description lists any."""
        if found is None or found.operation is None or found.operation.answer_headers is None:
            return
        known = name.lower() in found.operation.answer_headers
        self.say(entry, name, "" if known else f"{found.operation.name} answers no header {name}")

    def _member(self, entry: str, path: str, records: Records | None) -> None:
        if records is None or not path or path.split(".")[0] in records.made:
            return
        self._touch(records.found, "answer", (*records.prefix, *parts_of(path)))
        what = f"a record of {name_of(records.found)} has no"
        self.say(entry, path, judged(records.schemas, records.found.root, parts_of(path), what))

    def _field(self, entry: str, item: Data, records: Records | None) -> None:
        if records is None:
            return
        name = item["name"]
        self._touch(records.found, "answer", (*records.prefix, name))
        schemas = find(records.schemas, records.found.root, (name,))
        if not schemas:
            self.say(f"{entry}.name", name, f"a record of {name_of(records.found)} has no {name}")
            return
        what = f"a record of {name_of(records.found)} has no"
        self.say(f"{entry}.name", name, judged(records.schemas, records.found.root, (name,), what))
        said = {kind for schema in schemas for kind in kinds(schema, records.found.root)} - {"null"}
        if said and not (said & _TYPES[item["type"]]):
            self.say(f"{entry}.type", f"{name}: {item['type']}", f"{name} is {' or '.join(sorted(said))}")


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

"""Values and types that a manifest writes down are held against the description too, where that has them: a value of
a parameter with a closed list or a number, a field's type.
"""

from __future__ import annotations

from collections.abc import Iterator

from contract.extract import load
from contract.lookups import Checker
from contract.manifests import Data, is_literal, manifest, platforms
from contract.mutations import WRONG, changed
from contract.schema import find, kinds
from contract.specs.load import documents
from contract.specs.view import View, param_schemas


def _wrong_values(data: Data, view: View) -> Iterator[tuple[str, str, Data]]:
    """Each literal in a query of a read whose parameter has a closed list or is a number, made wrong."""
    checker = Checker(data, view, documents(view.platform))
    for name, resource in data["resources"].items():
        if not resource["read"] or resource["read"]["request"].get("graphql"):
            continue
        operation, _ = checker._operation("", resource["read"]["request"])
        for key, value in resource["read"]["request"]["query"].items():
            if operation is None or not is_literal(value):
                continue
            for schema in param_schemas(operation.query, key, operation.root):
                if schema.get("enum") or kinds(schema, operation.root) & {"integer", "number"}:
                    place = ("resources", name, "read", "request", "query", key)
                    yield f"resources.{name}", f"{name}.{key}", changed(data, place, f"{value}{WRONG}")
                    break


def _wrong_types(data: Data, checker: Checker) -> Iterator[tuple[str, list[str], Data]]:
    """Each resource with another type for every field whose type the description says: (part, entries, manifest)."""
    for name, resource in data["resources"].items():
        records = checker.records(name)
        entries, wrong = [], data
        for number, item in enumerate(resource["fields"] if records else ()):
            schemas = (
                find(records.schemas, records.found.root, (item["name"],), named=True) if records else []
            )
            said = (
                {kind for schema in schemas for kind in kinds(schema, records.found.root)}
                if records
                else set()
            )
            other = next((kind for kind in ("array", "boolean") if kind not in {*said, item["type"]}), "")
            if said - {"null"} and other and records and item["name"] not in records.made:
                entries.append(f"resources.{name}.fields.{number}.type")
                wrong = changed(wrong, ("resources", name, "fields", number, "type"), other)
        if entries:
            yield f"resources.{name}", entries, wrong


def test_wrong_values_are_caught() -> None:
    count, missed = 0, []
    for platform in platforms():
        data, view, endpoints = manifest(platform), load(platform), documents(platform)
        before: dict[str, set[str]] = {}
        for part, what, wrong in _wrong_values(data, view):
            count += 1
            if part not in before:
                known = Checker(data, view, endpoints).part(part)
                before[part] = {item.entry + item.value for item in known if item.problem}
            found = Checker(wrong, view, endpoints).part(part)
            if all(not item.problem or item.entry + item.value in before[part] for item in found):
                missed.append(f"{platform}: {what}")
    assert not missed, f"{len(missed)} of {count} values are not caught:\n" + "\n".join(missed)
    assert count > 40


def test_wrong_types_are_caught() -> None:
    count, missed = 0, []
    for platform in platforms():
        data, view, endpoints = manifest(platform), load(platform), documents(platform)
        for part, entries, wrong in _wrong_types(data, Checker(data, view, endpoints)):
            count += len(entries)
            found = {item.entry for item in Checker(wrong, view, endpoints).part(part) if item.problem}
            missed += [f"{platform}: {entry}" for entry in entries if entry not in found]
    assert not missed, f"{len(missed)} of {count} types are not caught:\n" + "\n".join(missed)
    assert count > 400

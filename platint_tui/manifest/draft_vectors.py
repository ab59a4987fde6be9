"""Recorded exchanges for a drafted manifest: answers in the shapes that the document describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from platint_tui.core.model import Json
from platint_tui.manifest.draft_streams import Drafted, Streams
from platint_tui.manifest.draft_text import flow
from platint_tui.manifest.openapi import Api
from platint_tui.manifest.problems import looks_secret

_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "datetime": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "uuid": "0b9a1c5e-6d0f-4c1b-9a55-2f1d3c4b5a69",
    "uri": "https://example.com/1",
    "url": "https://example.com/1",
    "email": "somebody@example.com",
}
_KINDS: dict[str, Json] = {"integer": 1, "number": 1.5, "boolean": True, "string": "example"}
_MOST_MEMBERS = 15
_DEPTH = 3


def example_of(api: Api, schema: Mapping[str, Json], depth: int = 0) -> Json:
    """A value that fits a flat schema: its own example, or one of its type."""
    kind = api.kind(schema)
    for name in ("example", "default"):
        if name in schema and _is(kind, schema[name]) and _modest(schema[name]):
            return schema[name]
    examples = schema.get("examples")
    if isinstance(examples, list) and examples and _is(kind, examples[0]) and _modest(examples[0]):
        return examples[0]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and isinstance(choices[0], str | int | float):
        return choices[0]
    if kind == "object":
        members = list(api.members(schema).items())[:_MOST_MEMBERS] if depth < _DEPTH else []
        return {str(name): example_of(api, api.flat(value), depth + 1) for name, value in members}
    if kind == "array":
        return [example_of(api, api.items(schema), depth + 1)] if depth < _DEPTH - 1 else []
    if kind == "string":
        return _FORMATS.get(str(schema.get("format")), "example")
    least = schema.get("minimum")
    if kind == "integer" and isinstance(least, int) and not isinstance(least, bool):
        return least
    return _KINDS.get(kind)


def _is(kind: str, value: Json) -> bool:
    types: dict[str, type | tuple[type, ...]] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
    }  # fmt: skip
    wanted = types.get(kind)
    return (
        wanted is not None
        and isinstance(value, wanted)
        and not (kind != "boolean" and isinstance(value, bool))
    )


def _modest(value: Json) -> bool:
    text = json.dumps(value, default=str)
    return len(text) < 2000 and not looks_secret(text) and not re.search(r"\\u0[01]", text)


def record_of(api: Api, stream: Drafted, children: frozenset[str] = frozenset()) -> Json:
    """One record of a stream, with usable values where paging, cursors and the paths of children look."""
    if stream.scalar is not None:
        value = example_of(api, stream.schema)
        return "example" if value is None else value
    found = example_of(api, stream.schema)
    record: dict[str, Json] = dict(found) if isinstance(found, dict) else {}
    if len(record) > _MOST_MEMBERS * 2:
        record = dict(list(record.items())[: _MOST_MEMBERS * 2])
    kinds = {field.name: field.type for field in stream.fields}
    for name in stream.key:
        if not isinstance(record.get(name), str | int) or record[name] == "":
            record[name] = 1 if kinds.get(name) == "integer" else "example-1"
    for name in children:
        if not isinstance(record.get(name), str | int) or record[name] == "":
            record[name] = 1 if kinds.get(name) == "integer" else "example"
    if stream.cursor is not None:
        kind = stream.cursor["type"]
        times = {"iso8601": "2026-01-02T03:04:05Z", "rfc2822": "Fri, 02 Jan 2026 03:04:05 +0000"}
        record[stream.cursor["field"]] = times.get(kind, 1767323045)
    return record


def exchanges_of(api: Api, streams: Streams, name: str) -> list[dict[str, Json]]:
    """The requests of one whole scan of a stream, parents first, with an answer each; one record a stream."""
    chain = [streams.found[name]]
    while chain[0].parent is not None:
        chain.insert(0, streams.found[chain[0].parent])
    before: list[dict[str, Json]] = []
    after: list[dict[str, Json]] = []
    parent: Mapping[str, Json] = {}
    for stream in chain:
        record = record_of(api, stream, _taken(streams, stream.name))
        path = _rendered(stream.template, parent, streams)
        before.append(_exchange(path, _body(stream, [record])))
        if _asks_again(stream):
            # The scan of a child stands between the pages of its parent.
            after.insert(0, _exchange(path, _body(stream, [])))
        whole = record if isinstance(record, dict) else {stream.scalar or "value": record}
        parent = {**whole, **{new: parent.get(old) for new, old in stream.from_parent.items()}}
    return [*before, *after]


def _taken(streams: Streams, name: str) -> frozenset[str]:
    """The members of a stream's record that its children take into their paths or records."""
    children = [item for item in streams.found.values() if item.parent == name]
    names = {found for item in children for found in re.findall(r"\$\{parent\.(\w+)\}", item.template)}
    names |= {source for item in children for source in item.from_parent.values()}
    return frozenset(names - set(streams.found[name].from_parent))


def _exchange(path: str, body: Json) -> dict[str, Json]:
    text = json.dumps(body, ensure_ascii=True, separators=(",", ":"), default=str)
    return {
        "request": {"method": "GET", "path": path},
        "response": {"status": 200, "headers": {"Content-Type": "application/json"}, "body": text},
    }


def _rendered(template: str, parent: Mapping[str, Json], streams: Streams) -> str:
    def value(match: re.Match[str]) -> str:
        root, _, name = match.group(1).partition(".")
        found = parent.get(name) if root == "parent" else profile_values(streams).get(name)
        return quote(json.dumps(found) if isinstance(found, bool) else str(found), safe="")

    path = re.sub(r"\$\{([^}]+)\}", value, template)
    return path if path.startswith("/") else f"/{path}"


def profile_values(streams: Streams) -> dict[str, str]:
    """The profile fields that paths take, as the recording has them."""
    return {field: f"{field.replace('_', '-')}-1" for field in streams.profile.values()}


def _asks_again(stream: Drafted) -> bool:
    page = stream.paging.page
    if page["type"] not in ("offset", "page"):
        return False
    return not any(name in page for name in ("more", "done", "total", "total_pages"))


def _body(stream: Drafted, records: list[Json]) -> Json:
    page = stream.paging.page
    if not stream.records:
        return records
    body: dict[str, Json] = {}
    ends: dict[str, Json] = {"more": False, "done": True, "total": len(records), "total_pages": 1}
    for name, value in ends.items():
        if name in page:
            _put(body, page[name], value)
    if page["type"] == "link_body":
        _put(body, page["path"], [] if "rel" in page else None)
    if page["type"] == "cursor" and not page["from"].startswith("last_record."):
        _put(body, page["from"], None)
    _put(body, stream.records, records)
    return body


def _put(body: dict[str, Json], path: str, value: Json) -> None:
    *heads, last = path.split(".")
    for name in heads:
        inner = body.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        body = inner
    body[last] = value


def vector_text(api: Api, streams: Streams, name: str, what: str, plain: Sequence[str]) -> str:
    """The file of exchanges for one stream; `plain` are the fields that the way to sign in takes from the
    profile.
    """
    lines = [f"description: {flow(what)}"]
    profile = {**profile_values(streams), **dict.fromkeys(plain, "recorded")}
    if profile:
        lines.append(f"profile: {flow(profile)}")
    lines.append("exchanges:")
    for item in exchanges_of(api, streams, name):
        lines += [f"  - request: {flow(item['request'])}", f"    response: {flow(item['response'])}"]
    return "\n".join(lines) + "\n"

"""A first manifest for an API out of its OpenAPI document, version 2 or 3.

What the document says is written down; what it does not say is a guess that is marked `# decide:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from platint_tui.core.model import Json
from platint_tui.manifest.draft_auth import address_of_api, auth_of
from platint_tui.manifest.draft_streams import Drafted, Streams, description_of, streams_of
from platint_tui.manifest.draft_text import DECIDE, decisions, flow, sentence, snake
from platint_tui.manifest.draft_vectors import vector_text
from platint_tui.manifest.openapi import Api

_DESCRIBED = 80
_LEAST_FIELDS, _MOST_FIELDS, _ALL_FIELDS = 8, 40, 1_500
"""Fields written down of one stream and of all: a manifest has a largest size."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted manifest: its text, the exchanges by file name, how many streams and writes it has, what was
    left out and why.
    """

    platform: str
    text: str
    vectors: Mapping[str, str]
    streams: tuple[str, ...]
    writes: int
    decisions: int
    omitted: tuple[str, ...]


def platform_of(api: Api) -> str:
    """A name for the platform out of the document's title."""
    info = api.document.get("info")
    title = info.get("title") if isinstance(info, Mapping) else None
    words = snake(title).split("_") if isinstance(title, str) else []
    useful = [
        word for word in words if word not in ("api", "rest", "the", "openapi", "swagger", "v1", "v2", "v3")
    ]
    name = re.sub(r"^[^a-z]+", "", "-".join(useful[:4] or words))[:40].strip("-")
    return name or "my-api"


def draft(api: Api, platform: str, source: str = "", without: frozenset[str] = frozenset()) -> Draft:
    """The manifest of `api`. `source` is where the document came from; `without` names streams to leave out."""
    base_url, notes = address_of_api(api, source if source.startswith("http") else "")
    auth, auth_fields, auth_notes = auth_of(api, base_url)
    reserved = frozenset({"base_url", *(item["id"] for item in auth_fields)})
    streams = streams_of(api, base_url, reserved)
    for name in _with_children(streams, without):
        streams.found.pop(name, None)
        streams.omitted.append(f"{name}: what the document says of it gives no sound stream")
    used = {param for stream in streams.found.values() for param in stream.profile}
    streams.profile = {param: field for param, field in streams.profile.items() if param in used}
    lines = [
        *_head(api, platform, source),
        "",
        *_profile(base_url, notes, auth_fields, streams),
        "",
        *decisions(auth_notes, 0),
        f"auth: {flow(auth)}",
        "",
        "transport:",
        "  base_url: '${profile.base_url}'",
        "",
        *_limits(),
        "",
        *_errors(),
        "",
        *_check(streams),
        "",
        "discover: {type: static}",
        "",
        "resources:",
    ]
    most = max(_LEAST_FIELDS, min(_MOST_FIELDS, _ALL_FIELDS // max(1, len(streams.found))))
    for stream in streams.found.values():
        lines += _resource(stream, most)
    lines += ["", "tests:"]
    vectors = {}
    plain = [item["id"] for item in auth_fields if not item.get("secret")]
    for name in streams.found:
        file = f"{name}.yaml"
        told = f"One scan of {name}, in the shapes of the document."
        vectors[file] = vector_text(api, streams, name, told, plain)
        lines.append(f"  - {flow(_test(name, file))}")
    text = "\n".join(lines) + "\n"
    writes = sum(len(stream.writes) for stream in streams.found.values())
    return Draft(
        platform, text, vectors, tuple(streams.found), writes, text.count(DECIDE), tuple(streams.omitted)
    )


def _with_children(streams: Streams, names: frozenset[str]) -> list[str]:
    gone = set(names)
    for stream in streams.found.values():
        if stream.parent in gone:
            gone.add(stream.name)
    return sorted(gone & set(streams.found))


def _head(api: Api, platform: str, source: str) -> list[str]:
    info = api.document.get("info")
    info = info if isinstance(info, Mapping) else {}
    docs = api.document.get("externalDocs")
    url = docs.get("url") if isinstance(docs, Mapping) else None
    name = sentence(info.get("title"), 60) or platform
    lines = [
        f"# A draft out of {sentence(source, 120) or 'an OpenAPI document'}: look at each `decide` before it is used.",
        "manifest: 1",
        f"platform: {platform}",
        f"name: {flow(name)}",
        "version: 0.1.0",
        f"{DECIDE}cloud, devops, commerce, payments, communication, crm, database, queue or other",
        "category: other",
        f"docs: {flow(_line(url) or _line(source) or 'none')}",
    ]
    said = sentence(info.get("description"))
    if said:
        lines.append(f"description: {flow(said)}")
    return [*lines, "driver: http"]


def _line(text: Json) -> str:
    return text if isinstance(text, str) and len(text) <= 200 and text.isprintable() else ""


def _profile(
    base_url: str, notes: list[str], auth_fields: list[dict[str, Json]], streams: Streams
) -> list[str]:
    lines = ["profile:", "  fields:", *decisions(notes, 4)]
    address = {"id": "base_url", "label": "API address", "type": "url", "default": base_url}
    lines.append(f"    - {flow(address)}")
    lines += [f"    - {flow(item)}" for item in auth_fields]
    if streams.profile:
        lines += decisions(["a value in the profile for these, or a stream that lists them"], 4)
    for param, field in streams.profile.items():
        users = [stream.name for stream in streams.found.values() if param in stream.profile]
        told = f"{{{param}}} in the path of {', '.join(users[:3])}{' …' if len(users) > 3 else ''}."
        lines.append(f"    - {flow({'id': field, 'help': told, 'optional': True})}")
    return lines


def _limits() -> list[str]:
    return [
        *decisions(["the rate that the API allows, such as rate: 100/1m"], 0),
        "limits:",
        "  - {id: all, concurrency: 4, headers: {retry_after: Retry-After}}",
    ]


def _errors() -> list[str]:
    rules: list[dict[str, Json]] = [
        {
            "when": {"status": [429]},
            "class": "rate_limited",
            "action": "wait",
            "wait": {"header": "Retry-After"},
        },
        {
            "when": {"status": [401]},
            "class": "auth",
            "action": "fail_run",
            "hint": "Enter the credential of the profile again.",
        },
        {
            "when": {"status": [403]},
            "class": "auth",
            "action": "fail_stream",
            "hint": "The credential may not do this.",
        },
        {
            "when": {"status": [408, "500-599"], "network": True},
            "class": "transient",
            "action": "retry",
            "then": "fail_stream",
        },
    ]
    return [
        *decisions(["what the API's own error codes mean"], 0),
        "errors:",
        "  rules:",
        *(f"    - {flow(rule)}" for rule in rules),
    ]


def _check(streams: Streams) -> list[str]:
    ready = [item for item in streams.found.values() if item.parent is None]
    ready.sort(key=lambda item: (bool(item.profile), bool(item.query), len(item.path)))
    lines = [*decisions(["a cheap request that tells whose account it is (shows: name)"], 0), "check:"]
    request: dict[str, Json] = {"path": "/"}
    if ready:
        request = {"path": ready[0].template}
        query = {**ready[0].query, **ready[0].paging.query}
        if query:
            request["query"] = query
    return [
        *lines,
        f"  - {flow({'id': 'account', 'label': 'The credential is accepted', 'request': request})}",
    ]


def _resource(stream: Drafted, most: int) -> list[str]:
    lines = [f"  {stream.name}:"]
    said = description_of(stream)
    if said:
        lines.append(f"    description: {flow(said)}")
    lines += decisions(stream.notes, 4)
    lines.append(f"    key: {flow(list(stream.key))}")
    if stream.parent is not None:
        lines.append(f"    parent: {flow({'resource': stream.parent})}")
    needs = _needs(stream)
    if needs:
        lines.append(f"    needs: {flow(needs)}")
    wanted = {*stream.key, stream.cursor["field"] if stream.cursor else ""}
    chosen = sorted(stream.fields, key=lambda field: field.name not in wanted and not field.required)[:most]
    if chosen:
        lines.append("    fields:")
    for field in stream.fields:
        if field not in chosen:
            continue
        item: dict[str, Json] = {"name": field.name, "type": field.type}
        if field.required:
            item["required"] = True
        if field.max_length is not None:
            item["max_length"] = field.max_length
        if field.description:
            item["description"] = sentence(field.description, _DESCRIBED)
        lines.append(f"      - {flow(item)}")
    request: dict[str, Json] = {"method": "GET", "path": stream.template}
    query = {**stream.query, **stream.paging.query}
    if query:
        request["query"] = query
    lines += ["    read:", f"      request: {flow(request)}", f"      records: {flow(stream.records)}"]
    if stream.scalar is not None:
        lines.append(f"      scalar: {flow(stream.scalar)}")
    if stream.from_parent:
        lines.append(f"      from_parent: {flow(stream.from_parent)}")
    lines.append(f"      page: {flow(stream.paging.page)}")
    if stream.cursor is not None:
        lines.append(f"      cursor: {flow(stream.cursor)}")
    if stream.paging.total is not None:
        lines.append(f"      total: {flow(stream.paging.total)}")
    if stream.writes:
        lines.append("    write:")
        lines += [f"      {kind}: {flow(write)}" for kind, write in sorted(stream.writes.items())]
    return lines


def _needs(stream: Drafted) -> list[str]:
    """The scopes that the document wants for reading."""
    security = stream.operation.data.get("security")
    scopes = [
        scope
        for item in (security if isinstance(security, list) else ())
        if isinstance(item, Mapping)
        for listed in item.values()
        if isinstance(listed, list)
        for scope in listed
        if isinstance(scope, str) and 0 < len(scope) <= 200 and scope.isprintable()
    ]
    return list(dict.fromkeys(scopes))[:5]


def _test(name: str, file: str) -> dict[str, Json]:
    return {
        "name": f"one scan of {name}",
        "kind": "read",
        "resource": name,
        "exchange": file,
        "expect": {"records": 1},
    }

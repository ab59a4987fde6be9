"""Streams out of the GET operations of an OpenAPI document that answer with lists, and what writes to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from platint_tui.core.model import Field, Json
from platint_tui.manifest.draft_pages import Paging, cursor_of, flat_name, key_of, paging_of, places
from platint_tui.manifest.draft_text import sentence, snake
from platint_tui.manifest.openapi import Api, Operation

MOST_STREAMS = 120
MOST_PATH_FIELDS = 12
_DEPTH = 3
_PARAM = re.compile(r"\{([^{}/]+)\}")
_COMMON = re.compile(r"^(?:v\d+(?:\.\d+)*|api|rest|\d[\d.-]*|latest)$", re.IGNORECASE)
_LISTS = ("data", "items", "results", "records", "values", "value", "entries", "list", "rows", "elements", "content",
          "result", "objects", "members", "edges", "nodes")  # fmt: skip
_SINGLE_WORDS = ("me", "self", "current", "search", "count", "stats")
_ONE = ("me", "self", "current")


@dataclass(frozen=True, slots=True)
class Drafted:
    """A stream as it will be written down. `schema` is of one record, `answer` of the whole answer."""

    name: str
    path: str
    template: str
    operation: Operation
    answer: Mapping[str, Json]
    schema: Mapping[str, Json]
    records: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    paging: Paging
    cursor: dict[str, Json] | None = None
    query: dict[str, Json] = field(default_factory=dict)
    scalar: str | None = None
    parent: str | None = None
    from_parent: dict[str, str] = field(default_factory=dict)
    profile: tuple[str, ...] = ()
    writes: dict[str, dict[str, Json]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class Streams:
    """All the streams of a draft, the path parameters that became profile fields, and what was left out."""

    found: dict[str, Drafted] = field(default_factory=dict)
    profile: dict[str, str] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)


def streams_of(api: Api, base_url: str, reserved: frozenset[str]) -> Streams:
    """Every stream that the document describes, parents before their children.

    `reserved` are profile fields that are taken.
    """
    streams = Streams()
    operations = [item for item in api.operations() if item.method == "GET"]
    operations.sort(key=lambda item: (len(_PARAM.findall(item.path)), len(item.path)))
    by_path: dict[str, str] = {}
    ones = _single_paths(api)
    for operation in operations:
        listed = _list_of(api, operation)
        if listed is None:
            continue
        if len(streams.found) >= MOST_STREAMS:
            streams.omitted.append(f"GET {operation.path}: only {MOST_STREAMS} streams are drafted")
            continue
        if _elsewhere(api, operation, base_url):
            streams.omitted.append(f"GET {operation.path}: it is served at another address")
            continue
        drafted = _draft(api, operation, listed, streams, by_path, reserved, ones.get(_plain(operation.path)))
        if drafted is None:
            continue
        streams.found[drafted.name] = drafted
        by_path[_plain(operation.path)] = drafted.name
    _add_writes(api, streams, by_path)
    return streams


def _plain(path: str) -> str:
    return _PARAM.sub("{}", re.sub(r"\.json$", "", path.rstrip("/")))


def _single_paths(api: Api) -> dict[str, str]:
    """The parameter that the path of one record takes, by the path of their list."""
    found: dict[str, str] = {}
    for operation in api.operations():
        head, _, last = re.sub(r"\.json$", "", operation.path.rstrip("/")).rpartition("/")
        match = _PARAM.fullmatch(last)
        if match is not None:
            found.setdefault(_plain(head), match[1])
    return found


def _elsewhere(api: Api, operation: Operation, base_url: str) -> bool:
    servers = operation.data.get("servers")
    if not isinstance(servers, list) or not servers:
        paths = api.document.get("paths")
        item = api.resolve(paths.get(operation.path)) if isinstance(paths, Mapping) else {}
        servers = item.get("servers")
    urls = (
        [item.get("url") for item in servers if isinstance(item, Mapping)]
        if isinstance(servers, list)
        else []
    )
    known = [url.rstrip("/") for url in urls if isinstance(url, str)]
    return bool(known) and base_url not in known


@dataclass(frozen=True, slots=True)
class _List:
    answer: Mapping[str, Json]
    records: str
    schema: Mapping[str, Json]
    notes: tuple[str, ...] = ()


def _list_of(api: Api, operation: Operation) -> _List | None:
    """Where an answer has its list of records; None when it has none."""
    answer = api.answer_schema(operation)
    if api.kind(answer) == "array":
        return _List(answer, "", api.items(answer))
    words = [part for part in operation.path.split("/") if part and "{" not in part]
    last = snake(re.sub(r"\.json$", "", words[-1])) if words else ""
    if _PARAM.search(operation.path.rstrip("/").rpartition("/")[2]):
        return None  # one record, whatever lists it has
    arrays = [
        (path, api.items(schema))
        for path, schema in places(api, answer, 2)
        if api.kind(schema) == "array"
        and api.kind(api.items(schema)) in ("object", "")
        and flat_name(path) not in ("links", "errors", "warnings", "link")
    ]
    if last in _ONE:
        arrays = [
            item for item in arrays if "." not in item[0]
        ]  # the lists within one record are parts of it
    if not arrays:
        return None
    for path, items in arrays:
        if snake(path.rpartition(".")[2]) == last:
            return _List(answer, path, items)
    for name in _LISTS:
        for path, items in arrays:
            if path.rpartition(".")[2].lower() == name:
                return _List(answer, path, items)
    top = [item for item in arrays if "." not in item[0]] or arrays
    if len(top) > 1 or len(api.members(answer)) > 8 or last in _SINGLE_WORDS:
        if len(top) > 3 or last in _SINGLE_WORDS:
            return None
        others = ", ".join(path for path, _ in top[1:])
        note = (f"whether the records are at '{top[0][0]}'" + (f" or at {others}" if others else ""),)
        return _List(answer, top[0][0], top[0][1], note)
    return _List(answer, top[0][0], top[0][1])


def _draft(
    api: Api,
    operation: Operation,
    listed: _List,
    streams: Streams,
    by_path: dict[str, str],
    reserved: frozenset[str],
    named: str | None,
) -> Drafted | None:
    """`named` is the parameter that the path of one record takes, None when there is no such path."""
    name = _name(operation.path, streams)
    kind = api.kind(listed.schema)
    scalar = "value" if kind in ("string", "integer", "number", "boolean") else None
    if kind == "array":
        return None
    fields = (Field("value", api.field_type(listed.schema)),) if scalar else api.fields(listed.schema)
    key, sure = (("value",), True) if scalar else key_of(fields, name, named)
    place = _path(operation, streams, by_path)
    if place is None:
        streams.omitted.append(
            f"GET {operation.path}: its path has values that no stream and no profile gives"
        )
        return None
    template, parent, from_profile, carried = place
    new = [param for param in from_profile if param not in streams.profile]
    if len(streams.profile) + len(new) > MOST_PATH_FIELDS:
        streams.omitted.append(f"GET {operation.path}: its path needs {', '.join(new)}")
        return None
    paging = paging_of(api, operation, listed.answer, listed.records, key)
    cursor, notes = (
        cursor_of(api, operation, listed.schema, fields, paging.taken) if not scalar else (None, [])
    )
    notes = [*listed.notes, *paging.notes, *notes]
    if not sure:
        notes.append(f"whether '{key[0]}' identifies a record: rows with one {key[0]} replace each other")
    if not key:
        notes.append(
            "which field identifies a record: key is empty, so records are told apart by their content"
        )
    taken = paging.taken | ({cursor["start_param"]} if cursor else set())
    query, needed = _required(api, operation, taken)
    if needed:
        streams.omitted.append(f"GET {operation.path}: the query needs {', '.join(needed)}")
        return None
    if query:
        notes.append(f"the query needs {', '.join(query)}: the values are the first that the document names")
    for param in new:
        streams.profile[param] = _field_id(param, reserved, streams.profile)
    for param in from_profile:
        template = template.replace(f"{{{param}}}", f"${{profile.{streams.profile[param]}}}")
    if parent is not None:
        older = streams.found[parent]
        streams.found[parent] = replace(older, from_parent={**older.from_parent, **carried})
    return Drafted(
        name,
        operation.path,
        template,
        operation,
        listed.answer,
        listed.schema,
        listed.records,
        key,
        fields,
        paging,
        cursor,
        query,
        scalar,
        parent,
        {},
        tuple(from_profile),
        {},
        tuple(notes),
    )


def _name(path: str, streams: Streams) -> str:
    words = [snake(part) for part in re.sub(r"\.json$", "", path).split("/") if part and "{" not in part]
    words = [word for word in words if word and not _COMMON.match(word)] or ["records"]
    for count in range(1, len(words) + 1):
        name = re.sub(r"^[^a-z]+", "", "_".join(words[-count:]))[:80] or "records"
        if name not in streams.found:
            return name
    number = 2
    while f"{name}_{number}" in streams.found:
        number += 1
    return f"{name}_{number}"


def _field_id(param: str, reserved: frozenset[str], taken: Mapping[str, str]) -> str:
    name = re.sub(r"^[^a-z]+", "", snake(param))[:50] or "value"
    used = {*reserved, *taken.values()}
    return name if name not in used else f"path_{name}"


def _path(
    operation: Operation, streams: Streams, by_path: Mapping[str, str]
) -> tuple[str, str | None, list[str], dict[str, str]] | None:
    """The path as a template, the parent stream, the parameters that the profile gives, and what the parent
    must carry of its own parent; None when a value cannot be had.
    """
    params = _PARAM.findall(operation.path)
    if not params:
        return operation.path, None, [], {}
    parent = None
    at = len(params)
    for number in range(len(params) - 1, -1, -1):
        head = operation.path[: operation.path.index(f"{{{params[number]}}}")]
        name = by_path.get(_plain(head))
        if name is not None and _from_record(streams.found[name], params[number]) is not None:
            parent, at = name, number
            break
    if parent is None:
        return operation.path, None, params, {}
    if _depth(streams, parent) >= _DEPTH or params[at + 1 :]:
        return None
    older = streams.found[parent]
    template = operation.path
    carried: dict[str, str] = {}
    given: list[str] = []
    for param in params[:at]:
        if param in older.profile:
            given.append(param)
            continue
        source = _from_record(streams.found[older.parent], param) if older.parent is not None else None
        if source is None:
            source = streams.found[older.parent].from_parent.get(param) and param if older.parent else None
        if source is None:
            return None
        carried[param] = source
        template = template.replace(f"{{{param}}}", f"${{parent.{param}}}")
    value = _from_record(older, params[at])
    template = template.replace(f"{{{params[at]}}}", f"${{parent.{value}}}")
    return template, parent, given, carried


def _depth(streams: Streams, name: str) -> int:
    count = 1
    while (above := streams.found[name].parent) is not None:
        name, count = above, count + 1
    return count


def _from_record(stream: Drafted, param: str) -> str | None:
    """The field of a stream's record that a path parameter takes."""
    if not stream.key or not re.fullmatch(r"[A-Za-z0-9_-]+", param):
        return None
    names = {
        flat_name(item.name): item.name for item in stream.fields if re.fullmatch(r"[A-Za-z_]\w*", item.name)
    }
    last = snake(param).rpartition("_")[2]
    found = names.get(flat_name(param)) or names.get(last)
    return found or (stream.key[0] if re.fullmatch(r"[A-Za-z_]\w*", stream.key[0]) else None)


def _required(api: Api, operation: Operation, taken: frozenset[str]) -> tuple[dict[str, Json], list[str]]:
    """Values for the parameters that must be in the query, and the names of those without one."""
    query: dict[str, Json] = {}
    missing = []
    info = api.document.get("info")
    version = info.get("version") if isinstance(info, Mapping) else None
    for item in operation.parameters:
        if item.get("in") != "query" or item.get("required") is not True or item["name"] in taken:
            continue
        schema = api.flat(item.get("schema")) or item
        if flat_name(item["name"]) in ("apiversion", "version") and isinstance(version, str):
            query[item["name"]] = version
            continue
        choices = schema.get("enum")
        value = item.get("example", schema.get("default", schema.get("example")))
        if value is None and isinstance(choices, list) and choices:
            value = choices[0]
        if isinstance(value, str | int | float | bool) and value != "" and "${" not in str(value):
            query[item["name"]] = value
        else:
            missing.append(item["name"])
    return query, missing


# --- writes -------------------------------------------------------------------------------------------------


def _add_writes(api: Api, streams: Streams, by_path: Mapping[str, str]) -> None:
    for operation in api.operations():
        if operation.method == "GET":
            continue
        path, last = operation.path.rstrip("/"), operation.path.rstrip("/").rpartition("/")
        if operation.method == "POST" and _plain(path) in by_path:
            stream, kind, template = streams.found[by_path[_plain(path)]], "create", operation.path
        elif _PARAM.fullmatch(re.sub(r"\.json$", "", last[2])) and _plain(last[0]) in by_path:
            stream = streams.found[by_path[_plain(last[0])]]
            if not stream.key or not re.fullmatch(r"[A-Za-z_]\w*", stream.key[0]):
                continue
            kind = {"DELETE": "delete", "PATCH": "update", "PUT": "update", "POST": "update"}[
                operation.method
            ]
            template = operation.path.replace(
                f"{{{_PARAM.findall(last[2])[0]}}}", f"${{record.{stream.key[0]}}}"
            )
        else:
            continue
        if kind in stream.writes and operation.method != "PATCH":
            continue
        encode, _ = api.body_schema(operation)
        if kind != "delete" and not encode:
            continue
        template = _write_path(template, stream, streams)
        write: dict[str, Json] = {"method": operation.method, "path": template}
        if kind == "delete":
            write |= {"body": None, "gone": [404, 410]}
        elif encode == "form":
            write["encode"] = "form"
        if kind == "update" and stream.key:
            write["body"] = "${record | without:" + stream.key[0] + "}"
        if kind == "create" and stream.key:
            write["returns"] = {"id": stream.key[0]}
        streams.found[stream.name] = replace(stream, writes={**stream.writes, kind: write})


def _write_path(template: str, stream: Drafted, streams: Streams) -> str:
    """The parameters that are left come from the profile, or from the row itself."""
    for param in re.findall(r"(?<!\$)\{([^{}/]+)\}", template):
        known = streams.profile.get(param)
        name = f"profile.{known}" if known else f"record.{re.sub(r'[^A-Za-z0-9_]', '_', param)}"
        template = template.replace(f"{{{param}}}", f"${{{name}}}")
    return template


def description_of(stream: Drafted) -> str:
    """What a stream is, in the document's words."""
    data = stream.operation.data
    return sentence(data.get("summary")) or sentence(data.get("description"))

"""Pagination, cursors and keys recognised from the parameters and the answer of an operation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.model import Field, Json
from platint_tui.manifest.draft_text import snake
from platint_tui.manifest.openapi import Api, Operation

_SIZES = ("perpage", "pagesize", "pagelimit", "limit", "maxresults", "maxitems", "maxpagesize", "count", "size",
          "take", "top", "resultsperpage", "itemsperpage", "numresults")  # fmt: skip
_OFFSETS = ("offset", "startat", "start", "skip", "startindex", "pageoffset", "from")
_NUMBERS = ("page", "pagenumber", "pageno", "pageindex", "pagenum", "currentpage")
_TOKENS = ("pagetoken", "nexttoken", "nextpagetoken", "cursor", "nextcursor", "pagecursor", "continuationtoken",
           "continuation", "paginationtoken", "startingtoken", "marker", "after", "pageafter", "next",
           "bookmark", "scrollid", "nextpage")  # fmt: skip
_LAST = ("startingafter", "after", "afterid", "sinceid", "lastid")
_NEXT_VALUE = ("nextpagetoken", "nexttoken", "nextcursor", "cursor", "after", "continuationtoken", "next",
               "endcursor", "nextmarker", "marker", "nextpage", "token", "bookmark", "continuation")  # fmt: skip
_NEXT_URL = re.compile(r"^(next(_?page)?(_?(url|uri|link|href))?|next_?(url|uri|link)|@?odata\.?next_?link)$")
_MORE = ("hasmore", "more", "hasnext", "hasnextpage", "hasmoreitems")
_DONE = ("islast", "islastpage", "last")
_TOTALS = ("total", "totalcount", "totalitems", "totalresults", "totalrecords", "count")
_TOTAL_PAGES = ("totalpages", "pagecount", "numpages", "lastpage", "pages")
_FILTER = re.compile(
    r"(updat|modif|chang|creat|edit|since|after|start_?(date|time)|from_?(date|time)|_gte?\b|\[gte?\]|>)"
)
_SINCE = re.compile(r"(since|after|from|start|gte?|min|newer|>)")
_AGES = ("updat", "modif", "chang", "edit", "creat", "time", "date")
_IDS = ("id", "uuid", "guid", "sid", "uid", "key", "gid", "identifier")


@dataclass(frozen=True, slots=True)
class Paging:
    """The `page` of a read, what the query says besides, where the total is, what to decide."""

    page: dict[str, Json]
    query: dict[str, Json]
    total: str | None = None
    notes: tuple[str, ...] = ()
    taken: frozenset[str] = frozenset()
    """Query parameters that paging uses."""


def flat_name(name: str) -> str:
    """A name without marks: `page[size]` and `pageSize` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def places(
    api: Api, schema: Mapping[str, Json], depth: int = 3, path: str = ""
) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """The members of an answer with their dotted path, objects within objects too, lists left closed."""
    for name, value in api.members(schema).items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_$@-]+", name):
            continue
        flat = api.flat(value)
        here = f"{path}.{name}" if path else name
        yield here, flat
        if depth > 1 and api.kind(flat) == "object":
            yield from places(api, flat, depth - 1, here)


def paging_of(
    api: Api, operation: Operation, answer: Mapping[str, Json], records: str, key: Sequence[str]
) -> Paging:
    """How the pages of a list follow each other, as far as names and shapes say."""
    parameters = {flat_name(item["name"]): item for item in operation.parameters if item.get("in") == "query"}
    members = [
        (path, schema)
        for path, schema in places(api, answer)
        if path != records and not path.startswith(f"{records}.")
    ]
    size_param, size = _size(api, parameters)
    query: dict[str, Json] = {size_param: size} if size_param else {}
    used = frozenset({size_param} if size_param else set())
    total = _place(members, _TOTALS, ("integer", "number"), api)
    more = _place(members, _MORE, ("boolean",), api)
    done = _place(members, _DONE, ("boolean",), api)
    token = next((parameters[name] for name in _TOKENS if name in parameters), None)

    link = _next_url(api, members)
    if link is not None and (token is None or link.get("rel") or _is_url(api, members, str(link["path"]))):
        return Paging({"type": "link_body", **link}, query, total, (), used)
    if token is not None:
        param = token["name"]
        source = _place(members, _NEXT_VALUE, ("string", "integer", "number", ""), api)
        if source is not None:
            flags = {"more": more} if more else {}
            return Paging(
                {"type": "cursor", "from": source, "param": param, **flags}, query, total, (), used | {param}
            )
    last = next((parameters[name] for name in _LAST if name in parameters), None)
    if last is not None and key:
        page: dict[str, Json] = {"type": "cursor", "from": f"last_record.{key[0]}", "param": last["name"]}
        if more:
            page["more"] = more
        elif size_param:
            page["size"] = size
        if len(page) > 3:
            note = f"whether '{last['name']}' takes the {key[0]} of the last record"
            return Paging(page, query, total, (note,), used | {last["name"]})
    if _has_link_header(api, operation):
        return Paging({"type": "link_header"}, query, total, (), used)
    numbered = next((parameters[name] for name in _OFFSETS if name in parameters), None)
    if numbered is not None and _counts(api, numbered):
        page = {"type": "offset", "param": numbered["name"], "limit_param": size_param, "size": size}
        page.update({"total": total} if total else {"more": more} if more else {"done": done} if done else {})
        return Paging(page, {}, total, (), used | {numbered["name"]})
    numbered = next((parameters[name] for name in _NUMBERS if name in parameters), None)
    if numbered is not None:
        pages = _place(members, _TOTAL_PAGES, ("integer", "number"), api)
        page = {"type": "page", "param": numbered["name"], "size_param": size_param, "size": size}
        first = _default(api, numbered)
        if first == 0:
            page["start"] = 0
        page.update({"total_pages": pages} if pages else {"more": more} if more else {})
        notes = () if size_param else ("how many records a page has: size is a guess",)
        return Paging(page, {}, total, notes, used | {numbered["name"]})
    why = "no pagination was recognised: is everything in one answer?"
    if token is not None:
        why = (
            f"'{token['name']}' looks like a page cursor, but where the answer has the next one is not known"
        )
    return Paging({"type": "none"}, query, total, (why,), used)


def _size(api: Api, parameters: Mapping[str, Mapping[str, Json]]) -> tuple[str | None, int]:
    for name in _SIZES:
        item = parameters.get(name)
        if item is None:
            continue
        schema = api.flat(item.get("schema")) or item
        most = schema.get("maximum")
        if isinstance(most, int | float) and not isinstance(most, bool) and most >= 2:
            return item["name"], int(min(most, 1000))
        usual = schema.get("default")
        if isinstance(usual, int) and not isinstance(usual, bool) and usual > 1:
            return item["name"], max(usual, min(100, usual * 2)) if usual < 100 else usual
        return item["name"], 50
    return None, 100


def _default(api: Api, item: Mapping[str, Json]) -> Json:
    schema = api.flat(item.get("schema")) or item
    return schema.get("default", schema.get("minimum"))


def _counts(api: Api, item: Mapping[str, Json]) -> bool:
    """Whether a parameter takes a number: `start` may be a date."""
    schema = api.flat(item.get("schema")) or item
    return api.kind(schema) in ("integer", "number", "")


def _place(
    members: Sequence[tuple[str, Mapping[str, Json]]], names: Sequence[str], kinds: Sequence[str], api: Api
) -> str | None:
    for name in names:
        for path, schema in members:
            if flat_name(path.rpartition(".")[2]) == name and api.kind(schema) in kinds:
                return path
    return None


def _next_url(api: Api, members: Sequence[tuple[str, Mapping[str, Json]]]) -> dict[str, Json] | None:
    for path, schema in members:
        name = snake(path.rpartition(".")[2])
        parent = snake(path.rpartition(".")[0].rpartition(".")[2])
        if api.kind(schema) == "string" and (_NEXT_URL.match(name) or (name == "href" and parent == "next")):
            return {"path": path}
        if api.kind(schema) == "array" and name in ("links", "link"):
            item = api.members(api.items(schema))
            if "rel" in item and "href" in item:
                return {"path": path, "rel": "next"}
    return None


def _is_url(api: Api, members: Sequence[tuple[str, Mapping[str, Json]]], path: str) -> bool:
    """Whether a next value is an address rather than a token."""
    schema = dict(members).get(path, {})
    example = schema.get("example")
    name = snake(path.rpartition(".")[2])
    return (
        schema.get("format") in ("uri", "url")
        or any(word in name for word in ("url", "uri", "link", "href"))
        or (isinstance(example, str) and (example.startswith(("http", "/")) or "?" in example))
    )


def _has_link_header(api: Api, operation: Operation) -> bool:
    headers = api.answer(operation).get("headers")
    return isinstance(headers, Mapping) and any(str(name).lower() == "link" for name in headers)


def key_of(fields: Sequence[Field], name: str, named: str | None) -> tuple[tuple[str, ...], bool]:
    """The field that identifies a record of the stream `name`, () when none seems to; and whether that is
    sure: it is the record's own `id`, or what the path of one record takes (the parameter `named`).
    """
    usable = {
        flat_name(field.name): field.name
        for field in reversed(fields)
        if field.type in ("string", "integer", "number", "any")
        and re.fullmatch(r"[A-Za-z0-9_$@-]+", field.name)
    }
    for want in ("id", flat_name(named or "")):
        if want and want in usable:
            return (usable[want],), True
    singles = [word[:-1] if word.endswith("s") else word for word in (name, name.rpartition("_")[2])]
    ids = [f"{single}{end}" for single in singles for end in ("id", "sid", "key", "uuid", "code")]
    for want in (*_IDS, *ids, f"{name}id", "code", "slug", "name"):
        if flat_name(want) in usable:
            return (usable[flat_name(want)],), False
    return (), True


def cursor_of(
    api: Api,
    operation: Operation,
    record: Mapping[str, Json],
    fields: Sequence[Field],
    taken: frozenset[str],
) -> tuple[dict[str, Json] | None, list[str]]:
    """The cursor of a list where a parameter filters by a field's age; else what to decide.

    `record` is the flat schema of one record.
    """
    types = {field.name: kind for field in fields if (kind := _cursor_type(api, record, field))}
    aged = [field for field in fields if field.name in types and _age(field.name) < len(_AGES)]
    aged.sort(key=lambda field: _age(field.name))
    for item in operation.parameters:
        name = item["name"]
        words = snake(name) + (">" if ">" in name else "")
        if item.get("in") != "query" or name in taken or not (_FILTER.search(words) and _SINCE.search(words)):
            continue
        named = [field for field in aged if flat_name(field.name) in flat_name(name)]
        for field in named or [field for field in aged if _fits(words, field.name)]:
            return _cursor(api, item, field.name, types[field.name])
    if not aged:
        return None, []
    field = aged[0]
    cursor = f"{{field: {field.name}, type: {types[field.name]}}}"
    return None, [f"a cursor {cursor} would read only what is new, if the platform can filter or sort"]


def _cursor(api: Api, item: Mapping[str, Json], field: str, kind: str) -> tuple[dict[str, Json], list[str]]:
    cursor: dict[str, Json] = {"field": field, "type": kind, "start_param": item["name"]}
    notes = []
    schema = api.flat(item.get("schema")) or item
    wanted = schema.get("format")
    if kind in ("iso8601", "rfc2822") and wanted == "date":
        cursor["format"] = "date"
    elif kind == "rfc2822" and wanted == "date-time":
        cursor["format"] = "iso8601"
    elif kind == "iso8601" and api.kind(schema) == "integer":
        cursor["format"] = "epoch_s"
        notes.append("whether the filter takes seconds or milliseconds")
    elif kind == "epoch_s":
        notes.append(
            f"whether {field} counts seconds (epoch_s), milliseconds (epoch_ms) or is a number (int)"
        )
    cursor["missing"] = "exclude"
    notes.append(f"whether '{item['name']}' includes its bound and filters by {field}")
    return cursor, notes


def _age(name: str) -> int:
    words = snake(name)
    return next((place for place, word in enumerate(_AGES) if word in words), len(_AGES))


def _cursor_type(api: Api, record: Mapping[str, Json], field: Field) -> str | None:
    form = str(api.flat(api.members(record).get(field.name)).get("format", ""))
    if not re.fullmatch(r"[A-Za-z0-9_$@-]+", field.name):
        return None
    if "2822" in form:
        return "rfc2822"
    if field.type == "timestamp":
        return "iso8601"
    if field.type == "integer" and (_age(field.name) < 5 or field.name.endswith(("_at", "_time"))):
        return "epoch_s"
    words = snake(field.name)
    named = words.endswith(("_at", "_time", "_date")) or words.startswith("date_") or words in _AGES
    return "iso8601" if field.type == "string" and named and _age(field.name) < 5 else None


def _fits(parameter: str, field: str) -> bool:
    """Whether a filter is about a field: the same kind of age, or none named and the field is the newest."""
    mine = _age(parameter)
    return mine == _age(field) or mine >= 5

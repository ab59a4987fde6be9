"""Every way in which an entry of a manifest can be wrong: one mutation each. They are made from the manifest alone,
by its shape, and know nothing of the look-ups: that each is caught shows that the entry was looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract.looked import STANDARD_HEADERS
from contract.manifests import EXPRESSION, Data, requests
from contract.specs.graphql_sdl import inner_documents

WRONG = "zz"
"""What makes a name wrong: no vendor has it."""


def mutations(data: Data) -> Iterator[tuple[str, str, Data]]:
    """(part to look up again, what was changed, the changed manifest)."""
    yield from _transport(data)
    yield from _auth(data)
    for number, probe in enumerate(data["check"]):
        place = ("check", number)
        if probe["request"]:
            yield from _request(data, "check", (*place, "request"))
            if probe["shows"]:
                yield from _path(data, "check", (*place, "shows"))
            if probe["expect"]["body"]:
                yield from _path(data, "check", (*place, "expect", "body", "path"))
    yield from _discover(data)
    for name in data["resources"]:
        yield from _resource(data, name)
    yield from _webhooks(data)


def _transport(data: Data) -> Iterator[tuple[str, str, Data]]:
    """Hosts and paths of the addresses (a wrong one concerns every part, "" here), and the headers."""
    transport = data["transport"]
    used = {request.get("endpoint") for _, request in requests(data)}
    places: list[tuple[Any, ...]] = [("transport", "base_url")] if None in used else []
    places += [
        ("transport", "endpoints", name, "base_url") for name in transport["endpoints"] if name in used
    ]
    for place in places:
        for number, item in enumerate(_at(data, place)):
            for key, text in item.items() if isinstance(item, Mapping) else (((), item),):
                where = (*place, number, *((key,) if key else ()))
                for found in re.finditer(r"(?<=[/.}])[a-z][a-z0-9-]+(?=\.[a-z]+|/|$)", text):
                    if text.startswith("http"):
                        wrong = text[: found.end()] + WRONG + text[found.end() :]
                        yield "", f"{_shown(where)}: {wrong}", changed(data, where, wrong)
    for place in [("transport",), *(("transport", "endpoints", name) for name in transport["endpoints"])]:
        for name in _at(data, place)["headers"]:
            if name.lower() not in STANDARD_HEADERS:
                renamed = _renamed(data, (*place, "headers"), name, name + WRONG)
                yield "transport", f"{_shown(place)}.headers.{name}", renamed


def _auth(data: Data) -> Iterator[tuple[str, str, Data]]:
    """Requests that get a credential."""
    auth = data["auth"]
    ways: list[tuple[Any, ...]] = [
        ("auth", "of", number, "auth") for number in range(len(auth.get("of", ())))
    ] or [("auth",)]
    for place in ways:
        way = _at(data, place)
        if way["type"] == "jwt_exchange":
            wrong = way["path"] + WRONG
            yield "auth", f"{_shown(place)}.path", changed(data, (*place, "path"), wrong)
            for word in ("token", "expires"):
                if way[word]:
                    yield from _path(data, "auth", (*place, word))
        if way.get("crumb"):
            yield from _value(data, "auth", (*place, "crumb", "path"))
            for word in ("name", "value"):
                yield from _path(data, "auth", (*place, "crumb", word))


def changed(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place; what is not on the way is shared."""
    if not place:
        return value
    head, *rest = place
    if isinstance(data, Mapping):
        return {**data, head: changed(data[head], tuple(rest), value)}
    copy = list(data)
    copy[head] = changed(copy[head], tuple(rest), value)
    return copy


def _at(data: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        data = data[name]
    return data


def _renamed(data: Data, place: tuple[Any, ...], old: str, new: str) -> Data:
    """A copy with a member called otherwise."""
    members = {new if key == old else key: value for key, value in _at(data, place).items()}
    result: Data = changed(data, place, members)
    return result


def _value(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    """A name that is wrong as a whole."""
    yield part, _shown(place), changed(data, place, _at(data, place) + WRONG)


def _path(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    """A dotted path with one wrong part, each part in turn (numbers are positions)."""
    names = _at(data, place).split(".")
    for number, name in enumerate(names):
        if name and not name.isdigit() and name not in ("last_record", "*"):
            wrong = ".".join([*names[:number], name + WRONG, *names[number + 1 :]])
            yield part, f"{_shown(place)}: {wrong}", changed(data, place, wrong)


def _shown(place: tuple[Any, ...]) -> str:
    return ".".join(str(item) for item in place)


# --- requests


def _request(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    request = _at(data, place)
    if request.get("graphql"):
        yield from _graphql(data, part, (*place, "graphql"))
        return
    path = request["path"]
    for found in re.finditer(
        r"[A-Za-z][A-Za-z_.-]+",
        EXPRESSION.sub(lambda match: "\0" * len(match.group(0)), path.partition("?")[0]),
    ):
        wrong = path[: found.end()] + WRONG + path[found.end() :]
        yield part, f"{_shown(place)}.path: {wrong}", changed(data, (*place, "path"), wrong)
    if request.get("method"):
        other = {
            "GET": "PUT",
            "POST": "PUT",
            "PUT": "HEAD",
            "PATCH": "HEAD",
            "DELETE": "HEAD",
            "HEAD": "PATCH",
        }
        wrong = other[request["method"]]
        yield part, f"{_shown(place)}.method: {wrong}", changed(data, (*place, "method"), wrong)
    for name in request.get("query") or {}:
        yield (
            part,
            f"{_shown(place)}.query.{name}",
            _renamed(data, (*place, "query"), name, _wrong_name(name)),
        )
    tree = str((request.get("query") or {}).get("tree") or "")
    for found in re.finditer(r"[A-Za-z]\w*", _without_lookups(tree)):
        wrong = tree[: found.end()] + WRONG + tree[found.end() :]
        yield part, f"{_shown(place)}.query.tree: {wrong}", changed(data, (*place, "query", "tree"), wrong)
    for name in request.get("headers") or {}:
        if name.lower() not in STANDARD_HEADERS:
            yield (
                part,
                f"{_shown(place)}.headers.{name}",
                _renamed(data, (*place, "headers"), name, name + WRONG),
            )
    if isinstance(request.get("body"), (Mapping, list, tuple)):
        yield from _members(data, part, (*place, "body"))
    yield from _parents(data, part, place)


def _without_lookups(text: str) -> str:
    return EXPRESSION.sub(lambda match: "\0" * len(match.group(0)), text)


def _wrong_name(name: str) -> str:
    """`created[gte]` is wrong inside its brackets."""
    return name[:-1] + WRONG + "]" if name.endswith("]") and not name.endswith("[]") else name + WRONG


def _members(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    value = _at(data, place)
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name != "...":
                yield part, f"{_shown(place)}.{name}", _renamed(data, place, name, _wrong_name(name))
            if isinstance(item, (Mapping, list, tuple)):
                yield from _members(data, part, (*place, name))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            if isinstance(item, (Mapping, list, tuple)):
                yield from _members(data, part, (*place, number))


def _parents(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    """`${parent.…}` anywhere names a member of the parent's record."""
    request = _at(data, place)
    for where, text in [
        ((*place, "path"), request["path"]),
        *_inside((*place, "query"), request.get("query")),
        *_inside((*place, "body"), request.get("body")),
        *_inside((*place, "headers"), request.get("headers")),
    ]:
        for found in re.finditer(r"\$\{(parent\.[A-Za-z0-9_.]+)", text):
            wrong = text[: found.end()] + WRONG + text[found.end() :]
            yield part, f"{_shown(where)}: {wrong}", changed(data, where, wrong)


def _inside(place: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text below a place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _inside((*place, name), item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _inside((*place, number), item)


def _graphql(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    """Each name in a document: fields, arguments, types, variables."""
    yield from _document(data, part, (*place, "document"))
    for name in inner_documents({"graphql": _at(data, place)}):
        yield from _document(data, part, (*place, "variables", name))
    yield from _variables(data, part, place)


def _document(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    text = _at(data, place)
    keywords = {"query", "mutation", "fragment", "on", "true", "false", "null"}
    for found in re.finditer(r"(?<![\w\"@])\$?[A-Za-z_]\w*", _without_texts(text)):
        word = found.group(0)
        rest = text[found.end() :].lstrip()
        alias = rest.startswith(":") and "(" not in _open(text[: found.start()])
        named = re.search(r"(query|mutation|fragment)\s+$", text[: found.start()])
        if word in keywords or word.startswith("$") or alias or named:
            continue
        wrong = text[: found.end()] + WRONG + text[found.end() :]
        yield part, f"{_shown(place)}: {word}{WRONG}", changed(data, place, wrong)


def _variables(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    for where, value in _inside((*place, "variables"), _at(data, (*place, "variables"))):
        for found in re.finditer(r"\$\{(parent\.[A-Za-z0-9_.]+)", value):
            wrong = value[: found.end()] + WRONG + value[found.end() :]
            yield part, f"{_shown(where)}: {wrong}", changed(data, where, wrong)
    for name in _at(data, (*place, "variables")):
        yield (
            part,
            f"{_shown(place)}.variables.{name}",
            _renamed(data, (*place, "variables"), name, name + WRONG),
        )


def _without_texts(text: str) -> str:
    return re.sub(r'"[^"]*"', lambda match: '"' * len(match.group(0)), text)


def _open(before: str) -> str:
    """The innermost bracket that is open at the end: `(` in arguments, `{` in a selection."""
    stack = []
    for sign in before:
        if sign in "({":
            stack.append(sign)
        elif sign in ")}" and stack:
            stack.pop()
    return "(" if "(" in stack else ""


# --- discovery and resources


def _discover(data: Data) -> Iterator[tuple[str, str, Data]]:
    discover = data["discover"]
    if discover["request"] and discover["type"] != "graphql":
        yield from _request(data, "discover", ("discover", "request"))
    for number, listing in enumerate(discover["listings"]):
        place = ("discover", "listings", number)
        yield from _request(data, "discover", (*place, "request"))
        for word in ("records", "name", "description", "estimate"):
            if listing[word] and listing[word] not in (listing["scalar"], listing["entries"]):
                yield from _path(data, "discover", (*place, word))
        for index in range(len(listing["when"])):
            yield from _path(data, "discover", (*place, "when", index, "path"))
        yield from _page(data, "discover", (*place, "page"))


def _resource(data: Data, name: str) -> Iterator[tuple[str, str, Data]]:
    resource = data["resources"][name]
    place = ("resources", name)
    part = f"resources.{name}"
    read = resource["read"]
    if read:
        made = {*read["from_parent"], read["entries"], read["scalar"]}
        yield from _request(data, part, (*place, "read", "request"))
        yield from _page(data, part, (*place, "read", "page"))
        graphql = read["request"].get("graphql")
        bulk = bool(graphql) and bool(inner_documents(read["request"]))
        if read["format"] == "json" or read["page"]["type"] != "async_job" or bulk:
            yield from _record(data, part, place, made)
        if read["cursor"]:
            for word in ("start_param", "end_param"):
                if read["cursor"][word]:
                    wrong = _wrong_name(read["cursor"][word])
                    where = (*place, "read", "cursor", word)
                    yield part, f"{_shown(where)}: {wrong}", changed(data, where, wrong)
        for target in read["from_parent"]:
            yield from _path(data, part, (*place, "read", "from_parent", target))
    if resource["one"]:
        yield from _request(data, part, (*place, "one", "request"))
        if resource["one"]["record"]:
            yield from _path(data, part, (*place, "one", "record"))
        for number in range(len(resource["one"]["without"])):
            yield from _value(data, part, (*place, "one", "without", number))
    for word, operation in (resource["write"] or {}).items():
        if isinstance(operation, dict) and not resource["sink"]:
            yield from _write(data, part, (*place, "write", word), operation)
    describe = resource["describe"]
    if describe and describe["graphql"]:
        yield from _value(data, part, (*place, "describe", "graphql"))
    if describe and describe["request"]:
        described = (*place, "describe")
        yield from _request(data, part, (*described, "request"))
        for key in ("records", "name", "type", "description", "required", "nullable", "max_length"):
            if (
                describe[key]
                and describe[key] != describe["entries"]
                and not (key == "name" and describe["entries"])
            ):
                yield from _path(data, part, (*described, key))


def _record(data: Data, part: str, place: tuple[Any, ...], made: set[Any]) -> Iterator[tuple[str, str, Data]]:
    """What is said of a record: where it is, its key, its cursor, its fields."""
    resource = _at(data, place)
    read = resource["read"]
    for word in ("records", "total"):
        if read[word]:
            yield from _path(data, part, (*place, "read", word))
    for number in range(len(read["skip"])):
        yield from _path(data, part, (*place, "read", "skip", number, "path"))
    for number, key in enumerate(resource["key"] or ()):
        if key.split(".")[0] not in made:
            yield from _path(data, part, (*place, "key", number))
    if read["cursor"] and read["cursor"]["field"].split(".")[0] not in made:
        yield from _path(data, part, (*place, "read", "cursor", "field"))
    for number, item in enumerate(resource["fields"]):
        if item["name"] not in made:
            yield from _value(data, part, (*place, "fields", number, "name"))


def _page(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    page = _at(data, place)
    if page["type"] == "async_job":
        for word in ("id", "status", "url"):
            if page[word]:
                yield from _path(data, part, (*place, word))
        for word in ("poll", "results", "abort"):
            if page[word]:
                yield from _request(data, part, (*place, word))
        if page["locator"]:
            yield from _value(data, part, (*place, "locator", "param"))
        return
    for word in ("path", "from", "more", "done", "total", "total_pages"):
        if page.get(word):
            yield from _path(data, part, (*place, word))
    for word in ("param", "limit_param", "size_param"):
        if page.get(word):
            yield from _value(data, part, (*place, word))


def _write(data: Data, part: str, place: tuple[Any, ...], operation: Data) -> Iterator[tuple[str, str, Data]]:
    yield from _request(data, part, place)
    for name in operation["returns"]:
        yield from _path(data, part, (*place, "returns", name))
    if operation["idempotency"]:
        yield from _value(data, part, (*place, "idempotency", "header"))
    bulk = operation["bulk"]
    if bulk and not operation["graphql"]:
        if isinstance(bulk["item"], (Mapping, list, tuple)):
            yield from _members(data, part, (*place, "bulk", "item"))
        results = bulk["results"]
        for word in ("path", "id", "status", "code", "message", "field") if results else ():
            if results[word]:
                yield from _path(data, part, (*place, "bulk", "results", word))
        if results and results["failed"]:
            yield from _path(data, part, (*place, "bulk", "results", "failed", "path"))


# --- webhooks


def _webhooks(data: Data) -> Iterator[tuple[str, str, Data]]:
    webhooks = data["webhooks"] or {}
    for number, way in enumerate(webhooks.get("subscribe") or ()):
        place = ("webhooks", "subscribe", number)
        part = _shown(place)
        for word in ("prepare", "create", "secret_request", "pause", "resume", "remove", "renew"):
            if way[word]:
                yield from _request(data, part, (*place, word))
        for word in ("id_from", "secret_from", "expires_from"):
            if way[word]:
                yield from _path(data, part, (*place, word))
        for field in way["keep"]:
            yield from _path(data, part, (*place, "keep", field))
        for index in range(len(way["error_from"])):
            yield from _path(data, part, (*place, "error_from", index))
        for word in ("list", "address"):
            if way[word]:
                yield from _registered(data, part, (*place, word))
    for number, way in enumerate(webhooks.get("missed") or ()):
        if way["request"]:
            yield from _missed(data, ("webhooks", "missed", number))


def _registered(data: Data, part: str, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    listed = _at(data, place)
    yield from _request(data, part, (*place, "request"))
    yield from _page(data, part, (*place, "page"))
    for word in ("items", "id", "url", "types", "type", "expires") if place[-1] == "list" else ("url",):
        if listed[word]:
            yield from _path(data, part, (*place, word))
    for word in ("active", "confirmed"):
        if listed[word]:
            yield from _path(data, part, (*place, word, "path"))


def _missed(data: Data, place: tuple[Any, ...]) -> Iterator[tuple[str, str, Data]]:
    way, part = _at(data, place), _shown(place)
    yield from _request(data, part, (*place, "request"))
    yield from _page(data, part, (*place, "page"))
    for word in ("items", "event_id", "time", "delivery_id"):
        if way[word]:
            yield from _path(data, part, (*place, word))
    if way["body"] and way["body"] != ".":
        yield from _path(data, part, (*place, "body"))
    for index in range(len(way["type"])):
        yield from _path(data, part, (*place, "type", index))
    for name in way["only_failed"]:
        yield part, f"{part}.only_failed.{name}", _renamed(data, (*place, "only_failed"), name, name + WRONG)
    if way["delivered"]:
        yield from _path(data, part, (*place, "delivered", "path"))
    if way["redeliver"]:
        yield from _request(data, part, (*place, "redeliver"))

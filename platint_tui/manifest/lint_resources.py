"""What the types cannot say of resources: keys, paths, parents, pages and writes that must fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from platint_tui.core.model import Json
from platint_tui.manifest.addresses import texts_of
from platint_tui.manifest.findings import Findings, check_path, texts
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.lint_reads import check_read
from platint_tui.manifest.problems import did_you_mean, shown
from platint_tui.manifest.template import compile_template
from platint_tui.manifest.yamltext import PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, Read, Resource, WriteOp


_DATA = ("body", "query", "headers", "graphql", "item", "parameters")
"""Members of a request that hold what a platform wants, whatever its names are."""


def check_resources(found: Findings, connector: Connector) -> None:
    """Keys, paths, parents, pages and writes of every resource, and the endpoints of every request."""
    requests = kind_of(connector.driver).http
    if requests:
        asked = connector.model_dump(by_alias=True, include={"check", "discover", "resources"})
        _endpoints(found, (), asked, connector.transport.endpoints)
    fed = {entry.resource for entry in connector.webhooks.map} if connector.webhooks else set[str]()
    for name, resource in connector.resources.items():
        path: PathKey = ("resources", name)
        listed = connector.discover.type == "introspect" or any(
            item.into == name for item in connector.discover.listings
        )
        own = resource.source is not None or resource.sink is not None  # the driver lists these itself
        if name.endswith("*") and not listed and not own:
            found.add(path, f"'{name}' needs a listing in `discover.listings` that leads into it")
        useless = resource.read is None and resource.write is None and name not in fed
        if useless and connector.driver == "http":
            found.add(path, "needs read or write, or an entry in `webhooks.map` that brings its records")
        for key in ("source", "sink"):
            if connector.driver == "http" and getattr(resource, key) is not None:
                found.add((*path, key), "is for other drivers; over http say `read` and `write`")
        if resource.one is not None:
            _one(found, (*path, "one"), resource, requests, name in fed)
        if resource.read is not None and not requests:
            found.add((*path, "read"), f"is made of requests; the driver '{connector.driver}' has `source`")
        if requests:
            if resource.read is not None:
                _read(found, path, resource, resource.read)
                check_read(found, (*path, "read"), resource.read)
            if resource.sink is None:
                _write(found, path, resource, whole_address(connector))
        if resource.parent is not None:
            _parent(found, (*path, "parent"), name, connector)
        if resource.read is not None and resource.read.from_parent and resource.parent is None:
            found.add((*path, "read", "from_parent"), "needs `parent`: the resource that it is read for")
        uses_parent = any("${parent." in text or "${ parent." in text for _, text in _request_texts(resource))
        if uses_parent and resource.parent is None:
            found.add((*path, "read", "request"), "uses ${parent.…}, but `parent` is missing")
        names = [field.name for field in resource.fields]
        for double in sorted({item for item in names if names.count(item) > 1}):
            found.add((*path, "fields"), f"there are two fields called {shown(double)}")


def _endpoints(found: Findings, path: PathKey, value: Json, known: Iterable[str]) -> None:
    """Every request below `value` goes to an endpoint that there is."""
    if isinstance(value, Mapping):
        name = value.get("endpoint")
        if "path" in value and isinstance(name, str) and name not in known:
            found.add((*path, "endpoint"), f"there is no endpoint {shown(name)}{did_you_mean(name, known)}")
        for key, item in value.items():
            if key not in _DATA:
                _endpoints(found, (*path, key), item, known)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _endpoints(found, (*path, number), item, known)


def _request_texts(resource: Resource) -> Iterable[tuple[PathKey, str]]:
    request = resource.read.request if resource.read else None
    return texts(request.model_dump(), ()) if request else ()


def _read(found: Findings, path: PathKey, resource: Resource, read: Read) -> None:
    asked = resource.describe is not None and resource.describe.key is not None
    if resource.key is None and not asked:
        found.add((*path, "key"), "is missing: name the fields that identify a record, or write `key: []`")
    check_path(found, (*path, "read", "request", "path"), read.request.path)
    if read.request.method == "GET" and (read.request.body is not None or read.request.graphql):
        found.add((*path, "read", "request", "body"), "a GET request has no body")
    if resource.estimate and read.total is None:
        found.add((*path, "estimate"), "needs `read.total`")
    if read.single and (read.records or read.page.type != "none" or read.cursor is not None):
        found.add(
            (*path, "read", "single"), "goes with `records: ''` and `page: {type: none}`, without a cursor"
        )
    cursor = read.cursor
    if cursor is not None and cursor.end_param and not cursor.start_param:
        found.add((*path, "read", "cursor", "end_param"), "needs start_param")
    if read.page.cap is not None and (cursor is None or cursor.order != "asc" or cursor.side == "client"):
        found.add(
            (*path, "read", "page", "cap"),
            "needs a cursor with `order: asc` and a filter on the platform's side",
        )
    for key in ("param", "limit_param", "size_param"):
        parameter = getattr(read.page, key, None)
        if parameter and parameter in read.request.query:
            found.add((*path, "read", "request", "query", parameter), "is set by `page`; remove it here")


def _one(found: Findings, path: PathKey, resource: Resource, requests: bool, fed: bool) -> None:
    one = resource.one
    assert one is not None
    if not requests:
        found.add(path, "is a request; only what is read over http has one")
    elif resource.read is None:
        found.add(path, "needs `read`: the record has the form in which it is read")
    elif resource.read.format not in ("json", "xml"):
        found.add(path, f"is an answer in JSON or XML, and `read` expects {resource.read.format}")
    if not fed:
        found.add(path, "is for records that events bring, and no entry of `webhooks.map` brings any")
    check_path(found, (*path, "request", "path"), one.request.path)
    if one.request.method == "GET" and (one.request.body is not None or one.request.graphql):
        found.add((*path, "request", "body"), "a GET request has no body")
    if not any("${record" in text.replace(" ", "") for _, text in texts(one.request.model_dump(), ())):
        found.add((*path, "request"), "is the same for every record: it names none by ${record.…}")


def whole_address(connector: Connector) -> bool:
    """Whether the operator gives the whole address of every request: then its path may be empty."""
    parts = [compile_template(text).sole for text in texts_of(connector.transport.base_url)]
    return any(part is not None and part.path[0] == "profile" for part in parts)


def _write(found: Findings, path: PathKey, resource: Resource, whole: bool) -> None:
    if resource.write is None:
        return
    operations = {name: getattr(resource.write, name) for name in ("create", "upsert", "update", "delete")}
    if not any(operations.values()):
        found.add((*path, "write"), "needs create, upsert, update or delete")
    for name, operation in operations.items():
        if operation is None:
            if name == "delete" and resource.write.follow_deletes:
                found.add((*path, "write", "follow_deletes"), "needs `delete`")
            continue
        if operation.bulk is not None and not _holds_items(operation):
            found.add((*path, "write", name, "body"), "of a bulk write has the rows as ${items}")
        for key in ("path", "query", "headers") if operation.bulk is not None else ():
            if any("${record" in text.replace(" ", "") for _, text in texts([getattr(operation, key)], ())):
                found.add(
                    (*path, "write", name, key), "of a bulk write is for many rows: there is no ${record}"
                )
        results = operation.bulk.results if operation.bulk else None
        if results is not None and results.only_failures and not (results.id or results.index):
            found.add(
                (*path, "write", name, "bulk", "results", "id"),
                "or index is needed: it tells which row failed",
            )
        if not operation.path and not whole:
            found.add((*path, "write", name, "path"), "is missing")
        elif operation.path:
            check_path(found, (*path, "write", name, "path"), operation.path)


def _holds_items(operation: WriteOp) -> bool:
    """Whether the body of a bulk write names its rows; the query may do it too (`?ids=…`)."""
    places = (operation.body, operation.query, operation.graphql.variables if operation.graphql else None)
    return any("${items" in text.replace(" ", "") for _, text in texts(list(places), ()))


def _parent(found: Findings, path: PathKey, name: str, connector: Connector) -> None:
    seen = [name]
    current = connector.resources[name]
    while current.parent is not None:
        parent = current.parent.resource
        if parent not in connector.resources:
            found.add(
                (*path, "resource"),
                f"there is no resource '{parent}'{did_you_mean(parent, connector.resources)}",
            )
            return
        if parent in seen:
            found.add((*path, "resource"), f"goes round in a circle: {' → '.join([*seen, parent])}")
            return
        seen.append(parent)
        current = connector.resources[parent]
        if current.read is None:
            found.add((*path, "resource"), f"'{parent}' cannot be read")

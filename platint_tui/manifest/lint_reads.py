"""What the types cannot say of one read: its form, its pages, its job and its cursor must fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.findings import Findings, check_path, texts
from platint_tui.manifest.template import compile_template
from platint_tui.manifest.yamltext import PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.schema import CursorSpec, JobPage, Read, Request

_TIMES = ("iso8601", "epoch_s", "epoch_ms", "rfc2822", "date")


def check_read(found: Findings, path: PathKey, read: Read) -> None:
    """Everything about `read`, which stands at `path`."""
    used = set(_looked_up(read.request))
    _request(found, path, read)
    _form(found, path, read)
    _page(found, path, read, used)
    if read.cursor is not None:
        _cursor(found, (*path, "cursor"), read.cursor, used)


def _looked_up(request: Request) -> Iterator[str]:
    """The names that the templates of a request look up, like `cursor.start`."""
    for _, text in texts(request.model_dump(mode="json"), ()):
        for part in text.split("${")[1:]:
            yield part.partition("}")[0].partition("|")[0].strip()


def _request(found: Findings, path: PathKey, read: Read) -> None:
    """What the request looks up must have a value when it is sent."""
    request = read.request
    place = (*path, "request")
    if request.graphql is not None and request.body is not None:
        found.add((*place, "body"), "does not go with graphql, which is the body")
    variables = request.graphql.variables if request.graphql is not None else None
    parts = {"path": request.path, "query": request.query, "headers": request.headers}
    for key, value in {**parts, "body": request.body, "variables": variables}.items():
        for at, text in texts(value, ("graphql", key) if key == "variables" else (key,)):
            try:
                template = compile_template(text)
            except ConfigError:
                continue  # reported where templates are checked
            # A member of a body that is one lookup alone is left out when it has no value.
            optional = key in ("body", "variables") and template.sole is not None
            for expression in template.expressions:
                defaulted = optional or any(name == "default" for name, _ in expression.filters)
                if why := _no_value(expression.name, read, defaulted):
                    found.add((*place, *at), why)


def _no_value(name: str, read: Read, defaulted: bool) -> str:
    """Why a lookup of a read's request may have no value; '' when it has one, or needs none."""
    cursor = read.cursor
    if name.startswith("job."):
        return "there is no job yet: ${job.id} is for poll, results and abort"
    if not name.startswith("cursor.") or defaulted:
        return ""
    if cursor is None:
        return f"${{{name}}} has no value without `cursor`; give it one, or a default"
    timed = cursor.type in _TIMES
    if name == "cursor.start" and not (timed and cursor.initial is not None):
        return "${cursor.start} has no value in the first scan: give it a default" + (
            ", or the cursor `initial`" if timed else ""
        )
    if name == "cursor.end" and not timed:
        return f"${{cursor.end}} needs a cursor of time, not {cursor.type}"
    return ""


def _form(found: Findings, path: PathKey, read: Read) -> None:
    if read.format in ("ndjson", "csv"):
        if read.records:
            found.add((*path, "records"), f"of {read.format} is '': every line is a record")
        for key in ("entries", "single"):
            if getattr(read, key):
                found.add((*path, key), f"does not go with {read.format}")
    if read.csv.delimiter in '"\r\n':
        found.add((*path, "csv", "delimiter"), "cannot be a quote or a line break")


def _page(found: Findings, path: PathKey, read: Read, used: set[str]) -> None:
    page = read.page
    if page.type == "async_job":
        _job(found, (*path, "page"), page)
        return
    _around(found, path, read)
    if getattr(page, "in_", "query") == "body" and read.request.method == "GET":
        found.add((*path, "page", "in"), "a GET request has no body")
    elif getattr(page, "in_", "query") == "body" and read.request.graphql is None:
        form, body = read.request.encode, read.request.body
        if form in ("text", "ndjson") or not (body is None or isinstance(body, Mapping)):
            found.add((*path, "page", "in"), f"needs a body that is an object, not one of {form}")
    # A POST may be meant to be repeated as it is: each time it takes the next messages of a queue.
    repeats = page.type == "offset" and page.param is None and read.request.method == "GET"
    if repeats and not used & {"page.offset", "page.end"}:
        found.add((*path, "page", "param"), "is null, so the request needs ${page.offset}")


def _around(found: Findings, path: PathKey, read: Read) -> None:
    """What stands beside the records needs an answer that has something beside them."""
    form = read.format
    plain_list = form == "json" and not read.records and not read.entries
    if form not in ("csv", "ndjson", "file") and not plain_list:
        return
    has = "an answer that is the list itself" if plain_list else f"{form}"
    page = read.page
    for key in ("more", "done", "total", "total_pages", *(("path",) if page.type == "link_body" else ())):
        if getattr(page, key, None) is not None:
            found.add((*path, "page", key), f"is not there in {has}: it has nothing beside the records")
    if page.type == "cursor" and page.from_.partition(".")[0] != "last_record":
        found.add(
            (*path, "page", "from"), f"is last_record.<field> in {has}: it has nothing beside the records"
        )
    if read.total is not None and not plain_list:
        found.add((*path, "total"), f"is not there in {has}: it has nothing beside the records")


def _job(found: Findings, path: PathKey, page: JobPage) -> None:
    if (page.results is None) == (page.url is None):
        found.add((*path, "results"), "or url is needed, and only one of them")
    if page.locator is not None and page.results is None:
        found.add((*path, "locator"), "needs `results`")
    for key in ("poll", "results", "abort"):
        request = getattr(page, key)
        if request is not None:
            check_path(found, (*path, key, "path"), request.path)


def _cursor(found: Findings, path: PathKey, cursor: CursorSpec, used: set[str]) -> None:
    starts = cursor.start_param is not None or "cursor.start" in used
    if cursor.side == "server" and not starts:
        found.add((*path, "side"), "is server, so the request needs ${cursor.start}, or start_param")
    if cursor.format is not None:
        if cursor.type not in _TIMES:
            found.add((*path, "format"), f"needs a cursor of time, not {cursor.type}")
        elif cursor.format not in _TIMES and "%" not in cursor.format:
            found.add((*path, "format"), f"is {', '.join(_TIMES)} or a pattern like %Y-%m-%d")
    if cursor.window is not None:
        if cursor.type not in _TIMES:
            found.add((*path, "window"), f"needs a cursor of time, not {cursor.type}")
        if cursor.initial is None:
            found.add((*path, "window"), "needs `initial`: where the first scan starts")
        if not starts or not (cursor.end_param is not None or "cursor.end" in used):
            found.add((*path, "window"), "needs both ends: start_param and end_param, or their templates")

"""Discovery against a server: what is listed, what is described, what is refused, and what fails in part."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from platint_tui.core.errors import CredentialError
from platint_tui.core.model import Stream
from tests.http.hostile import Build, Hostile, Rig, Seen, answer

TABLES = {
    "tables.*": {
        "key": ["id"],
        "needs": ["tables.read"],
        "read": {
            "request": {"path": "/tables/${resource.of}/rows"},
            "records": "rows",
            "page": {"type": "none"},
        },
        "describe": {
            "request": {"path": "/tables/${resource.of}"},
            "records": "columns",
            "name": "label",
            "type": "type",
            "types": {"text": "string", "int8": "integer", "when": "timestamp"},
            "nullable": "null",
            "max_length": "size",
            "key": {"records": "primary", "name": "column"},
        },
    }
}
LISTING = {"into": "tables.*", "request": {"path": "/tables"}, "records": "tables", "name": "id"}


def listing(**changes: Any) -> dict[str, Any]:
    return {
        "discover": {"type": "static", "listings": [{**LISTING, **changes}]},
        "resources": dict(TABLES),
    }


@pytest.fixture
def open_door(hostile: Hostile) -> Hostile:
    hostile.json("/check", {"ok": True})
    return hostile


async def streams(rig: Rig) -> dict[str, Stream]:
    return {item.name: item for item in await rig.driver.discover()}


async def test_a_refused_credential_ends_the_discovery_of_a_catalogue_out_of_a_file(
    hostile: Hostile, build: Build
) -> None:
    hostile.json("/check", {"message": "bad token"}, status=401)
    with pytest.raises(CredentialError, match="bad token"):
        await build().driver.discover()
    assert [item.path for item in hostile.seen] == ["/check"]


async def test_listed_streams_have_the_fields_key_and_cursor_that_they_are_described_with(
    open_door: Hostile, build: Build
) -> None:
    def page(seen: Seen, writer: asyncio.StreamWriter) -> None:
        more = "after" not in seen.query
        names = [{"id": "orders", "about": "All\n orders"}, {"id": "hidden", "secret": True}]
        writer.write(
            answer(200, {"tables": names if more else [{"id": "items"}], "next": "2" if more else None})
        )

    open_door.routes["/tables"] = page
    columns = [
        {"label": "id", "type": "int8", "null": False},
        {"label": "note", "type": "text", "null": True, "size": 80},
        {"label": "created", "type": "when", "null": True},
        {"label": "last_update", "type": "when", "null": True},
        {"label": "shape", "type": "polygon", "null": True},
        {"label": "evil\x1b[0m", "type": "text"},
    ]
    open_door.json("/tables/orders", {"columns": columns, "primary": [{"column": "id"}]})
    open_door.json("/tables/items", {"columns": [], "primary": []})
    changes = listing(
        page={"type": "cursor", "from": "next", "param": "after"},
        when=[{"path": "secret", "exists": False}],
        description="about",
    )
    found = await streams(build(changes))
    assert list(found) == ["items", "tables.orders", "tables.items"]
    orders = found["tables.orders"]
    assert [(item.name, item.type, item.required, item.max_length) for item in orders.fields] == [
        ("id", "integer", True, None),
        ("note", "string", False, 80),
        ("created", "timestamp", False, None),
        ("last_update", "timestamp", False, None),
        ("shape", "any", False, None),
    ]
    assert orders.cursors == ("last_update", "created") and orders.cursor is None
    assert orders.needs == ("tables.read",) and orders.notes[0] == "All orders"
    assert "Fields left out, because their names cannot be used: 1." in orders.notes


async def test_the_key_is_the_described_one_where_the_manifest_leaves_it_to_the_platform(
    open_door: Hostile, build: Build
) -> None:
    open_door.json("/tables", {"tables": [{"id": "orders"}]})
    open_door.json("/tables/orders", {"columns": [{"label": "no"}], "primary": [{"column": "no"}]})
    changes = listing()
    changes["resources"] = {
        "tables.*": {name: part for name, part in TABLES["tables.*"].items() if name != "key"}
    }
    found = await streams(build(changes))
    assert found["tables.orders"].key == ("no",)

    # Where a value is below its type, the key leads there.
    open_door.json(
        "/tables/orders", {"columns": [{"label": "no", "type": "N"}], "primary": [{"column": "no"}]}
    )
    table = changes["resources"]["tables.*"]
    table["describe"] = {**table["describe"], "key": {"records": "primary", "name": "column", "typed": True}}
    assert (await streams(build(changes)))["tables.orders"].key == ("no.N",)


async def test_names_that_cannot_be_used_are_left_out_with_a_note(open_door: Hostile, build: Build) -> None:
    names = ["good", "", "a/b", "-rf", "..", "x\x1b]52;c;x\x07", "a" * 300, 7, None, "good"]
    open_door.json("/tables", {"tables": [{"id": name} for name in names]})
    open_door.json("/tables/good", {"columns": [], "primary": []})
    found = await streams(build(listing()))
    assert list(found) == ["items", "tables.good", "tables.*"]
    gap = found["tables.*"]
    assert "cannot be used" in gap.notes[0] and "\x1b" not in gap.notes[0]
    assert not gap.readable and not gap.incomplete


async def test_more_streams_than_the_most_are_cut_off_with_a_note(open_door: Hostile, build: Build) -> None:
    open_door.json("/tables", {"tables": [{"id": f"t{number}"} for number in range(50)]})
    changes = listing(max=3)
    changes["resources"]["tables.*"] = {**TABLES["tables.*"], "describe": None}
    found = await streams(build(changes))
    assert [name for name in found if name != "items"] == ["tables.t0", "tables.t1", "tables.t2", "tables.*"]
    assert found["tables.*"].incomplete and "more than 3" in found["tables.*"].notes[0]


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_listing_that_fails_hides_nothing_else(open_door: Hostile, build: Build, status: int) -> None:
    open_door.json("/tables", {"message": "scope tables.list is missing"}, status=status)
    found = await streams(build(listing(optional=True)))
    assert found["items"].readable
    gap = found["tables.*"]
    assert gap.incomplete and "tables.list is missing" in gap.notes[-1]
    assert ("tables.list is missing" in gap.refused) == (status == 403)


async def test_a_stream_that_may_not_be_described_or_read_is_shown_with_what_is_missing(
    open_door: Hostile, build: Build
) -> None:
    open_door.json("/tables", {"tables": [{"id": "orders"}, {"id": "items"}]})
    open_door.json("/tables/orders", {"message": "needs role auditor"}, status=403)
    open_door.json("/tables/items", {"columns": [{"label": "id", "type": "int8"}], "primary": []})
    open_door.json("/items", {"message": "needs scope items"}, status=403)
    changes = listing()
    changes["check"] = [
        {"id": "alive", "request": {"path": "/check"}},
        {"id": "items", "request": {"path": "/items"}, "optional": True},
    ]
    found = await streams(build(changes))
    assert "needs role auditor" in found["tables.orders"].refused and not found["tables.orders"].readable
    assert found["tables.orders"].incomplete and found["tables.items"].readable
    assert "needs scope items" in found["items"].refused and not found["items"].readable


async def test_two_families_of_one_list_ask_once(open_door: Hostile, build: Build) -> None:
    open_door.json("/tables", {"tables": [{"id": "orders"}]})
    open_door.json("/tables/orders", {"columns": [], "primary": []})
    changes = listing()
    changes["discover"]["listings"].append({**LISTING, "into": "bulk.*"})
    changes["resources"] = {**TABLES, "bulk.*": TABLES["tables.*"]}
    found = await streams(build(changes))
    assert {"tables.orders", "bulk.orders"} <= set(found)
    assert sorted(item.path for item in open_door.seen) == ["/check", "/tables", "/tables/orders"]


async def test_members_of_members_are_fields(open_door: Hostile, build: Build) -> None:
    mapping = {
        "logs-000001": {"mappings": {"properties": {"at": {"type": "date"}, "text": {"type": "text"}}}}
    }
    open_door.json("/tables", ["logs"])
    open_door.json("/tables/logs", mapping)
    changes = listing(records="", scalar="id")
    changes["resources"]["tables.*"] = {
        **TABLES["tables.*"],
        "describe": {
            "request": {"path": "/tables/${resource.of}"},
            "records": "*.mappings.properties",
            "entries": "name",
            "type": "type",
            "types": {"date": "timestamp", "text": "string"},
        },
    }
    found = await streams(build(changes))
    assert [(item.name, item.type) for item in found["tables.logs"].fields] == [
        ("at", "timestamp"),
        ("text", "string"),
    ]


def named(kind: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "ofType": None}


def wrapped(kind: str, inner: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "name": None, "ofType": inner}


def graphql_schema(extra: int = 0) -> dict[str, Any]:
    fields = [
        ("id", wrapped("NON_NULL", named("SCALAR", "ID")), "The id."),
        ("updatedAt", named("SCALAR", "DateTime"), None),
        ("total", named("SCALAR", "Money"), None),
        ("count", named("SCALAR", "Int"), None),
        ("state", named("ENUM", "State"), None),
        ("customer", named("OBJECT", "Customer"), None),
        ("tags", wrapped("NON_NULL", wrapped("LIST", named("SCALAR", "String"))), None),
    ]
    order = {
        "kind": "OBJECT",
        "name": "Order",
        "fields": [
            {"name": name, "type": kind, "description": text, "args": []} for name, kind, text in fields
        ],
    }
    filler = [
        {
            "kind": "OBJECT",
            "name": f"T{number}",
            "fields": [
                {"name": f"f{field}", "type": named("SCALAR", "String"), "description": "x" * 200, "args": []}
                for field in range(20)
            ],
        }
        for number in range(extra)
    ]
    return {"data": {"__schema": {"types": [*filler, order]}}}


GRAPHQL = {
    "discover": {"type": "graphql", "request": {"method": "POST", "path": "/graphql"}},
    "resources": {"items": {"describe": {"graphql": "Order", "types": {"Money": "number"}}}},
}


async def test_one_introspection_gives_the_fields_of_types(open_door: Hostile, build: Build) -> None:
    open_door.json("/graphql", graphql_schema())
    found = (await streams(build(GRAPHQL)))["items"]
    assert [(item.name, item.type, item.required) for item in found.fields] == [
        ("id", "string", True),
        ("updatedAt", "timestamp", False),
        ("total", "number", False),
        ("count", "integer", False),
        ("state", "string", False),
        ("customer", "object", False),
        ("tags", "array", True),
    ]
    assert found.fields[0].description == "The id." and found.cursors == ("updatedAt",)
    (asked,) = [item for item in open_door.seen if item.path == "/graphql"]
    assert "__schema" in json.loads(asked.body)["query"]


async def test_a_large_schema_does_not_stop_everything_else(open_door: Hostile, build: Build) -> None:
    document = json.dumps(graphql_schema(1_800)).encode()
    assert len(document) > 8_000_000
    open_door.raw(
        "/graphql",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(document)
        + document,
    )
    rig = build({**GRAPHQL, "transport": {"max_body": "64MiB"}})
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    task = asyncio.create_task(beat())
    try:
        found = await streams(rig)
    finally:
        task.cancel()
    assert len(found["items"].fields) == 7 and beats > 20


async def test_a_schema_that_is_not_given_is_a_note(open_door: Hostile, build: Build) -> None:
    open_door.json("/graphql", {"errors": [{"message": "introspection is off"}]})
    found = (await streams(build(GRAPHQL)))["items"]
    assert found.readable and found.incomplete, found
    assert "introspection is off" in " ".join(found.notes)


SCHEMAS = {
    "Page": {"type": "object", "properties": {"data": {"type": "array", "items": {"$ref": "#/at/Item"}}}},
    "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    "Item": {
        "allOf": [
            {"$ref": "#/at/Base"},
            {
                "properties": {
                    "name": {"type": "string", "maxLength": 40, "description": "A name."},
                    "changed": {"type": "string", "format": "date-time"},
                    "parent": {"$ref": "#/at/Item"},
                    "price": {"type": ["number", "null"]},
                }
            },
        ]
    },
}
PAGE = {"$ref": "#/at/Page"}
OPENAPI_3 = {
    "openapi": "3.0.3",
    "paths": {
        "/items": {
            "get": {
                "operationId": "listItems",
                "responses": {"200": {"content": {"application/json": {"schema": PAGE}}}},
            }
        }
    },
    "at": SCHEMAS,
}
OPENAPI_2 = {
    "swagger": "2.0",
    "paths": {"/items": {"get": {"responses": {"200": {"schema": PAGE}}}}},
    "at": SCHEMAS,
}


@pytest.mark.parametrize("document,operation", [(OPENAPI_3, "listItems"), (OPENAPI_2, "GET /items")])
async def test_the_answer_of_an_operation_gives_the_fields(
    open_door: Hostile, build: Build, document: dict[str, Any], operation: str
) -> None:
    open_door.json("/openapi.json", document)
    changes = {
        "discover": {"type": "openapi", "request": {"path": "/openapi.json"}},
        "resources": {"items": {"describe": {"openapi": operation}}},
    }
    found = (await streams(build(changes)))["items"]
    assert [(item.name, item.type, item.required, item.max_length) for item in found.fields] == [
        ("id", "integer", True, None),
        ("name", "string", False, 40),
        ("changed", "timestamp", False, None),
        ("parent", "object", False, None),
        ("price", "number", False, None),
    ]
    assert found.cursors == ("changed",) and found.fields[1].description == "A name."


async def test_many_streams_are_described_a_few_at_a_time(open_door: Hostile, build: Build) -> None:
    open_door.json("/tables", {"tables": [{"id": f"t{number}"} for number in range(60)]})
    at_once = most = 0

    def slow(seen: Seen, writer: asyncio.StreamWriter) -> Any:
        async def later() -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1
            writer.write(answer(200, {"columns": [{"label": "id", "type": "int8"}], "primary": []}))

        return later()

    for number in range(60):
        open_door.routes[f"/tables/t{number}"] = slow
    found = await streams(build(listing()))
    assert len(found) == 61 and 1 < most <= 8

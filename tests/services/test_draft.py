"""Drafted manifests: what is recognised of a document, that every draft is sound, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from platint_tui.core.errors import ConfigError
from platint_tui.manifest import schema
from platint_tui.manifest.draft_text import DECIDE
from platint_tui.manifest.loader import load_connector, load_text
from platint_tui.manifest.openapi import read_api
from platint_tui.services.draft import sound_draft, write_draft
from platint_tui.services.vectors import run_tests

SPECS = Path(__file__).resolve().parents[3] / "shared" / "vendors" / "specs"
RECORD = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string", "maxLength": 40, "example": "[red]\x1b[0m"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}


def string(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def parameters(*names: str, kind: str = "integer") -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": {"type": kind}} for name in names]


def listing(
    answer: dict[str, Any] | None, names: tuple[str, ...] = (), *, kind: str = "integer", **more: Any
) -> dict[str, Any]:
    """A GET operation: the list itself, or the members around `data`."""
    records = {"type": "array", "items": {"$ref": "#/components/schemas/Record"}}
    body = records if answer is None else {"type": "object", "properties": {"data": records, **answer}}
    response = {"description": "ok", "content": {"application/json": {"schema": body}}, **more}
    return {"parameters": parameters(*names, kind=kind), "responses": {"200": response}}


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "info": {"title": "Shop API", "version": "1"},
        "servers": [{"url": "https://api.shop.example/v1"}],
        "paths": paths,
        "components": {"schemas": {"Record": RECORD}, **more},
    }


async def drafted(doc: dict[str, Any]) -> schema.Connector:
    """A draft that passed its checks and tests, loaded."""
    made = await sound_draft(read_api(json.dumps(doc).encode()), "shop", "shop.json")
    assert not [text for text in made.omitted if "sound" in text], made.omitted
    return load_text(made.text, "shop.yaml")


@pytest.mark.parametrize(
    ("answer", "names", "kind", "more", "page"),
    [
        ({"next_page_token": string()}, ("page_token", "page_size"), "string", {},
         {"type": "cursor", "from_": "next_page_token", "param": "page_token"}),
        ({"meta": {"type": "object", "properties": {"nextCursor": string()}}}, ("cursor",), "string", {},
         {"type": "cursor", "from_": "meta.nextCursor", "param": "cursor"}),
        ({"has_more": {"type": "boolean"}}, ("starting_after", "limit"), "string", {},
         {"type": "cursor", "from_": "last_record.id", "param": "starting_after", "more": "has_more"}),
        ({"total": {"type": "integer"}}, ("offset", "limit"), "integer", {},
         {"type": "offset", "param": "offset", "limit_param": "limit", "total": "total"}),
        ({}, ("startAt", "maxResults"), "integer", {}, {"type": "offset", "param": "startAt"}),
        ({"total_pages": {"type": "integer"}}, ("page", "per_page"), "integer", {},
         {"type": "page", "param": "page", "size_param": "per_page", "total_pages": "total_pages"}),
        (None, ("page", "per_page"), "integer", {"headers": {"Link": {"schema": string()}}},
         {"type": "link_header"}),
        ({"next_page_uri": string()}, ("PageSize",), "integer", {},
         {"type": "link_body", "path": "next_page_uri"}),
        ({"links": {"type": "array", "items": {"properties": {"rel": string(), "href": string()}}}}, (), "integer", {},
         {"type": "link_body", "path": "links", "rel": "next"}),
        (None, (), "integer", {}, {"type": "none"}),
    ],
)  # fmt: skip
async def test_pagination_is_recognised(
    answer: dict[str, Any] | None,
    names: tuple[str, ...],
    kind: str,
    more: dict[str, Any],
    page: dict[str, Any],
) -> None:
    connector = await drafted(document({"/things": {"get": listing(answer, names, kind=kind, **more)}}))
    read = connector.resources["things"].read
    assert read is not None and read.records == ("" if answer is None else "data")
    assert {name: getattr(read.page, name) for name in page} == page
    assert connector.resources["things"].key == ("id",)


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ({"type": "http", "scheme": "bearer"}, "bearer"),
        ({"type": "http", "scheme": "basic"}, "basic"),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "api_key"),
        ({"type": "apiKey", "in": "query", "name": "key"}, "api_key"),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, "none"),
        ({"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "/token", "scopes": {}}}}, "oauth2"),
        ({"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "https://x.example/a"}}}, "bearer"),
        (
            {
                "type": "oauth2",
                "flows": {
                    "authorizationCode": {
                        "authorizationUrl": "https://x.example/authorize",
                        "tokenUrl": "https://x.example/token",
                        "scopes": {"things.read": "", "things.write": ""},
                    }
                },
            },
            "oauth2",
        ),
    ],
)
async def test_ways_to_sign_in(scheme: dict[str, Any], kind: str) -> None:
    connector = await drafted(document({"/things": {"get": listing(None)}}, securitySchemes={"one": scheme}))
    assert connector.auth.type == kind
    if kind == "oauth2" and "authorizationCode" in scheme["flows"]:
        assert connector.auth.type == "oauth2" and connector.auth.scopes == ("things.read",)


async def test_several_ways_to_sign_in_are_offered() -> None:
    schemes = {
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "token": {"type": "http", "scheme": "bearer"},
    }
    connector = await drafted(document({"/things": {"get": listing(None)}}, securitySchemes=schemes))
    assert connector.auth.type == "first_of" and len(connector.auth.of) == 2


async def test_children_writes_and_filters() -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Record"}}}}
    done = {"responses": {"200": {"description": "ok"}}, "requestBody": body}
    get = listing({"next": string()}, ("cursor", "updated_since"), kind="string")
    get["parameters"][1]["schema"]["format"] = "date-time"
    paths = {
        "/shops": {"get": listing(None)},
        "/shops/{shopId}/orders": {"get": get, "post": done},
        "/shops/{shopId}/orders/{orderId}": {"get": {}, "patch": done, "delete": {"responses": {}}},
        "/shops/{shopId}/orders/{orderId}/items": {"get": listing(None)},
        "/tenants/{tenant}/things": {"get": listing(None)},
    }
    connector = await drafted(document(paths))
    orders, items = connector.resources["orders"], connector.resources["items"]
    assert orders.parent is not None and orders.parent.resource == "shops"
    assert orders.read is not None and orders.read.request.path == "/shops/${parent.id}/orders"
    assert orders.read.cursor is not None and orders.read.cursor.start_param == "updated_since"
    assert orders.read.from_parent == {"shopId": "id"}
    assert (
        items.read is not None
        and items.read.request.path == "/shops/${parent.shopId}/orders/${parent.id}/items"
    )
    write = orders.write
    assert (
        write is not None
        and write.create is not None
        and write.update is not None
        and write.delete is not None
    )
    assert write.delete.path == "/shops/${record.shopId}/orders/${record.id}" and write.delete.body is None
    assert write.update.method == "PATCH" and write.create.returns == {"id": "id"}
    assert connector.profile.field("tenant") is not None


@pytest.mark.parametrize(
    ("path", "one", "names", "key", "sure"),
    [
        ("/things", "", ("id", "name"), ("id",), True),
        ("/invites", "/{code}", ("code", "name", "team_id"), ("code",), True),
        ("/sounds", "/{sound_id}", ("name", "sound_id"), ("sound_id",), True),
        ("/things", "/{thing}", ("uuid", "name"), ("uuid",), False),
        ("/soundboard-sounds", "", ("name", "sound_id", "guild_id"), ("sound_id",), False),
        ("/things", "", ("name", "pipeline_id"), ("name",), False),
        ("/flaky-tests", "", ("workflow-id", "times-flaked"), (), False),
    ],
)
async def test_a_key_that_is_guessed_is_for_a_person_to_decide(
    path: str, one: str, names: tuple[str, ...], key: tuple[str, ...], sure: bool
) -> None:
    record = {"type": "object", "required": list(names), "properties": dict.fromkeys(names, string())}
    paths = {path: {"get": listing(None)}}
    if one:
        paths[path + one] = {"delete": {"responses": {}}}
    doc = document(paths)
    doc["components"]["schemas"]["Record"] = record
    (found,) = (await drafted(doc)).resources.values()
    assert found.key == key
    text = (await sound_draft(read_api(json.dumps(doc).encode()), "shop", "shop.json")).text
    assert (f"{DECIDE}wh" not in text.partition("key: ")[0].partition("resources:")[2]) == sure


async def test_a_list_within_one_record_is_no_stream() -> None:
    member = {"type": "array", "items": {"properties": {"team_id": string()}}}
    one = {"type": "object", "properties": {"id": string(), "team": {"properties": {"members": member}}}}
    answer = {"200": {"content": {"application/json": {"schema": one}}}}
    connector = await drafted(
        document({"/things": {"get": listing(None)}, "/applications/@me": {"get": {"responses": answer}}})
    )
    assert set(connector.resources) == {"things"}


async def test_version_2_in_yaml(tmp_path: Path) -> None:
    doc = {
        "swagger": "2.0",
        "info": {"title": "Old one", "version": "1"},
        "host": "old.example",
        "basePath": "/api",
        "schemes": ["http", "https"],
        "securityDefinitions": {"basic": {"type": "basic"}},
        "definitions": {"Record": RECORD},
        "paths": {
            "/things": {
                "get": {
                    "parameters": [{"name": "page", "in": "query", "type": "integer"}],
                    "responses": {
                        200: {"schema": {"type": "array", "items": {"$ref": "#/definitions/Record"}}}
                    },
                }
            }
        },
    }
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(doc))
    written = await write_draft(str(path), tmp_path / "connectors")
    assert written.path.name == "old-one.yaml"
    connector = load_connector(written.path)
    assert connector.profile.fields[0].default == "https://old.example/api" and connector.auth.type == "basic"
    with pytest.raises(ConfigError, match="already"):
        await write_draft(str(path), tmp_path / "connectors")
    await write_draft(str(path), tmp_path / "connectors", force=True)


async def test_hostile_documents_end() -> None:
    loop = {"$ref": "#/components/schemas/Loop"}
    loops = {"type": "array", "items": loop}
    paths: dict[str, Any] = {
        "/things": {"get": listing(None)},
        "/loops": {"get": {"responses": {"200": {"content": {"application/json": {"schema": loops}}}}}},
        "/elsewhere": {"get": {"responses": {"200": {"$ref": "https://evil.example/x.json#/a"}}}},
        "/a\x1b[31m'{b": {"get": listing(None)},
        "/ctl: {x}": {"get": listing(None)},
    }  # fmt: skip
    doc = document(paths)
    doc["components"]["schemas"]["Loop"] = {"allOf": [loop, {"properties": {"id": string(), "self": loop}}]}
    doc["info"]["title"] = "# x\n- y: [z]\x1b[0m"
    doc["info"]["description"] = "a\n\n# decide: nothing\nmanifest: 2"
    made = await sound_draft(read_api(json.dumps(doc).encode()), "x", "x")
    connector = load_text(made.text, "x.yaml")
    assert {"things", "loops"} <= set(connector.resources) and "\x1b" not in made.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"openapi": "4.0"}',
        b"\xff\xfe{",
        b"a: [",
        b'{"openapi":"3.0.0","paths":{}}',
        b"[" * 90_000,
    ],
)
async def test_what_is_no_document_is_a_sentence(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(body)
    with pytest.raises(ConfigError):
        await write_draft(str(path), tmp_path / "connectors")
    assert not (tmp_path / "connectors").exists()


async def test_only_https_or_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        await write_draft("http://example.com/openapi.json", tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        await write_draft(str(tmp_path / "none.json"), tmp_path)


VENDORS = (
    "discord/openapi.json",
    "circleci/circleci-v2.openapi.json",
    "sendgrid/tsg_templates_v3.json",
    "sendgrid/tsg_mc_lists_v3.json",
    "twilio/twilio_api_v2010.json",
    "twilio/twilio_messaging_v1.json",
    "paypal/invoicing_v2.json",
    "paypal/catalogs_products_v1.json",
    "jira/jira-platform-v3.openapi.json",
    "slack/slack_web_openapi_v2.json",
)


@pytest.mark.parametrize("name", VENDORS)
async def test_drafts_of_the_vendors_own_documents_pass(name: str, tmp_path: Path) -> None:
    if not (SPECS / name).exists():
        pytest.skip("the vendors' documents are not here")
    from platint_tui.manifest.registry import Registry

    written = await write_draft(str(SPECS / name), tmp_path, name="drafted")
    assert written.draft.streams and written.path.read_text().count(DECIDE) == written.draft.decisions
    assert not [text for text in written.draft.omitted if "sound" in text], written.draft.omitted
    outcomes = await run_tests(Registry([tmp_path]), "drafted")
    assert len(outcomes) == len(written.draft.streams) and not [item for item in outcomes if item.failures]

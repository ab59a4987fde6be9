"""Discovery, previews and drafts on the command line, against an API on this machine that can change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cli.kit import Cli, add_warehouse, rows, write_integration

TOKEN = "canary-shop-0123456789"

OPENAPI = """\
openapi: 3.0.3
info: {title: Corner shop, version: '1'}
servers: [{url: /api}]
security: [{key: []}]
paths:
  /orders:
    get:
      summary: Orders of the shop.
      parameters:
        - {name: page, in: query, schema: {type: integer}}
        - {name: per_page, in: query, schema: {type: integer, maximum: 2}}
      responses:
        '200':
          description: ok
          content:
            application/json:
              schema:
                type: object
                properties:
                  orders: {type: array, items: {$ref: '#/components/schemas/Order'}}
                  total_pages: {type: integer}
components:
  securitySchemes: {key: {type: apiKey, in: query, name: access}}
  schemas:
    Order:
      type: object
      required: [id]
      properties:
        id: {type: integer}
        total: {type: number}
        updated_at: {type: string, format: date-time}
"""

MANIFEST = """\
manifest: 1
platform: corner
name: Corner
version: 0.1.0
category: other
docs: none
driver: http
profile:
  fields:
    - {id: base_url, type: url, required: true}
    - {id: key, secret: true, required: true}
auth: {type: api_key, secret: key, in: query, name: access}
transport: {base_url: '${profile.base_url}'}
check: [{id: who, request: {path: /api/orders}}]
discover:
  type: static
  listings: [{into: tables.*, request: {path: /api/tables}, records: tables, name: name}]
resources:
  tables.*:
    key: [id]
    read: {request: {path: '/api/tables/${resource.of}/rows'}, records: rows, page: {type: none}}
    describe:
      request: {path: '/api/tables/${resource.of}'}
      records: columns
      type: type
      types: {int: integer, text: string}
tests:
  - {name: bad key, kind: error, exchange: bad.yaml, expect: {class: auth, action: fail_run}}
"""
TYPED = "      key: {records: primary, typed: true}\n"
BAD = """\
exchanges:
  - request: {method: GET, path: /api/orders}
    response: {status: 401, json: {message: no}}
"""


class Shop:
    """The API: `columns` of its table `goods` may change, and so may `rows`."""

    def __init__(self) -> None:
        self.columns: list[dict[str, Any]] = [
            {"name": "id", "type": "int"},
            {"name": "label", "type": "text"},
            {"name": "price", "type": "int"},
        ]
        self.rows: list[Any] = [{"id": 1, "label": "tea", "price": 3}]
        self.tables = ["goods", "staff"]
        self.orders = [
            {"id": n, "total": n * 1.5, "updated_at": f"2026-01-0{n}T00:00:00Z"} for n in range(1, 6)
        ]
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/openapi.yaml":
                    self._answer(200, OPENAPI.encode(), "application/yaml")
                    return
                query = parse_qs(parts.query)
                if query.get("access") != [TOKEN]:
                    self._answer(401, json.dumps({"message": "this key is not known"}).encode())
                    return
                found = shop.answer(parts.path, query)
                self._answer(404 if found is None else 200, json.dumps(found).encode())

            def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/api/orders":
            page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["2"])[0])
            part = self.orders[(page - 1) * size : page * size]
            return {"orders": part, "total_pages": -(-len(self.orders) // size)}
        if path == "/api/tables":
            return {"tables": [{"name": name} for name in self.tables]}
        if path == "/api/tables/goods/rows":
            return {"rows": self.rows}
        if path.startswith("/api/tables/"):
            return {"columns": self.columns, "primary": ["id"]}
        return None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.stop()


@pytest.fixture
def corner(cli: Cli, shop: Shop, tmp_path: Path) -> Cli:
    """A command line with a manifest of its own and a profile of the shop."""
    folder = tmp_path / "own"
    (folder / "_vectors" / "corner").mkdir(parents=True)
    (folder / "corner.yaml").write_text(MANIFEST)
    (folder / "_vectors" / "corner" / "bad.yaml").write_text(BAD)
    made = cli.with_env(PLATINT_CONNECTORS=str(folder), SHOP_KEY=TOKEN)
    made(
        *("profiles", "add", "corner", "--name", "shop", "--field", f"base_url={shop.url}"),
        *("--secret-from", "key=env:SHOP_KEY"),
    )
    return made


def test_changes_are_graded_and_name_who_uses_them(corner: Cli, shop: Shop, tmp_path: Path) -> None:
    found = corner.json("discover", "shop")
    assert [item["name"] for item in found["streams"]] == ["tables.goods", "tables.staff"]
    add_warehouse(corner, tmp_path / "w.sqlite")
    more = "streams:\n  tables.goods: {target: goods, key: [id], select: [id, label]}\n"
    path = write_integration(
        tmp_path, "goods", ("corner", "shop"), ("sqlite", "warehouse"), ["tables.goods"], more
    )
    corner("syncs", "run", path)
    assert rows(tmp_path / "w.sqlite", "SELECT label FROM goods") == [{"label": "tea"}]

    assert corner.json("discover", "shop", "--diff") == []
    shop.columns.append({"name": "weight", "type": "int"})
    (added,) = [
        item for item in corner.json("discover", "shop", "--diff") if item["stream"] == "tables.goods"
    ]
    assert added["grade"] == "additive" and added["kind"] == "field_added"

    shop.columns[1]["type"] = "int"
    del shop.columns[2]
    shop.tables.remove("staff")
    changes = corner.json("discover", "shop", "--diff", code=7)
    graded = {(item["kind"], item["stream"], item["field"]): item for item in changes}
    assert graded["type_changed", "tables.goods", "label"]["used_by"] == ["goods"]
    assert graded["field_removed", "tables.goods", "price"]["used_by"] == []
    assert graded["stream_removed", "tables.staff", ""]["breaking"]
    assert corner.json("discover", "shop", "--diff") == []


def test_what_an_integration_names_stays_reported_while_it_is_gone(
    corner: Cli, shop: Shop, tmp_path: Path
) -> None:
    assert "2 streams, discovered for the first time." in corner("discover", "shop").err
    assert "2 streams; 0 changes since the last discovery" in corner("discover", "shop").err
    add_warehouse(corner, tmp_path / "w.sqlite")
    more = "streams:\n  tables.goods: {target: goods, key: [id], select: [id, label]}\n"
    ends = ("corner", "shop"), ("sqlite", "warehouse")
    path = write_integration(tmp_path, "goods", *ends, ["tables.goods"], more)
    corner("syncs", "run", path)

    del shop.columns[1:]
    changes = corner.json("discover", "shop", "--diff", code=7)
    assert {item["field"] for item in changes if item["breaking"]} >= {"label", "price"}
    for _ in range(2):
        (change,) = corner.json("discover", "shop", "--diff", code=7)
        assert (change["kind"], change["field"], change["used_by"]) == ("field_removed", "label", ["goods"])
    shop.tables.remove("goods")
    for _ in range(2):
        changes = corner.json("discover", "shop", "--diff", code=7)
        assert ("stream_removed", ["goods"]) in [(item["kind"], item["used_by"]) for item in changes]

    # Until the platform has it again, or the integration does without.
    shop.tables.append("goods")
    (change,) = [item for item in corner.json("discover", "shop", "--diff", code=7) if item["breaking"]]
    assert change["field"] == "label"
    path.write_text(path.read_text().replace("select: [id, label]", "select: [id]"))
    corner("syncs", "run", path)
    assert corner.json("discover", "shop", "--diff") == []


def test_a_key_that_only_the_platform_knows_is_asked_for_first(
    corner: Cli, shop: Shop, tmp_path: Path
) -> None:
    """Else the rows of the first run were told apart by their content, those of later ones by the key."""
    own = (
        MANIFEST.replace("    key: [id]\n", "")
        .replace("      type: type\n", "      type: type\n" + TYPED)
        .replace("int: integer", "int: object")
    )
    (tmp_path / "own" / "corner.yaml").write_text(own)
    shop.rows = [{"id": {"int": number}} for number in (1, 2)]
    shop.columns = shop.columns[:2]
    add_warehouse(corner, tmp_path / "w.sqlite")
    path = write_integration(tmp_path, "goods", ("corner", "shop"), ("sqlite", "warehouse"), ["tables.goods"])
    done = corner("syncs", "run", path, code=4)
    assert "run `platint-tui discover shop` first" in done.err

    assert corner.json("discover", "shop")["streams"][0]["key"] == ["id.int"]
    corner("syncs", "run", path)
    shop.rows[0]["label"] = "tea"
    corner("syncs", "run", path)
    found = rows(tmp_path / "w.sqlite", 'SELECT * FROM "tables.goods"')
    assert len(found) == 2


def test_a_way_to_sign_in_names_all_its_fields(cli: Cli) -> None:
    shown = cli("connectors", "show", "woocommerce").out
    assert shown.count("(consumer_key, consumer_secret)") == 2
    shown = cli("connectors", "show", "aws").out
    assert "sign-in: Access key, assumed role (" in shown
    assert "; optional external_id, role_arn, session_token)" in shown


def test_what_webhooks_bring_and_how_they_are_known(cli: Cli) -> None:
    shown = cli("connectors", "show", "woocommerce").out.partition("\nWebhooks\n")[2]
    assert "hmac" in shown and "by webhook_secret, webhook_secret_previous" in shown
    assert "handshake Ping (answered without a signature)" in shown
    assert "streams: coupons, customers, orders, products, events" in shown
    shown = cli("connectors", "show", "gitlab").out
    assert "fetched whole when an event names one: issue_notes, issues, jobs, merge_requests" in shown
    assert "some fields only, which are not written: commits\n" in shown
    assert "Webhooks" not in cli("connectors", "show", "jenkins").out


def test_long_notes_are_cut_in_the_table_only(corner: Cli, tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(25))
    own = MANIFEST.replace("    key: [id]\n", f"    key: [id]\n    notes: ['{words}']\n")
    (tmp_path / "own" / "corner.yaml").write_text(own)
    table = corner("discover", "shop").out.splitlines()
    assert max(map(len, table)) < 150 and all(line.endswith("…") for line in table[1:3])
    assert words in corner.json("discover", "shop")["streams"][0]["notes"]


def test_a_bad_credential_is_no_catalogue(corner: Cli) -> None:
    done = corner.with_env(SHOP_KEY="wrong-key-0123456789")("discover", "shop", code=5)
    assert "this key is not known" in done.err and not done.out


def test_preview_shows_the_exact_requests_and_no_secret(corner: Cli, shop: Shop) -> None:
    shop.rows = [{"id": 1, "label": "tea \x1b[31m"}, "no record", {"id": 2}, {"id": 3}]
    found = corner.json("preview", "shop", "tables.goods", "--limit", "2")
    assert [json.loads(item["raw"])["id"] for item in found["records"]] == [1, 2]
    assert found["bad"][0]["raw"] == '"no record"' and found["error"] is None
    (request,) = found["requests"]
    assert request["method"] == "GET" and request["status"] == 200 and request["ms"] >= 0
    assert request["url"] == f"{shop.url}/api/tables/goods/rows?access=•••"
    done = corner("preview", "shop", "tables.goods")
    assert TOKEN not in done.said and "\x1b" not in done.out and "-> 200 after" in done.out
    assert not corner.json("syncs", "list") and not corner.runs()


def test_a_preview_that_fails_shows_what_was_sent(corner: Cli, shop: Shop) -> None:
    wrong = corner.with_env(SHOP_KEY="wrong-key-0123456789")
    done = wrong("preview", "shop", "tables.goods", code=5)
    assert "/api/tables/goods/rows?access=•••" in done.out and "-> 401" in done.out
    assert "this key is not known" in done.err and "wrong-key" not in done.said


def test_any_other_api_from_its_description_to_a_sync(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    source = f"{shop.url}/openapi.yaml"
    made = cli.json("connectors", "draft", "--openapi", source)
    assert made["platform"] == "corner-shop" and made["streams"] == ["orders"] and made["decisions"] > 0
    assert Path(made["file"]).is_relative_to(cli.home)
    cli("connectors", "check", "corner-shop")
    assert "0 failed" in cli("connectors", "test", "corner-shop").err
    cli("connectors", "draft", "--openapi", source, code=4)

    own = cli.with_env(SHOP_KEY=TOKEN)
    own("profiles", "add", "corner-shop", "--name", "shop", "--secret-from", "api_key=env:SHOP_KEY")
    own("profiles", "test", "shop")
    (stream,) = own.json("discover", "shop")["streams"]
    assert stream["key"] == ["id"] and stream["cursors"] == ["updated_at"]
    assert [(item["name"], item["type"]) for item in stream["fields"]] == [
        ("id", "integer"),
        ("total", "number"),
        ("updated_at", "timestamp"),
    ]
    add_warehouse(own, tmp_path / "w.sqlite")
    path = write_integration(tmp_path, "sync", ("corner-shop", "shop"), ("sqlite", "warehouse"), ["orders"])
    own("syncs", "run", path)
    found = rows(tmp_path / "w.sqlite", "SELECT id, total FROM orders ORDER BY id")
    assert [(row["id"], row["total"]) for row in found] == [(n, n * 1.5) for n in range(1, 6)]

"""A platform of the test's own: pages of records that it can hold back, refuse, or fill with hostile text."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "held-token-0123456789"
MANIFEST = """\
manifest: 1
platform: held
name: Held
version: 0.1.0
category: other
docs: README.md
driver: http
profile:
  fields:
    - {id: base_url, label: Address, type: url, required: true}
    - {id: token, label: Token, secret: true, required: true}
auth: {type: bearer, secret: token}
transport: {base_url: '${profile.base_url}', allowed_hosts: ['${profile.base_url}']}
errors:
  policy: {attempts: 3, base: 50ms, cap: 200ms, budget: 10s}
  rules:
    - {when: {status: [401]}, class: auth, action: fail_run, hint: Enter the token anew.}
    - {when: {status: ['500-599'], network: true}, class: transient, action: retry, then: fail_stream}
check:
  - {id: items, request: {path: /items, query: {limit: 1}}}
resources:
  items:
    key: [id]
    fields:
      - {name: id, type: integer, required: true}
      - {name: text, type: string, max_length: 100}
      - {name: updated, type: integer, required: true}
    read:
      request: {path: /items, query: {limit: 20}}
      records: data
      page: {type: cursor, from: last_record.id, param: after, more: more}
      cursor: {field: updated, type: int, start_param: since, order: asc, missing: raise}
tests:
  - {name: unknown token, kind: error, exchange: unknown_token.yaml, expect: {class: auth, action: fail_run}}
"""
EXCHANGE = """\
exchanges:
  - request: {method: GET, path: /items}
    response: {status: 401, body: {error: {message: This token is not known.}}}
"""


def write_manifest(folder: Path) -> Path:
    """A folder for `--connectors` with the manifest of this platform."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "held.yaml").write_text(MANIFEST)
    exchanges = folder / "_vectors" / "held"
    exchanges.mkdir(parents=True, exist_ok=True)
    (exchanges / "unknown_token.yaml").write_text(EXCHANGE)
    return folder


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in the middle of a request are what these tests are about."""


class Peer:
    """The platform, in threads of this process. `items` may be changed while it serves.

    `hold_at(n)`: the n-th page and those after it wait until `release()`; `holding` is set when one waits.
    `refuse`: everybody is answered 401, with `message` or the credential that was sent.
    """

    def __init__(self, count: int = 0, token: str = TOKEN) -> None:
        self.token = token
        self.refuse = False
        self.message = ""
        self.items: list[dict[str, Any]] = [
            {"id": n, "text": f"item {n}", "updated": 1000 + n} for n in range(1, count + 1)
        ]
        self.pages = 0
        self.holding = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._hold_at = 0
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                given = self.headers.get("Authorization", "")
                if peer.refuse or given != f"Bearer {peer.token}":
                    self._answer(401, {"error": {"message": peer.message or f"'{given}' is not known here."}})
                    return
                try:
                    self._answer(200, peer.page(parse_qs(urlsplit(self.path).query)))
                except OSError:
                    self.close_connection = True

            def _answer(self, status: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """One page, after the record with the id `after`."""
        self.pages += 1
        if self._hold_at and self.pages >= self._hold_at:
            self.holding.set()
            self._open.wait(60)
        after, since = query.get("after", [""])[0], int(query.get("since", ["0"])[0])
        limit = int(query.get("limit", ["20"])[0])
        places = {str(item["id"]): place for place, item in enumerate(self.items, 1)}
        found = [item for item in self.items[places.get(after, 0) :] if item["updated"] >= since]
        return {"data": found[:limit], "more": len(found) > limit}

    def hold_at(self, page: int) -> None:
        """Answer `page` - 1 more pages, then wait."""
        self._hold_at = self.pages + page
        self.holding.clear()
        self._open.clear()

    def release(self) -> None:
        """Answer again."""
        self._hold_at = 0
        self._open.set()

    def stop(self) -> None:
        """Close the socket."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

"""What `profiles test` and `profiles list` say of a test that did not get far."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cli.kit import Cli


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def test_a_test_that_fails_before_its_first_request_is_a_failed_test(cli: Cli) -> None:
    cli("profiles", "add", "github", "--auth", "1", "--secret-from", "token=env:NOT_SET_ANYWHERE")
    assert "not tested" in cli("profiles", "list").out
    failed = cli("profiles", "test", "github", code=5)
    assert "NOT_SET_ANYWHERE" in failed.err
    (row,) = cli.json("profiles", "list")
    assert row["check"]["ok"] is False and "NOT_SET_ANYWHERE" in row["check"]["capabilities"][0]["detail"]
    assert "not tested" not in cli("profiles", "list").out


def test_probes_are_shown_by_their_labels_and_those_not_sent_as_untried(cli: Cli) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"base_url=http://127.0.0.1:{server.server_port}"
        token = cli.with_env(SOME_TOKEN="ghp_0123456789abcdefghij")
        token(
            *("profiles", "add", "github", "--auth", "1", "--field", address),
            *("--secret-from", "token=env:SOME_TOKEN"),
        )
        done = token("profiles", "test", "github", code=5)
    finally:
        server.shutdown()
        server.server_close()
    assert "x failed   The credential is accepted" in done.out
    assert "- untried  Organisations can be read" in done.out
    assert "missing" not in done.out
    tried = [item["tried"] for item in token.json("profiles", "show", "github")["check"]["capabilities"]]
    assert tried[0] is True and not any(tried[1:])

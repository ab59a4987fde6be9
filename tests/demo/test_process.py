from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.demo.server import parse_settings

CREDENTIALS = {
    "payments_key": "pk_demo_0123456789",
    "crm_client_id": "client-demo-1",
    "crm_client_secret": "cs_demo_0123456789",
    "chat_token": "xoxb-demo-0123456789",
}


def begin(**settings: Any) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "platint_tui.demo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"credentials": CREDENTIALS, **settings}).encode() + b"\n")
    process.stdin.flush()
    return process


def test_it_serves_until_stdin_is_closed() -> None:
    with begin(records=30) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        urls = json.loads(process.stdout.readline())
        assert sorted(urls) == ["chat", "crm", "payments"]
        request = urllib.request.Request(
            urls["payments"] + "/v1/account", headers={"X-Api-Key": CREDENTIALS["payments_key"]}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["counts"] == {"customers": 10, "charges": 30}
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_it_ends_cleanly_on_sigterm_while_stdin_is_open() -> None:
    with begin() as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with begin(ports={"crm": port}) as process:
            assert process.stderr is not None
            assert process.wait(10) == 4
            text = process.stderr.read().decode()
    assert f"'crm' cannot listen on port {port}" in text and text.count("\n") == 1


def test_a_state_folder_that_is_a_file_is_one_sentence(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x")
    with begin(state=str(tmp_path / "file")) as process:
        assert process.stderr is not None
        assert process.wait(10) == 4
        assert "cannot keep its data" in process.stderr.read().decode()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ('{"record": 5}', "'record' is not known"),
        ('{"records": 0}', "'records' must be a number"),
        ('{"records": true}', "'records' must be a number"),
        ('{"records": 1.5}', "'records' must be a number"),
        ('{"latency": 5}', "'latency' is no pair"),
        ('{"latency": [9, 5]}', "longest before"),
        ('{"misbehave": "no"}', "'misbehave' is neither"),
        ('{"state": 5}', "'state' is no path"),
        ('{"ports": {"payments": 70000}}', "'ports' must be a number"),
        ('{"ports": {"billing": 0}}', "'billing'"),
        ('{"credentials": {"payments_key": "secret-value-1"}}', "'crm_client_id' is missing"),
    ],
)
def test_bad_settings_are_one_sentence_without_a_secret(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    assert part in caught.value.sentence() and "secret-value-1" not in caught.value.sentence()

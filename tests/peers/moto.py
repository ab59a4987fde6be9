"""AWS as the emulator moto has it: every service on one port, with signatures and IAM policies checked."""

from __future__ import annotations

import hashlib
import hmac
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

from peers.process import PEERS, PeerError, PeerProcess, listening, program, start_on_free_port

MOTO = PEERS / "moto-venv" / "bin"
REGION = "us-east-1"
UNCHECKED = 3
"""Requests that are taken without a signature: those that make the user."""
POLICY = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},'
    '{"Effect":"Deny","Action":["lambda:*"],"Resource":"*"}]}'
)


class MotoServer:
    """The server, and a user `ada` whose signatures are checked; Lambda is forbidden to her."""

    def __init__(self, folder: Path) -> None:
        environment = {
            **os.environ,
            "INITIAL_NO_AUTH_ACTION_COUNT": str(UNCHECKED),
            "MOTO_ACCOUNT_ID": "123456789012",
        }

        def start(port: int) -> PeerProcess:
            command = [program("moto_server", str(MOTO)), "-H", "127.0.0.1", "-p", str(port)]
            return PeerProcess(command, folder=folder, env=environment)

        self.port, self._process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = self.secret = ""
        self.iam({"Action": "CreateUser", "UserName": "ada"})
        made = self.iam({"Action": "CreateAccessKey", "UserName": "ada"})
        self.key, self.secret = _text(made, "AccessKeyId"), _text(made, "SecretAccessKey")
        self.iam({"Action": "PutUserPolicy", "UserName": "ada", "PolicyName": "p", "PolicyDocument": POLICY})

    def iam(self, form: Mapping[str, str]) -> str:
        """An action of IAM."""
        body = urlencode({"Version": "2010-05-08", **form}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.call("iam", "POST", "/", body, headers)

    def target(self, service: str, operation: str, body: bytes, version: str = "1.0") -> str:
        """A call of one of the JSON protocols."""
        headers = {"X-Amz-Target": operation, "Content-Type": f"application/x-amz-json-{version}"}
        return self.call(service, "POST", "/", body, headers)

    def call(
        self,
        service: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """One signed request; the text of its answer. `path` is plain ASCII without a query.

        The signature is written here a second time so that the product's does not judge itself.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        scope = f"{stamp[:8]}/{REGION}/{service}/aws4_request"
        canonical = hashlib.sha256(f"{method}\n{path}\n\n{lines}\n{names}\n{digest}".encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.key or 'none'}/{scope}, SignedHeaders={names}, "
            f"Signature={key.hex()}"
        )
        sent = {**signed, **(headers or {}), "Authorization": authorization}
        request = urllib.request.Request(self.url + path, body or None, sent, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise PeerError(f"moto: {service} {path}: {error.code} {error.read()[:300]!r}") from None

    def stop(self) -> None:
        """End the server."""
        self._process.stop()


def _text(xml: str, name: str) -> str:
    for element in ElementTree.fromstring(xml).iter():
        if element.tag.rpartition("}")[2] == name:
            return element.text or ""
    raise PeerError(f"no {name} in {xml[:200]}")

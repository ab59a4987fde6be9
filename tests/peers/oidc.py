"""An OAuth 2 server: the npm package oidc-provider, which is certified by the OpenID Foundation."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from peers.process import PEERS, PeerProcess, listening, missing, program, request, start_on_free_port

CLIENT_SECRET = "oidc-canary-client-secret"


class OidcProvider:
    """A server on a port of its own; its access tokens live `seconds`.

    Clients: `tui` and `brief` (public; the device codes of `brief` live 1 s), `web` (with a secret), and for
    client credentials `basic`, `post` and `jwt` (private_key_jwt with the key behind `jwk`).
    """

    def __init__(self, folder: Path, jwk: dict[str, Any], alg: str = "RS256", seconds: int = 600) -> None:
        module = PEERS / "oidc" / "node_modules" / "oidc-provider" / "lib" / "index.js"
        if not module.is_file():
            raise missing("The OAuth server oidc-provider (npm)")
        script = Path(__file__).with_name("oidc_provider.mjs")

        def start(port: int) -> PeerProcess:
            config = {"port": port, "secret": CLIENT_SECRET, "jwk": jwk, "alg": alg, "seconds": seconds}
            env = {**os.environ, "OIDC_MODULE": str(module), "OIDC_CONFIG": json.dumps(config)}
            return PeerProcess([program("node"), str(script)], folder=folder, env=env)

        self.port, self.process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{self.port}"

    def seen(self) -> list[dict[str, Any]]:
        """What the token endpoint was asked for so far: grant and status."""
        return list(request("GET", f"{self.url}/seen")[2] or [])

    def stop(self) -> None:
        """End the server."""
        self.process.stop()


class Browser:
    """A person at a browser without a picture: follows pages and fills in their forms.

    `deny` gives up at the first page that offers it.
    """

    def __init__(self, *, deny: bool = False) -> None:
        self.client = httpx.Client(timeout=20, trust_env=False)
        self.deny = deny

    def open(self, url: str) -> httpx.Response:
        """Go to `url` and on until a page asks for nothing more; its answer."""
        page = self.client.get(url)
        for _ in range(16):
            if page.is_redirect:
                page = self.client.get(urljoin(str(page.url), page.headers["location"]))
                continue
            cancel = re.search(r'href="([^"]*/abort)"', page.text)
            if self.deny and cancel:
                page = self.client.get(urljoin(str(page.url), cancel.group(1)))
            elif "<form" in page.text and urlsplit(str(page.url)).path != "/callback":
                page = self._fill(page)
                if self.deny and "user_code" in page.text:
                    return page
            else:
                return page
        raise AssertionError(f"the pages do not end: {page.url}")

    def _fill(self, page: httpx.Response) -> httpx.Response:
        fields = dict(re.findall(r'name="([^"]+)"[^>]*value="([^"]*)"', page.text))
        if fields.get("prompt") == "login":
            fields |= {"login": "alice", "password": "x"}
        elif "user_code" in fields:
            # The page of the device code asks whether the code is the one on the other screen.
            fields = {**fields, "confirm": "yes"} | ({"abort": "yes"} if self.deny else {})
        action = re.search(r'action="([^"]+)"', page.text)
        target = urljoin(str(page.url), action.group(1)) if action else str(page.url)
        return self.client.post(target, data=fields)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

"""HTTP Basic (RFC 7617), and the crumb that some servers want beside it for whatever changes something."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

from platint_tui.core.errors import CredentialError, SystemicError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

_READS = ("GET", "HEAD", "OPTIONS")


def basic(user: str, password: str) -> str:
    """The value of the Authorization header."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    Secret(pair)
    return f"Basic {pair}"


class BasicWithCrumb(Authorizer):
    """Basic, and for requests that are no reads a crumb with the session cookie that it belongs to."""

    def __init__(
        self, header: str, crumb: schema.Crumb, url: str, client: HttpClient, endpoint: str | None = None
    ) -> None:
        """`url` is where the crumb is got, at `endpoint`."""
        self._header = header
        self._crumb = crumb
        self._url = url
        self._client = client
        self._endpoint = endpoint
        self._lock = asyncio.Lock()
        self._got: Mapping[str, str] | None = None

    async def sign(self, request: Unsigned) -> Signed:
        """The request with the password, and a crumb where one is wanted."""
        headers = {**request.headers, "authorization": self._header}
        if request.method.upper() not in _READS:
            async with self._lock:
                if self._got is None:
                    self._got = await self._fetch()
            headers.update(self._got)
        return Signed(request.url, headers)

    def learn(self, answer: Answer) -> bool:
        """A crumb that is refused is got again (its session has ended)."""
        if answer.status != 403 or not self._got or b"crumb" not in answer.body.lower():
            return False
        self._got = None
        return True

    async def _fetch(self) -> Mapping[str, str]:
        headers = {"accept": "application/json", "authorization": self._header}
        answer = await self._client.exchange("GET", self._url, headers, endpoint=self._endpoint)
        host = self._client.origins.base
        if answer.status == 404:
            return {}
        if answer.status in (401, 403):
            raise CredentialError(
                f"The server refuses the user name or password ({answer.status}).",
                hint="Check them in the profile; most servers want an API token in place of the password.",
                where=host,
                code="credential_refused",
            )
        if answer.status >= 500 or answer.status == 429:
            raise TransientError(f"The crumb's address answered {answer.status}.", where=host, code="crumb")
        expect_json(answer.body, answer.headers.get("content-type", ""), "The crumb's address")
        document = loads(answer.body, "the crumb's address")
        name, text = lookup(document, self._crumb.name), lookup(document, self._crumb.value)
        if not _plain(name) or not _plain(text):
            raise SystemicError("The answer has no crumb.", where=host, code="crumb")
        Secret(text)
        cookies = [item.partition(";")[0].strip() for item in answer.headers.get_list("set-cookie")]
        cookies = [item for item in cookies if "=" in item and _plain(item)]
        for item in cookies:
            Secret(item.partition("=")[2])
        return {name.lower(): text, **({"cookie": "; ".join(cookies)} if cookies else {})}


def _plain(text: object) -> bool:
    return isinstance(text, str) and bool(text) and text.isascii() and text.isprintable()

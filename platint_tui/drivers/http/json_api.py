"""A few JSON documents of an administrative API, asked for with user and password: for drivers whose platform has
such an API beside its own protocol.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from platint_tui import __version__
from platint_tui.core.errors import ConfigError, CredentialError, SystemicError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.core.text import one_line
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.hosts import origin


class JsonApi:
    """Documents below one base address, which no redirect leaves."""

    def __init__(
        self,
        base: str,
        user: str,
        password: Secret | None,
        *,
        connect: float,
        total: float,
        ca_file: str | None = None,
        plain_http: bool = False,
    ) -> None:
        """`connect` and `total` are seconds; `plain_http` allows http to other machines. Raises ConfigError for
        an address that is not one, or that is http where it must not be."""
        place = origin(base, plain_http=plain_http)
        self._base = base.rstrip("/")
        self.host = urlsplit(base).hostname or ""
        self._client = HttpClient(
            AiohttpTransport(connect=connect, read=total, ca_file=ca_file),
            Origins(place, (place,), plain_http=plain_http),
            total=total,
        )
        secret = password.reveal() if password is not None else ""
        account = base64.b64encode(f"{user}:{secret}".encode()).decode()
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "authorization": f"Basic {account}",
            "user-agent": f"platint-tui/{__version__}",
        }

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """The document at `path` (quoted by the caller). Raises CredentialError (401), ConfigError (403 with code
        `forbidden`, 404 with code `not_found`), TransientError, SystemicError."""
        url = f"{self._base}/{path}" + (f"?{urlencode(query)}" if query else "")
        answer = await self._client.exchange("GET", url, self._headers)
        if answer.status == 200:
            expect_json(answer.body, answer.headers.get("content-type", ""), self.host)
            return loads(answer.body, self._base)
        said = self._reason(answer.body)
        if answer.status == 401:
            raise CredentialError(f"{self.host} refuses the user: {said}.", where=self._base, code="refused")
        if answer.status in (403, 404):
            code = "forbidden" if answer.status == 403 else "not_found"
            raise ConfigError(f"{self.host} answers {answer.status}: {said}.", where=self._base, code=code)
        kind = TransientError if answer.status >= 500 or answer.status == 429 else SystemicError
        raise kind(f"{self.host} answers {answer.status}: {said}.", where=self._base, code=str(answer.status))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @staticmethod
    def _reason(body: bytes) -> str:
        """What an error document says, in one line."""
        try:
            document = loads(body[:65_536])
        except SystemicError:
            return "it does not say why"
        if isinstance(document, Mapping):
            for name in ("reason", "message", "error"):
                if text := one_line(document.get(name)):
                    return text.rstrip(".")
        return "it does not say why"

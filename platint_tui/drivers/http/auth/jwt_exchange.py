"""A signed JWT is exchanged for a token of limited life (an app's installation token)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from platint_tui.core.errors import CredentialError, SystemicError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import told
from platint_tui.drivers.http.auth.jwt import Assertions
from platint_tui.drivers.http.auth.renewing import Renewing, Token
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup


class JwtExchange(Renewing):
    """POSTs the JWT as bearer to `url` and signs with the token of the answer. Tokens live in memory only."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.JwtExchangeAuth,
        client: HttpClient,
        scope: Mapping[str, Json],
        url: str,
        headers: Mapping[str, str],
        endpoint: str | None = None,
    ) -> None:
        """`headers` are those of every request to `endpoint`, where `url` is.

        Raises ConfigError and CredentialError.
        """
        super().__init__(context, auth.header, auth.prefix, auth.expiry_margin)
        self._auth = auth
        self._client = client
        self._url = url
        self._headers = headers
        self._endpoint = endpoint
        self._assertions = Assertions(context, auth.assertion, scope, url)

    async def _renew(self, refused: Token | None) -> Token:
        return await self.attempts(self._exchange)

    async def _exchange(self) -> Token:
        headers = {**self._headers, "authorization": f"Bearer {self._assertions.make()}"}
        answer = await self._client.exchange("POST", self._url, headers, endpoint=self._endpoint)
        host = self._client.origins.base
        if answer.status >= 500 or answer.status == 429:
            raise TransientError(f"The token address answered {answer.status}.", where=host, code="token")
        if answer.status not in (200, 201):
            raise self._refusal(answer)
        expect_json(answer.body, answer.headers.get("content-type", ""), "The token address")
        document = loads(answer.body, "the token address")
        lifetime = None
        if self._auth.expires:
            try:
                end = datetime.fromisoformat(str(lookup(document, self._auth.expires)))
            except ValueError:
                raise SystemicError(
                    "The answer does not say when the token ends.", where=host, code="token_endpoint"
                ) from None
            end = end if end.tzinfo else end.replace(tzinfo=UTC)
            lifetime = max(end.timestamp() - self.context.clock.now_ms() / 1000, 1.0)
        return self.token_of(lookup(document, self._auth.token), lifetime, host)

    def _refusal(self, answer: Answer) -> CredentialError:
        said = ""
        try:
            document = loads(answer.body, "the token address")
            said = told(lookup(document, "message"))
        except SystemicError:
            pass
        return CredentialError(
            f"The signed request for a token is refused ({answer.status}){f': {said}' if said else ''}.",
            hint="Check the app's id and private key, and that it is installed where the profile says.",
            where=self._client.origins.base,
            code="token_refused",
        )

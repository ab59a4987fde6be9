"""The token endpoint of an OAuth 2 server (RFC 6749, 3.2): one request, and what its answer grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from platint_tui.core.errors import CredentialError, PlatintError, SystemicError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import optional_secret, secret, told, value
from platint_tui.drivers.http.auth.jwt import Assertions
from platint_tui.drivers.http.auth.renewing import lifetime_of
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.drivers.http.origin import TOKENS
from platint_tui.drivers.http.requests import USER_AGENT
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.fields import Address
from platint_tui.manifest.template import lookup, render_map

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_BEARER_TYPES = ("bearer", "bot", "user")
"""Token types that are sent as they are; the last two are names of the same thing."""


class TokenRefused(CredentialError):
    """The token endpoint refused; `error` is its code (RFC 6749, 5.2)."""

    def __init__(self, message: str, *, error: str, hint: str, where: str) -> None:
        super().__init__(message, hint=hint, where=where, code="token_refused")
        self.error = error


@dataclass(frozen=True, slots=True, repr=False)
class Grant:
    """What a token endpoint gave: tokens, seconds of life, scopes as granted, the API's address."""

    access: str
    refresh: str | None = None
    lifetime: float | None = None
    refresh_lifetime: float | None = None
    scopes: frozenset[str] | None = None
    base_url: str | None = None


class TokenEndpoint:
    """Asks one token endpoint as one client."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.OAuth2Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises CredentialError for a credential that is missing, ConfigError for an address that is."""
        self.context = context
        self.auth = auth
        self._client = client
        self._scope = scope
        self.url = self.address(auth.token_url, "token endpoint")
        self.host = urlsplit(self.url).hostname or ""
        self.client_id = value(context, auth.client_id) if auth.client_id else ""
        self._secret = _client_secret(context, auth)
        self._assertions: Assertions | None = None
        if auth.client_auth == "private_key_jwt":
            if auth.assertion is None:
                raise CredentialError("The manifest describes no assertion for private_key_jwt.")
            self._assertions = Assertions(context, auth.assertion, scope, self.url)
        self._params = render_map(auth.token_params, scope, "query")

    def address(self, templates: Address, what: str) -> str:
        """An address of the authorization server. Raises ConfigError."""
        plain = self.context.connector.transport.plain_http
        environment = self.context.profile.environment.value
        found = address_of(templates, self._scope, environment, plain_http=plain)
        return self._client.origins.at(TOKENS).check(found, what)

    @property
    def scope_text(self) -> str:
        """The scopes as they are asked for."""
        return self.auth.scope_separator.join(self.auth.scopes)

    async def post(self, grant_type: str, **parameters: str) -> Grant:
        """One token request. Raises TokenRefused, TransientError, SystemicError, NetworkError."""
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        pairs = {name: text for name, text in {**self._params, **parameters}.items() if text}
        body: str = prepare_token_request(grant_type, **pairs)
        return self.granted(await self.send(self.url, body))

    async def send(self, url: str, body: str) -> Answer:
        """A form to an address of the server, with this client's authentication."""
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": USER_AGENT,
        }
        headers, body = self._authenticated(url, headers, body)
        return await self._client.exchange("POST", url, headers, body.encode(), endpoint=TOKENS)

    def _authenticated(self, url: str, headers: dict[str, str], body: str) -> tuple[dict[str, str], str]:
        if self._assertions is not None:
            added = {"client_assertion_type": ASSERTION_TYPE}
            added["client_assertion"] = self._assertions.make(unique=True)
            return headers, f"{body}&{urlencode({'client_id': self.client_id, **added})}"
        if self._secret is None:
            return headers, f"{body}&{urlencode({'client_id': self.client_id})}" if self.client_id else body
        # Only platforms with OAuth pay for importing Authlib.
        from authlib.oauth2.auth import ClientAuth

        method = "client_secret_basic" if self.auth.client_auth == "basic" else "client_secret_post"
        client = ClientAuth(self.client_id, self._secret.reveal(), method)
        try:
            _, sent, text = client.prepare("POST", url, headers, body)
        except UnicodeEncodeError:
            raise CredentialError(
                "The client id or secret holds a character that HTTP Basic cannot carry.",
                code="credential_form",
            ) from None
        return dict(sent), str(text)

    def document(self, answer: Answer) -> Mapping[str, Json]:
        """The JSON object of a good answer. Raises TokenRefused, TransientError, SystemicError."""
        host = self.host
        if answer.status >= 500 or answer.status == 429:
            raise TransientError(
                f"The token endpoint answered {answer.status}.", where=host, code="token_endpoint"
            )
        expect_json(answer.body, answer.headers.get("content-type", ""), "The token endpoint")
        document = loads(answer.body, "the token endpoint")
        if not isinstance(document, dict):
            raise SystemicError(
                "The token endpoint answered with no JSON object.", where=host, code="token_endpoint"
            )
        if answer.status not in (200, 201) or document.get("error"):
            raise self._refusal(answer.status, document)
        return document

    def granted(self, answer: Answer) -> Grant:
        """What an answer grants. Raises as `document` does."""
        document = self.document(answer)
        place = self.auth.token.rpartition(".")[0]
        nearby = lookup(document, place) if place else document
        # A token that lies deeper has its own lifetime and refresh token beside it.
        beside: Mapping[str, Json] = {**document, **nearby} if isinstance(nearby, Mapping) else document
        kind = beside.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() not in _BEARER_TYPES:
            raise SystemicError(
                "The token endpoint gave a token that is no bearer token.", where=self.host, code="token_type"
            )
        token = lookup(document, self.auth.token)
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise SystemicError(
                "The token endpoint gave no usable access token.", where=self.host, code="token_endpoint"
            )
        refresh = beside.get("refresh_token")
        for text in (token, refresh):
            if isinstance(text, str):
                Secret(text)
        base_url = lookup(document, self.auth.base_url_from) if self.auth.base_url_from else None
        return Grant(
            token,
            refresh if isinstance(refresh, str) and refresh else None,
            lifetime_of(beside.get("expires_in")),
            lifetime_of(beside.get("refresh_token_expires_in", beside.get("refresh_expires_in"))),
            _scopes(beside.get("scope")),
            base_url if isinstance(base_url, str) and base_url else None,
        )

    def missing(self, granted: frozenset[str] | None) -> list[str]:
        """A sentence when fewer scopes were granted than asked for."""
        if not granted:
            return []
        lacking = sorted(set(self.auth.scopes) - granted - _NEVER_LISTED)
        # Some servers name only the wider of two scopes, or what an all-in-one scope stands for.
        lacking = [
            name
            for name in lacking
            if not name.endswith("/.default") and name.replace("read_", "write_", 1) not in granted
        ]
        if not lacking:
            return []
        return [f"The platform granted less than asked for: {', '.join(lacking)} is missing."]

    def _refusal(self, status: int, document: Mapping[str, Json]) -> PlatintError:
        error = document.get("error", status)
        if isinstance(error, Mapping):
            error = error.get("code") or error.get("message") or status
        code = told(error, 60)
        said = told(document.get("error_description") or document.get("message"))
        tail = f" ({said})" if said else ""
        return TokenRefused(
            f"The token endpoint refuses the credential: {code}{tail}.",
            error=code,
            hint=self._advice(code),
            where=self.host,
        )

    def _advice(self, code: str) -> str:
        if code == "invalid_scope":
            return f"Allow the client these scopes: {self.scope_text}." if self.auth.scopes else ""
        if self.auth.assertion is not None:
            return "Check the key and the names in the profile, and that the platform knows the key's public part."
        return "Check the client id and secret of the profile."


_NEVER_LISTED = frozenset({"offline_access", "openid", "profile", "email", "refresh_token"})
"""Scopes that servers act on without naming them among those that were granted."""


def _scopes(granted: Json) -> frozenset[str] | None:
    """Scopes as servers list them: separated by spaces (RFC 6749) or commas, or as a list."""
    if isinstance(granted, str):
        return frozenset(granted.replace(",", " ").split())
    if isinstance(granted, list):
        return frozenset(item for item in granted if isinstance(item, str))
    return None


def _client_secret(context: DriverContext, auth: schema.OAuth2Auth) -> Secret | None:
    if not auth.client_secret or auth.client_auth in ("none", "private_key_jwt"):
        return None
    if auth.grant in ("authorization_code", "device_code", "jwt_bearer"):
        # A public client has none.
        return optional_secret(context, auth.client_secret)
    return secret(context, auth.client_secret)

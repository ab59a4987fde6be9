"""How a person signs in for the first time: authorization code with PKCE (RFC 6749, 7636, 9207) and device
code (RFC 8628).

`open_login(context)` gives a `Login`. With `kind` "authorization_code":

    login = open_login(context)
    try:
        async with listening(login.redirect_port) as listener:            # loopback.listening
            started = login.authorize_url(listener.uri)    # open started.url in the browser
            answer = await listener.answer(started.state, seconds)
            tokens = await login.exchange_code(started, answer)
            await login.save(tokens)
    finally:
        await login.close()

and with "device_code": `device = await login.start_device()`, show `device.user_code` and
`device.verification_uri`, then `tokens = await login.poll_device(device)`. The tokens are the document that
`DriverContext.tokens` keeps; `save` writes it there under the store's lock.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from platint_tui.core.errors import ConfigError, CredentialError, SystemicError, TransientError
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import filled, told
from platint_tui.drivers.http.auth.kept import Kept
from platint_tui.drivers.http.auth.renewing import lifetime_of
from platint_tui.drivers.http.auth.token_endpoint import TokenEndpoint, TokenRefused
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.connect import open_client
from platint_tui.drivers.http.requests import profile_scope
from platint_tui.manifest import schema
from platint_tui.manifest.signin import chosen_auth
from platint_tui.manifest.template import render_map

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PORT_FIELD = "redirect_port"
"""The profile field with the port of a redirect address that the platform has on record."""
_DEVICE_SECONDS = 900.0
_DEVICE_PAUSE = 5.0


@dataclass(frozen=True, slots=True, repr=False)
class Started:
    """A sign-in that waits for its answer. `url` is to be opened in a browser; the rest stays here."""

    url: str
    state: str
    redirect_uri: str
    verifier: str


@dataclass(frozen=True, slots=True, repr=False)
class Device:
    """What a person needs on another device; `expires_at` and `interval` (seconds) are for the polling."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    device_code: Secret
    interval: float
    expires_at: float


class Login:
    """The first sign-in of one profile. `kind` is the grant: authorization_code or device_code."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.OAuth2Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises ConfigError and CredentialError for what the profile lacks."""
        self.kind = auth.grant
        self._context = context
        self._auth = auth
        self._client = client
        self._scope = scope
        self._endpoint = TokenEndpoint(context, auth, client, scope)

    @property
    def redirect_port(self) -> int:
        """The port for the listener: the profile's `redirect_port`, 0 (any free one) without it."""
        fields = self._scope["profile"]
        text = str(fields.get(PORT_FIELD) or "0")
        if not text.isdigit() or int(text) > 65535:
            raise ConfigError(f"'{text[:20]}' is no port.", where=PORT_FIELD)
        return int(text)

    def authorize_url(self, redirect_uri: str) -> Started:
        """The address to open in a browser, with a state and a PKCE challenge of its own. Raises ConfigError."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state = secrets.token_urlsafe(32)
        verifier = secrets.token_urlsafe(48)
        # The state is shown: a person opens the address on another machine.
        Secret(verifier)
        added = render_map(self._auth.authorize_params, self._scope, "query")
        if self._auth.pkce:
            added |= {
                "code_challenge": create_s256_code_challenge(verifier),
                "code_challenge_method": "S256",
            }
        url: str = prepare_grant_uri(
            self._endpoint.address(self._auth.authorize_url, "authorize address"),
            self._endpoint.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=self._endpoint.scope_text or None,
            state=state,
            **added,
        )
        return Started(url, state, redirect_uri, verifier if self._auth.pkce else "")

    async def exchange_code(self, started: Started, answer: str) -> dict[str, Json]:
        """The tokens for what came back to the redirect address (`answer`: the address or its query).

        Raises CredentialError when the person or the platform refused, when the answer belongs to another
        sign-in, or comes from another server (RFC 9207); nothing is sent then.
        """
        found = dict(parse_qsl(urlsplit(answer).query or answer.rpartition("?")[2], keep_blank_values=True))
        given = found.get("state", "")
        if not hmac.compare_digest(given.encode(), started.state.encode()):
            raise _refused(
                "The answer in the browser belongs to another sign-in (its state differs).", "state"
            )
        issuer = found.get("iss")
        if issuer is not None and not self._issued_by(issuer):
            raise _refused("The answer in the browser comes from another server (its iss differs).", "iss")
        if "error" in found:
            said = told(found.get("error_description"))
            code = told(found["error"], 60)
            what = (
                "The sign-in was refused in the browser" if code == "access_denied" else "The sign-in failed"
            )
            raise _refused(f"{what}: {code}{f' ({said})' if said else ''}.", code)
        if not found.get("code"):
            raise _refused("The answer in the browser has no code.", "no_code")
        Secret(found["code"])
        proof = {"code_verifier": started.verifier} if started.verifier else {}
        grant = await self._endpoint.post(
            "authorization_code", code=found["code"], redirect_uri=started.redirect_uri, **proof
        )
        return Kept.of(grant, self._context.clock.now_ms()).document()

    async def start_device(self) -> Device:
        """Ask for a code that a person enters on another device. Raises TokenRefused, TransientError."""
        url = self._endpoint.address(self._auth.device_url, "device address")
        body = urlencode({"scope": self._endpoint.scope_text})
        document = self._endpoint.document(await self._endpoint.send(url, body))
        device, user = document.get("device_code"), document.get("user_code")
        page = document.get("verification_uri") or document.get("verification_url")
        if not (isinstance(device, str) and isinstance(user, str) and isinstance(page, str)):
            raise SystemicError(
                "The platform gave no code for another device.",
                where=self._endpoint.host,
                code="device_code",
            )
        whole = document.get("verification_uri_complete")
        lifetime = lifetime_of(document.get("expires_in")) or _DEVICE_SECONDS
        return Device(
            clean(user)[:40],
            _page(page),
            _page(whole) if isinstance(whole, str) else None,
            Secret(device),
            lifetime_of(document.get("interval")) or _DEVICE_PAUSE,
            self._context.clock.monotonic() + lifetime,
        )

    async def poll_device(
        self, device: Device, waiting: Callable[[float], None] = lambda _: None
    ) -> dict[str, Json]:
        """Wait until the person has entered the code; the tokens then.

        `waiting` is told the seconds that are left. Raises CredentialError when it was refused or came too late.
        """
        clock = self._context.clock
        interval = device.interval
        while (left := device.expires_at - clock.monotonic()) > 0:
            waiting(left)
            await clock.sleep(min(interval, left))
            try:
                grant = await self._endpoint.post(DEVICE_GRANT, device_code=device.device_code.reveal())
            except TokenRefused as error:
                if error.error == "slow_down":
                    interval += 5.0
                elif error.error in ("expired_token", "code_expired"):
                    break
                elif error.error == "access_denied":
                    raise _refused("The sign-in was refused on the other device.", error.error) from None
                elif error.error != "authorization_pending":
                    raise
            except TransientError:
                # RFC 8628, 3.5: wait longer after a failure of the network.
                interval = min(interval * 2, 60.0)
            else:
                return Kept.of(grant, clock.now_ms()).document()
        raise _refused("Nobody entered the code in time.", "expired_token")

    async def save(self, tokens: Mapping[str, Json]) -> None:
        """Keep the tokens for every process that uses the profile. Raises CredentialError."""
        if self._context.tokens is None:
            raise ConfigError("There is no place to keep the tokens of this profile.", code="token_place")
        async with self._context.tokens.locked():
            await self._context.tokens.save(tokens)

    def missing_scopes(self, tokens: Mapping[str, Json]) -> list[str]:
        """A sentence when less was granted than asked for."""
        kept = Kept.load(tokens)
        return self._endpoint.missing(frozenset(kept.scopes)) if kept and kept.scopes is not None else []

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _issued_by(self, issuer: str) -> bool:
        """Whether an issuer is the authorization server of the manifest.

        Its identifier is an address under which its endpoints are, which is all that a manifest knows of it.
        """
        wanted = urlsplit(self._endpoint.address(self._auth.authorize_url, "authorize address"))
        given = urlsplit(issuer)
        return (given.scheme, given.netloc) == (wanted.scheme, wanted.netloc)


def open_login(context: DriverContext) -> Login:
    """The first sign-in of a profile. Raises ConfigError when its way to sign in needs none, or is not usable."""
    scope = profile_scope(context)
    auth = chosen_auth(context.connector.auth, filled(context), scope["profile"])
    if not isinstance(auth, schema.OAuth2Auth) or auth.grant not in ("authorization_code", "device_code"):
        raise ConfigError(
            f"Profile '{context.profile.name}' signs in by itself; there is nothing to do in a browser.",
            hint=f"Test it with `platint-tui profiles test {context.profile.name}`.",
            code="no_login",
        )
    return Login(context, auth, open_client(context, scope), scope)


def _refused(message: str, code: str) -> CredentialError:
    return CredentialError(message, hint="Start the sign-in again.", code=f"login_{code}"[:60])


def _page(url: str) -> str:
    """An address that is shown and opened: https, or this machine. Raises SystemicError."""
    parts = urlsplit(url)
    fine = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    )
    if not fine or not url.isascii() or not url.isprintable() or " " in url:
        raise SystemicError("The platform named a page that is no https address.", code="device_code")
    return url

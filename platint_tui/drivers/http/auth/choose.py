"""From the manifest's way to sign in to what signs."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Static
from platint_tui.drivers.http.auth.fields import filled, optional_secret, secret, value, visible
from platint_tui.drivers.http.client import HttpClient
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.signin import endpoint_auth


def open_auth(
    context: DriverContext, client: HttpClient, scope: Mapping[str, Json], endpoint: str | None = None
) -> Authorizer:
    """The signer that the manifest asks for at an endpoint of the transport (None: everywhere else).

    Nothing is sent yet. Raises ConfigError or CredentialError.
    """
    auth = endpoint_auth(context.connector, endpoint, filled(context), scope["profile"])
    if isinstance(auth, schema.BearerAuth):
        token = visible(secret(context, auth.secret).reveal(), auth.secret)
        return Static({"authorization": f"Bearer {token}"})
    if isinstance(auth, schema.BasicAuth):
        return Static({"authorization": _basic(context, auth)})
    if isinstance(auth, schema.ApiKeyAuth):
        key = secret(context, auth.secret)
        if auth.in_ == "query":
            return Static({}, auth.name, key)
        return Static({auth.name.lower(): visible(auth.prefix + key.reveal(), auth.secret)})
    if isinstance(auth, schema.OAuth2Auth):
        return _oauth2(context, client, scope, auth)
    if isinstance(auth, schema.NoAuth):
        return Static()
    raise ConfigError(f"The http driver has no auth of type '{auth.type}'.", code="auth_type")


def _basic(context: DriverContext, auth: schema.BasicAuth) -> str:
    user = value(context, auth.username)
    password = optional_secret(context, auth.password)
    pair = base64.b64encode(f"{user}:{password.reveal() if password else ''}".encode()).decode()
    Secret(pair)
    return f"Basic {pair}"


def _oauth2(
    context: DriverContext, client: HttpClient, scope: Mapping[str, Json], auth: schema.OAuth2Auth
) -> Authorizer:
    from platint_tui.drivers.http.auth.oauth2 import ClientCredentials

    # Found missing here rather than on the first request.
    value(context, auth.client_id or "")
    secret(context, auth.client_secret or "")
    plain = context.connector.transport.plain_http
    address = address_of(auth.token_url, scope, context.profile.environment.value, plain_http=plain)
    return ClientCredentials(context, auth, client, client.origins.check(address, "token endpoint"))

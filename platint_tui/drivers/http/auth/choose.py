"""From the manifest's way to sign in to what signs."""

from __future__ import annotations

from collections.abc import Mapping

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Static
from platint_tui.drivers.http.auth.crumb import BasicWithCrumb, basic
from platint_tui.drivers.http.auth.fields import filled, optional_secret, secret, value, visible
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.requests import address, common_headers, lower
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.hosts import check_url
from platint_tui.manifest.signin import endpoint_auth
from platint_tui.manifest.template import render_map


def open_auth(
    context: DriverContext, client: HttpClient, scope: Mapping[str, Json], endpoint: str | None = None
) -> Authorizer:
    """The signer that the manifest asks for at an endpoint of the transport (None: everywhere else).

    Nothing is sent yet. Raises ConfigError or CredentialError.
    """
    # The modules of a scheme are imported by the platforms that use it.
    auth = endpoint_auth(context.connector, endpoint, filled(context), scope["profile"])
    if context.connector.transport.plain_http and not isinstance(auth, schema.NoAuth | schema.OAuth1Auth):
        # Plain http is for signatures only, which do not show the credential.
        check_url(_place(context, scope, endpoint)[0])
    if isinstance(auth, schema.NoAuth):
        return Static()
    if isinstance(auth, schema.BearerAuth):
        token = visible(secret(context, auth.secret).reveal(), auth.secret)
        return Static({"authorization": f"Bearer {token}"})
    if isinstance(auth, schema.BasicAuth):
        return _basic(context, client, scope, endpoint, auth)
    if isinstance(auth, schema.ApiKeyAuth):
        key = secret(context, auth.secret)
        if auth.in_ == "query":
            return Static({}, auth.name, key)
        return Static({auth.name.lower(): visible(auth.prefix + key.reveal(), auth.secret)})
    if isinstance(auth, schema.OAuth2Auth):
        return _oauth2(context, client, scope, auth)
    if isinstance(auth, schema.JwtExchangeAuth):
        from platint_tui.drivers.http.auth.jwt_exchange import JwtExchange

        url, headers = _place(context, scope, endpoint)
        return JwtExchange(context, auth, client, scope, address(url, auth.path, scope), headers, endpoint)
    if isinstance(auth, schema.SigV4Auth):
        from platint_tui.drivers.http.auth.aws import AwsSigner

        return AwsSigner(context, auth, client, scope)
    if isinstance(auth, schema.AzureSharedKeyAuth):
        from platint_tui.drivers.http.auth.azure_storage import SharedKey

        account, key = value(context, auth.account), secret(context, auth.key)
        return SharedKey(account, key, context.clock, table=auth.service == "table")
    if isinstance(auth, schema.AzureSasAuth):
        from platint_tui.drivers.http.auth.azure_storage import SharedAccess

        return SharedAccess(secret(context, auth.token))
    if isinstance(auth, schema.ServiceBusSasAuth):
        from platint_tui.drivers.http.auth.servicebus import ServiceBusSas

        name, key = value(context, auth.key_name), secret(context, auth.key)
        return ServiceBusSas(name, key, context.clock, auth.ttl)
    if isinstance(auth, schema.OAuth1Auth):
        return _oauth1(context, auth)
    raise ConfigError(f"The http driver has no auth of type '{auth.type}'.", code="auth_type")


def _basic(
    context: DriverContext,
    client: HttpClient,
    scope: Mapping[str, Json],
    endpoint: str | None,
    auth: schema.BasicAuth,
) -> Authorizer:
    password = optional_secret(context, auth.password)
    header = basic(value(context, auth.username), password.reveal() if password else "")
    if auth.crumb is None:
        return Static({"authorization": header})
    url, _ = _place(context, scope, endpoint)
    return BasicWithCrumb(header, auth.crumb, address(url, auth.crumb.path, scope), client, endpoint)


def _oauth2(
    context: DriverContext, client: HttpClient, scope: Mapping[str, Json], auth: schema.OAuth2Auth
) -> Authorizer:
    from platint_tui.drivers.http.auth.oauth2 import ClientCredentials, JwtBearer, SignedIn

    kind: type[ClientCredentials | JwtBearer | SignedIn] = SignedIn
    if auth.grant == "client_credentials":
        kind = ClientCredentials
    elif auth.grant == "jwt_bearer":
        kind = JwtBearer
    return kind(context, auth, client, scope)


def _oauth1(context: DriverContext, auth: schema.OAuth1Auth) -> Authorizer:
    from platint_tui.drivers.http.auth.oauth1 import OAuth1

    found = optional_secret(context, auth.token)
    token = (found.reveal(), optional_secret(context, auth.token_secret)) if found else None
    return OAuth1(
        (value(context, auth.consumer_key), secret(context, auth.consumer_secret)),
        token,
        context.clock,
        method=auth.method,
        query=auth.in_ == "query",
    )


def _place(
    context: DriverContext, scope: Mapping[str, Json], endpoint: str | None
) -> tuple[str, dict[str, str]]:
    """The address of an endpoint and the headers of every request there."""
    transport = context.connector.transport
    headers = common_headers(context, scope)
    base = transport.base_url
    if endpoint is not None:
        base = transport.endpoints[endpoint].base_url
        headers.update(lower(render_map(transport.endpoints[endpoint].headers, scope, "header")))
    environment = context.profile.environment.value
    return address_of(base, scope, environment, plain_http=transport.plain_http), headers

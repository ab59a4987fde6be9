"""What a manifest says of credentials: one tagged model a scheme. Values are names of profile fields, or
templates where the text says so; a secret is named, never written.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from platint_tui.manifest.fields import (
    Address,
    Bool,
    DataPath,
    HeaderName,
    Identifier,
    Line,
    Model,
    Positive,
)

Template = Annotated[str, Field(min_length=1, max_length=1000)]
Prefix = Annotated[str, Field(max_length=32, pattern=r"^[\x20-\x7e]*$")]


class _Auth(Model):
    label: Line | None = None
    """How a person calls this way to sign in, where a manifest offers several."""


class NoAuth(_Auth):
    """The platform asks for nothing."""

    type: Literal["none"]


class BearerAuth(_Auth):
    """`Authorization: Bearer <secret>`."""

    type: Literal["bearer"]
    secret: Identifier


class Crumb(Model):
    """A token against forged requests that some servers want beside the password: it is fetched once from
    `path`, with the session cookie that came with it, and sent in the header that the answer names at `name`
    with the value at `value` (Jenkins' crumb issuer). A server that answers 404 wants none.
    """

    path: Annotated[str, Field(min_length=1, max_length=500)]
    name: DataPath
    value: DataPath


class BasicAuth(_Auth):
    """HTTP Basic (RFC 7617, UTF-8) from two profile fields; a missing `password` is sent empty."""

    type: Literal["basic"]
    username: Identifier
    password: Identifier | None = None
    crumb: Crumb | None = None


class ApiKeyAuth(_Auth):
    """The secret in a header or query parameter called `name`, after `prefix`."""

    type: Literal["api_key"]
    secret: Identifier
    in_: Literal["header", "query"] = Field("header", alias="in")
    name: Line
    prefix: Prefix = ""


class Assertion(Model):
    """A JWT signed with the profile's key: who says it (`issuer`), of whom (`subject`), to whom (`audience`,
    default: the token endpoint), for how long (`ttl`; `iat` is `backdate` before now).

    `key` is the profile field with the private key (PEM; for HS256 the shared secret). With `bundle`, a secret
    field that holds a JSON document (a service account file), `key` is a member of it and templates may use
    `${bundle.<member>}`. `certificate` is a field with the PEM certificate, sent as `x5t#S256`. `key_id`,
    `issuer`, `subject`, `audience` and `claims` are templates.
    """

    alg: Literal["RS256", "PS256", "ES256", "HS256"] = "RS256"
    key: Identifier
    bundle: Identifier | None = None
    key_id: Template | None = None
    certificate: Identifier | None = None
    issuer: Template
    subject: Template | None = None
    audience: Template | None = None
    ttl: Positive = 300.0
    backdate: Positive | None = None
    claims: dict[Line, str] = Field(default_factory=dict)


class OAuth2Auth(_Auth):
    """OAuth 2 (RFC 6749, 7636, 8628, 7523). `expiry_margin` is how long before its end a token is renewed.

    `authorization_code` and `device_code` ask a person once (`profiles login`, `o` in the console) and go on
    with the refresh token; `refresh_token` names a secret field for one that was made elsewhere. `rotates`:
    a refresh token works once. `token` is where the answer has the access token, `base_url_from` where it
    names the address of the API. The access token goes into `header` after `prefix`.
    """

    type: Literal["oauth2"]
    grant: Literal["client_credentials", "authorization_code", "device_code", "refresh_token", "jwt_bearer"]
    token_url: Address
    authorize_url: Address = ()
    device_url: Address = ()
    client_id: Identifier | None = None
    client_secret: Identifier | None = None
    refresh_token: Identifier | None = None
    assertion: Assertion | None = None
    scopes: tuple[Line, ...] = ()
    scope_separator: Literal[" ", ","] = " "
    client_auth: Literal["basic", "body", "none", "private_key_jwt"] = "basic"
    pkce: Bool = True
    rotates: Bool = False
    expiry_margin: Positive = 60.0
    authorize_params: dict[Line, str] = Field(default_factory=dict)
    token_params: dict[Line, str] = Field(default_factory=dict)
    token: DataPath = "access_token"  # noqa: S105 - a member's name
    base_url_from: DataPath | None = None
    header: HeaderName = "Authorization"
    prefix: Prefix = "Bearer "


class JwtExchangeAuth(_Auth):
    """A signed JWT is exchanged for a token of limited life (a GitHub App's installation token): POST `path`
    with the JWT as bearer; the answer has the token at `token` and its end (ISO 8601) at `expires`.
    """

    type: Literal["jwt_exchange"]
    assertion: Assertion
    path: Template
    token: DataPath = "token"  # noqa: S105 - a member's name
    expires: DataPath | None = None
    header: HeaderName = "Authorization"
    prefix: Prefix = "Bearer "
    expiry_margin: Positive = 60.0


class SigV4Auth(_Auth):
    """AWS Signature Version 4, in headers or (`in: query`) presigned. `service` is the signing name, `region`
    a template; with `role_arn` (a profile field that may stay empty) the key assumes that role first, at
    `sts_url`.
    """

    type: Literal["aws_sigv4"]
    service: Line
    region: Template
    access_key: Identifier
    secret_key: Identifier
    session_token: Identifier | None = None
    role_arn: Identifier | None = None
    external_id: Identifier | None = None
    sts_url: Address = ()
    in_: Literal["header", "query"] = Field("header", alias="in")


class AzureSharedKeyAuth(_Auth):
    """Azure Storage's Shared Key: `account` and `key` (base64) are profile fields."""

    type: Literal["azure_shared_key"]
    account: Identifier
    key: Identifier
    service: Literal["blob", "table"] = "blob"


class AzureSasAuth(_Auth):
    """A shared access signature of Azure Storage: the secret's query parameters are added to each request."""

    type: Literal["azure_sas"]
    token: Identifier


class ServiceBusSasAuth(_Auth):
    """`Authorization: SharedAccessSignature …` of Azure Service Bus, made from a policy's name and key."""

    type: Literal["servicebus_sas"]
    key_name: Identifier
    key: Identifier
    ttl: Positive = 3600.0


class OAuth1Auth(_Auth):
    """OAuth 1.0a signatures (RFC 5849); without `token` one-legged. `in: query` puts the parameters into the
    address.
    """

    type: Literal["oauth1"]
    consumer_key: Identifier
    consumer_secret: Identifier
    token: Identifier | None = None
    token_secret: Identifier | None = None
    method: Literal["HMAC-SHA1", "HMAC-SHA256"] = "HMAC-SHA256"
    in_: Literal["header", "query"] = Field("query", alias="in")


class DriverAuth(_Auth):
    """The driver signs in with the profile's fields (databases)."""

    type: Literal["driver"]


OneAuth = Annotated[
    NoAuth
    | BearerAuth
    | BasicAuth
    | ApiKeyAuth
    | OAuth2Auth
    | JwtExchangeAuth
    | SigV4Auth
    | AzureSharedKeyAuth
    | AzureSasAuth
    | ServiceBusSasAuth
    | OAuth1Auth
    | DriverAuth,
    Field(discriminator="type"),
]


class AuthWhen(Model):
    """A profile field and the value that chooses a way to sign in."""

    field: Identifier
    equals: Line


class AuthChoice(Model):
    """A way to sign in, and which profiles use it: those whose `field` has the value `equals`; without `when`,
    those that have every field that it needs.
    """

    when: AuthWhen | None = None
    auth: OneAuth


class FirstOfAuth(Model):
    """Several ways to sign in; the first that fits the profile is used."""

    type: Literal["first_of"]
    of: tuple[AuthChoice, ...] = Field(min_length=2)


Auth = Annotated[
    NoAuth
    | BearerAuth
    | BasicAuth
    | ApiKeyAuth
    | OAuth2Auth
    | JwtExchangeAuth
    | SigV4Auth
    | AzureSharedKeyAuth
    | AzureSasAuth
    | ServiceBusSasAuth
    | OAuth1Auth
    | DriverAuth
    | FirstOfAuth,
    Field(discriminator="type"),
]

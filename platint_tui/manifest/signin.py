"""Which of a manifest's ways to sign in a profile uses, and which fields a way needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.template import compile_template

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Auth, Connector, OneAuth

FIELD_KEYS = (
    "secret",
    "username",
    "password",
    "client_id",
    "client_secret",
    "refresh_token",
    "access_key",
    "secret_key",
    "session_token",
    "role_arn",
    "external_id",
    "account",
    "key",
    "key_name",
    "consumer_key",
    "consumer_secret",
    "token_secret",
)
SECRET_KEYS = (
    "secret",
    "password",
    "client_secret",
    "refresh_token",
    "secret_key",
    "session_token",
    "key",
    "consumer_secret",
    "token_secret",
)
_OPTIONAL = {
    "basic": ("password",),
    "aws_sigv4": ("session_token", "role_arn", "external_id"),
}


def fields_used(auth: OneAuth) -> dict[str, str]:
    """The profile fields that a way to sign in names, by the key that names them (`assertion.key` …)."""
    used = {}
    for key in FIELD_KEYS:
        name = getattr(auth, key, None)
        if isinstance(name, str):
            used[key] = name
    # `token` is a field for these two; elsewhere it is a place in an answer.
    if auth.type in ("oauth1", "azure_sas"):
        name = getattr(auth, "token", None)
        if name:
            used["token"] = name
    assertion = getattr(auth, "assertion", None)
    if assertion is not None:
        if assertion.bundle:
            used["assertion.bundle"] = assertion.bundle
        else:
            used["assertion.key"] = assertion.key
        if assertion.certificate:
            used["assertion.certificate"] = assertion.certificate
    return used


def is_secret_key(auth: OneAuth, key: str) -> bool:
    """Whether the field that `key` of an auth names must be a secret."""
    return key in SECRET_KEYS or key in ("assertion.key", "assertion.bundle") or key == "token"


def needed_fields(auth: OneAuth) -> frozenset[str]:
    """The profile fields without which a way to sign in cannot work, those in its templates included."""
    optional = _OPTIONAL.get(auth.type, ())
    names = {name for key, name in fields_used(auth).items() if key not in optional}
    for text in _templates(auth):
        for part in compile_template(text).expressions:
            if part.path[0] == "profile" and not any(name == "default" for name, _ in part.filters):
                names.add(part.path[-1])
    if auth.type == "oauth2" and auth.client_auth in ("none", "private_key_jwt") and auth.client_secret:
        names.discard(auth.client_secret)
    return frozenset(names)


def _templates(auth: OneAuth) -> Iterator[str]:
    """The templates of an auth that are no addresses: those have forms to fall back on."""
    if auth.type == "aws_sigv4":
        yield auth.region
    elif auth.type == "jwt_exchange":
        yield auth.path
    assertion = getattr(auth, "assertion", None)
    if assertion is not None:
        yield from (
            text
            for text in (assertion.issuer, assertion.subject, assertion.audience, assertion.key_id)
            if text
        )
        yield from assertion.claims.values()


def choices(auth: Auth) -> tuple[OneAuth, ...]:
    """Every way to sign in that a manifest offers."""
    return tuple(item.auth for item in auth.of) if auth.type == "first_of" else (auth,)


def chosen_auth(
    auth: Auth,
    filled: frozenset[str],
    fields: Mapping[str, str],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> OneAuth:
    """The way to sign in of a profile: `filled` are the names of the fields and secrets that have a value,
    `labels` what people call the fields.

    Raises ConfigError when the profile fits none.
    """
    if auth.type != "first_of":
        return auth
    for item in auth.of:
        if item.when is not None:
            if fields.get(item.when.field) == item.when.equals:
                return item.auth
        elif needed_fields(item.auth) <= filled:
            return item.auth
    ways = [
        f"{item.auth.label or item.auth.type} "
        f"({', '.join(labels.get(name, name) for name in sorted(needed_fields(item.auth)))})"
        for item in auth.of
    ]
    raise ConfigError(
        "The profile has not what any way to sign in needs.", hint=f"Fill in one of: {'; '.join(ways)}."
    )


def asks_person(connector: Connector, filled: frozenset[str], fields: Mapping[str, str]) -> bool:
    """Whether a profile signs in through a person once: in the browser, or by a code on another device."""
    try:
        auth = chosen_auth(connector.auth, filled, fields)
    except ConfigError:
        return False
    return auth.type == "oauth2" and auth.grant in ("authorization_code", "device_code")


def endpoint_auth(
    connector: Connector, endpoint: str | None, filled: frozenset[str], fields: Mapping[str, str]
) -> OneAuth:
    """The way to sign in at an endpoint of the transport, the manifest's own without one."""
    own = connector.transport.endpoints[endpoint].auth if endpoint else None
    labels = {item.id: item.title for item in connector.profile.fields}
    return chosen_auth(own if own is not None else connector.auth, filled, fields, labels)

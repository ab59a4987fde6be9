"""Profile fields: what a form shows, and the check of what was entered."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Environment
from platint_tui.manifest import hosts
from platint_tui.manifest.documents import check_document, document_fields
from platint_tui.manifest.patterns import MAX_INPUT, matches
from platint_tui.manifest.problems import did_you_mean, listing, looks_secret, shown
from platint_tui.manifest.signin import fields_used, needed_fields

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, FormField

MAX_SECRET = 64 * 1024
_PROFILE_NAME = re.compile(r"\$\{\s*profile\.([a-z][a-z0-9_]*)")
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field as a form shows it. `default` is text, '' without one. `document` says what a secret of several
    lines is (see `documents`). `incoming`: only webhooks that come in need it.
    """

    id: str
    label: str
    help: str
    type: str
    secret: bool
    required: bool
    default: str = ""
    choices: tuple[str, ...] = ()
    create_url: str = ""
    document: str = ""
    incoming: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sign in. `hidden` are the fields that only other ways use, `needs` those that it cannot do
    without, `fixed` values that choose it; `asks` when a person signs in once before it works.
    """

    label: str
    needs: frozenset[str]
    hidden: frozenset[str]
    fixed: Mapping[str, str]
    asks: bool


@dataclass(frozen=True, slots=True)
class FormView:
    """The form for a profile of one platform. `ways` is empty where there is only one way to sign in."""

    platform: str
    name: str
    docs: str
    fields: tuple[FieldView, ...]
    environments: tuple[str, ...]
    ways: tuple[Way, ...] = ()

    def by(self, way: Way) -> FormView:
        """The form with the fields of one way to sign in: first those that it needs, marked as required, then the
        others that are required, then the rest.
        """
        fields = [
            replace(item, required=item.required or item.id in way.needs)
            for item in self.fields
            if item.id not in way.hidden and item.id not in way.fixed
        ]

        def rank(item: FieldView) -> int:
            if not item.required or item.default:
                return 2
            return 0 if item.id in way.needs else 1

        return replace(self, fields=tuple(sorted(fields, key=rank)), ways=())

    def lacking(self, filled: Collection[str]) -> FieldView | None:
        """The first field that is required, has no default, and is not among those that have a value."""
        for item in self.fields:
            if item.required and not item.default and item.id not in filled:
                return item
        return None


def form_view(connector: Connector) -> FormView:
    """What to ask for, for a profile of this platform."""
    documents = document_fields(connector)
    fields = tuple(
        FieldView(
            id=field.id,
            label=field.title,
            help=field.help,
            type=field.type,
            secret=field.secret,
            required=field.required,
            default=_text(field.default) if field.default is not None else "",
            choices=field.choices,
            create_url=field.create_url or "",
            document=documents.get(field.id, ""),
            incoming=field.used_by == ("webhooks",) and not field.required,
        )
        for field in connector.profile.fields
    )
    return FormView(
        connector.platform,
        connector.name,
        connector.docs,
        fields,
        connector.profile.environments,
        _ways(connector),
    )


def _ways(connector: Connector) -> tuple[Way, ...]:
    auth = connector.auth
    if auth.type != "first_of":
        return ()
    used = [frozenset(fields_used(item.auth).values()) | needed_fields(item.auth) for item in auth.of]
    everywhere = {name for text in _request_texts(connector) for name in text}
    ways = []
    for item, own in zip(auth.of, used, strict=True):
        others = frozenset().union(*used) - own - everywhere
        fixed = {item.when.field: item.when.equals} if item.when else {}
        asks = item.auth.type == "oauth2" and item.auth.grant in ("authorization_code", "device_code")
        label = item.auth.label or item.auth.type.replace("_", " ")
        ways.append(Way(label, needed_fields(item.auth), others, fixed, asks))
    return tuple(ways)


def _request_texts(connector: Connector) -> Iterator[frozenset[str]]:
    """The profile fields that templates outside of auth use: every way to sign in asks for those."""
    dumped = connector.model_dump(
        include={"transport": True, "resources": True, "check": True, "discover": True}
    )
    for endpoint in dumped["transport"]["endpoints"].values():
        endpoint.pop("auth")
    pending: list[Any] = [dumped]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, (list, tuple)):
            pending += value
        elif isinstance(value, str) and "${" in value:
            yield frozenset(_PROFILE_NAME.findall(value))


def validate_fields(
    connector: Connector, values: Mapping[str, str], *, secrets: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """The plain fields, checked, in their normal form, with defaults filled in.

    `secrets` are the secret fields that are given: their text, or None when only a reference is known.
    Raises ConfigError whose `where` is the field; a secret is never repeated in it.
    """
    secrets = secrets or {}
    result = plain_fields(connector, values, also=secrets)
    documents = document_fields(connector)
    for field in connector.profile.fields:
        if not field.secret:
            continue
        if field.id not in secrets and field.required:
            raise ConfigError(f"{field.title} is missing.", hint=field.help, where=field.id)
        text = secrets.get(field.id)
        if text is not None:
            check_secret(field, text)
            if field.id in documents:
                check_document(field, documents[field.id], text)
    return result


def plain_fields(
    connector: Connector, values: Mapping[str, str], *, also: Iterable[str] = ()
) -> dict[str, str]:
    """`validate_fields` before any secret is there; `also` names the secrets that are given. Raises ConfigError."""
    also = frozenset(also)
    known = {field.id: field for field in connector.profile.fields}
    for name in (*values, *also):
        field = known.get(name)
        if field is None:
            raise ConfigError(
                f"{connector.name} has no profile field {shown(name)}{did_you_mean(name, list(known)) or '.'}",
                hint=f"Its fields are {listing(list(known))}." if known else "It has no fields.",
                where=name[:80],
            )
        if field.secret and name in values:
            raise ConfigError("This is a secret; it is asked for without echo.", where=name)
        if not field.secret and name in also:
            raise ConfigError("This field is no secret.", where=name)
    result = {}
    for field in known.values():
        if field.secret:
            continue
        text = values.get(field.id, "").strip()
        if not text and field.default is not None:
            text = _text(field.default)
        if text:
            result[field.id] = check_field(field, text, plain_http=connector.transport.plain_http)
        elif field.required:
            raise ConfigError(f"{field.title} is missing.", hint=field.help, where=field.id)
    return result


def check_secret(field: FormField, text: str) -> None:
    """Raise ConfigError when a secret cannot be what the platform gave out; the secret is not repeated."""
    if not text.strip():
        raise ConfigError(f"{field.title} is empty.", hint=field.help, where=field.id)
    if len(text) > MAX_SECRET:
        raise ConfigError(f"{field.title} is longer than 64 kB.", where=field.id)
    if text != text.strip():
        raise ConfigError(f"{field.title} has spaces or line ends around it.", where=field.id)
    if field.pattern and not matches(field.pattern, text):
        raise ConfigError(
            f"'{field.title}' is not of the form that it must have.", hint=field.help, where=field.id
        )


def check_field(field: FormField, text: str, *, plain_http: bool = False) -> str:
    """The normal form of a plain value; `plain_http` allows addresses without TLS. Raises ConfigError naming the
    field.
    """
    if len(text) > MAX_INPUT or not text.isprintable():
        raise ConfigError(f"{field.title} is too long or holds control characters.", where=field.id)
    if looks_secret(text):
        raise ConfigError(
            f"{field.title} looks like a credential, and this field is stored in the open.",
            hint="Enter it in the field that is marked secret.",
            where=field.id,
        )
    if field.type == "integer":
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise ConfigError(f"{field.title} must be a whole number.", where=field.id)
        text = str(int(text))
    elif field.type == "boolean":
        if text.lower() not in _TRUE + _FALSE:
            raise ConfigError(f"{field.title} must be true or false.", where=field.id)
        text = "true" if text.lower() in _TRUE else "false"
    elif field.type == "url":
        text = _address(field, text, plain_http)
    if field.choices and text not in field.choices:
        suggestion = did_you_mean(text, field.choices) or "."
        raise ConfigError(f"{field.title} must be {listing(field.choices)}{suggestion}", where=field.id)
    if field.pattern and not matches(field.pattern, text):
        raise ConfigError(
            f"'{field.title}' is not of the form that it must have.", hint=field.help, where=field.id
        )
    return text


def _address(field: FormField, text: str, plain_http: bool) -> str:
    try:
        hosts.check_url(text, plain_http=plain_http)
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint, where=field.id) from None
    if field.exact:
        return text
    if "?" in text:
        raise ConfigError(f"{field.title} must not have a query (?…).", where=field.id)
    return text.rstrip("/")


def environment_of(connector: Connector, values: Mapping[str, str | None]) -> Environment | None:
    """PRODUCTION when the entered values (secrets included) say so, None when they say nothing."""
    rule = connector.profile.production
    value = values.get(rule.field) if rule else None
    return Environment.PRODUCTION if rule and value and matches(rule.pattern, value) else None


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)

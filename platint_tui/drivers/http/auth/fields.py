"""The values of a profile that a scheme needs: secrets from the vault, plain fields, their defaults."""

from __future__ import annotations

from platint_tui.core.errors import CredentialError
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext


def secret(context: DriverContext, name: str) -> Secret:
    """A field as a secret, wherever it is kept. Raises CredentialError when the profile has none."""
    found = context.secrets.get(name)
    if found is not None and found.reveal():
        return found
    plain = context.profile.fields.get(name)
    if plain:
        return Secret(plain)
    raise CredentialError(
        f"The profile '{context.profile.name}' has no {name}.",
        hint=f"Add it with: platint-tui profiles edit {context.profile.name}",
        code="missing_secret",
    )


def optional_secret(context: DriverContext, name: str | None) -> Secret | None:
    """A field that may stay empty."""
    if not name or (not context.profile.fields.get(name) and not revealed(context, name)):
        return None
    return secret(context, name)


def revealed(context: DriverContext, name: str) -> str:
    """The secret called `name`, '' without one."""
    found = context.secrets.get(name)
    return found.reveal() if found is not None else ""


def value(context: DriverContext, name: str) -> str:
    """A profile field that may be kept as a secret. Raises CredentialError when it is empty."""
    plain = context.profile.fields.get(name)
    if plain:
        return plain
    form = context.connector.profile.field(name)
    if form is not None and form.default is not None and name not in context.secrets:
        return str(form.default)
    return secret(context, name).reveal()


def visible(text: str, name: str) -> str:
    """`text` when a header can carry it. Raises CredentialError."""
    if not text.isascii() or not text.isprintable():
        raise CredentialError(
            f"The value of {name} holds a character that a header cannot carry (a line break at its end?).",
            hint="Enter it again.",
            code="credential_form",
        )
    return text


def filled(context: DriverContext) -> frozenset[str]:
    """The names of the fields and secrets of a profile that have a value (defaults included)."""
    names = {name for name, text in context.profile.fields.items() if text}
    names |= {name for name, found in context.secrets.items() if found.reveal()}
    names |= {item.id for item in context.connector.profile.fields if item.default is not None}
    return frozenset(names)


def told(value: object, most: int = 200) -> str:
    """What an answer says, for a message: one line, without secrets that it repeats, without the last dot."""
    if value is None or value == "":
        return ""
    return REDACTOR.redact(clean(str(value)))[:most].rstrip(".")

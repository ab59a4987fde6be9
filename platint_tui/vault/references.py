"""Reads references: what kind a text is, and the values of the kinds that are only read, never written."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret

KINDS = ("keyring", "vault", "env", "file", "memory")
MAX_BYTES = 256 * 1024


class Reference(NamedTuple):
    """A parsed reference: its kind and the name, variable or path after the colon."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse(text: str) -> Reference:
    """The reference in `text`. Raises CredentialError without the text: it may be a secret in its place."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in KINDS or not name:
        raise CredentialError(
            "This is not a reference to a secret.",
            hint="References are keyring:NAME, vault:NAME, env:VARIABLE or file:/path; "
            "`platint-tui profiles edit` asks for the secret itself and stores it properly.",
            code="bad_reference",
        )
    return Reference(kind, name)


def override_variable(profile: str, field: str) -> str:
    """The variable that gives this secret in unattended runs: PLATINT_SECRET__STRIPE_LIVE__API_KEY."""
    return f"PLATINT_SECRET__{profile}__{field}".upper().replace("-", "_")


def from_override(environ: Mapping[str, str], profile: str, field: str) -> Secret | None:
    """The value of the override variable, None when unset. Raises CredentialError for an empty one."""
    variable = override_variable(profile, field)
    return from_variable(environ, variable) if variable in environ else None


def from_variable(environ: Mapping[str, str], variable: str) -> Secret:
    """The secret in an environment variable. Raises CredentialError when it is missing, empty or not text."""
    value = environ.get(variable)
    if value is None:
        raise CredentialError(
            f"The environment variable {variable} is not set.",
            hint="Set it for this program, or store the secret with `platint-tui profiles edit`.",
            code="secret_missing",
        )
    if not value:
        raise CredentialError(
            f"The environment variable {variable} is empty.",
            hint="Give it the secret, or unset it.",
            code="secret_missing",
        )
    return checked(value, f"The environment variable {variable}")


def from_file(path: Path, *, private: bool = False) -> Secret:
    """The secret in a file, without one line end at its end.

    A link is followed (mounted secrets are links). `private` refuses a file that others can read; one that
    others can write is always refused. Raises CredentialError with the reason.
    """
    try:
        # Not blocking: a named pipe must not hold the program.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not a path"
        raise CredentialError(
            f"The secret file {path} cannot be read: {reason}.",
            hint="Check the path and its permissions.",
            code="secret_missing",
        ) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise CredentialError(f"The secret file {path} is not a regular file.", code="bad_secret_file")
        loose = found.st_mode & (0o077 if private else 0o022)
        if os.name == "posix" and loose:
            raise CredentialError(
                f"The secret file {path} can be {'read' if private else 'changed'} by other users "
                f"(mode {stat.S_IMODE(found.st_mode):03o}).",
                hint=f"Run: chmod 600 {path}",
                code="loose_mode",
            )
        data = os.read(handle, MAX_BYTES + 1)
    except OSError as error:
        raise CredentialError(f"The secret file {path} cannot be read: {error.strerror}.") from None
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise CredentialError(f"The secret file {path} is larger than {MAX_BYTES // 1024} KiB.")
    text = data.decode("utf-8", "surrogateescape")
    for end in ("\r\n", "\n"):
        if text.endswith(end):
            text = text[: -len(end)]
            break
    return checked(text, f"The secret file {path}")


def checked(value: str, what: str) -> Secret:
    """`value` as a Secret. Raises CredentialError when it is empty, too long or not valid text."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise CredentialError(f"{what} is not valid UTF-8 text.", code="bad_secret") from None
    if not value:
        raise CredentialError(f"{what} is empty.", code="secret_missing")
    if size > MAX_BYTES:
        raise CredentialError(f"{what} is larger than {MAX_BYTES // 1024} KiB.", code="bad_secret")
    return Secret(value)

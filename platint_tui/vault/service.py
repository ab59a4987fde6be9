"""One vault: turns references into secrets, and secrets into references."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret
from platint_tui.vault.encrypted_file import VaultFile
from platint_tui.vault.references import (
    Reference,
    checked,
    from_file,
    from_override,
    from_variable,
    override_variable,
    parse,
)
from platint_tui.vault.system_keyring import SystemKeyring

PASSPHRASE_FILE = "PLATINT_VAULT_PASSPHRASE_FILE"  # noqa: S105 (the name of a variable)
Kind = Literal["keyring", "vault", "memory"]
_MISSING = "secret_missing"


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """What doctor and the settings show. It holds no secret.

    A problem is a sentence, '' when there is none. `file_unlocked` is about this process.
    """

    keyring: str
    keyring_usable: bool
    keyring_problem: str
    file: Path
    file_exists: bool
    file_unlocked: bool
    file_problem: str


class Vault:
    """The secrets of one installation.

    `home` is the folder that the encrypted file is kept in, `environ` the environment that references and
    overrides are read from, `passphrase` asks a person for the file's passphrase (None: nobody is there).
    """

    def __init__(
        self, home: Path, environ: Mapping[str, str], passphrase: Callable[[], str] | None = None
    ) -> None:
        self._environ = environ
        self._passphrase = passphrase
        self._keyring = SystemKeyring(environ)
        self._file = VaultFile(home / "vault", self._ask)
        self._memory: dict[str, Secret] = {}
        self.locks = home / "locks"
        """The folder of the files that keep processes from renewing the same credential at once."""

    async def resolve(self, profile: str, field: str, ref: str) -> Secret:
        """The secret behind a reference. Raises CredentialError with the exact reason and what to do.

        PLATINT_SECRET__<PROFILE>__<FIELD>, when set, wins: the operator's choice for unattended runs.
        """
        return (await self.resolve_many(profile, {field: ref}))[field]

    async def resolve_many(self, profile: str, refs: Mapping[str, str]) -> dict[str, Secret]:
        """The secrets of a profile by field; those in the keyring cost one call together.

        Raises CredentialError for the first one that cannot be had.
        """
        found: dict[str, Secret] = {}
        named: dict[str, dict[str, str]] = {"keyring": {}, "vault": {}}
        for field, text in refs.items():
            try:
                value = from_override(self._environ, profile, field)
                if value is None:
                    reference = parse(text)
                    if reference.kind in named:
                        named[reference.kind][field] = reference.name
                        continue
                    value = self._direct(reference)
            except CredentialError as error:
                raise _of_profile(error, profile, field) from None
            found[field] = value
        for kind, fields in named.items():
            if fields:
                found |= await self._stored(profile, kind, fields)
        return {field: found[field] for field in refs}

    async def resolve_present(
        self, profile: str, fields: Collection[str], refs: Mapping[str, str]
    ) -> dict[str, Secret]:
        """Those of the secrets `fields` that are there: by their reference in `refs`, or in the environment.

        Raises CredentialError when a place cannot be asked (locked, no keyring): then nobody knows.
        """
        wanted = {
            field: refs.get(field) or f"env:{override_variable(profile, field)}"
            for field in fields
            if field in refs or override_variable(profile, field) in self._environ
        }
        try:
            return await self.resolve_many(profile, wanted)
        except CredentialError as error:
            if error.code != _MISSING:
                raise
        found: dict[str, Secret] = {}
        for field, ref in wanted.items():
            try:
                found[field] = await self.resolve(profile, field, ref)
            except CredentialError as error:
                if error.code != _MISSING:
                    raise
        return found

    async def store(self, profile: str, field: str, value: Secret, kind: Kind | None = None) -> str:
        """Keep a secret and return the reference to it. It has been read back or is on disk.

        `kind` None chooses: the keyring when it can be used, else the vault file when there is one. Raises
        CredentialError when neither is there, with the choices; a secret is never kept in plain text.
        """
        checked(value.reveal(), f"The secret of field '{field}'")
        # A name of its own for every value: replacing a credential cannot destroy the one that still works,
        # and two installations of one user do not meet.
        name = f"{profile}/{field}/{secrets.token_hex(4)}"
        if kind == "memory":
            self._memory[name] = value
        elif kind == "vault":
            await asyncio.to_thread(self._file.put, name, value)
        elif kind == "keyring":
            await self._into_keyring(name, value, profile, field)
        else:
            return await self._wherever_it_goes(name, value, profile, field)
        return str(Reference(kind, name))

    async def replace(self, ref: str, value: Secret) -> None:
        """Put a new value in the place of a stored one, under the same reference; on return it is kept.

        Raises CredentialError, also for a reference that is only read (env, file).
        """
        checked(value.reveal(), "The new secret")
        reference = parse(ref)
        if reference.kind == "keyring":
            await self._keyring.put(reference.name, value)
        elif reference.kind == "vault":
            await asyncio.to_thread(self._file.put, reference.name, value)
        elif reference.kind == "memory":
            self._memory[reference.name] = value
        else:
            raise CredentialError(
                "This secret is only read from its place, it cannot be replaced there.", code="secret_place"
            )

    async def delete(self, ref: str) -> None:
        """Forget a stored secret. What is gone already or is only read (env, file) stays as it is."""
        reference = parse(ref)
        if reference.kind == "keyring":
            await self._keyring.remove(reference.name)
        elif reference.kind == "vault" and self._file.exists:
            await asyncio.to_thread(self._file.remove, reference.name)
        elif reference.kind == "memory":
            self._memory.pop(reference.name, None)

    async def init_file(self, passphrase: Secret | str) -> Path:
        """Set up the encrypted file and return its path. Raises CredentialError when there is one already."""
        await asyncio.to_thread(self._file.create, _as_secret(passphrase))
        return self._file.path

    async def unlock_file(self, passphrase: Secret | str) -> None:
        """Unlock the encrypted file for this process. Raises CredentialError when the passphrase is wrong."""
        await asyncio.to_thread(self._file.unlock, _as_secret(passphrase))

    async def status(self) -> VaultStatus:
        """Which stores can be used, and why not; asks nobody for a password."""
        keyring = await self._keyring.state()
        problem = ""
        if self._file.exists and not self._file.unlocked:
            if self._passphrase is None and not self._environ.get(PASSPHRASE_FILE):
                problem = f"The vault file is locked: {PASSPHRASE_FILE} is not set and nobody can be asked."
        elif self._file.exists:
            try:
                await asyncio.to_thread(self._file.get, ())
            except CredentialError as error:
                problem = error.message
        return VaultStatus(
            keyring=keyring.backend,
            keyring_usable=keyring.usable,
            keyring_problem=keyring.problem,
            file=self._file.path,
            file_exists=self._file.exists,
            file_unlocked=self._file.unlocked,
            file_problem=problem,
        )

    # --- inside ----------------------------------------------------------------------------------------

    def _direct(self, reference: Reference) -> Secret:
        if reference.kind == "env":
            return from_variable(self._environ, reference.name)
        if reference.kind == "file":
            return from_file(Path(reference.name).expanduser())
        value = self._memory.get(reference.name)
        if value is None:
            raise CredentialError(
                "The credential was kept for one session only, which has ended.",
                hint="Enter it again with `platint-tui profiles edit`.",
                code="secret_missing",
            )
        return value

    async def _stored(self, profile: str, kind: str, fields: Mapping[str, str]) -> dict[str, Secret]:
        first = next(iter(fields))
        try:
            if kind == "keyring":
                values = await self._keyring.get(fields.values())
            else:
                values = await asyncio.to_thread(self._file.get, list(fields.values()))
        except CredentialError as error:
            if error.code == "keyring_none" and not error.hint:
                error.hint = _choices(profile, first)
            raise _of_profile(error, profile, first) from None
        for field, name in fields.items():
            if name not in values:
                place = "the keyring" if kind == "keyring" else "the vault file"
                missing = CredentialError(
                    f"The credential is gone from {place}.",
                    hint="Enter it again with `platint-tui profiles edit`.",
                    code="secret_missing",
                )
                raise _of_profile(missing, profile, field)
        return {field: values[name] for field, name in fields.items()}

    async def _wherever_it_goes(self, name: str, value: Secret, profile: str, field: str) -> str:
        try:
            await self._into_keyring(name, value, profile, field)
            return str(Reference("keyring", name))
        except CredentialError as error:
            if not self._file.exists:
                unlock = "Unlock it and try again. " if error.code == "keyring_locked" else ""
                error.hint = unlock + _choices(profile, field)
                raise
        await asyncio.to_thread(self._file.put, name, value)
        return str(Reference("vault", name))

    async def _into_keyring(self, name: str, value: Secret, profile: str, field: str) -> None:
        try:
            await self._keyring.put(name, value)
        except CredentialError as error:
            if not error.hint:
                error.hint = _choices(profile, field)
            raise

    def _ask(self) -> Secret:
        """The passphrase of the file: from the file that the environment names, else from the person."""
        named = self._environ.get(PASSPHRASE_FILE)
        if named:
            return from_file(Path(named).expanduser(), private=True)
        if self._passphrase is None:
            raise CredentialError(
                f"The vault file {self._file.path} is locked.",
                hint=f"Put its passphrase into a file that only you can read, named by {PASSPHRASE_FILE}.",
                code="vault_locked",
            )
        return checked(self._passphrase(), "The passphrase")


def _as_secret(passphrase: Secret | str) -> Secret:
    text = passphrase.reveal() if isinstance(passphrase, Secret) else passphrase
    return checked(text, "The passphrase")


def _choices(profile: str, field: str) -> str:
    return (
        "Set up an encrypted vault file with `platint-tui vault init`, or give the secret in "
        f"{override_variable(profile, field)}, or refer to it as env:VARIABLE or file:/path."
    )


def _of_profile(error: CredentialError, profile: str, field: str) -> CredentialError:
    if not error.where:
        error.where = f"profile {profile}, field {field}"
    return error

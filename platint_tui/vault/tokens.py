"""The tokens of a profile's sign-in: one secret of the vault, renewed by one process at a time.

The document is the profile's secret `oauth_token`. A new version takes the place of the old one under the
same reference, so a process that read the profile earlier finds it too. Who renews holds a lock file of the
profile, which the kernel releases the moment its holder dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.core.model import Json, Profile
from platint_tui.core.secret import Secret
from platint_tui.vault.references import parse
from platint_tui.vault.service import Vault

FIELD = "oauth_token"
"""The name of the secret among those of the profile."""
LOCK_SECONDS = 180.0
"""How long a process waits for another one that renews: longer than a token endpoint may take."""
_PAUSE = 0.02


class Profiles(Protocol):
    """Where profiles are stored."""

    async def get(self, name: str) -> Profile | None:
        """The profile called `name` as it is now."""

    async def put(self, profile: Profile) -> None:
        """Store a profile."""


class VaultTokens:
    """The token store of one profile. `folder` holds the lock files of the installation."""

    def __init__(self, vault: Vault, profiles: Profiles, name: str, folder: Path) -> None:
        self._vault = vault
        self._profiles = profiles
        self._name = name
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        self._lock_file = folder / f"{digest}.lock"

    async def load(self) -> Mapping[str, Json] | None:
        """The tokens as they are now, None before anyone signed in. Raises CredentialError."""
        profile = await self._profiles.get(self._name)
        reference = profile.secrets.get(FIELD) if profile is not None else None
        if reference is None:
            return None
        text = (await self._vault.resolve(self._name, FIELD, reference)).reveal()
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CredentialError(
                f"The kept tokens of '{self._name}' cannot be read.",
                hint=f"Sign in again with `platint-tui profiles login {self._name}`.",
                code="token_form",
            )
        return document

    async def save(self, tokens: Mapping[str, Json]) -> None:
        """Keep the tokens; on return they are on disk. Raises CredentialError."""
        profile = await self._profiles.get(self._name)
        if profile is None:
            raise CredentialError(f"There is no profile '{self._name}' any more.", code="profile_gone")
        text = Secret(json.dumps(tokens, separators=(",", ":"), sort_keys=True))
        reference = profile.secrets.get(FIELD)
        if reference is not None and parse(reference).kind in ("keyring", "vault", "memory"):
            await self._vault.replace(reference, text)
            return
        if reference is not None:
            raise CredentialError(
                f"The tokens of '{self._name}' are kept where they cannot be renewed "
                f"({parse(reference).kind}).",
                hint=f"Sign in again with `platint-tui profiles login {self._name}`.",
                code="token_place",
            )
        made = await self._vault.store(self._name, FIELD, text)
        # Read again: a profile that was edited meanwhile keeps its edit.
        profile = await self._profiles.get(self._name) or profile
        await self._profiles.put(replace(profile, secrets={**profile.secrets, FIELD: made}))

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep every other task and process from renewing these tokens.

        Raises TransientError when another one takes too long, ConfigError when the file cannot be opened.
        """
        handle = self._open()
        try:
            await self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _open(self) -> int:
        try:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(self._lock_file, flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The lock of the tokens cannot be opened: {error.strerror}.",
                where=str(self._lock_file),
                hint="Check the permissions of the folder.",
            ) from None

    async def _lock(self, handle: int) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"Another process has been renewing the tokens of '{self._name}' for "
                        f"{LOCK_SECONDS:.0f} s.",
                        code="token_lock",
                    ) from None
            await asyncio.sleep(_PAUSE)

"""Secrets of profiles: where they are kept, and how a reference becomes a value.

A profile stores references only: `keyring:NAME`, `vault:NAME` (the encrypted file), `env:VARIABLE`,
`file:/path`, and `memory:NAME` for one session. There is no plaintext store to fall back to.
"""

from pathlib import Path

from platint_tui.vault.references import override_variable
from platint_tui.vault.service import PASSPHRASE_FILE, Vault, VaultStatus
from platint_tui.vault.tokens import VaultTokens


def vault_file(config: Path) -> Path:
    """Where the encrypted file of an installation is, there or not."""
    return config / "vault" / "secrets.vault"


__all__ = ["PASSPHRASE_FILE", "Vault", "VaultStatus", "VaultTokens", "override_variable", "vault_file"]

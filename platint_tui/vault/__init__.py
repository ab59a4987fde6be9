"""Secrets of profiles: where they are kept, and how a reference becomes a value.

A profile stores references only: `keyring:NAME`, `vault:NAME` (the encrypted file), `env:VARIABLE`,
`file:/path`, and `memory:NAME` for one session. There is no plaintext store to fall back to.
"""

from platint_tui.vault.references import override_variable
from platint_tui.vault.service import Vault, VaultStatus

__all__ = ["Vault", "VaultStatus", "override_variable"]

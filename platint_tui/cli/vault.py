"""`platint-tui vault`: the encrypted file for secrets."""

from __future__ import annotations

import getpass
import os
import sys
from argparse import Namespace

from platint_tui.cli.output import document, line, note
from platint_tui.core.errors import ExitCode, UsageError
from platint_tui.core.paths import find_paths, make_private
from platint_tui.core.secret import Secret
from platint_tui.vault import Vault


async def init(options: Namespace) -> int:
    """Create the encrypted file; the passphrase is asked for twice, or read from stdin."""
    paths = find_paths(os.environ)
    make_private(paths.config)
    if sys.stdin.isatty():
        passphrase = getpass.getpass("New passphrase: ")
        if getpass.getpass("Once more: ") != passphrase:
            raise UsageError("The two passphrases differ; nothing was created.")
    else:
        passphrase = sys.stdin.readline().rstrip("\r\n")
    path = await Vault(paths.config, os.environ, None).init_file(Secret(passphrase))
    note(
        f"Created {path}. Unattended runs read its passphrase from the file named by "
        "PLATINT_VAULT_PASSPHRASE_FILE."
    )
    return ExitCode.DONE


async def status(options: Namespace) -> int:
    """Where secrets can be kept on this machine."""
    found = await Vault(find_paths(os.environ).config, os.environ, None).status()
    if options.json:
        document(
            {
                "keyring": found.keyring,
                "keyring_usable": found.keyring_usable,
                "keyring_problem": found.keyring_problem,
                "file": str(found.file),
                "file_exists": found.file_exists,
                "file_problem": found.file_problem,
            }
        )
        return ExitCode.DONE
    line(f"keyring     {found.keyring if found.keyring_usable else 'not usable: ' + found.keyring_problem}")
    there = "there" if found.file_exists else "not set up (platint-tui vault init)"
    line(f"vault file  {found.file}: {there} {found.file_problem}".rstrip())
    line("environment PLATINT_SECRET__<PROFILE>__<FIELD>")
    return ExitCode.DONE

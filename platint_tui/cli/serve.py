"""`platint-tui serve`: the engine as a process of its own."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from platint_tui.cli.output import note
from platint_tui.cli.session import ask_passphrase
from platint_tui.core.paths import find_paths
from platint_tui.engine.receiver import ReceiverOptions
from platint_tui.engine.receiver.options import listening
from platint_tui.engine.serve import serve as run_engine
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.vault import Vault


def _passphrase(options: Namespace) -> Callable[[], str] | None:
    if options.passphrase_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
        return lambda: text
    return ask_passphrase if sys.stdin.isatty() else None


def _file(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


async def serve(options: Namespace) -> int:
    """Work on runs, replays and commands until a signal (or idleness, when asked)."""
    paths = find_paths(os.environ)
    registry = Registry(default_dirs(getattr(options, "connectors", None), paths.connectors, os.environ))
    vault = Vault(paths.config, os.environ, _passphrase(options))
    receiver = ReceiverOptions(
        listen=options.listen or "",
        public_url=options.public_url or "",
        expose=options.expose,
        cert=_file(options.tls_cert),
        key=_file(options.tls_key),
    )
    # Wrong values are told now, not by an engine that is running.
    listening(receiver, os.environ, None)
    note(f"Starting the engine of {paths.database}; ctrl+c stops it at a page border.")
    return await run_engine(
        paths,
        registry,
        vault,
        until_idle=options.until_idle,
        takeover=options.takeover,
        receiver=receiver,
    )

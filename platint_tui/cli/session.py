"""What commands share: the opened installation, asking a person, and exit codes of runs."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator

from platint_tui.core.errors import UsageError
from platint_tui.services.workspace import Workspace, open_workspace


@contextlib.asynccontextmanager
async def opened(options: Namespace) -> AsyncIterator[Workspace]:
    """The installation for the length of a command."""
    workspace = await open_workspace(
        connectors=getattr(options, "connectors", None),
        read_only=options.read_only,
        passphrase=ask_passphrase if sys.stdin.isatty() else None,
    )
    try:
        yield workspace
    finally:
        await workspace.close()


def ask_passphrase() -> str:
    """The passphrase of the vault file, without echo."""
    return getpass.getpass("Passphrase of the vault file: ")


def confirm(question: str, *, yes: bool, word: str = "yes") -> None:
    """Go on only when the person types `word`, or said --yes. Raises UsageError otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is there to answer.", hint="Say --yes to do it.")
    sys.stderr.write(f"{question} Type {word} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise UsageError("Nothing was done.")


def pairs(items: list[str], what: str) -> dict[str, str]:
    """`ID=VALUE` arguments as a dict. Raises UsageError."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            # Not repeated: it may be a secret in the wrong place.
            raise UsageError(f"An argument is not {what}.", hint=f"Write it as {what}.")
        found[name] = value
    return found


def tty() -> bool:
    """Whether narration goes to a terminal that can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

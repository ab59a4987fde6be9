"""Asking for the values of a profile: plain ones in the open, secrets without echo or from stdin."""

from __future__ import annotations

import getpass
import sys

from platint_tui.cli.output import note
from platint_tui.core.secret import Secret
from platint_tui.manifest.documents import is_whole
from platint_tui.manifest.form import MAX_SECRET, FieldView
from platint_tui.services.workspace import Workspace


def ask(prompt: str, help: str) -> str:
    """A line from the person at the terminal; the prompt goes to stderr, under the help."""
    if help:
        note(f"  {help}")
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n")


def ask_secret(
    workspace: Workspace, profile: str, field: FieldView, *, required: bool
) -> Secret | str | None:
    """A secret: the environment variable that overrides it (as a reference), else what is typed or comes on
    stdin. A secret is one line; a PEM goes on until its END line, a key file until its JSON is complete. None
    when nothing was given.
    """
    from platint_tui.vault import override_variable

    variable = override_variable(profile, field.id)
    if workspace.environ.get(variable):
        return f"env:{variable}"
    prompt = f"{field.label} (not shown{'' if required else ', empty for none'}): "
    if not sys.stdin.isatty():
        text = _lines(field.document)
    elif field.document:
        text = _hidden_lines(prompt, field.document)
    else:
        text = getpass.getpass(prompt)
    return Secret(text) if text else None


def _lines(document: str) -> str:
    """A line of stdin, or all the lines of a document."""
    text = sys.stdin.readline()
    while document and text.strip() and not is_whole(document, text) and len(text) <= MAX_SECRET:
        line = sys.stdin.readline()
        if not line:
            break
        text += line
    return text.strip() if document else text.rstrip("\r\n")


def _hidden_lines(prompt: str, document: str) -> str:
    """The lines of a document that is pasted into the terminal, without echo."""
    import termios

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    quiet = list(before)
    quiet[3] &= ~termios.ECHO
    # Not flushed: the lines of a paste may be there already.
    termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
    try:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        return _lines(document)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        sys.stderr.write("\n")

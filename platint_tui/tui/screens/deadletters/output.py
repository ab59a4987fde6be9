"""What leaves the inbox: copies, curl lines, files, and the way out to an editor."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import DeadLetter, Issue
from platint_tui.core.redaction import SENSITIVE_NAME
from platint_tui.core.text import clean
from platint_tui.services.deadletters import summary

_PASSED = ("PATH", "HOME", "TERM", "COLORTERM", "LANG", "LANGUAGE", "SHELL", "USER", "LOGNAME", "DISPLAY")
_PASSED_PREFIXES = ("LC_", "XDG_", "WAYLAND_", "VIM", "EDITOR", "NVIM_")


def as_json(letter: DeadLetter, payload: str | None = None) -> str:
    """A dead letter as indented JSON, harmless in a terminal; with its payload's text where it is given."""
    document = dict(summary(letter))
    if payload is not None:
        document["payload"] = payload
    return clean(json.dumps(document, ensure_ascii=True, indent=2), lines=True)


def issue_json(issue: Issue) -> str:
    """An issue as indented JSON, harmless in a terminal."""
    return clean(json.dumps(asdict(issue), ensure_ascii=True, indent=2), lines=True)


def chosen_path(text: str) -> Path:
    """A path as a person types it: `~` is the home folder, a bare name is in the current folder."""
    return Path.cwd() / Path(text).expanduser()


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The editor as an argument list. Raises ConfigError when none is named or found."""
    wanted = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        command = shlex.split(wanted)
    except ValueError:
        raise ConfigError("$EDITOR cannot be read as a command.", hint="Check its quotes.") from None
    if not command:
        raise ConfigError("No editor is named.", hint="Set $EDITOR, or edit here with e.")
    if shutil.which(command[0], path=environ.get("PATH")) is None:
        raise ConfigError(f"The editor '{command[0]}' is not found.", hint="Set $EDITOR to one that is.")
    return command


def editor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What an editor needs of the environment, and nothing that could be a secret."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and not SENSITIVE_NAME.search(name)
    }


def edit_outside(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    """Let the person's editor change `text` in a private file under `folder`, and return what was saved.

    The folder is 0700, the file 0600, and both are gone when this returns. Raises ConfigError.
    """
    command = editor_command(environ)
    try:
        place = Path(tempfile.mkdtemp(prefix="edit-", dir=folder))
    except OSError as error:
        raise ConfigError(f"No private folder can be made in {folder}: {error.strerror}.") from None
    try:
        path = place / "payload.json"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        ended = subprocess.run([*command, str(path)], env=editor_environment(environ), check=False)
        if ended.returncode:
            raise ConfigError(f"The editor ended with code {ended.returncode}; nothing was changed.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("What the editor saved is no UTF-8; nothing was changed.") from None
    except OSError as error:
        raise ConfigError(f"The editor cannot be used: {error.strerror}; nothing was changed.") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)

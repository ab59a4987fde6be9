"""The program that talks to the system keyring, so that a keyring that hangs can be killed.

Run by its path, it stands alone: the standard library and `keyring`, nothing of this package. It reads one
JSON request from stdin and writes JSON lines to stdout: `{"prompt": true}` when the person may now be asked
for a password, then one answer. Secrets pass through these pipes only.

Only backends on the list below are used, made here: the automatic choice of `keyring` may store plaintext
(keyrings.alt), lose a secret (null) or ask on the terminal (chainer).
"""

from __future__ import annotations

import configparser
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

SERVICE = "platint-tui"
LINUX = ("keyring.backends.SecretService.Keyring", "keyring.backends.libsecret.Keyring")
KWALLET = ("keyring.backends.kwallet.DBusKeyring", "keyring.backends.kwallet.DBusKeyringKWallet4")
MAC = ("keyring.backends.macOS.Keyring",)
WINDOWS = ("keyring.backends.Windows.WinVaultKeyring",)
NAMES = {
    LINUX[0]: "Secret Service",
    LINUX[1]: "libsecret",
    KWALLET[0]: "KWallet",
    KWALLET[1]: "KWallet 4",
    MAC[0]: "macOS Keychain",
    WINDOWS[0]: "Windows Credential Manager",
}
# What one item may hold, in UTF-16 units; longer values are split over several items.
LIMITS = {WINDOWS[0]: 1280}
CHUNKED = "platint-chunks:1:"


class Backend(Protocol):
    """What is used of a keyring backend."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class HelperError(Exception):
    """A failure with the code that the caller makes a sentence of."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


# --- which backend ---------------------------------------------------------------------------------------


def candidates(environ: Mapping[str, str], platform: str) -> tuple[list[str], str]:
    """Class paths to try in order, and the class that was asked for but is not allowed ('' without one)."""
    if platform == "darwin":
        allowed = [*MAC]
    elif platform == "win32":
        allowed = [*WINDOWS]
    elif "KDE" in environ.get("XDG_CURRENT_DESKTOP", "").upper():
        allowed = [*KWALLET, *LINUX]
    else:
        allowed = [*LINUX, *KWALLET]
    wanted = environ.get("PYTHON_KEYRING_BACKEND", "") or configured()
    if wanted in allowed:
        return [wanted, *(item for item in allowed if item != wanted)], ""
    return allowed, wanted


def configured() -> str:
    """The class that keyringrc.cfg names. The file is only read: its `keyring-path` could load any code."""
    from keyring.util import platform_

    parser = configparser.RawConfigParser()
    try:
        parser.read(os.path.join(platform_.config_root(), "keyringrc.cfg"), encoding="utf-8")  # noqa: PTH118
        return parser.get("backend", "default-keyring", fallback="").strip()
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""


def choose(paths: Sequence[str]) -> tuple[str, Backend]:
    """The first backend that works here. Raises HelperError("no_backend") with the first one's reason."""
    reasons = []
    for path in paths:
        module, _, name = path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
            if float(found.priority) <= 0:
                raise RuntimeError("its priority is not positive")
            backend: Backend = found()
        except Exception as error:  # any reason of a backend not to work here is one
            reasons.append(str(error) or type(error).__name__)
            continue
        return path, backend
    raise HelperError("no_backend", reasons[0] if reasons else "")


def may_prompt(path: str) -> bool:
    """Whether the next call may open a window that asks the person for a password."""
    if path != LINUX[0]:
        return path not in WINDOWS
    return collection_state() != "open"


def collection_state() -> str:
    """Of the Secret Service's default collection: open, locked, or missing (a first use creates it)."""
    import secretstorage

    connection = secretstorage.dbus_init()
    try:
        locked = secretstorage.Collection(connection).is_locked()
        return "locked" if locked else "open"
    except secretstorage.exceptions.ItemNotFoundException:
        return "missing"
    finally:
        connection.close()


# --- items, split where a backend has a limit ---------------------------------------------------------------


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def split(value: str, limit: int) -> list[str]:
    """Pieces of at most `limit` UTF-16 units, none of which cuts a character."""
    pieces, start, size = [], 0, 0
    for index, character in enumerate(value):
        width = 1 + (character > "\uffff")
        if size + width > limit:
            pieces.append(value[start:index])
            start, size = index, 0
        size += width
    return [*pieces, value[start:]]


def digest(value: str) -> str:
    """What the head of a split value must agree with."""
    return hashlib.sha256(value.encode()).hexdigest()


def head_of(value: str | None) -> tuple[int, str] | None:
    """Count and digest when `value` is the head of a split value."""
    if value is None or not value.startswith(CHUNKED):
        return None
    count, _, check = value.removeprefix(CHUNKED).partition(":")
    if not count.isdecimal() or not 1 <= int(count) <= 1000:
        raise HelperError("damaged")
    return int(count), check


def read(backend: Backend, name: str) -> str | None:
    """The value of an item, None without one. Raises HelperError when pieces are missing or changed."""
    value = backend.get_password(SERVICE, name)
    head = head_of(value)
    if head is None:
        return value
    count, check = head
    pieces = [backend.get_password(SERVICE, f"{name}#{number}") for number in range(1, count + 1)]
    joined = "".join(piece for piece in pieces if piece is not None)
    if None in pieces or digest(joined) != check:
        raise HelperError("damaged")
    return joined


def write(backend: Backend, name: str, value: str, limit: int | None) -> None:
    """Write an item and read it back. Raises HelperError("not_kept") when another value comes back."""
    if (limit is not None and units(value) > limit) or value.startswith(CHUNKED):
        pieces = split(value, limit or units(value))
        for number, piece in enumerate(pieces, 1):
            backend.set_password(SERVICE, f"{name}#{number}", piece)
        # The head comes last: without it no piece is ever read.
        backend.set_password(SERVICE, name, f"{CHUNKED}{len(pieces)}:{digest(value)}")
    else:
        backend.set_password(SERVICE, name, value)
    if read(backend, name) != value:
        delete(backend, name)
        raise HelperError("not_kept")


def delete(backend: Backend, name: str) -> None:
    """Delete an item with its pieces; nothing happens when there is none."""
    value = backend.get_password(SERVICE, name)
    if value is None:
        return
    try:
        head = head_of(value)
    except HelperError:
        head = None
    backend.delete_password(SERVICE, name)
    for number in range(1, head[0] + 1 if head else 1):
        if backend.get_password(SERVICE, f"{name}#{number}") is not None:
            backend.delete_password(SERVICE, f"{name}#{number}")


# --- one request -----------------------------------------------------------------------------------------


def handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out `{"op": "probe" | "get" | "set" | "delete", "names": [...], "value": ...}`."""
    paths, ignored = candidates(os.environ, sys.platform)
    try:
        path, backend = choose(paths)
    except HelperError as problem:
        return {"error": problem.code, "detail": problem.detail, "ignored": ignored}
    answer: dict[str, Any] = {"backend": NAMES[path], "ignored": ignored}
    if request["op"] == "probe":
        state = collection_state() if path == LINUX[0] else "open"
        return answer if state == "open" else answer | {"error": "locked" if state == "locked" else "fresh"}
    if may_prompt(path):
        emit({"prompt": True})
    if request["op"] == "get":
        answer["values"], answer["damaged"] = {}, []
        for name in request["names"]:
            try:
                answer["values"][name] = read(backend, name)
            except HelperError:
                answer["damaged"].append(name)
    elif request["op"] == "set":
        write(backend, request["names"][0], request["value"], LIMITS.get(path))
    else:
        for name in request["names"]:
            delete(backend, name)
    return answer


def guarded(request: Mapping[str, Any]) -> dict[str, Any]:
    """`handle`, with every failure as an answer. Details name a kind of error, never a value."""
    try:
        return handle(request)
    except HelperError as problem:
        return {"error": problem.code, "detail": problem.detail}
    except Exception as error:  # the answer to any failure of a keyring is a sentence, not a traceback
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"KeyringLocked", "InitError", "LockedException", "PromptDismissedException"}:
            return {"error": "locked", "detail": type(error).__name__}
        refused = bool(kinds & {"KeyringError"})
        return {"error": "refused" if refused else "failed", "detail": type(error).__name__}


def emit(message: Mapping[str, Any]) -> None:
    """One line to the caller."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the request, answer it. Secrets pass through this process: it leaves no core file."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    emit(guarded(json.loads(sys.stdin.buffer.read())))
    return 0


if __name__ == "__main__":
    sys.exit(main())

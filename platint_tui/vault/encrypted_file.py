"""The vault file: secrets encrypted with a key made from a passphrase.

The file is JSON. `kdf` says how the key is made (scrypt), `check` proves the passphrase, `entries` holds each
secret under AES-256-GCM with its name authenticated, and `head`, encrypted too, lists the digest of every
entry and a generation that grows with each write. So an entry that was swapped, removed, added or put back
from an older version of the file does not fit the head, and nothing is read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret

FORMAT = "platint-vault"
VERSION = 1
SCRYPT_N = 2**17
MIN_PASSPHRASE = 8
_MAX_FILE = 16 * 1024 * 1024
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Content:
    """A file that was read and found whole."""

    kdf: Mapping[str, Any]
    check: Mapping[str, str]
    generation: int
    entries: Mapping[str, Mapping[str, str]]


class VaultFile:
    """One encrypted file, `folder`/secrets.vault. Blocking: call it from a thread.

    `ask` gives the passphrase when it is needed; the derived key is kept for the life of this object.
    Every method raises CredentialError with one sentence when the file is missing, locked, loose or changed.
    """

    def __init__(self, folder: Path, ask: Callable[[], Secret]) -> None:
        self.folder = folder
        self.path = folder / "secrets.vault"
        self._ask = ask
        self._key: bytes | None = None
        self._salt = ""
        self._generation = 0
        self._guard = threading.RLock()

    @property
    def exists(self) -> bool:
        """Whether there is a vault file, usable or not."""
        return os.path.lexists(self.path)

    @property
    def unlocked(self) -> bool:
        """Whether this process holds the key."""
        return self._key is not None

    def create(self, passphrase: Secret) -> None:
        """Make an empty vault file (0600 in a folder of 0700)."""
        if len(passphrase.reveal()) < MIN_PASSPHRASE:
            raise CredentialError(
                f"The passphrase is shorter than {MIN_PASSPHRASE} characters.", code="vault_passphrase"
            )
        with self._guard, self._write_lock(make=True):
            if self.exists:
                raise CredentialError(f"There is already a vault file {self.path}.", code="vault_exists")
            salt = base64.b64encode(secrets.token_bytes(32)).decode()
            kdf = {"name": "scrypt", "n": SCRYPT_N, "r": 8, "p": 1, "salt": salt}
            key = _derive(passphrase, kdf)
            check = _seal(key, _bind("check", kdf), b"platint")
            self._write(key, _Content(kdf, check, 0, {}))
            self._key, self._salt = key, salt

    def unlock(self, passphrase: Secret) -> None:
        """Derive and keep the key. Raises CredentialError for a wrong passphrase and a changed file."""
        with self._guard:
            document = self._load()
            key = self._prove(document, passphrase)
            self._content(document, key)
            self._key, self._salt = key, document["kdf"]["salt"]

    def get(self, names: Iterable[str]) -> dict[str, Secret]:
        """The values of those entries that exist; the whole file is verified first."""
        with self._guard:
            key, content = self._open()
            return {
                name: Secret(_unseal(key, _bind(f"entry/{name}"), content.entries[name]).decode())
                for name in names
                if name in content.entries
            }

    def put(self, name: str, value: Secret) -> None:
        """Add or replace an entry; on return it is on disk."""
        with self._writing() as (key, content):
            sealed = _seal(key, _bind(f"entry/{name}"), value.reveal().encode())
            self._write(key, _replaced(content, {**content.entries, name: sealed}))

    def remove(self, name: str) -> None:
        """Remove an entry; nothing happens when it is gone already."""
        with self._writing() as (key, content):
            if name in content.entries:
                rest = {other: entry for other, entry in content.entries.items() if other != name}
                self._write(key, _replaced(content, rest))

    # --- reading ---------------------------------------------------------------------------------------

    def _open(self) -> tuple[bytes, _Content]:
        document = self._load()
        if self._key is None or document["kdf"]["salt"] != self._salt:
            key = self._prove(document, self._ask())
            content = self._content(document, key)
            self._key, self._salt = key, document["kdf"]["salt"]
            return key, content
        return self._key, self._content(document, self._key)

    def _load(self) -> dict[str, Any]:
        """The document in the file, its shape checked, nothing decrypted."""
        try:
            document = json.loads(self._read_bytes())
            shape = (document["format"], document["version"])
            kdf = document["kdf"]
            known = {name: kdf[name] for name in ("name", "n", "r", "p")}
            strings = [kdf["salt"], *document["check"].values(), *document["head"].values()]
            strings += [text for entry in document["entries"].values() for text in entry.values()]
            fine = all(isinstance(text, str) for text in strings)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._changed("it is cut short or not a vault file") from None
        if shape != (FORMAT, VERSION):
            raise CredentialError(
                f"The vault file {self.path} was written by another version of the program.",
                hint="Update the program.",
                code="vault_version",
            )
        if not fine or known != {"name": "scrypt", "n": SCRYPT_N, "r": 8, "p": 1}:
            raise self._changed("the way its key is made is not the program's own")
        return dict(document)

    def _read_bytes(self) -> bytes:
        self._check_folder()
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreadable(error) from None
        with os.fdopen(handle, "rb") as file:
            self._check_owner(os.fstat(file.fileno()), self.path, "600")
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise self._changed("it is far too large")
        return data

    def _unreadable(self, error: OSError) -> CredentialError:
        if error.errno == errno.ENOENT:
            return CredentialError(
                f"There is no vault file {self.path}.",
                hint="Set one up with `platint-tui vault init`, or restore it.",
                code="vault_missing",
            )
        if error.errno == errno.ELOOP:
            return CredentialError(
                f"The vault file {self.path} is a symbolic link.",
                hint="Put the file itself there.",
                code="vault_link",
            )
        return CredentialError(f"The vault file {self.path} cannot be read: {error.strerror}.")

    def _check_folder(self) -> None:
        try:
            found = os.lstat(self.folder)
        except OSError as error:
            raise self._unreadable(error) from None
        if not stat.S_ISDIR(found.st_mode):
            raise CredentialError(f"{self.folder} is not a folder of its own.", code="vault_link")
        self._check_owner(found, self.folder, "700")

    def _check_owner(self, found: os.stat_result, path: Path, mode: str) -> None:
        if os.name != "posix":
            return
        if found.st_uid != os.geteuid():
            raise CredentialError(
                f"{path} belongs to another user.",
                hint="Run the program as its owner.",
                code="vault_owner",
            )
        if found.st_mode & 0o077:
            raise CredentialError(
                f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):03o}).",
                hint=f"Run: chmod {mode} {path}",
                code="vault_mode",
            )
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
            raise CredentialError(f"{path} is not a regular file.", code="vault_link")

    def _prove(self, document: Mapping[str, Any], passphrase: Secret) -> bytes:
        key = _derive(passphrase, document["kdf"])
        try:
            _unseal(key, _bind("check", document["kdf"]), document["check"])
        except _SealError:
            raise CredentialError(
                f"The passphrase is wrong for the vault file {self.path}.",
                hint="Try again; if you are sure of it, the head of the file was damaged: restore a backup.",
                code="vault_passphrase",
            ) from None
        return key

    def _content(self, document: Mapping[str, Any], key: bytes) -> _Content:
        """The verified content. Raises CredentialError when anything does not fit the head."""
        try:
            _unseal(key, _bind("check", document["kdf"]), document["check"])
            head = json.loads(_unseal(key, _bind("head", document["kdf"]), document["head"]))
        except (_SealError, ValueError):
            raise self._changed("its head does not verify") from None
        entries: Mapping[str, Mapping[str, str]] = document["entries"]
        if set(entries) != set(head["entries"]):
            raise self._changed("entries were added or removed")
        try:
            for name, entry in entries.items():
                if _digest(entry) != head["entries"][name]:
                    raise _SealError
                _unseal(key, _bind(f"entry/{name}"), entry)
        except _SealError:
            raise self._changed("an entry is not the one that was stored last") from None
        if head["generation"] < self._generation:
            raise self._changed("an older copy was put in its place")
        self._generation = head["generation"]
        return _Content(document["kdf"], document["check"], head["generation"], entries)

    def _changed(self, how: str) -> CredentialError:
        return CredentialError(
            f"The vault file {self.path} was changed outside the program: {how}.",
            hint="Nothing was read from it. Restore a backup, or remove it and enter the secrets again.",
            code="vault_changed",
        )

    # --- writing ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[bytes, _Content]]:
        """The content, opened for a change. The passphrase is asked for before others are kept out."""
        with self._guard:
            self._open()
            with self._write_lock():
                yield self._open()

    @contextlib.contextmanager
    def _write_lock(self, make: bool = False) -> Iterator[None]:
        """Hold the folder's lock file, so that two programs do not overwrite each other's entries."""
        try:
            if make:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC
            handle = os.open(self.folder / "lock", flags, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            _lock(handle, self.path)
            yield
        finally:
            os.close(handle)

    def _write(self, key: bytes, content: _Content) -> None:
        generation = content.generation + 1
        listed = {name: _digest(entry) for name, entry in content.entries.items()}
        head = json.dumps({"generation": generation, "entries": listed}).encode()
        document = {
            "format": FORMAT,
            "version": VERSION,
            "kdf": content.kdf,
            "check": content.check,
            "head": _seal(key, _bind("head", content.kdf), head),
            "entries": content.entries,
        }
        try:
            _replace_file(self.path, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise self._unwritable(error) from None
        self._generation = generation

    def _unwritable(self, error: OSError) -> CredentialError:
        return CredentialError(
            f"The vault file {self.path} cannot be written: {error.strerror}. It is as it was before.",
            hint="Check the disk and the permissions.",
            code="vault_write",
        )


class _SealError(Exception):
    """A seal does not fit."""


def _replaced(content: _Content, entries: Mapping[str, Mapping[str, str]]) -> _Content:
    return _Content(content.kdf, content.check, content.generation, entries)


def _derive(passphrase: Secret, kdf: Mapping[str, Any]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        salt = base64.b64decode(kdf["salt"], validate=True)
    except binascii.Error:
        salt = b""
    text = unicodedata.normalize("NFC", passphrase.reveal()).encode()
    return Scrypt(salt=salt, length=32, n=kdf["n"], r=kdf["r"], p=kdf["p"]).derive(text)


def _bind(what: str, kdf: Mapping[str, Any] | None = None) -> bytes:
    """The associated data of a seal: the format, what is sealed, and for the head how its key is made."""
    return json.dumps([FORMAT, VERSION, what, kdf], sort_keys=True).encode()


def _seal(key: bytes, bound: bytes, data: bytes) -> dict[str, str]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key).encrypt(nonce, data, bound)
    return {"nonce": base64.b64encode(nonce).decode(), "data": base64.b64encode(sealed).decode()}


def _unseal(key: bytes, bound: bytes, sealed: Mapping[str, str]) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        nonce = base64.b64decode(sealed["nonce"], validate=True)
        data = base64.b64decode(sealed["data"], validate=True)
        return AESGCM(key).decrypt(nonce, data, bound)
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise _SealError from None


def _digest(entry: Mapping[str, str]) -> str:
    text = f"{entry.get('nonce')}:{entry.get('data')}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _lock(handle: int, path: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CredentialError(
                    f"Another program has been writing the vault file {path} for {_LOCK_SECONDS:.0f} s.",
                    hint="Close it and try again.",
                    code="vault_busy",
                ) from None
            time.sleep(0.05)


def _replace_file(path: Path, data: bytes) -> None:
    """Put `data` in place of `path` so that a crash leaves the old file or the new one, whole and on disk."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC
    handle = os.open(fresh, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

"""SQLite's errors as sentences for a person, and which of them end all writing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from platint_tui.core.errors import PlatintError, StoreError

_SENTENCES: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_FULL: (
        "disk_full",
        "The disk is full: the database could not grow, nothing of this step was written.",
        "Free some space, then run it again; it goes on from the last committed page.",
    ),
    sqlite3.SQLITE_BUSY: (
        "busy",
        "The database is locked by another process that does not let go.",
        "Look for a backup tool or a database shell that has it open, then try again.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "busy",
        "The database is locked by another connection.",
        "Try again.",
    ),
    sqlite3.SQLITE_READONLY: (
        "read_only",
        "The database cannot be written.",
        "Check the permissions of the file and its folder, and that the file system is not read-only.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot_open",
        "The database cannot be opened.",
        "Check that its folder exists and can be written, and how many files are open (ulimit -n).",
    ),
    sqlite3.SQLITE_PERM: (
        "cannot_open",
        "The database cannot be opened: permission denied.",
        "Check the permissions of the file and its folder.",
    ),
    sqlite3.SQLITE_AUTH: (
        "cannot_open",
        "The database refused access.",
        "Check the permissions of the file and its folder.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "damaged",
        "The database file is damaged.",
        "Stop the program, copy the file somewhere safe, and restore a backup.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "not_a_database",
        "The file is not a database, or its beginning is damaged.",
        "Move it away or restore a backup; it was not changed.",
    ),
    sqlite3.SQLITE_IOERR: (
        "io_error",
        "Reading or writing the database failed (input/output error).",
        "Check the disk and its free space; copy the database to another disk before you go on.",
    ),
    sqlite3.SQLITE_NOMEM: ("memory", "There is not enough memory for the database.", "Free some memory."),
    sqlite3.SQLITE_TOOBIG: (
        "too_big",
        "A value is too large for the database.",
        "Lower the size that a record may have (max_body) in the manifest.",
    ),
}

_FATAL_PRIMARY = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FATAL = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_CLOSE})


def primary_code(error: BaseException) -> int:
    """The primary result code of a sqlite3 error; 0 when there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_fatal(error: BaseException) -> bool:
    """Whether nothing may be written any more: after a failed fsync nobody knows what is on the disk."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in _FATAL or code & 0xFF in _FATAL_PRIMARY


def translate(error: BaseException, path: Path) -> PlatintError:
    """The error as a StoreError with what to do; errors of the program pass as they are."""
    if isinstance(error, PlatintError):
        return error
    if isinstance(error, UnicodeError | OverflowError):
        return StoreError(
            f"A value cannot be stored: {error}.",
            hint="Texts must be Unicode, numbers at most 64 bits.",
            where=str(path),
            code="value",
        )
    code, message, hint = _SENTENCES.get(
        primary_code(error), ("store", f"The database refused a step: {error}.", "")
    )
    if "no such table" in str(error) or "no such column" in str(error):
        message = f"The database lacks something that this version needs ({error})."
        hint = "Another version may have changed it: restart the program."
    name = getattr(error, "sqlite_errorname", "")
    if name and primary_code(error) in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        message = f"{message[:-1]} [{name}]."
    return StoreError(message, hint=hint, where=str(path), code=code)

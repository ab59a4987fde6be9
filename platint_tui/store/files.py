"""The database as a file: private to its owner, created whole or not at all, never a symlink."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platint_tui.core.errors import ConfigError, PlatintError, StoreError

MAGIC = b"SQLite format 3\x00"
_SIDE_FILES = ("-wal", "-shm")


def absolute(path: Path) -> Path:
    """`path` without a relative beginning; a symlink in it stays, so that it can be noticed."""
    return path.absolute()


def prepare_folder(folder: Path) -> None:
    """Create the folder (0700) when it is missing. Raises ConfigError when that is not possible."""
    try:
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        if not folder.is_dir():
            raise ConfigError(
                "This should be a folder, but it is a file.",
                where=str(folder),
                hint="Move it away, or point PLATINT_HOME at another folder.",
            )
    except OSError as error:
        raise _folder_error(folder, error) from None


def create_empty(path: Path) -> None:
    """Create an empty file for the owner alone (0600 whatever the umask); it must not exist.

    SQLite gives its own mode to the files beside it, so they are private as well. Raises ConfigError.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _folder_error(path.parent, error) from None
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def publish(made: Path, path: Path) -> bool:
    """Give a finished database its name, durably; False when another process was faster (its file stays)."""
    try:
        handle = os.open(made, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(made, path, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links.
            if path.exists():
                return False
            made.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _folder_error(path.parent, error) from None
    finally:
        for name in (made, *(Path(f"{made}{suffix}") for suffix in _SIDE_FILES)):
            name.unlink(missing_ok=True)
    _EXAMINED.add(_identity(path.stat()))
    return True


def exists(path: Path) -> bool:
    """Whether something is at `path`, checked to be a database file that only its owner can read.

    Raises ConfigError for a symlink, a folder, an empty file and a file that is no SQLite database,
    StoreError when it cannot be read.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _folder_error(path.parent, error) from None
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(
            "The database is a symbolic link, which could lead anywhere.",
            where=str(path),
            hint="Put the file itself there, or point PLATINT_HOME at the folder where it is.",
        )
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError("The database is not a file.", where=str(path), hint="Move it away.")
    if found.st_size == 0:
        raise ConfigError(
            "The database is empty (0 bytes): it was cut off, or another program made it.",
            where=str(path),
            hint="Restore a backup, or move the file away to begin anew.",
        )
    # Closing any descriptor of a file drops every POSIX lock that this process holds on it, also those of SQLite
    # (https://www.sqlite.org/howtocorrupt.html, 2.2): a file that is open here is not opened a second time.
    if _identity(found) not in _EXAMINED:
        _check_magic(path)
        _EXAMINED.add(_identity(found))
    _tighten(path)
    return True


_EXAMINED: set[tuple[int, int]] = set()
"""The databases that this process has made or looked into, and may have open."""


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _check_magic(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(
            f"The database cannot be read: {error.strerror}.",
            where=str(path),
            hint="Check who owns the file and its permissions.",
            code="cannot_open",
        ) from None
    try:
        head = os.read(handle, len(MAGIC))
    finally:
        os.close(handle)
    if head != MAGIC:
        raise ConfigError(
            "The file is not a SQLite database; it was left as it is.",
            where=str(path),
            hint="Move it away to begin anew, or restore a backup.",
            code="not_a_database",
        )


def _tighten(path: Path) -> None:
    """Take permissions of group and others away, where the file is ours."""
    for name in (path, *(Path(f"{path}{suffix}") for suffix in _SIDE_FILES)):
        try:
            found = name.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                name.chmod(0o600)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(
                f"Others may read the database, and that cannot be changed: {error.strerror}.",
                where=str(name),
                hint="Give the file to your user and chmod it to 600.",
            ) from None


def unclean(path: Path) -> bool:
    """Whether a log file with content lies beside the database: it is in use, or was not closed properly."""
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except OSError:
        return False


class Identity:
    """Which file was opened, to notice that it was deleted or replaced: SQLite would write into the void."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _identity(path.stat())

    def check(self) -> None:
        """Raises StoreError (code `replaced`) when `path` is no longer the file that was opened."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - called for each transaction; this is the cheaper one
            if (found.st_dev, found.st_ino) == self._identity:
                return
        except OSError:
            pass
        raise StoreError(
            "The database file was deleted or replaced while it was open; nothing more is written.",
            where=str(self._path),
            hint="Restart the program; restore the file or a backup first if it should not begin anew.",
            code="replaced",
        )


def _folder_error(folder: Path, error: OSError) -> PlatintError:
    if error.errno in {28, 122}:  # ENOSPC, EDQUOT
        return StoreError(
            "The disk is full: the database could not be created.",
            where=str(folder),
            hint="Free some space and try again.",
            code="disk_full",
        )
    return ConfigError(
        f"The folder of the database cannot be used: {error.strerror}.",
        where=str(folder),
        hint="Give it write permission, or point PLATINT_HOME at a folder that you may write.",
        code="folder",
    )

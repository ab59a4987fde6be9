"""The engine lock: one engine per installation, released by the kernel the moment its holder dies.

The lock is a `flock`; what is written in the file is only for messages, and to notice a holder on another
machine that shares the folder, where a flock may not reach.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from platint_tui.core.errors import ConfigError

_OTHER_HOST_FRESH = 30.0


class EngineBusyError(ConfigError):
    """Another engine holds the lock; `holder` says which."""

    code = "engine_running"

    def __init__(self, message: str, *, holder: Holder | None, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, as it wrote down itself. `boot` names the boot of the machine's kernel."""

    pid: int
    host: str
    boot: str
    started_ms: int
    worker: str

    def describe(self) -> str:
        """For a message: process, machine and since when."""
        since = datetime.fromtimestamp(self.started_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host}, since {since}"


def boot_id() -> str:
    """A name for this boot of this machine's kernel; empty where the system offers none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_holder(path: Path) -> Holder | None:
    """What the last holder wrote in the lock file; None when there is nothing readable."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return Holder(
            pid=int(document["pid"]),
            host=str(document["host"]),
            boot=str(document["boot"]),
            started_ms=int(document["started_ms"]),
            worker=str(document["worker"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def holder(path: Path) -> Holder | None:
    """Who holds the engine lock right now; None when nobody does."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return read_holder(path) or Holder(0, "this machine", "", 0, "")
    finally:
        os.close(handle)
    return None


class EngineLock:
    """The engine lock of the file `path`. `worker` is written down for messages.

    `force` takes the lock from a holder that is stopped or out of reach; that one is fenced off by the epochs
    of its runs and ends itself as soon as it notices (`lost`).
    """

    def __init__(self, path: Path, worker: str = "", *, force: bool = False) -> None:
        self.path = path
        self.worker = worker
        self._force = force
        self._handle = -1

    def try_acquire(self) -> bool:
        """Take the lock; False when another engine holds it. Raises ConfigError when it cannot be written."""
        try:
            self.acquire()
        except EngineBusyError:
            return False
        return True

    def acquire(self) -> None:
        """Take the lock. Raises EngineBusyError, which names the holder, or ConfigError."""
        if self._force:
            self.path.unlink(missing_ok=True)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The engine lock cannot be opened: {error.strerror}.",
                where=str(self.path),
                hint="Check the permissions of the folder.",
            ) from error
        try:
            _lock(handle, self.path)
            _refuse_other_host(handle, self.path)
            _write(handle, self.worker)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def touch(self) -> None:
        """Show a reader on another machine that the holder lives."""
        os.utime(self._handle)

    def lost(self) -> bool:
        """Whether the file was replaced, so that another engine may hold a lock of the same name."""
        try:
            now = self.path.lstat()
        except OSError:
            return True
        mine = os.fstat(self._handle)
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Give the lock back; the file stays, empty."""
        if self._handle < 0:
            return
        if not self.lost():
            os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = -1


def _write(handle: int, worker: str) -> None:
    document = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot_id(),
        "started_ms": time.time_ns() // 1_000_000,
        "worker": worker,
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(document).encode(), 0)


def _lock(handle: int, path: Path) -> None:
    # More than one try: whoever only asks whether an engine runs holds the lock for a moment too.
    for _ in range(5):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            refused = error
            time.sleep(0.02)
        else:
            return
    held_by = read_holder(path)
    who = held_by.describe() if held_by else "another process"
    raise EngineBusyError(
        f"An engine runs already ({who}).",
        holder=held_by,
        where=str(path),
        hint="It does the work; attach to it.",
    ) from refused


def _refuse_other_host(handle: int, path: Path) -> None:
    """A folder that two machines share: a flock may not reach the other one, its file does."""
    other = read_holder(path)
    if other is None or other.boot == boot_id() or other.host == socket.gethostname():
        return
    if time.time() - os.fstat(handle).st_mtime < _OTHER_HOST_FRESH:
        raise EngineBusyError(
            f"An engine on another machine uses this folder ({other.describe()}).",
            holder=other,
            where=str(path),
            hint="Stop it there. If that machine is gone, try again in half a minute.",
        )

"""A real Secret Service (gnome-keyring) on a private session bus, and broken ones to compare with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from peers.process import PeerProcess, program

Kind = Literal["unlocked", "locked", "none", "hung"]
PASSWORD = b"test-password"
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class SecretService:
    """A session bus with a keyring of one `kind`; programs started with `env` use it.

    unlocked: gnome-keyring with an unlocked login keyring. locked: the same after a restart with no password.
    none: a bus and nothing on it. hung: something that owns the service's name and never answers.
    """

    def __init__(self, kind: Kind = "unlocked") -> None:
        # Socket paths are limited to 108 characters, so not below pytest's long folder names.
        self.folder = Path(tempfile.mkdtemp(prefix="platint-ss-"))
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        socket = self.folder / "bus"
        config = self.folder / "bus.conf"
        config.write_text(BUS.format(socket=socket))
        keep = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "DBUS_", "KEYRING"))
        }
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "GNOME_KEYRING_CONTROL"):
            keep.pop(name, None)
        self.env: Mapping[str, str] = {
            **keep,
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={socket}",
        }
        self._processes: list[PeerProcess] = []
        self._run([program("dbus-daemon"), "--nofork", f"--config-file={config}"]).wait_ready(socket.exists)
        if kind in ("unlocked", "locked"):
            self.start_daemon(PASSWORD)
        if kind == "locked":
            # The keyring exists and has a password; a daemon that is not told it leaves it locked.
            self.store("seed", "seed", "value")
            self.stop_daemon()
            self.start_daemon(None)
        if kind == "hung":
            self._run(
                [sys.executable, "-I", str(Path(__file__).with_name("hung_secret_service.py"))]
            ).wait_ready(self.owned)

    def _run(self, command: list[str], stdin: bytes | None = None) -> PeerProcess:
        process = PeerProcess(command, folder=self.folder / "log", env=self.env, stdin=stdin)
        self._processes.append(process)
        return process

    def start_daemon(self, password: bytes | None) -> None:
        """Start gnome-keyring; `password` unlocks (or creates) its login keyring, None leaves it locked."""
        command = [program("gnome-keyring-daemon"), "--foreground", "--components=secrets"]
        if password is not None:
            command.append("--unlock")
        self._daemon = self._run(command, password)
        self._daemon.wait_ready(self.owned)

    def stop_daemon(self, hard: bool = False) -> None:
        """End gnome-keyring and leave the bus; `hard` kills it."""
        self._daemon.stop(hard)
        self._processes.remove(self._daemon)

    def owned(self) -> bool:
        """Whether the Secret Service's name has an owner on this bus."""
        command = ["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
        method = "org.freedesktop.DBus.NameHasOwner"
        answer = subprocess.run(
            [program("dbus-send"), *command, method, "string:org.freedesktop.secrets"],
            env=dict(self.env),
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        return b"boolean true" in answer.stdout

    def store(self, service: str, username: str, value: str) -> None:
        """Write an item with secret-tool, a client that is not ours."""
        self._tool(["store", "--label=test", "service", service, "username", username], value)

    def lookup(self, service: str, username: str) -> str:
        """Read an item with secret-tool; '' without one."""
        return self._tool(["lookup", "service", service, "username", username])

    def clear(self, service: str, username: str) -> None:
        """Delete an item with secret-tool."""
        self._tool(["clear", "service", service, "username", username])

    def _tool(self, arguments: list[str], value: str = "") -> str:
        tool = subprocess.run(
            [program("secret-tool"), *arguments],
            env=dict(self.env),
            input=value.encode(),
            capture_output=True,
            check=False,
            timeout=30,
        )
        return tool.stdout.decode()

    def stop(self) -> None:
        """End everything on this bus, the bus too."""
        for process in reversed(self._processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

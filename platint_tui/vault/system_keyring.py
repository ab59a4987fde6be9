"""The system keyring, spoken to by a helper process with a deadline."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platint_tui.core.errors import CredentialError
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret

HELPER = Path(__file__).with_name("_keyring_helper.py")
DEADLINE = 10.0
"""Seconds for a call that asks nobody anything."""
PROMPT_DEADLINE = 60.0
"""Seconds while a window may be open that asks for the keyring's password."""
_ANSWER_LIMIT = 32 * 1024 * 1024
# What the libraries of the keyrings need to find the bus, the user and the desktop; no secret is among it.
_PASSED = frozenset(
    [
        "HOME",
        "USER",
        "LOGNAME",
        "PATH",
        "LANG",
        "LANGUAGE",
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "DESKTOP_SESSION",
        "KDE_FULL_SESSION",
        "KDE_SESSION_VERSION",
        "PYTHON_KEYRING_BACKEND",
        "SYSTEMROOT",
        "SYSTEMDRIVE",
        "WINDIR",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "TEMP",
        "TMP",
        "TMPDIR",
    ]
)


@dataclass(frozen=True, slots=True)
class KeyringState:
    """What a look at the keyring found: its name, whether it can be used, and if not, why."""

    backend: str
    usable: bool
    problem: str


class SystemKeyring:
    """Items in the keyring of the operating system. Every call is a short-lived helper process.

    All methods raise CredentialError, with one sentence for: no keyring, locked, no answer in time, refused.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        deadline: float | None = None,
        prompt_deadline: float | None = None,
    ) -> None:
        self._environ = environ
        self._deadline = DEADLINE if deadline is None else deadline
        self._prompt_deadline = PROMPT_DEADLINE if prompt_deadline is None else prompt_deadline

    async def get(self, names: Iterable[str]) -> dict[str, Secret]:
        """The values of those items that exist, in one call."""
        answer = await self._call({"op": "get", "names": list(names)})
        damaged = answer["damaged"]
        if damaged:
            raise CredentialError(
                f"The credential {damaged[0]} in the keyring is incomplete.",
                hint="Enter it again with `platint-tui profiles edit`.",
                code="secret_missing",
            )
        return {name: Secret(value) for name, value in answer["values"].items() if value is not None}

    async def put(self, name: str, value: Secret) -> None:
        """Write an item; it is read back and compared before this returns."""
        await self._call({"op": "set", "names": [name], "value": value.reveal()})

    async def remove(self, name: str) -> None:
        """Delete an item; nothing happens when it is gone already."""
        await self._call({"op": "delete", "names": [name]})

    async def state(self) -> KeyringState:
        """Whether the keyring could be used now; asks nobody for a password."""
        try:
            answer = await self._ask({"op": "probe"})
        except CredentialError as error:
            return KeyringState("", False, error.message)
        backend = str(answer.get("backend", ""))
        if "error" in answer:
            return KeyringState(backend, False, self._failure(answer).message)
        return KeyringState(backend, True, "")

    async def _call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._ask(request)
        if "error" in answer:
            raise self._failure(answer)
        return answer

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", str(HELPER)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=helper_environment(self._environ),
                start_new_session=True,
                limit=_ANSWER_LIMIT,
            )
        except OSError as error:
            return {"error": "failed", "detail": f"no helper process: {error.strerror}"}
        try:
            return await self._converse(process, json.dumps(request).encode())
        finally:
            _kill(process)
            await process.wait()

    async def _converse(self, process: asyncio.subprocess.Process, request: bytes) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(self._deadline) as limit:
                try:
                    process.stdin.write(request)
                    await process.stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    return {"error": "failed", "detail": "the helper ended"}
                process.stdin.close()
                while line := await process.stdout.readline():
                    answer = json.loads(line)
                    if not isinstance(answer, dict):
                        break
                    if "prompt" not in answer:
                        return answer
                    limit.reschedule(asyncio.get_running_loop().time() + self._prompt_deadline)
        except TimeoutError:
            raise CredentialError(
                "The system keyring does not answer.",
                hint="Restart it or log in again, or use the vault file or environment variables instead.",
                code="keyring_timeout",
            ) from None
        except ValueError:
            pass
        return {"error": "failed", "detail": "no answer"}

    def _failure(self, answer: Mapping[str, Any]) -> CredentialError:
        code = str(answer.get("error"))
        detail = REDACTOR.redact(str(answer.get("detail", "")))[:200].rstrip(".")
        if code == "no_backend":
            unset = sys.platform.startswith("linux") and not self._environ.get("DBUS_SESSION_BUS_ADDRESS")
            reason = "DBUS_SESSION_BUS_ADDRESS is not set" if unset else detail or "no supported keyring runs"
            if answer.get("ignored"):
                reason += f"; {answer['ignored']} is not used: it is none of the supported keyrings"
            return CredentialError(f"There is no system keyring here ({reason}).", code="keyring_none")
        if code in ("locked", "fresh"):
            state = "is locked" if code == "locked" else "has not been set up yet"
            return CredentialError(
                f"The system keyring {state}.",
                hint="Unlock it and try again, or use the vault file or environment variables instead.",
                code="keyring_locked",
            )
        if code == "not_kept":
            return CredentialError(
                "The system keyring did not keep the secret: another value came back.",
                hint="Use the vault file or environment variables instead.",
                code="keyring_lost",
            )
        verb = "refused access" if code == "refused" else "failed"
        return CredentialError(
            f"The system keyring {verb} ({detail}).",
            hint="Allow the access when asked, or use the vault file or environment variables instead.",
            code=f"keyring_{code}",
        )


def helper_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the helper sees of the environment: nothing that could be a secret of another program."""
    passed = {
        name: value
        for name, value in environ.items()
        if name.upper() in _PASSED or name.startswith(("LC_", "XDG_"))
    }
    return {**passed, "PYTHONIOENCODING": "utf-8"}


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass

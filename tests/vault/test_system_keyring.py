"""The system keyring against a real Secret Service, and against locked, missing, dying and hung ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from peers.process import wait_for
from peers.secret_service import Kind, SecretService

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret
from platint_tui.vault import Vault
from platint_tui.vault._keyring_helper import SERVICE
from platint_tui.vault.system_keyring import HELPER, SystemKeyring, helper_environment

CANARY = "sk_live_canary_51f0"
Make = Callable[[Kind], SecretService]


def without_bus() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DBUS_SESSION_BUS_ADDRESS"}


def vault(home: Path, env: Mapping[str, str]) -> Vault:
    return Vault(home, env, None)


def helpers_running() -> list[str]:
    """Command lines of helper programs that this process started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            line = (folder / "cmdline").read_bytes().decode()
        except (OSError, IndexError):
            continue
        if str(HELPER) in line and parent == str(os.getpid()):
            found.append(folder.name)
    return found


async def refused(home: Path, env: Mapping[str, str]) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        await vault(home, env).store("stripe-live", "api_key", Secret(CANARY))
    error = caught.value
    for choice in ("platint-tui vault init", "PLATINT_SECRET__STRIPE_LIVE__API_KEY", "env:", "file:/path"):
        assert choice in error.hint
    assert CANARY not in error.sentence() and "Traceback" not in error.sentence()
    assert not list(home.rglob("*")), "nothing may be written in plain text, or at all"
    return error


# --- a keyring that works -----------------------------------------------------------------------------


VALUES = {"ascii": CANARY, "unicode": "é😀 line\nbreak\ttab", "long": "x" * 20_000, "json": '{"a":1}'}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_a_secret_goes_into_the_keyring_and_comes_back(
    secret_service: SecretService, home: Path, value: str
) -> None:
    one = vault(home, secret_service.env)
    ref = await one.store("stripe-live", "api_key", Secret(value))
    assert ref.startswith("keyring:stripe-live/api_key/") and value not in ref
    assert secret_service.lookup(SERVICE, ref.removeprefix("keyring:")) == value
    assert await vault(home, secret_service.env).resolve("stripe-live", "api_key", ref) == Secret(value)
    await one.delete(ref)
    await one.delete(ref)
    assert secret_service.lookup(SERVICE, ref.removeprefix("keyring:")) == ""


async def test_the_fields_of_a_profile_are_one_call(
    secret_service: SecretService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = vault(home, {**secret_service.env, "CRM_ID": "client id"})
    refs = {name: await one.store("crm", name, Secret(f"value of {name}")) for name in ("a", "b", "c")}
    refs["d"] = "env:CRM_ID"
    calls = []
    ask = SystemKeyring._ask

    async def counted(self, request):
        calls.append(request["op"])
        return await ask(self, request)

    monkeypatch.setattr(SystemKeyring, "_ask", counted)
    found = await one.resolve_many("crm", refs)
    assert {name: secret.reveal() for name, secret in found.items()} == {
        "a": "value of a",
        "b": "value of b",
        "c": "value of c",
        "d": "client id",
    }
    assert calls == ["get"] and list(found) == list(refs)


async def test_D13_a_secret_deleted_outside_is_said(secret_service: SecretService, home: Path) -> None:
    one = vault(home, secret_service.env)
    ref = await one.store("stripe-live", "api_key", Secret(CANARY))
    secret_service.clear(SERVICE, ref.removeprefix("keyring:"))
    with pytest.raises(CredentialError, match="gone from the keyring") as caught:
        await one.resolve("stripe-live", "api_key", ref)
    assert "profile stripe-live, field api_key" in caught.value.sentence()


async def test_D19_two_profiles_do_not_share_an_item(secret_service: SecretService, home: Path) -> None:
    one = vault(home, secret_service.env)
    first = await one.store("stripe-live", "api_key", Secret(CANARY))
    second = await one.store("stripe-live", "api_key", Secret(CANARY))
    assert first != second
    await one.delete(first)
    assert await one.resolve("stripe-live", "api_key", second) == Secret(CANARY)


async def test_D14_a_secret_outlives_the_daemon(make_secret_service: Make, home: Path) -> None:
    service = make_secret_service("unlocked")
    ref = await vault(home, service.env).store("stripe-live", "api_key", Secret(CANARY))
    service.stop_daemon()
    service.start_daemon(b"test-password")
    assert await vault(home, service.env).resolve("stripe-live", "api_key", ref) == Secret(CANARY)


@pytest.mark.parametrize("wanted", ["keyring.backends.null.Keyring", "keyrings.alt.file.PlaintextKeyring"])
async def test_D2_D4_another_backend_in_the_environment_is_ignored(
    secret_service: SecretService, home: Path, wanted: str
) -> None:
    env = {**secret_service.env, "PYTHON_KEYRING_BACKEND": wanted}
    ref = await vault(home, env).store("stripe-live", "api_key", Secret(CANARY))
    assert secret_service.lookup(SERVICE, ref.removeprefix("keyring:")) == CANARY
    assert (await vault(home, env).status()).keyring == "Secret Service"


# --- keyrings that do not --------------------------------------------------------------------------------


async def test_D1_no_session_bus(home: Path) -> None:
    error = await refused(home, without_bus())
    assert error.message == "There is no system keyring here (DBUS_SESSION_BUS_ADDRESS is not set)."


async def test_D1_a_bus_without_a_keyring(make_secret_service: Make, home: Path) -> None:
    error = await refused(home, make_secret_service("none").env)
    assert error.message.startswith("There is no system keyring here (")


async def test_D2_D5_a_forced_backend_is_named_when_nothing_else_is_there(home: Path) -> None:
    wanted = "keyrings.alt.file.PlaintextKeyring"
    error = await refused(home, {**without_bus(), "PYTHON_KEYRING_BACKEND": wanted})
    assert f"{wanted} is not used" in error.message


async def test_D6_locked(make_secret_service: Make, home: Path) -> None:
    service = make_secret_service("locked")
    error = await refused(home, service.env)
    assert error.message == "The system keyring is locked." and error.hint.startswith("Unlock it")
    with pytest.raises(CredentialError, match="The system keyring is locked") as caught:
        await vault(home, service.env).resolve("stripe-live", "api_key", "keyring:seed")
    assert caught.value.where == "profile stripe-live, field api_key"


async def test_D7_the_wrong_password(make_secret_service: Make, home: Path) -> None:
    service = make_secret_service("unlocked")
    service.store("seed", "seed", "value")
    service.stop_daemon()
    service.start_daemon(b"another password")
    assert (await refused(home, service.env)).message == "The system keyring is locked."


async def test_D8_a_new_user_whose_prompt_is_dismissed(make_secret_service: Make, home: Path) -> None:
    service = make_secret_service("none")
    service.start_daemon(None)
    assert (await refused(home, service.env)).message == "The system keyring is locked."
    status = await vault(home, service.env).status()
    assert not status.keyring_usable and status.keyring_problem


async def test_D9_a_hung_keyring_is_killed_at_the_deadline(make_secret_service: Make, home: Path) -> None:
    keyring = SystemKeyring(make_secret_service("hung").env, deadline=1.5)
    with pytest.raises(CredentialError, match="does not answer"):
        await keyring.put("name", Secret(CANARY))
    state = await keyring.state()
    assert not state.usable and "does not answer" in state.problem
    assert helpers_running() == []


async def test_D9_a_cancelled_call_leaves_no_helper(make_secret_service: Make, home: Path) -> None:
    one = vault(home, make_secret_service("hung").env)
    task = asyncio.create_task(one.resolve("stripe-live", "api_key", "keyring:x"))
    await asyncio.to_thread(wait_for, lambda: bool(helpers_running()), "the helper's start")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert helpers_running() == []


async def test_D10_the_daemon_dies_and_comes_back(make_secret_service: Make, home: Path) -> None:
    service = make_secret_service("unlocked")
    one = vault(home, service.env)
    ref = await one.store("stripe-live", "api_key", Secret(CANARY))
    service.stop_daemon(hard=True)
    with pytest.raises(CredentialError):
        await one.resolve("stripe-live", "api_key", ref)
    service.start_daemon(b"test-password")
    assert await one.resolve("stripe-live", "api_key", ref) == Secret(CANARY)


# --- what the helper is given ---------------------------------------------------------------------------


async def test_N7_N8_no_secret_in_arguments_or_environment(make_secret_service: Make, home: Path) -> None:
    env = {**make_secret_service("hung").env, "STRIPE_KEY": CANARY, "PLATINT_SECRET__A__B": CANARY}
    task = asyncio.create_task(SystemKeyring(env).put("name", Secret(CANARY)))
    await asyncio.to_thread(wait_for, lambda: bool(helpers_running()), "the helper's start")
    folder = Path("/proc") / helpers_running()[0]
    assert CANARY.encode() not in (folder / "cmdline").read_bytes()
    assert CANARY.encode() not in (folder / "environ").read_bytes()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_N8_the_helper_sees_only_what_it_needs() -> None:
    env = {"HOME": "/home/o", "XDG_RUNTIME_DIR": "/run/user/1", "PYTHONPATH": "/evil", "GITHUB_TOKEN": "t"}
    assert set(helper_environment(env)) == {"HOME", "XDG_RUNTIME_DIR", "PYTHONIOENCODING"}

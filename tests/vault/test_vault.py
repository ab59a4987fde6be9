"""The vault as a whole: where a secret goes, how it is found again, and what doctor is told."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from peers.secret_service import Kind, SecretService

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret
from platint_tui.vault import Vault

CANARY = "sk_live_canary_77aa"
PASSPHRASE = "correct horse battery"


def headless(**more: str) -> dict[str, str]:
    return {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **more}


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return path


async def test_without_a_keyring_the_vault_file_that_was_set_up_is_used(
    home: Path, passphrase_file: Path, find_leaks: Callable[..., list[Path]]
) -> None:
    one = Vault(home, headless(PLATINT_VAULT_PASSPHRASE_FILE=str(passphrase_file)), None)
    path = await one.init_file(PASSPHRASE)
    ref = await one.store("stripe-live", "api_key", Secret(CANARY))
    assert ref.startswith("vault:stripe-live/api_key/")
    other = Vault(home, headless(PLATINT_VAULT_PASSPHRASE_FILE=str(passphrase_file)), None)
    assert await other.resolve("stripe-live", "api_key", ref) == Secret(CANARY)
    assert find_leaks(CANARY, [home]) == [] and find_leaks(PASSPHRASE, [home]) == []
    await other.delete(ref)
    with pytest.raises(CredentialError, match="gone from the vault file"):
        await one.resolve("stripe-live", "api_key", ref)
    assert path.parent.parent == home


async def test_the_keyring_comes_first(secret_service: SecretService, home: Path) -> None:
    one = Vault(home, secret_service.env, lambda: PASSPHRASE)
    await one.init_file(PASSPHRASE)
    assert (await one.store("p", "f", Secret(CANARY))).startswith("keyring:")
    assert (await one.store("p", "f", Secret(CANARY), "vault")).startswith("vault:")


async def test_a_keyring_that_was_asked_for_is_not_replaced_by_another_place(home: Path) -> None:
    one = Vault(home, headless(), lambda: PASSPHRASE)
    await one.init_file(PASSPHRASE)
    with pytest.raises(CredentialError, match="no system keyring"):
        await one.store("p", "f", Secret(CANARY), "keyring")


async def test_a_vault_file_that_was_asked_for_but_not_set_up(home: Path) -> None:
    with pytest.raises(CredentialError, match="no vault file") as caught:
        await Vault(home, headless(), lambda: PASSPHRASE).store("p", "f", Secret(CANARY), "vault")
    assert "vault init" in caught.value.hint


async def test_nobody_to_ask_for_the_passphrase(home: Path) -> None:
    await Vault(home, headless(), None).init_file(PASSPHRASE)
    later = Vault(home, headless(), None)
    with pytest.raises(CredentialError, match="is locked") as caught:
        await later.resolve("p", "f", "vault:x")
    assert "PLATINT_VAULT_PASSPHRASE_FILE" in caught.value.hint
    assert "locked" in (await later.status()).file_problem
    await later.unlock_file(PASSPHRASE)
    assert (await later.status()).file_unlocked and (await later.status()).file_problem == ""


async def test_D15_the_prompt_may_be_answered_again(home: Path) -> None:
    await Vault(home, headless(), None).init_file(PASSPHRASE)
    answers = iter(["not the passphrase", "", PASSPHRASE])
    later = Vault(home, headless(), lambda: next(answers))
    for message in ("passphrase is wrong", "passphrase is empty", "gone from the vault file"):
        with pytest.raises(CredentialError, match=message):
            await later.resolve("p", "f", "vault:x")


async def test_D17_a_passphrase_file_that_others_can_read(home: Path, passphrase_file: Path) -> None:
    await Vault(home, headless(), None).init_file(PASSPHRASE)
    passphrase_file.chmod(0o640)
    later = Vault(home, headless(PLATINT_VAULT_PASSPHRASE_FILE=str(passphrase_file)), None)
    with pytest.raises(CredentialError, match=r"can be read by other users \(mode 640\)"):
        await later.resolve("p", "f", "vault:x")


async def test_status_for_doctor(make_secret_service: Callable[[Kind], SecretService], home: Path) -> None:
    status = await Vault(home, headless(), None).status()
    assert (status.keyring, status.keyring_usable, status.file_exists) == ("", False, False)
    assert "DBUS_SESSION_BUS_ADDRESS is not set" in status.keyring_problem
    service = make_secret_service("unlocked")
    one = Vault(home, service.env, None)
    await one.init_file(PASSPHRASE)
    status = await one.status()
    assert (status.keyring, status.keyring_usable, status.keyring_problem) == ("Secret Service", True, "")
    assert status.file_exists and status.file_unlocked and status.file == home / "vault" / "secrets.vault"
    status.file.chmod(0o644)
    assert "mode 644" in (await one.status()).file_problem


async def test_status_asks_nobody(make_secret_service: Callable[[Kind], SecretService], home: Path) -> None:
    await Vault(home, headless(), None).init_file(PASSPHRASE)

    def ask() -> str:
        raise AssertionError("status must not ask")

    status = await Vault(home, make_secret_service("locked").env, ask).status()
    assert status.keyring_problem == "The system keyring is locked." and not status.file_unlocked


async def test_many_at_once(secret_service: SecretService, home: Path) -> None:
    one = Vault(home, secret_service.env, lambda: PASSPHRASE)
    await one.init_file(PASSPHRASE)
    refs = await asyncio.gather(
        *(one.store("p", f"f{number}", Secret(f"{CANARY}{number}"), "vault") for number in range(12)),
        *(one.store("p", f"k{number}", Secret(f"{CANARY}k{number}"), "keyring") for number in range(4)),
    )
    names = [*(f"f{number}" for number in range(12)), *(f"k{number}" for number in range(4))]
    found = await one.resolve_many("p", dict(zip(names, refs, strict=True)))
    assert all(found[f"f{number}"].reveal() == f"{CANARY}{number}" for number in range(12))
    assert all(found[f"k{number}"].reveal() == f"{CANARY}k{number}" for number in range(4))


@pytest.mark.parametrize("kind", ["keyring", "vault", "memory"])
async def test_an_empty_secret_is_not_stored(home: Path, kind: str) -> None:
    with pytest.raises(CredentialError, match="field 'f' is empty"):
        await Vault(home, headless(), None).store("p", "f", Secret(""), kind)


async def test_N1_nothing_is_logged(
    secret_service: SecretService, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = Vault(home, secret_service.env, lambda: PASSPHRASE)
    await one.init_file(PASSPHRASE)
    for kind in ("keyring", "vault"):
        ref = await one.store("p", "f", Secret(CANARY), kind)
        await one.resolve("p", "f", ref)
    assert CANARY not in caplog.text and PASSPHRASE not in caplog.text
    assert CANARY not in repr(one) + repr(vars(one))


def test_the_import_is_cheap() -> None:
    code = (
        "import sys; import platint_tui.vault; heavy = ('keyring', 'cryptography', 'secretstorage'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"

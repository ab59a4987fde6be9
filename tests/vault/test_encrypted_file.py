"""The vault file: what it keeps, and everything that it refuses."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret
from platint_tui.vault.encrypted_file import VaultFile

PASSPHRASE = Secret("correct horse battery")
DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["kdf", "head", "entries"]) | st.text(), inner)
    ),
).map(lambda value: json.dumps(value).encode())
VALUES = {"a/key": "sk_live_canary_a1", "b/key": "sk_live_canary_b2", "c/token": "é😀" * 500}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VaultFile, bytes]]:
    """An unlocked vault file with three entries (the key is derived once for the module), and its bytes."""
    file = VaultFile(tmp_path_factory.mktemp("vault") / "vault", lambda: PASSPHRASE)
    file.create(PASSPHRASE)
    for name, value in VALUES.items():
        file.put(name, Secret(value))
    yield file, file.path.read_bytes()


@pytest.fixture
def vault(original: tuple[VaultFile, bytes]) -> Iterator[VaultFile]:
    file, data = original
    restore(file, data)
    yield file
    restore(file, data)


def restore(file: VaultFile, data: bytes) -> None:
    file.folder.chmod(0o700)
    file.path.unlink(missing_ok=True)
    file.path.write_bytes(data)
    file.path.chmod(0o600)
    # The copy may be older than what a test wrote; only within one process is that noticed.
    file._generation = 0


def everything(file: VaultFile) -> dict[str, str]:
    return {name: value.reveal() for name, value in file.get(VALUES).items()}


def refusal(action: Callable[[], object]) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        action()
    for value in VALUES.values():
        assert value not in caught.value.sentence()
    return caught.value


def edit(file: VaultFile, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(file.path.read_bytes())
    change(document)
    file.path.write_text(json.dumps(document))


def test_what_was_put_comes_back(vault: VaultFile) -> None:
    assert everything(vault) == VALUES
    vault.put("a/key", Secret("sk_live_rotated"))
    vault.remove("b/key")
    vault.remove("b/key")
    assert everything(vault) == {"a/key": "sk_live_rotated", "c/token": VALUES["c/token"]}


def test_O1_only_the_owner_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = VaultFile(tmp_path / "vault", lambda: PASSPHRASE)
        file.create(PASSPHRASE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.folder.iterdir()} == {0o600}


def test_no_value_is_in_the_file_in_any_form(vault: VaultFile, find_leaks: Callable[..., list[Path]]) -> None:
    for value in (VALUES["a/key"], VALUES["b/key"], PASSPHRASE.reveal()):
        assert find_leaks(value, [vault.folder]) == []


def test_D15_a_wrong_passphrase_is_said_and_changes_nothing(vault: VaultFile) -> None:
    other = VaultFile(vault.folder, lambda: Secret("wrong horse battery"))
    before = vault.path.read_bytes()
    error = refusal(lambda: other.get(["a/key"]))
    assert "passphrase is wrong" in error.message and str(vault.path) in error.message
    assert not other.unlocked
    assert "passphrase is wrong" in refusal(lambda: other.put("x", Secret("another_secret"))).message
    assert vault.path.read_bytes() == before


def test_the_passphrase_is_asked_for_once(vault: VaultFile) -> None:
    asked = []
    other = VaultFile(vault.folder, lambda: asked.append(1) or PASSPHRASE)
    assert everything(other) == VALUES == everything(other)
    assert asked == [1] and other.unlocked


def test_D16_swapped_entries(vault: VaultFile) -> None:
    def swap(document: dict[str, Any]) -> None:
        entries = document["entries"]
        entries["a/key"], entries["b/key"] = entries["b/key"], entries["a/key"]

    edit(vault, swap)
    assert "not the one that was stored last" in refusal(lambda: vault.get(["c/token"])).message


def test_D16_a_removed_entry(vault: VaultFile) -> None:
    edit(vault, lambda document: document["entries"].pop("a/key"))
    assert "added or removed" in refusal(lambda: vault.get(["b/key"])).message


def test_D16_an_added_entry(vault: VaultFile) -> None:
    edit(vault, lambda document: document["entries"].update({"z": document["entries"]["a/key"]}))
    assert "added or removed" in refusal(lambda: vault.get(["b/key"])).message


def test_D16_an_entry_rolled_back_inside_the_file(vault: VaultFile) -> None:
    old = json.loads(vault.path.read_bytes())["entries"]["a/key"]
    vault.put("a/key", Secret("sk_live_rotated"))
    edit(vault, lambda document: document["entries"].update({"a/key": old}))
    assert "not the one that was stored last" in refusal(lambda: vault.get(["a/key"])).message


def test_D16_a_head_rolled_back_inside_the_file(vault: VaultFile) -> None:
    old = json.loads(vault.path.read_bytes())["head"]
    vault.put("d/key", Secret("sk_live_new_one"))
    edit(vault, lambda document: document.update(head=old))
    assert "added or removed" in refusal(lambda: vault.get(["a/key"])).message


def test_D16_an_older_copy_under_a_running_program(vault: VaultFile) -> None:
    old = vault.path.read_bytes()
    vault.put("d/key", Secret("sk_live_new_one"))
    vault.path.write_bytes(old)
    assert "older copy" in refusal(lambda: vault.get(["a/key"])).message


def test_D16_weaker_key_parameters_are_refused(vault: VaultFile) -> None:
    edit(vault, lambda document: document["kdf"].update(n=2))
    assert "way its key is made" in refusal(lambda: vault.get(["a/key"])).message
    edit(vault, lambda document: document["kdf"].update(n=2**30))
    assert "way its key is made" in refusal(lambda: vault.get(["a/key"])).message


def test_D17_modes(vault: VaultFile) -> None:
    vault.path.chmod(0o644)
    error = refusal(lambda: vault.get(["a/key"]))
    assert "open to other users (mode 644)" in error.message and f"chmod 600 {vault.path}" in error.hint
    vault.path.chmod(0o600)
    vault.folder.chmod(0o750)
    error = refusal(lambda: vault.get(["a/key"]))
    assert "(mode 750)" in error.message and f"chmod 700 {vault.folder}" in error.hint
    assert "(mode 750)" in refusal(lambda: vault.put("x", Secret("another_secret"))).message


def test_D17_O3_links(vault: VaultFile, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.write_bytes(vault.path.read_bytes())
    real.chmod(0o600)
    vault.path.unlink()
    vault.path.symlink_to(real)
    assert "symbolic link" in refusal(lambda: vault.get(["a/key"])).message
    assert "symbolic link" in refusal(lambda: vault.put("x", Secret("another_secret"))).message
    (tmp_path / "linked").symlink_to(vault.folder)
    other = VaultFile(tmp_path / "linked", lambda: PASSPHRASE)
    assert "not a folder of its own" in refusal(lambda: other.get(["a/key"])).message


def test_a_vault_that_is_not_there(tmp_path: Path) -> None:
    file = VaultFile(tmp_path / "vault", lambda: PASSPHRASE)
    for action in (lambda: file.get(["a"]), lambda: file.put("a", Secret("another_secret"))):
        error = refusal(action)
        assert "There is no vault file" in error.message and "vault init" in error.hint
    assert not file.exists and not file.folder.exists()


def test_a_second_vault_is_not_made_over_the_first(vault: VaultFile) -> None:
    assert "already a vault file" in refusal(lambda: vault.create(PASSPHRASE)).message
    assert everything(vault) == VALUES


def test_a_short_passphrase(tmp_path: Path) -> None:
    file = VaultFile(tmp_path / "vault", lambda: PASSPHRASE)
    assert "shorter than 8" in refusal(lambda: file.create(Secret("short"))).message
    assert not file.exists


def test_a_passphrase_typed_in_another_unicode_form(tmp_path: Path) -> None:
    VaultFile(tmp_path / "vault", lambda: PASSPHRASE).create(Secret("pass\u00e9phrase"))
    VaultFile(tmp_path / "vault", lambda: PASSPHRASE).unlock(Secret("passe\u0301phrase"))


def test_a_write_that_fails_leaves_the_old_file(vault: VaultFile, monkeypatch: pytest.MonkeyPatch) -> None:
    before = vault.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = refusal(lambda: vault.put("x", Secret("another_secret")))
    assert "No space left on device" in error.message and "as it was before" in error.message
    assert vault.path.read_bytes() == before
    assert sorted(path.name for path in vault.folder.iterdir()) == ["lock", "secrets.vault"]


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_D17_a_truncated_file_is_refused(original: tuple[VaultFile, bytes], cut: float) -> None:
    file, data = original
    restore(file, data)
    file.path.write_bytes(data[: int(len(data) * cut)])
    assert "cut short" in refusal(lambda: file.get(VALUES)).message


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_D16_a_flipped_bit_never_gives_another_value(
    original: tuple[VaultFile, bytes], where: float, bit: int
) -> None:
    file, data = original
    restore(file, data)
    changed = bytearray(data)
    changed[int(len(data) * where)] ^= 1 << bit
    file.path.write_bytes(changed)
    try:
        found = everything(file)
    except CredentialError as error:
        assert "\n" not in error.sentence()
    else:
        # A change of white space between two values says nothing else.
        assert found == VALUES


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400) | DOCUMENTS)
def test_D17_anything_else_in_its_place_is_refused(original: tuple[VaultFile, bytes], data: bytes) -> None:
    file, whole = original
    restore(file, whole)
    file.path.write_bytes(data)
    assert refusal(lambda: file.get(VALUES)).code in ("vault_changed", "vault_version")


def _put_some(folder: str, worker: int) -> None:
    file = VaultFile(Path(folder), lambda: PASSPHRASE)
    for number in range(5):
        file.put(f"{worker}/{number}", Secret(f"value-{worker}-{number}"))


def test_two_programs_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    file = VaultFile(tmp_path / "vault", lambda: PASSPHRASE)
    file.create(PASSPHRASE)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_put_some, args=(str(file.folder), number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    names = [f"{worker}/{number}" for worker in range(3) for number in range(5)]
    assert {name: value.reveal() for name, value in file.get(names).items()} == {
        name: "value-" + name.replace("/", "-") for name in names
    }

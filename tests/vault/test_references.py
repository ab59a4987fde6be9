"""References that are only read: environment variables, files, and what is no reference at all."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import CredentialError, ExitCode
from platint_tui.core.secret import Secret
from platint_tui.vault import Vault, override_variable
from platint_tui.vault.references import parse

CANARY = "sk_live_canary_8d1f"


def vault(home: Path, **environ: str) -> Vault:
    return Vault(home, environ, None)


async def refused(home: Path, ref: str, **environ: str) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        await vault(home, **environ).resolve("stripe-live", "api_key", ref)
    assert caught.value.exit_code == ExitCode.CREDENTIALS
    assert "profile stripe-live, field api_key" in caught.value.sentence()
    assert CANARY not in caught.value.sentence()
    return caught.value


async def test_a_variable_is_read_when_it_is_used(home: Path) -> None:
    environ = {"STRIPE_KEY": CANARY}
    one = Vault(home, environ, None)
    assert await one.resolve("p", "f", "env:STRIPE_KEY") == Secret(CANARY)
    environ["STRIPE_KEY"] = "sk_live_rotated"
    assert await one.resolve("p", "f", "env:STRIPE_KEY") == Secret("sk_live_rotated")


async def test_D18_a_missing_variable_is_named(home: Path) -> None:
    assert "STRIPE_KEY is not set" in (await refused(home, "env:STRIPE_KEY")).message
    assert "STRIPE_KEY is empty" in (await refused(home, "env:STRIPE_KEY", STRIPE_KEY="")).message


async def test_the_override_wins_over_any_reference(home: Path) -> None:
    variable = override_variable("stripe-live", "api_key")
    assert variable == "PLATINT_SECRET__STRIPE_LIVE__API_KEY"
    one = vault(home, **{variable: CANARY, "OTHER": "another_value"})
    assert await one.resolve("stripe-live", "api_key", "env:OTHER") == Secret(CANARY)
    assert await one.resolve("stripe-live", "api_key", "keyring:x") == Secret(CANARY)
    assert await one.resolve("stripe-live", "other_field", "env:OTHER") == Secret("another_value")


async def test_an_empty_override_is_an_error_and_not_another_secret(home: Path) -> None:
    error = await refused(home, "env:OTHER", PLATINT_SECRET__STRIPE_LIVE__API_KEY="", OTHER=CANARY)
    assert "PLATINT_SECRET__STRIPE_LIVE__API_KEY is empty" in error.message


@pytest.mark.parametrize("text", [CANARY, f"https://{CANARY}", "", ":", "env:", "op", f"literal:{CANARY}"])
async def test_a_literal_is_refused_and_not_repeated(home: Path, text: str) -> None:
    assert "not a reference" in (await refused(home, text)).message


@given(st.text(max_size=40))
def test_parse_gives_a_reference_or_one_sentence(text: str) -> None:
    try:
        reference = parse(text)
    except CredentialError as error:
        assert len(text) < 6 or text not in error.sentence()
    else:
        assert str(reference) == text


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
async def test_a_file_loses_one_line_end(home: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f"{CANARY} \n{ending}".encode())
    path.chmod(0o600)
    expected = f"{CANARY} " if not ending else f"{CANARY} \n"
    assert await vault(home).resolve("p", "f", f"file:{path}") == Secret(expected)


async def test_a_mounted_secret_is_a_link_that_others_may_read(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "..data"
    target.write_text(CANARY)
    target.chmod(0o444)
    (tmp_path / "key").symlink_to(target)
    assert await vault(home).resolve("p", "f", f"file:{tmp_path / 'key'}") == Secret(CANARY)


async def test_files_that_are_refused(home: Path, tmp_path: Path) -> None:
    missing = await refused(home, f"file:{tmp_path / 'missing'}")
    assert "No such file" in missing.message
    assert "not a regular file" in (await refused(home, f"file:{tmp_path}")).message
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in (await refused(home, f"file:{tmp_path / 'pipe'}")).message
    path = tmp_path / "key"
    path.write_text(CANARY)
    path.chmod(0o666)
    error = await refused(home, f"file:{path}")
    assert "can be changed by other users (mode 666)" in error.message and f"chmod 600 {path}" in error.hint
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe\xfa")
    assert "not valid UTF-8" in (await refused(home, f"file:{path}")).message
    path.write_bytes(b"\n")
    assert "is empty" in (await refused(home, f"file:{path}")).message
    path.write_bytes(b"x" * 300_000)
    assert "larger than 256 KiB" in (await refused(home, f"file:{path}")).message
    assert "not a path" in (await refused(home, "file:/a\0b")).message


async def test_a_variable_that_is_no_text_is_refused(home: Path) -> None:
    error = await refused(home, "env:RAW", RAW=b"\xff\xfe123456".decode("utf-8", "surrogateescape"))
    assert "not valid UTF-8" in error.message


@given(
    st.text(string.ascii_lowercase + string.digits + "-_", min_size=1),
    st.text(string.ascii_lowercase + "_", min_size=1),
)
def test_override_names_are_names_of_variables(profile: str, field: str) -> None:
    name = override_variable(profile, field)
    assert name.startswith("PLATINT_SECRET__") and name.isidentifier() and name == name.upper()


async def test_a_memory_secret_ends_with_its_session(home: Path) -> None:
    one = vault(home)
    ref = await one.store("stripe-live", "api_key", Secret(CANARY), "memory")
    assert await one.resolve("stripe-live", "api_key", ref) == Secret(CANARY)
    assert "one session only" in (await refused(home, ref)).message
    await one.delete(ref)
    with pytest.raises(CredentialError):
        await one.resolve("stripe-live", "api_key", ref)
    assert not list(home.iterdir())

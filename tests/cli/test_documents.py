"""Secrets of several lines: a private key on stdin, at a terminal, cut in two, pasted as one line."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from cli.kit import DEADLINE, Cli, one_sentence, rows
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from platint_tui.vault import Vault
from tests.auth.test_login import person
from tests.auth.test_signing_in_by_command import manifest

KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    .decode()
    .strip()
)
APP = (
    *("profiles", "add", "github", "--auth", "GitHub App"),
    *("--field", "app_id=12", "--field", "installation_id=34", "--field", "repositories_of=orgs/acme"),
)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("vault-passphrase-documents")
    passphrase.chmod(0o600)
    made = Cli(tmp_path / "home", {"PLATINT_VAULT_PASSPHRASE_FILE": str(passphrase)})
    made("vault", "init", input="vault-passphrase-documents\n" * 2)
    return made


async def stored(cli: Cli, field: str) -> str:
    (row,) = rows(cli.database, f"SELECT json_extract(secrets, '$.{field}') AS ref FROM profiles")
    vault = Vault(cli.home / "config", cli.env, None)
    return (await vault.resolve("github", field, row["ref"])).reveal()


@pytest.mark.parametrize(
    "text", [KEY, KEY.replace("\n", "\\n"), KEY.replace("\n", "\r\n")], ids=["pem", "escaped", "crlf"]
)
async def test_a_private_key_on_stdin_is_kept_whole(cli: Cli, text: str) -> None:
    cli(*APP, "--place", "vault", input=f"{text}\nnot a part of it\n")
    assert await stored(cli, "app_key") == KEY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n".join(KEY.splitlines()[:9]), "App private key cannot be read as a private key"),
        ("ghp_0123456789", "App private key is no private key"),
        (KEY.replace("RSA PRIVATE", "RSA PUBLIC"), "App private key is no private key"),
    ],
    ids=["cut", "a token", "public"],
)
def test_what_is_no_private_key_is_refused_when_it_is_added(cli: Cli, text: str, words: str) -> None:
    done = cli(*APP, "--place", "vault", code=4, input=f"{text}\n")
    assert "BEGIN" in one_sentence(done, 4, words)
    assert text[:20] not in done.err.replace("BEGIN PRIVATE KEY", "")
    assert cli.json("profiles", "list") == []


async def test_a_private_key_pasted_at_a_terminal(cli: Cli) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        cli.command(*APP, "--place", "vault"), stdin=follower, stdout=follower, stderr=follower, env=cli.env
    )
    os.close(follower)
    said, pasted = b"", False
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                said += os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
        if not pasted and b"not shown" in said:
            pasted = True
            os.write(leader, f"{KEY}\n".encode())
    assert process.wait(DEADLINE) == 0, said
    os.close(leader)
    assert await stored(cli, "app_key") == KEY
    assert KEY.splitlines()[3].encode() not in said
    # The terminal asks for nothing after the END line.
    assert said.count(b"not shown") == 1


def test_plain_fields_are_checked_before_a_secret_is_asked_for(cli: Cli) -> None:
    add = ("profiles", "add", "github", "--auth", "1", "--field", "api_version=soon")
    process = cli.start(*add)
    assert process.stderr is not None
    # Nothing is given on stdin, and nothing is waited for.
    assert "API version" in process.stderr.read()
    assert process.wait(DEADLINE) == 4


def test_an_address_that_would_show_the_credential_is_refused_when_it_is_added(cli: Cli) -> None:
    shop = ("profiles", "add", "woocommerce", "--field", "base_url=http://shop.example.com")
    key = ("--field", "consumer_key=ck_1", "--place", "vault")
    refused = cli(*shop, *key, "--auth", "1", code=4, input="cs_1\n")
    assert "base_url" in refused.err and "Use https" in refused.err
    cli(*shop, *key, "--auth", "2", input="cs_1\n")


def test_a_profile_with_one_way_to_sign_in_by_a_person_says_so(cli: Cli, tmp_path: Path) -> None:
    manifests = tmp_path / "connectors"
    manifests.mkdir()
    (manifests / "hostile.yaml").write_text(manifest(person("device_code")))
    fields = ("--field", "base_url=http://127.0.0.1:9", "--field", "client=tui")
    done = cli.with_env(PLATINT_CONNECTORS=str(manifests))("profiles", "add", "hostile", *fields)
    assert "Sign in: platint-tui profiles login hostile" in done.err

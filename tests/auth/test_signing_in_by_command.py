"""A person signs in by the command line; nothing of the tokens is left where it does not belong."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Cli
from peers.canary import leaks
from peers.oidc import Browser, OidcProvider

from tests.auth.support import PLAIN
from tests.auth.test_login import ME, person
from tests.http.hostile import MANIFEST, Whole, merged

PASSPHRASE = "correct horse battery staple of the sign-in"


def manifest(auth: dict[str, Any]) -> str:
    """The manifest of a platform that people sign in to."""
    check = [{"id": "me", "request": {"path": "/me"}}]
    document = merged(
        MANIFEST, {"auth": Whole(auth), "profile": {"fields": PLAIN}, "check": check, "resources": ME}
    )
    return json.dumps(document)


@pytest.fixture
def cli(tmp_path: Path, oidc: OidcProvider) -> Iterator[Cli]:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    manifests = tmp_path / "connectors"
    manifests.mkdir()
    made = Cli(
        tmp_path / "home",
        {"PLATINT_CONNECTORS": str(manifests), "PLATINT_VAULT_PASSPHRASE_FILE": str(passphrase)},
    )
    made("vault", "init", input=f"{PASSPHRASE}\n")
    yield made
    made.close()


def add(cli: Cli, oidc: OidcProvider, auth: dict[str, Any], client: str = "tui") -> None:
    folder = Path(cli.env["PLATINT_CONNECTORS"])
    (folder / "hostile.yaml").write_text(MANIFESTS[auth["grant"]])
    fields = ("--field", f"base_url={oidc.url}", "--field", f"client={client}")
    cli("profiles", "add", "hostile", "--name", "me", "--environment", "development", *fields)


MANIFESTS = {grant: manifest(person(grant)) for grant in ("authorization_code", "device_code")}


def address_in(text: str) -> str:
    found = re.search(r"https?://\S+", text)
    assert found, text
    return found.group()


def read_until(process: Any, wanted: str) -> str:
    said = ""
    while wanted not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


@pytest.mark.parametrize("grant", ["authorization_code", "device_code"])
def test_profiles_login(cli: Cli, oidc: OidcProvider, grant: str) -> None:
    add(cli, oidc, person(grant))
    assert "not signed in" in cli("profiles", "list").out
    refused = cli("profiles", "test", "me", code=5)
    assert "profiles login me" in refused.out + refused.err
    process = cli.start("profiles", "login", "me", "--no-browser", "--json")
    said = read_until(process, "enter the code" if grant == "device_code" else "On another machine")
    browser = Browser()
    page = browser.open(address_in(said))
    browser.close()
    assert page.status_code == 200, page.text[:2000]
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["profile"] == "me" and found["renewable"] and found["expires_ms"] > 0
    assert "renewed by itself" in err and "Traceback" not in err
    tested = cli("profiles", "test", "me")
    assert "ok" in tested.out
    tokens = stored(cli)
    assert tokens["refresh_token"]
    for secret in (tokens["access_token"], tokens["refresh_token"]):
        assert leaks(secret, [cli.home]) == []
        assert secret not in said + out + err + tested.out + tested.err
    # What has nothing to do with the sign-in keeps it; another app is another sign-in.
    assert "Sign in again" not in cli("profiles", "edit", "me", "--field", "external=x").err
    assert stored(cli) == tokens
    assert "Sign in again" in cli("profiles", "edit", "me", "--field", "client=brief").err
    assert "not signed in" in cli("profiles", "list").out


def stored(cli: Cli) -> dict[str, Any]:
    """The tokens, read from the vault by the program's own parts."""
    script = """
import asyncio, json, sys
from platint_tui.services.workspace import open_workspace
from platint_tui.vault.tokens import VaultTokens
async def main():
    workspace = await open_workspace()
    store = VaultTokens(workspace.vault, workspace.store.profiles, "me", workspace.vault.locks)
    print(json.dumps(await store.load()))
    await workspace.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=cli.env, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def test_the_address_of_another_machines_browser_is_pasted(
    cli: Cli, oidc: OidcProvider, tmp_path: Path
) -> None:
    add(cli, oidc, person())
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        cli.command("profiles", "login", "me", "--no-browser"),
        stdin=follower,
        stderr=subprocess.PIPE,
        text=True,
        env=cli.env,
    )
    said = read_until(process, "On another machine")
    # The browser of another machine reaches nothing at 127.0.0.1: only its last address is known.
    ended = ended_at(address_in(said))
    os.write(leader, f"{ended}\n".encode())
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and "Signed in to 'me'" in err
    os.close(leader)
    os.close(follower)


def ended_at(url: str) -> str:
    """The redirect address with its answer, without going there."""
    browser = Browser()
    addresses: list[str] = []

    def note(response: Any) -> None:
        location = response.headers.get("location", "")
        if "/callback?" in location and location.startswith("http://127.0.0.1"):
            addresses.append(location)
            response.headers["location"] = str(
                response.url.copy_with(path="/.well-known/openid-configuration", query=None)
            )

    browser.client.event_hooks["response"].append(note)
    browser.open(url)
    browser.close()
    return addresses[0]


def test_a_profile_that_signs_in_by_itself_is_told_so(cli: Cli, tmp_path: Path) -> None:
    cli("profiles", "add", "sqlite", "--name", "w", "--field", f"path={tmp_path / 'w.sqlite'}")
    done = cli("profiles", "login", "w", code=4)
    assert "signs in by itself" in done.err

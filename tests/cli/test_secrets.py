"""Where secrets may be, and where none ever is: files, output, arguments of processes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Cli, add_warehouse, counts, one_sentence, rows, wait_for, write_integration
from cli.peer import Peer, write_manifest
from peers.canary import forms, leaks
from peers.secret_service import SecretService

CANARY = "cnry_Held/7+x=Zq9 kW&%.9041"
SECOND = 'cnry_Second/8+y=Ar2 mT&".7752'
SERVICE = "platint-tui"
PASSPHRASE = "vault-passphrase-canary-3378"


class Watch:
    """Looks at the arguments of every process of this user while a block runs."""

    def __init__(self, *secrets: str) -> None:
        self._wanted = {form for secret in secrets for form in forms(secret)}
        self.found: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    data = place.read_bytes()
                except OSError:
                    continue
                if any(form in data for form in self._wanted):
                    self.found.add(data.decode("utf-8", "replace"))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


class Recorded(Cli):
    """A command line whose whole output is kept."""

    said = ""

    def __call__(self, *args: str | Path, **more: Any) -> Any:
        done = super().__call__(*args, **more)
        Recorded.said += done.out + done.err
        return done


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer(45, token=CANARY)
    yield server
    server.stop()


@pytest.fixture
def make(tmp_path: Path, peer: Peer) -> Iterator[Any]:
    made: list[Cli] = []

    def make(env: dict[str, str]) -> Cli:
        Recorded.said = ""
        options = ("--connectors", str(write_manifest(tmp_path / "connectors")))
        cli = Recorded(tmp_path / "home", env, options)
        made.append(cli)
        add_warehouse(cli, tmp_path / "warehouse.sqlite")
        return cli

    yield make
    for cli in made:
        cli.close()


def job(cli: Cli, peer: Peer, folder: Path, *, background: bool = True) -> None:
    """What touches the secret: a test, a run here and one in a background engine, a refusal that repeats the
    credential, an account."""
    path = write_integration(folder, "held-copy", ("held", "held"), ("sqlite", "warehouse"), ["items"])
    assert counts(cli.json("syncs", "run", path)) == {"items": (45, 45, 0)}
    if background:
        peer.items.append({"id": 46, "text": "new", "updated": 9000})
        cli("syncs", "run", "held-copy", "--detach")
        assert counts(cli.json("runs", "watch", "2"))["items"][0] == 1
        wait_for(lambda: cli.engine_pid() is None, "the end of the idle engine", 30)
        cli("syncs", "account", "held-copy")
    peer.refuse = True
    assert "401" in cli("profiles", "test", "held", code=5).err
    ran = cli("syncs", "run", "held-copy", "--json", code=5)
    assert "is not known here" in ran.err and "•••" in ran.err
    peer.refuse = False


def nowhere(cli: Cli, *secrets: str) -> None:
    """No file of the installation, and nothing that was said, holds the secret in any form."""
    for secret in secrets:
        assert leaks(secret, [cli.home]) == []
        said = Recorded.said.encode()
        assert not any(form in said for form in forms(secret))


def reference(cli: Cli) -> str:
    (row,) = rows(cli.database, "SELECT secrets FROM profiles WHERE name = 'held'")
    return str(json.loads(row["secrets"])["token"])


def test_in_the_keyring(make: Any, peer: Peer, tmp_path: Path, secret_service: SecretService) -> None:
    with Watch(CANARY, SECOND) as watch:
        cli = make(dict(secret_service.env))
        cli("profiles", "add", "held", "--field", f"base_url={peer.url}", input=f"{CANARY}\n")
        assert cli.json("profiles", "show", "held")["secrets"] == {"token": "keyring"}
        first = reference(cli).removeprefix("keyring:")
        assert secret_service.lookup(SERVICE, first) == CANARY
        job(cli, peer, tmp_path)

        # Another secret in its place: the old one is deleted.
        peer.token = SECOND
        cli("profiles", "edit", "held", "--secret", "token", input=f"{SECOND}\n")
        second = reference(cli).removeprefix("keyring:")
        assert second != first
        assert secret_service.lookup(SERVICE, first) == ""
        assert secret_service.lookup(SERVICE, second) == SECOND
        assert cli.json("profiles", "test", "held")["ok"]

        one_sentence(cli("profiles", "remove", "held", "--yes", code=4), 4, "held-copy", "syncs remove")
        cli("syncs", "remove", "held-copy", "--yes")
        cli("profiles", "remove", "held", "--yes")
        assert secret_service.lookup(SERVICE, second) == ""
        assert "held" not in {item["name"] for item in cli.json("profiles", "list")}
    assert watch.found == set()
    nowhere(cli, CANARY, SECOND)


def test_in_the_vault_file(make: Any, peer: Peer, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    with Watch(CANARY, SECOND, PASSPHRASE) as watch:
        cli = make({"PLATINT_VAULT_PASSPHRASE_FILE": str(passphrase)})
        add = ("profiles", "add", "held", "--field", f"base_url={peer.url}")
        one_sentence(cli(*add, input=f"{CANARY}\n", code=5), 5, "vault init", "PLATINT_SECRET__")
        assert "held" not in {item["name"] for item in cli.json("profiles", "list")}
        cli("vault", "init", input=f"{PASSPHRASE}\n")
        cli(*add, input=f"{CANARY}\n")
        assert cli.json("profiles", "show", "held")["secrets"] == {"token": "vault"}
        path = cli.home / "config" / "vault" / "secrets.vault"
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
        kdf = json.loads(path.read_text())["kdf"]
        assert (kdf["name"], kdf["n"], kdf["r"], kdf["p"]) == ("scrypt", 2**17, 8, 1)
        job(cli, peer, tmp_path)
        locked = cli.with_env(PLATINT_VAULT_PASSPHRASE_FILE="")
        one_sentence(
            locked("profiles", "test", "held", code=5), 5, "held", "token", "PLATINT_VAULT_PASSPHRASE_FILE"
        )
        passphrase.write_text("another\n")
        one_sentence(cli("profiles", "test", "held", code=5), 5, "passphrase")
        passphrase.write_text(PASSPHRASE + "\n")
        cli("syncs", "remove", "held-copy", "--yes")
        before = path.stat().st_size
        cli("profiles", "remove", "held", "--yes")
        assert path.stat().st_size < before
    assert watch.found == set()
    nowhere(cli, CANARY, SECOND, PASSPHRASE)


def test_in_the_environment_or_a_file(make: Any, peer: Peer, tmp_path: Path) -> None:
    """Read at use, never written. What the environment says wins over what the profile says."""
    secret = tmp_path / "token"
    secret.write_text(CANARY + "\n")
    secret.chmod(0o600)
    with Watch(CANARY) as watch:
        cli = make({})
        cli(
            *("profiles", "add", "held", "--field", f"base_url={peer.url}"),
            *("--secret-from", f"token=file:{secret}"),
        )
        job(cli, peer, tmp_path, background=False)
        secret.unlink()
        one_sentence(cli("profiles", "test", "held", code=5), 5, str(secret), "cannot be read")
        by_variable = cli.with_env(PLATINT_SECRET__HELD__TOKEN=CANARY)
        assert by_variable.json("profiles", "test", "held")["ok"]
        by_variable("profiles", "add", "held", "--field", f"base_url={peer.url}", "--replace")
        assert cli.json("profiles", "show", "held")["secrets"] == {"token": "env"}
    assert watch.found == set()
    nowhere(cli, CANARY)


def test_a_canary_would_be_seen() -> None:
    with Watch(CANARY) as watch, subprocess.Popen(["sh", "-c", "sleep 30; true", CANARY]) as child:
        wait_for(lambda: watch.found, "the canary in the arguments", 20)
        child.kill()

"""The installation's own folder and database: in the way, closed, damaged, newer, or somebody else's."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
from cli.kit import Cli, Done, one_sentence

COMMANDS = (("profiles", "list"), ("runs", "list"), ("doctor",), ("demo", "--headless", "--keep"))


def test_a_database_of_a_newer_version(cli: Cli) -> None:
    cli("profiles", "list")
    with closing(sqlite3.connect(cli.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = cli.database.read_bytes()
    for command in COMMANDS[:3]:
        one_sentence(cli(*command, code=4), 4, str(cli.database), "version 99", "upgrade")
    assert "version 99" in cli("serve", "--until-idle", code=4).err
    assert cli.database.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but somebody's notes\n" * 50, b"SQLite format 3\x00" + b"\x00" * 500],
    ids=["notes", "only-the-head"],
)
def test_a_file_that_is_no_database(cli: Cli, content: bytes) -> None:
    cli.database.parent.mkdir(parents=True)
    cli.database.write_bytes(content)
    done = cli("profiles", "list", code=None)
    assert done.code in (1, 4) and "not" in one_sentence(done, done.code, str(cli.database))
    assert cli.database.read_bytes() == content


def test_a_database_of_another_program(cli: Cli) -> None:
    cli.database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(cli.database)) as connection:
        connection.execute("CREATE TABLE mine (a)")
        connection.commit()
    before = cli.database.read_bytes()
    one_sentence(cli("profiles", "list", code=4), 4, "another program", "left as it is")
    assert cli.database.read_bytes() == before


def test_a_file_in_place_of_a_folder(cli: Cli) -> None:
    cli.home.write_text("in the way")
    for command in COMMANDS:
        one_sentence(cli(*command, code=4), 4, str(cli.home), "PLATINT_HOME")
    assert cli.home.read_text() == "in the way"
    cli.home.unlink()
    for name in ("config", "data", "state"):
        cli.home.mkdir(exist_ok=True)
        (cli.home / name).write_text("in the way")
        one_sentence(cli("profiles", "list", code=4), 4, str(cli.home / name), "PLATINT_HOME")
        (cli.home / name).unlink()
    (cli.home / "data" / "platint.sqlite").mkdir(parents=True)
    one_sentence(cli("profiles", "list", code=4), 4, "platint.sqlite")


def ordinary(command: list[str]) -> list[str]:
    """The command without the right to ignore permissions, which root has."""
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv (util-linux) is needed to run these tests as root"
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", *command]


@pytest.mark.parametrize("name", ["", "data", "config", "state"])
def test_a_folder_that_cannot_be_written(cli: Cli, name: str) -> None:
    for part in ("config", "data", "state") if name else ():
        (cli.home / part).mkdir(parents=True, exist_ok=True)
    cli.home.mkdir(exist_ok=True)
    closed = cli.home / name
    closed.chmod(0o500)
    try:
        arguments = ("profiles", "add", "demo-payments", "--field", "base_url=http://127.0.0.1:1",
                     "--secret-from", "api_key=env:X")  # fmt: skip
        command = ("profiles", "test", "demo-payments") if name == "state" else arguments
        if name == "state":
            cli(*arguments)
        done = subprocess.run(
            ordinary(cli.command(*command)),
            env=cli.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    finally:
        closed.chmod(0o700)
    if name == "config":
        assert done.returncode == 0, done.stderr  # nothing is written there for this
    else:
        one_sentence(Done(command, done.returncode, done.stdout, done.stderr), done.returncode, str(closed))
        assert done.returncode in (1, 4)
    # Opened again, everything works.
    assert cli("profiles", "list").code == 0

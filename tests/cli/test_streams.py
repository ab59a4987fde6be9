"""stdin, stdout and stderr as shells and scripts use them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from cli.kit import Cli, Done, add_warehouse, one_sentence, write_integration
from cli.peer import TOKEN, Peer, write_manifest


def run(cli: Cli, *args: str, stdout: int, env: dict[str, str] | None = None) -> Done:
    done = subprocess.run(
        cli.command(*args),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**cli.env, **(env or {})},
        timeout=30,
        check=False,
    )
    return Done(args, done.returncode, "", done.stderr)


def test_head_takes_the_first_line(cli: Cli) -> None:
    """`platint-tui connectors explain stripe.charges --json | head -1`"""
    with subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as head:
        assert head.stdin is not None
        done = run(cli, "connectors", "explain", "stripe.charges", "--json", stdout=head.stdin.fileno())
        head.stdin.close()
    assert "rror" not in done.err and "Traceback" not in done.err and done.code in (0, 141)


@pytest.mark.parametrize(
    "command",
    [
        ("--version",),
        ("--help",),
        ("connectors", "list"),
        ("connectors", "show", "stripe", "--json"),
        ("runs", "list"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_at_all(cli: Cli, command: tuple[str, ...], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(cli, *command, stdout=write, env={"PYTHONUNBUFFERED": unbuffered})
    finally:
        os.close(write)
    assert "rror" not in done.err and "Traceback" not in done.err and done.code in (0, 141)


def test_no_terminal_no_console(cli: Cli) -> None:
    one_sentence(cli(code=2), 2, "needs a terminal", "--help")
    one_sentence(cli("demo", code=2), 2, "needs a terminal")
    assert list(cli.home.rglob("*")) == []


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("syncs",), ("syncs", "rum"), ("dead", "list", "--limit=0")]
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments, code=2)
    assert done.out == "" and done.err.startswith("usage: platint-tui")
    assert done.err.splitlines()[-1].startswith(
        f"platint-tui{' ' if len(arguments) > 1 or arguments[0] == 'syncs' else ':'}"
    )


def test_version(cli: Cli) -> None:
    for flag in ("--version", "-V"):
        assert cli(flag).out.startswith("platint-tui 0.")


def test_questions_without_anybody_there(cli: Cli, tmp_path: Path) -> None:
    cli("profiles", "add", "sqlite", "--field", f"path={tmp_path}/w.sqlite")
    one_sentence(cli("profiles", "remove", "sqlite", code=2), 2, "--yes")
    assert [item["name"] for item in cli.json("profiles", "list")] == ["sqlite"]


def test_read_only_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    cli("profiles", "add", "sqlite", "--field", f"path={tmp_path}/w.sqlite")
    cli.options = ("--read-only",)
    for command in (
        ("profiles", "add", "sqlite", "--name", "other", "--field", f"path={tmp_path}/o.sqlite"),
        ("profiles", "edit", "sqlite", "--field", f"path={tmp_path}/o.sqlite"),
        ("profiles", "remove", "sqlite", "--yes"),
        ("profiles", "test", "sqlite"),
        ("discover", "sqlite"),
    ):
        one_sentence(cli(*command, code=4), 4, "read-only")
    assert [item["name"] for item in cli.json("profiles", "list")] == ["sqlite"]


def test_every_list_is_a_json_document_when_there_is_nothing(cli: Cli) -> None:
    for command in (
        ("profiles", "list"),
        ("syncs", "list"),
        ("runs", "list"),
        ("dead", "groups"),
        ("dead", "list"),
    ):
        assert cli.json(*command) == []
    assert cli.json("metrics")["operations"] == []
    assert {item["state"] for item in cli.json("doctor")} <= {"ok", "note"}
    assert cli("dead", "export").out == ""


HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred\x9b2J \u202egnp.exe \u200b [bold]markup[/bold] line\r\nnext"
    " \x00 end é 漢字 \U0001f600"
)
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]")


def test_M1_text_of_a_platform_cannot_drive_the_terminal(cli: Cli, tmp_path: Path) -> None:
    """Records, and what a platform says, in every list, payload, document and error."""
    peer = Peer()
    peer.items = [
        {"id": 1, "text": HOSTILE + "x" * 100, "updated": 1},
        {"id": HOSTILE, "text": [HOSTILE], "updated": 2},
    ]
    cli = cli.with_env(HELD_TOKEN=TOKEN, LC_ALL="C.UTF-8")
    cli.options = ("--connectors", str(write_manifest(tmp_path / "connectors")))
    try:
        cli(
            "profiles",
            "add",
            "held",
            "--field",
            f"base_url={peer.url}",
            "--secret-from",
            "token=env:HELD_TOKEN",
        )
        add_warehouse(cli, tmp_path / "warehouse.sqlite")
        path = write_integration(tmp_path, "hostile", ("held", "held"), ("sqlite", "warehouse"), ["items"])
        said = [cli("syncs", "run", path, code=3)]
        peer.message = HOSTILE
        peer.refuse = True
        said += [cli("syncs", "run", "hostile", code=5), cli("profiles", "test", "held", code=5)]
    finally:
        peer.stop()
    letters = cli.json("dead", "list")
    assert len(letters) == 2
    numbers = [str(letter["number"]) for letter in letters]
    for command in (
        ("dead", "groups"),
        ("dead", "list"),
        *(("dead", "show", number) for number in numbers),
        *(("dead", "show", number, "--json") for number in numbers),
        ("dead", "export"),
        ("dead", "replay", numbers[0], "--plan", "--json"),
        ("runs", "list"),
        ("runs", "show", "2"),
        ("profiles", "show", "held"),
    ):
        said.append(cli(*command))
    for done in said:
        found = UNSAFE.search(done.out + done.err)
        assert found is None, (done.args, found)
    payloads = {json.loads(line)["payload"] for line in cli("dead", "export").out.splitlines()}
    assert {json.loads(text)["id"] for text in payloads} == {1, HOSTILE}  # kept exactly
    shown = "".join(done.out for done in said)
    assert "␛]0;owned" in shown and "[bold]markup[/bold]" in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict"])
def test_a_terminal_that_cannot_show_everything(cli: Cli, tmp_path: Path, encoding: str) -> None:
    cli = cli.with_env(PYTHONIOENCODING=encoding, NAMED="x")
    cli(
        *("profiles", "add", "demo-payments", "--field", "base_url=http://127.0.0.1:1"),
        *("--secret-from", "api_key=env:NAMED"),
    )
    assert "env" in cli("profiles", "show", "demo-payments").out
    one_sentence(cli("profiles", "show", "nö漢", code=4), 4, "no profile")
    assert cli("--help").code == 0 and cli("dead", "list", "--help").code == 0

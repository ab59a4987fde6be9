"""stdin, stdout and stderr as shells and scripts use them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cli.kit import Cli, Done, one_sentence


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
    assert done.err == "" and done.code in (0, 141)


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
    assert done.err == "" and done.code in (0, 141)


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

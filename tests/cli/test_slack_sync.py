"""Slack to a table by the command line: messages of a channel, then what is new; the token never reaches a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cli.kit import Cli, add_warehouse, counts, lost, rows, write_integration
from peers.emulate import SlackEmulator


def test_slack_messages(
    cli: Cli, slack_emulator: SlackEmulator, tmp_path: Path, find_leaks: Callable[..., list[Path]]
) -> None:
    cli = cli.with_env(SLACK_TOKEN=slack_emulator.token)
    cli(
        *("profiles", "add", "slack", "--field", f"base_url={slack_emulator.url}/api"),
        *("--secret-from", "token=env:SLACK_TOKEN"),
    )
    add_warehouse(cli, tmp_path / "warehouse.sqlite")
    assert cli.json("profiles", "test", "slack")["ok"]
    streams = {item["name"]: item for item in cli.json("discover", "slack")["streams"]}
    assert streams["messages"]["key"] == ["channel", "ts"] and streams["messages"]["writable"]
    path = write_integration(
        tmp_path, "slack-copy", ("slack", "slack"), ("sqlite", "warehouse"), ["users", "messages"]
    )

    posted = {item["ts"]: item["text"] for item in history(slack_emulator)}
    assert len(posted) > 200
    first = cli.json("syncs", "run", path)
    assert counts(first)["messages"] == (len(posted), len(posted), 0)
    assert table(tmp_path) == posted and lost(cli, "slack-copy") == 0

    ts = slack_emulator.post("between two runs")
    second = cli.json("syncs", "run", "slack-copy", "messages")
    assert counts(second) == {"messages": (1, 1, 0)}
    assert table(tmp_path) == {**posted, ts: "between two runs"}
    assert not find_leaks(slack_emulator.token, [tmp_path])


def history(slack: SlackEmulator) -> list[dict[str, str]]:
    """Every message of the channel, page by page without the program."""
    found: list[dict[str, str]] = []
    cursor = ""
    while True:
        page = slack.call("conversations.history", channel=slack.channel, limit=100, cursor=cursor)
        found += page["messages"]
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            return found


def table(folder: Path) -> dict[str, str]:
    """Texts by ts, as they are in the warehouse."""
    found = rows(folder / "warehouse.sqlite", 'SELECT * FROM "messages"')
    return {item["ts"]: item["text"] for item in (json.loads(row["_raw"]) for row in found)}

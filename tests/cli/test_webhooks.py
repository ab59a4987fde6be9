"""Registering webhooks and gaps by the command line: what is told, asked and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from cli.kit import Cli
from peers.emulate import GithubEmulator

URL = "https://hooks.example.com/webhooks/hub"


class Hub(NamedTuple):
    cli: Cli
    github: GithubEmulator


@pytest.fixture(scope="module")
def hub(make_cli: Callable[..., Cli], github_emulator: GithubEmulator) -> Hub:
    """Profiles at GitHub and Slack; the signing secret is in the environment."""
    cli = make_cli("webhooks-home").with_env(
        GH_TOKEN=github_emulator.token,
        PLATINT_SECRET__HUB__TOKEN=github_emulator.token,
        PLATINT_SECRET__HUB__WEBHOOK_SECRET="secret-of-the-webhook-0123456789",
        PLATINT_SECRET__CHAT__TOKEN="xoxb-0123456789",
    )
    github_emulator.create_repository("commands")
    cli("profiles", "add", "github", "--name", "hub", "--field", f"base_url={github_emulator.url}")
    cli("profiles", "add", "slack", "--name", "chat")
    return Hub(cli, github_emulator)


def test_a_webhook_by_the_command_line(hub: Hub) -> None:
    cli, github = hub
    scope = ("--type", "issues", "--scope", "repo=octocat/commands")
    made = cli.json("events", "subscribe", "hub", *scope, "--url", URL)
    [row] = made["subscriptions"]
    assert (row["state"], row["types"], made["by_hand"]) == ("active", ["issues"], [])
    assert row["id"] in cli("events", "subscriptions", "hub").out
    cli("events", "pause-subscription", row["id"], "--yes")
    [gap] = cli.json("events", "gaps")
    assert (gap["kind"], gap["profile"], gap["end_ms"]) == ("webhook_paused", "hub", None)
    assert cli.json("events", "gap", str(gap["number"]))["fillable"]
    assert not github.call("GET", "/repos/octocat/commands/hooks")[2][0]["active"]


def test_what_is_told_when_it_cannot_be(hub: Hub) -> None:
    cli, _ = hub
    told = cli("events", "check", code=4)
    assert "No public address is set" in told.err and "cloudflared" in told.err
    by_hand = cli("events", "subscribe", "chat", "--url", "https://hooks.example.com/webhooks/chat")
    assert by_hand.out.startswith("1. Open https://api.slack.com/apps")
    assert "Address: https://hooks.example.com/webhooks/chat" in by_hand.out
    assert "There is no gap 99" in cli("events", "gap", "99", code=4).err
    assert "soon" in cli("events", "missed", "hub", "--since", "soon", code=2).err
    assert "Nobody is there to answer" in cli("events", "unsubscribe", "sub_1", code=2).err


def test_nothing_of_a_secret_is_in_the_database(hub: Hub) -> None:
    files = [item for item in hub.cli.home.rglob("*.sqlite*") if item.is_file()]
    assert files and all(b"secret-of-the-webhook" not in item.read_bytes() for item in files)

"""Webhooks registered at real emulators by a real engine: made, found again after a crash, changed and removed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine.support import Installation, until
from engine.test_webhooks_live import keep_secrets

from platint_tui.core.subscriptions import SubscriptionState
from platint_tui.vault import Vault

URL = "https://hooks.example.com/webhooks/hub"


@pytest.fixture
async def hub(installation: Installation, github_emulator: Any) -> Installation:
    """A profile `hub` at the GitHub emulator, which has a signing secret already."""
    installation.environ |= {
        "GH_TOKEN": github_emulator.token,
        "HOOK_SECRET": "secret-of-the-webhook-0123456789",
    }
    secrets = {"token": "env:GH_TOKEN", "webhook_secret": "env:HOOK_SECRET"}
    await installation.profile("hub", "github", {"base_url": github_emulator.url}, secrets)
    return installation


async def secret_of(installation: Installation, field: str, profile: str = "hub") -> str:
    found = await installation.store.profiles.get(profile)
    assert found is not None
    vault = Vault(installation.paths.config, installation.environ)
    return (await vault.resolve(profile, field, found.secrets[field])).reveal()


async def test_a_webhook_is_made_listed_paused_resumed_and_removed(
    hub: Installation, github_emulator: Any
) -> None:
    async with hub.engine():
        answer = await hub.call(
            "subscribe", profile="hub", types=["issues"], scope={"repo": "octocat/beta"}, url=URL
        )
        assert answer.state == "done", answer.error
        [row] = await hub.store.subscriptions.list("hub")
        _, _, hooks = github_emulator.call("GET", "/repos/octocat/beta/hooks")
        [hook] = [item for item in hooks if item["config"]["url"] == URL]
        assert (row.state, row.remote_id, row.types) == (
            SubscriptionState.ACTIVE,
            str(hook["id"]),
            ("issues",),
        )
        assert hook["active"] and hook["events"] == ["issues"] and hook["config"]["content_type"] == "json"

        # The same once more would bring every event twice.
        again = await hub.call(
            "subscribe", profile="hub", types=["issues"], scope={"repo": "octocat/beta"}, url=URL
        )
        assert again.state == "failed" and (again.error or {})["code"] == "subscribed"

        assert (await hub.call("pause_subscription", id=row.id)).state == "done"
        _, _, hook = github_emulator.call("GET", f"/repos/octocat/beta/hooks/{row.remote_id}")
        assert not hook["active"]
        [gap] = await hub.store.gaps.list(profile="hub")
        assert gap.end_ms is None
        assert (await hub.call("resume_subscription", id=row.id)).state == "done"
        _, _, hook = github_emulator.call("GET", f"/repos/octocat/beta/hooks/{row.remote_id}")
        assert hook["active"]
        [gap] = await hub.store.gaps.list(profile="hub")
        assert gap.end_ms is not None

        checked = await hub.call("check_subscriptions", profile="hub")
        assert (checked.result or {})["errors"] == {} and (checked.result or {})["strangers"] == []
        github_emulator.call("DELETE", f"/repos/octocat/beta/hooks/{row.remote_id}")
        await hub.call("check_subscriptions", profile="hub")
        [row] = await hub.store.subscriptions.list("hub")
        assert row.state == SubscriptionState.GONE and "no more" in row.error
        assert [item.subject for item in await hub.store.alerts.list()] == [f"webhook hub/{row.id}"]
        assert (await hub.call("unsubscribe", id=row.id)).state == "done"
        assert await hub.store.subscriptions.list("hub") == []


async def test_the_signing_secret_is_in_the_vault_and_nowhere_else(
    hub: Installation, github_emulator: Any
) -> None:
    await keep_secrets(hub)
    await hub.profile("hub", "github", {"base_url": github_emulator.url}, {"token": "env:GH_TOKEN"})
    async with hub.engine():
        answer = await hub.call("subscribe", profile="hub", scope={"repo": "octocat/gamma"}, url=URL)
        assert answer.state == "done", answer.error
    secret = await secret_of(hub, "webhook_secret")
    assert len(secret) == 64
    files = [item for item in hub.paths.database.parent.iterdir() if item.is_file()]
    held = b"".join(item.read_bytes() for item in files)
    assert URL.encode() in held and secret.encode() not in held


async def test_a_second_webhook_of_a_profile_has_the_same_secret(
    hub: Installation, github_emulator: Any
) -> None:
    async with hub.engine():
        for repo in ("alpha", "empty"):
            answer = await hub.call("subscribe", profile="hub", scope={"repo": f"octocat/{repo}"}, url=URL)
            assert answer.state == "done", answer.error
    found = await hub.store.profiles.get("hub")
    assert found is not None and "webhook_secret_previous" not in found.secrets


@pytest.mark.parametrize("point", ["subscribe.after_intent", "subscribe.after_create"])
async def test_a_crash_while_it_is_made_leaves_one_webhook(
    hub: Installation, github_emulator: Any, point: str
) -> None:
    repo = f"octocat/crash-{point.rpartition('_')[2]}"
    github_emulator.create_repository(repo.partition("/")[2])
    await hub.submit("subscribe", profile="hub", scope={"repo": repo}, url=URL)
    code, said = hub.finish(PLATINT_FAILPOINT=f"{point}:1")
    assert code == -9, said
    async with hub.engine():

        async def made() -> bool:
            return not await hub.store.commands.pending()

        await until(made)
    [row] = [item for item in await hub.store.subscriptions.list("hub") if item.scope == {"repo": repo}]
    _, _, hooks = github_emulator.call("GET", f"/repos/{repo}/hooks")
    assert [str(item["id"]) for item in hooks] == [row.remote_id]
    assert row.state == SubscriptionState.ACTIVE


async def test_a_webhook_of_somebody_else_is_taken_over_only_when_asked(
    hub: Installation, github_emulator: Any
) -> None:
    github_emulator.create_repository("theirs")
    body = {
        "name": "web",
        "active": True,
        "events": ["issues"],
        "config": {"url": URL, "content_type": "json"},
    }
    _, _, made = github_emulator.call("POST", "/repos/octocat/theirs/hooks", body)
    args: dict[str, Any] = {"profile": "hub", "scope": {"repo": "octocat/theirs"}, "url": URL}
    async with hub.engine():
        refused = await hub.call("subscribe", **args)
        assert (refused.error or {})["code"] == "exists"
        taken = await hub.call("subscribe", adopt=True, **args)
        assert taken.state == "done", taken.error
    [row] = await hub.store.subscriptions.list("hub")
    assert (row.remote_id, row.types) == (str(made["id"]), ("issues",))


async def test_a_scope_that_fits_no_way_is_refused_with_what_would(hub: Installation) -> None:
    async with hub.engine():
        answer = await hub.call("subscribe", profile="hub", scope={"project": "1"}, url=URL)
    assert (answer.error or {})["message"] == "A webhook at GitHub is for --scope repo=… or --scope org=…."


async def test_two_who_ask_for_the_same_at_once_make_one_webhook(
    hub: Installation, github_emulator: Any
) -> None:
    github_emulator.create_repository("twice")
    args: dict[str, Any] = {
        "profile": "hub",
        "types": ["issues"],
        "scope": {"repo": "octocat/twice"},
        "url": URL,
    }
    async with hub.engine():
        answers = await asyncio.gather(hub.call("subscribe", **args), hub.call("subscribe", **args))
    assert sorted(item.state for item in answers) == ["done", "failed"]
    assert len(github_emulator.call("GET", "/repos/octocat/twice/hooks")[2]) == 1
    assert len(await hub.store.subscriptions.list("hub")) == 1

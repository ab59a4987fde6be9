"""What did not arrive is asked for at the platform and comes by webhook; webhooks are renewed, found again and never
replaced unasked: a running `serve`, and servers in the platforms' shapes that the test holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from engine.support import Installation, until
from engine.test_webhooks_live import Served, served
from platforms.test_webhooks import Discord, Jira, Sendgrid
from platforms.vendor import Asked, Reply, Vendor, running

from platint_tui.core.gaps import GapKind, GapState, MissedState
from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.engine import webhookkeeping
from platint_tui.engine.webhookkeeping import WebhookKeeping

__all__ = ["served"]
HOOK = {"type": "Repository", "id": 7, "name": "web", "active": True, "events": ["issues"]}
URL = "https://hooks.example.com/webhooks/p"


class Github(Vendor):
    """One webhook and its deliveries; an attempt is made at once, signed with the secret that was registered."""

    def __init__(self) -> None:
        super().__init__("github", "")
        self.hook: dict[str, Any] | None = None
        self.secret = ""
        self.deliveries: list[dict[str, Any]] = []
        self.attempts: list[str] = []
        self.too_old: set[str] = set()
        path = "/repos/octocat/hello/hooks"
        self.on(f"GET {path}", lambda asked: [self.hook] if self.hook else [])
        self.on(f"GET {path}/7/deliveries", lambda asked: Reply(self.deliveries, checked=False))
        self.on(f"POST {path}/7/deliveries/{{id}}/attempts", self.attempt)

    def failed(self, number: int, seconds_ago: float = 300) -> None:
        """A delivery that was not taken."""
        at = datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat().replace("+00:00", "Z")
        made = {
            "id": number,
            "guid": f"guid-{number}",
            "delivered_at": at,
            "redelivery": False,
            "duration": 0.1,
        }
        made |= {
            "status": "Invalid HTTP Response: 503",
            "status_code": 503,
            "event": "issues",
            "action": "opened",
        }
        self.deliveries.insert(0, {**made, "installation_id": None, "repository_id": 1})

    def attempt(self, asked: Asked, id: str) -> Reply:
        self.attempts.append(id)
        if id in self.too_old:
            return Reply({"message": "Not Found"}, 404)
        return Reply({}, 202)

    async def send(self, number: str) -> int:
        """The redelivery that an attempt asked for: the same guid."""
        assert self.hook is not None
        body = json.dumps(
            {"action": "opened", "issue": {"id": int(number), "node_id": f"I_{number}"}}
        ).encode()
        signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "issues",
            "X-GitHub-Delivery": f"guid-{number}",
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        url = self.hook["config"]["url"]
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            return answer.status


async def hub(served: Served, github: Github, token: str) -> None:
    """A profile `hub` at this server with a webhook that was registered two hours ago."""
    served.installation.environ["HOOK_SECRET"] = github.secret = "secret-of-the-webhook-0123456789"
    secrets = {"token": token, "webhook_secret": "env:HOOK_SECRET"}
    await served.installation.profile("hub", "github", {"base_url": github.url}, secrets)
    url, old = f"{served.url}/webhooks/hub", int(time.time() * 1000) - 7_200_000
    github.hook = {**HOOK, "config": {"url": url, "content_type": "json"}}
    scope = {"repo": "octocat/hello"}
    await served.store.subscriptions.put(
        Subscription("sub_1", "hub", "7", url, ("issues",), scope, SubscriptionState.ACTIVE, old)
    )


@pytest.fixture
def token(installation: Installation) -> str:
    installation.environ["A_TOKEN"] = "token-0123456789"
    return "env:A_TOKEN"


async def test_failed_deliveries_of_github_are_sent_again_and_fill_the_gap(
    served: Served, token: str
) -> None:
    async with running(Github()) as github:
        await hub(served, github, token)
        for number in (1, 2):
            github.failed(number)
        github.failed(3, seconds_ago=5)  # it failed: it is not on its way
        async with served.serving():
            found = await served.call("missed", profile="hub")
            assert (found["sent"], found["here"], found["new"]) == (3, 0, 3)
            [number] = found["gaps"]
            done = await served.call("backfill", gap=number)
            assert (done["missing"], done["asked"], done["fetched"]) == (3, 3, 0)
            assert (done["left"], done["filled"]) == (3, False)
            assert sorted(github.attempts) == ["1", "2", "3"]
            states = {item.state for item in await served.store.gaps.missed(number)}
            assert states == {MissedState.ASKED}
            # Asked once more at once, nothing is asked for twice.
            assert (await served.call("backfill", gap=number))["asked"] == 0
            assert [await github.send(item) for item in github.attempts] == [200, 200, 200]
            again = await served.call("missed", profile="hub")
            assert (again["here"], again["new"], again["filled"]) == (3, 0, [number])
        assert len(await served.events("hub")) == 3
        gap = await served.store.gaps.get(number)
        assert gap is not None and gap.state == GapState.FILLED


async def test_what_the_platform_no_longer_has_is_lost_and_said_so(served: Served, token: str) -> None:
    async with running(Github()) as github:
        await hub(served, github, token)
        github.failed(1)
        github.too_old.add("1")
        async with served.installation.engine():
            [number] = (await served.call("missed", profile="hub"))["gaps"]
            done = await served.call("backfill", gap=number)
            assert (done["lost"], done["left"], done["filled"]) == (1, 0, False)
            [missed] = await served.store.gaps.missed(number)
            assert missed.state == MissedState.LOST and "404" in missed.message
            await served.call("accept_gap", gap=number, note="known")
            assert (await served.call("missed", profile="hub"))["gaps"] == []


async def test_a_webhook_that_expires_is_renewed_and_a_failure_is_told(served: Served, token: str) -> None:
    now = int(time.time() * 1000)
    async with running(Jira()) as jira:
        fields = {"site": "acme", "base_url": jira.url, "email": "ada@example.com"}
        await served.installation.profile("desk", "jira", fields, {"api_token": token})
        scope = {"jql": "project = SHOP"}
        for number, days in ((1, 2), (2, 29)):
            await served.store.subscriptions.put(
                Subscription(
                    f"sub_{number}", "desk", str(number), URL, ("jira:issue_created",), scope,
                    SubscriptionState.ACTIVE, now - 28 * 86_400_000, now + days * 86_400_000, now,
                )
            )  # fmt: skip
        keeping = WebhookKeeping(served.installation.context())
        for row in await served.store.subscriptions.list("desk"):
            await keeping._renew(row)
        first, second = await served.store.subscriptions.list("desk")
        assert (first.expires_ms, second.expires_ms) == (1_900_000_000_000, now + 29 * 86_400_000)
        assert len(jira.asked("PUT /rest/api/3/webhook/refresh")) == 1
        await served.store.subscriptions.put(replace(second, expires_ms=now + 3_600_000))
        jira.on(
            "PUT /rest/api/3/webhook/refresh", Reply({"errorMessages": ["Not yours."]}, 403, checked=False)
        )
        [_, second] = await served.store.subscriptions.list("desk")
        await keeping._renew(second)
        [_, second] = await served.store.subscriptions.list("desk")
        assert "Not yours" in second.error
        [alert] = await served.store.alerts.list()
        assert alert.subject == "webhook desk/sub_2" and "cannot be renewed" in alert.text


async def test_a_platform_that_answers_late_makes_no_gap_in_listening(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of platforms may take minutes; that somebody listens is noted all the while."""
    await served.store.settings.put(
        webhookkeeping.STATUS, {"address": "http://127.0.0.1:1", "since_ms": 2**53}
    )
    monkeypatch.setattr(webhookkeeping, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(webhookkeeping, "SOON_SECONDS", 0.005)
    monkeypatch.setattr(webhookkeeping, "HEARD_MS", 0)
    asked = asyncio.Event()

    async def late(self: WebhookKeeping) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(WebhookKeeping, "_compare_every", late)
    task = asyncio.create_task(WebhookKeeping(served.installation.context()).run())
    try:
        await asyncio.wait_for(asked.wait(), 10)
        before = await served.store.settings.get(webhookkeeping.HEARD)

        async def goes_on() -> bool:
            return await served.store.settings.get(webhookkeeping.HEARD) != before

        await until(goes_on)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_crash_before_the_platforms_secret_is_kept_makes_the_webhook_anew(
    served: Served, token: str
) -> None:
    """SendGrid's key comes with the webhook: one whose key nobody kept would never be believed."""
    async with running(Sendgrid()) as sendgrid:
        served.installation.environ["A_TOKEN"] = "SG.0123456789"
        await served.installation.profile("mail", "sendgrid", {"base_url": sendgrid.url}, {"api_key": token})
        await served.installation.submit("subscribe", profile="mail", types=["bounce"], url=URL)
        code, said = await _finish(served, PLATINT_FAILPOINT="subscribe.after_create:1")
        assert code == -9, said
        [row] = await served.store.subscriptions.list("mail")
        assert row.state == SubscriptionState.CREATING and len(sendgrid.made) == 1
        async with served.installation.engine():

            async def made() -> bool:
                return not await served.store.commands.pending()

            await until(made)
        [row] = await served.store.subscriptions.list("mail")
        assert row.state == SubscriptionState.ACTIVE
        assert [item["id"] for item in sendgrid.made.values()] == [row.remote_id]
        profile = await served.store.profiles.get("mail")
        assert profile is not None and profile.fields["webhook_public_key"] == "MFkwEwYH-the-key"


async def _finish(served: Served, **environ: str) -> tuple[int, str]:
    """An engine process to its end, while the server of this test answers it."""
    return await asyncio.to_thread(lambda: served.installation.finish(**environ))


async def test_the_only_address_of_a_platform_is_replaced_when_asked(served: Served, token: str) -> None:
    async with running(Discord()) as discord:
        await served.installation.profile("chat", "discord", {"base_url": discord.url}, {"token": token})
        profile = await served.store.profiles.get("chat")
        assert profile is not None
        await served.store.profiles.put(replace(profile, origins=(discord.url.removesuffix("/api/v10"),)))
        discord.app["event_webhooks_url"] = "https://old.example.com/"
        async with served.installation.engine():
            refused = await served.installation.call("subscribe", profile="chat", url=URL)
            assert (refused.error or {})["code"] == "replaces"
            assert "https://old.example.com/" in (refused.error or {})["message"]
            assert discord.app["event_webhooks_url"] == "https://old.example.com/"
            made = await served.call("subscribe", profile="chat", url=URL, replace=True)
            assert made["subscriptions"][0]["state"] == "active"
        profile = await served.store.profiles.get("chat")
        # Known before Discord asked the address for an answer.
        assert profile is not None and profile.fields["public_key"] == "ab" * 32
        assert discord.app["event_webhooks_url"] == URL


async def test_a_gap_of_a_platform_without_a_list_says_what_is_possible(served: Served, token: str) -> None:
    await served.installation.profile("chat", "slack", {}, {"token": token})
    number = await served.store.gaps.begin("chat", GapKind.DISABLED, "The source is disabled.", 1, 2)
    async with served.installation.engine():
        answer = await served.installation.call("backfill", gap=number)
    assert (answer.error or {})["code"] == "no_missed" and "Slack" in (answer.error or {})["message"]
    gap = await served.store.gaps.get(number)
    assert gap is not None and gap.state == GapState.OPEN and "Slack" in gap.note

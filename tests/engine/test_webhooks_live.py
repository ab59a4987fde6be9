"""A running `serve` and the platforms' own senders: a webhook is registered, something happens at the platform, and the
event is here, checked with the secret from the vault; what was missed is fetched or sent again.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from engine.support import ROOT, Installation, until
from peers.process import request

from platint_tui.core.events import FETCHED, WEBHOOK, Event
from platint_tui.core.gaps import GapKind, GapState
from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.engine.webhookkeeping import HEARD
from platint_tui.store.ports import EventFilter
from platint_tui.vault import Vault

PASSPHRASE = "correct horse battery staple"
STRIPE_SECRET = "whsec_0123456789abcdef0123456789abcdef"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Served:
    """An installation whose engine listens on a port of its own."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.store = installation.store
        self.url = f"http://127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        listen = self.url.removeprefix("http://")
        return [sys.executable, "-m", "platint_tui", "serve", "--listen", listen, "--public-url", self.url]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        process = subprocess.Popen(
            self.command(), env={**self.installation.environ, "PYTHONPATH": ROOT}, stderr=subprocess.PIPE
        )
        started = time.time() * 1000
        try:

            async def listens() -> bool:
                assert process.poll() is None
                status = await self.store.settings.get("receiver.status") or {}
                return bool(status.get("address")) and status["since_ms"] >= started

            await until(listens)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)

    async def events(self, profile: str) -> list[Event]:
        numbers = await self.store.events.numbers(EventFilter(profile=profile), newest_first=False)
        return list(await self.store.events.rows(numbers))

    async def call(self, kind: str, **args: Any) -> dict[str, Any]:
        answer = await self.installation.call(kind, **args)
        assert answer.state == "done", answer.error
        return dict(answer.result or {})


@pytest.fixture
def served(installation: Installation) -> Served:
    return Served(installation)


async def keep_secrets(installation: Installation) -> None:
    """A vault file, for tests in which a secret is to be kept."""
    file = installation.home / "passphrase"
    file.write_text(PASSPHRASE)
    file.chmod(0o600)
    installation.environ["PLATINT_VAULT_PASSPHRASE_FILE"] = str(file)
    await Vault(installation.paths.config, installation.environ).init_file(PASSPHRASE)


async def test_an_issue_at_github_becomes_an_event_that_is_checked_with_the_secret_of_the_vault(
    served: Served, github_emulator: Any
) -> None:
    await keep_secrets(served.installation)
    served.installation.environ["GH_TOKEN"] = github_emulator.token
    await served.installation.profile(
        "hub", "github", {"base_url": github_emulator.url}, {"token": "env:GH_TOKEN"}
    )
    github_emulator.create_repository("live")
    async with served.serving():
        checked = await served.call("check_address", profile="hub")
        assert checked["ok"] and checked["profiles"] == {"hub": f"{served.url}/webhooks/hub"}
        made = await served.call("subscribe", profile="hub", types=["issues"], scope={"repo": "octocat/live"})
        assert made["notes"] == [] and made["url"] == f"{served.url}/webhooks/hub"
        github_emulator.create_issue("live", "It is on fire", body="Since noon.")

        async def issue() -> Event | None:
            return next((item for item in await served.events("hub") if item.type == "issues.opened"), None)

        event = await until(issue)
    assert (event.verified_by, event.origin) == ("webhook_secret", WEBHOOK)
    whole = await served.store.events.get(event.id)
    assert whole is not None and json.loads(whole.body)["issue"]["title"] == "It is on fire"
    assert await served.store.events.rejections("hub") == []


async def test_a_public_address_that_leads_elsewhere_is_told_apart(
    served: Served, github_emulator: Any
) -> None:
    served.installation.environ["GH_TOKEN"] = github_emulator.token
    await served.installation.profile(
        "hub", "github", {"base_url": github_emulator.url}, {"token": "env:GH_TOKEN"}
    )
    served.installation.environ["PLATINT_LISTEN"] = served.url.removeprefix("http://")
    async with served.installation.engine():
        # No receiver is in this engine, so whatever answers is another one.
        await served.store.settings.put("webhooks", {"public_url": github_emulator.url})
        found = await served.call("check_address")
        assert (found["ok"], found["code"]) == (False, "other_server")
        await served.store.settings.put("webhooks", {"public_url": served.url})
        found = await served.call("check_address")
        assert found["code"] == "connection_refused" and "cloudflared" in found["hint"]
        await served.store.settings.put("webhooks", {"public_url": "http://hooks.example.com"})
        found = await served.call("check_address")
        assert found["code"] == "config" and "https" in found["hint"]
        await served.store.settings.put("webhooks", {})
        answer = await served.installation.call("check_address")
        assert (answer.error or {})["code"] == "no_public_url"


async def stripe(served: Served, emulator: Any) -> None:
    """A profile at localstripe, with a webhook that is entered by hand: localstripe has no API for it."""
    served.installation.environ |= {"STRIPE_KEY": emulator.key, "STRIPE_HOOK": STRIPE_SECRET}
    secrets = {"api_key": "env:STRIPE_KEY", "webhook_secret": "env:STRIPE_HOOK"}
    await served.installation.profile("pay", "stripe", {"base_url": emulator.url}, secrets)
    url = f"{served.url}/webhooks/pay"
    hook = {"url": url, "secret": STRIPE_SECRET, "events": ["customer.created"]}
    status, _, _ = request(
        "POST", f"{emulator.url}/_config/webhooks/hook1", json_body=hook, token=emulator.key
    )
    assert status == 200
    # What happened before is none of this webhook's; times of Stripe are whole seconds.
    now = int(time.time()) + 1
    await asyncio.sleep(now - time.time())
    await served.store.subscriptions.put(
        Subscription(
            "sub_1", "pay", "we_1", url, ("customer.created",), {}, SubscriptionState.ACTIVE, now * 1000
        )
    )


async def test_customers_of_stripe_arrive_and_those_of_a_time_without_a_listener_are_fetched_once(
    served: Served, stripe_emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stripe(served, stripe_emulator)
    silent = int(time.time() * 1000) - 60_000
    await served.store.settings.put(HEARD, silent)
    # While nobody listens, customers are made; localstripe tries once, a second later.
    missed = {stripe_emulator.create_customer(amount)["id"] for amount in (501, 502, 503)}
    await asyncio.sleep(1.2)
    async with served.serving():
        there = stripe_emulator.create_customer(504)["id"]

        async def arrived() -> bool:
            return bool(await served.events("pay")) and bool(await served.store.gaps.list())

        await until(arrived)
    [event] = await served.events("pay")
    assert (event.type, event.verified_by, event.origin) == ("customer.created", "webhook_secret", WEBHOOK)
    [gap] = await served.store.gaps.list()
    assert (gap.kind, gap.profile, gap.start_ms, gap.state) == (
        GapKind.RECEIVER_DOWN,
        "pay",
        silent,
        GapState.OPEN,
    )
    # A moment ago is under way: what failed then would be compared later.
    monkeypatch.setattr("platint_tui.engine.missed.UNDER_WAY_MS", 0)
    async with served.installation.engine():
        found = await served.call("missed", profile="pay")
        assert (found["here"], found["new"], found["gaps"]) == (1, 3, [gap.number])
        done = await served.call("backfill", gap=gap.number)
        assert (done["missing"], done["fetched"], done["left"], done["filled"]) == (3, 3, 0, True)
        again = await served.call("missed", profile="pay")
        assert (again["here"], again["new"], again["gaps"]) == (4, 0, [])
    events = await served.events("pay")
    bodies = [await served.store.events.get(item.id) for item in events]
    objects = {json.loads(item.body)["data"]["object"]["id"] for item in bodies if item is not None}
    assert objects == {*missed, there} and len(events) == 4
    assert sorted(item.origin for item in events) == [FETCHED] * 3 + [WEBHOOK]
    [gap] = await served.store.gaps.list()
    assert (gap.state, gap.events, gap.missing) == (GapState.FILLED, 3, 0)


async def test_a_crash_while_a_gap_is_filled_is_made_good_once(
    served: Served, stripe_emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stripe(served, stripe_emulator)
    monkeypatch.setattr("platint_tui.engine.missed.UNDER_WAY_MS", 0)
    for amount in (601, 602):
        stripe_emulator.create_customer(amount)
    async with served.installation.engine():
        [number] = (await served.call("missed", profile="pay"))["gaps"]
    command = await served.installation.submit("backfill", gap=number)
    code, said = served.installation.finish(PLATINT_FAILPOINT="backfill.after_ingest:1")
    assert code == -9, said
    gap = await served.store.gaps.get(number)
    assert gap is not None and gap.state == GapState.FILLING
    async with served.installation.engine():

        async def ended() -> bool:
            found = await served.store.commands.get(command)
            return found is not None and found.state != "pending"

        await until(ended)
    gap = await served.store.gaps.get(number)
    assert gap is not None and (gap.state, gap.missing) == (GapState.FILLED, 0)
    assert len(await served.events("pay")) == gap.events == 2


async def test_sns_is_subscribed_and_what_it_does_not_sign_is_refused(
    served: Served, moto_server: Any, tmp_path: Path
) -> None:
    """moto neither asks for a confirmation nor signs: the message must not be taken for a genuine one."""
    served.installation.environ |= {"AWS_KEY": moto_server.key, "AWS_SECRET": moto_server.secret}
    secrets = {"access_key_id": "env:AWS_KEY", "secret_access_key": "env:AWS_SECRET"}
    await served.installation.profile("cloud", "aws", {"endpoint_url": moto_server.url}, secrets)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    made = moto_server.call("sns", "POST", "/", b"Action=CreateTopic&Version=2010-03-31&Name=alarms", form)
    topic = made.partition("<TopicArn>")[2].partition("</TopicArn>")[0]
    async with served.serving():
        await served.call("subscribe", profile="cloud", scope={"topic": topic})
        profile = await served.store.profiles.get("cloud")
        assert profile is not None and profile.fields["topic_arn"] == topic
        [row] = (await served.call("check_subscriptions", profile="cloud"))["subscriptions"]
        assert (row["state"], row["error"]) == ("active", "")  # moto confirms by itself
        body = f"Action=Publish&Version=2010-03-31&TopicArn={topic}&Message=hello".encode()
        moto_server.call("sns", "POST", "/", body, form)

        async def refused() -> Any:
            return next(iter(await served.store.events.rejections("cloud")), None)

        rejection = await until(refused)
        await served.call("unsubscribe", id=row["id"])
    assert await served.events("cloud") == [] and rejection.cause

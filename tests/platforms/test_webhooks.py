"""Webhooks registered at each platform through its manifest, against servers in the platforms' shapes: made, found in
the list, paused, resumed, renewed and removed; and the lists of what was sent. GitHub and Stripe have emulators of
their own (tests/engine/test_subscriptions.py, test_missed.py).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError, UnknownOutcome
from platint_tui.core.gaps import SentEvent
from platint_tui.core.secret import Secret
from platint_tui.core.subscriptions import MadeWebhook, RemoteWebhook, WantedWebhook

URL = "https://hooks.example.com/webhooks/p"
SECRET = Secret("0123456789abcdef0123456789abcdef")


def wanted(*types: str, secret: Secret | None = SECRET, **scope: str) -> WantedWebhook:
    return WantedWebhook("platint-sub-1", URL, types, scope, secret=secret)


def of(made: MadeWebhook, asked: WantedWebhook) -> WantedWebhook:
    return replace(asked, remote_id=made.webhook.id)


async def listed(on: Account, asked: WantedWebhook) -> list[RemoteWebhook]:
    return [item for item in await on.driver.registrar().list(asked) if item.url in (URL, "")]


async def sent(on: Account, since: int, until: int, webhook: WantedWebhook | None = None) -> list[SentEvent]:
    pages = [page async for page in on.driver.sent_list().sent(webhook, since, until)]
    return [item for page in pages for item in page]


class Hooks(Vendor):
    """A collection of webhooks under one path: `made` are those that are there, by id."""

    def __init__(self, platform: str, base: str, path: str, at: str, **more: Any) -> None:
        super().__init__(platform, base, **more)
        self.made: dict[str, dict[str, Any]] = {}
        self.at = at
        self.on(f"GET {path}", lambda asked: self.all())
        self.on(f"POST {path}", self.make)
        for method in ("PUT", "PATCH", "POST"):
            self.on(f"{method} {path}/{{id}}", self.change)
        self.on(f"DELETE {path}/{{id}}", self.drop)

    def all(self) -> Any:
        rows = list(self.made.values())
        return {self.at: rows} if self.at else rows

    def make(self, asked: Asked) -> Reply:
        return Reply(self.keep(asked.json), 201)

    def keep(self, values: dict[str, Any]) -> dict[str, Any]:
        number = str(len(self.made) + 1)
        self.made[number] = {**values, "id": self.name(number)}
        return self.made[number]

    def name(self, number: str) -> Any:
        return number

    def change(self, asked: Asked, id: str) -> Any:
        self.made[id].update(asked.json)
        return self.made[id]

    def drop(self, asked: Asked, id: str) -> Reply:
        return Reply(None, 204) if self.made.pop(id, None) else Reply({"message": "none"}, 404)


async def lived(on: Account, asked: WantedWebhook, *, pauses: bool) -> MadeWebhook:
    """Make, find, pause, resume and remove a webhook; a second removal is no error."""
    registrar = on.driver.registrar()
    made = await registrar.create(asked)
    [there] = await listed(on, asked)
    assert there.id == made.webhook.id and there.active is not False
    if pauses:
        await registrar.pause(of(made, asked))
        [there] = await listed(on, asked)
        assert there.active is False
        await registrar.resume(of(made, asked))
        [there] = await listed(on, asked)
        assert there.active is not False
    else:
        with pytest.raises(ConfigError, match="cannot pause"):
            await registrar.pause(of(made, asked))
    await registrar.remove(of(made, asked))
    assert await listed(on, asked) == []
    await registrar.remove(of(made, asked))
    return made


class Gitlab(Hooks):
    def __init__(self) -> None:
        super().__init__("gitlab", "/api/v4", "/projects/acme%2Fshop/hooks", "")
        self.events: list[dict[str, Any]] = []
        self.on("GET /projects/acme%2Fshop/hooks/{id}/events", lambda asked, id: self.events)
        self.on("POST /projects/acme%2Fshop/hooks/{id}/events/{event}/resend", {"response_status": 200})

    def name(self, number: str) -> Any:
        return int(number)

    def make(self, asked: Asked) -> Reply:
        values = {**asked.json, "alert_status": "executable"}
        self.token = values.pop("token")
        return Reply(self.keep(values), 201)


async def test_gitlab() -> None:
    asked = wanted("issues_events", project="acme/shop")
    async with (
        running(Gitlab()) as vendor,
        account("gitlab", {"base_url": vendor.url}, {"token": "glpat-0123456789"}) as on,
    ):
        await lived(on, asked, pauses=False)
        body = vendor.asked("POST /projects/acme%2Fshop/hooks")[0].json
        assert body["push_events"] is False and body["issues_events"] is True
        assert vendor.token == SECRET.reveal()
        vendor.events = [
            {
                "id": 7,
                "url": URL,
                "trigger": "issue_hooks",
                "request_headers": {"Idempotency-Key": "k-1", "X-Gitlab-Event": "Issue Hook"},
                "request_data": {"object_kind": "issue", "object_attributes": {"id": 1}},
                "response_status": "500",
            }
        ]
        hook = replace(asked, remote_id="1")
        [event] = await sent(on, 0, 1, hook)
        assert (event.event_id, event.delivery_id, event.time_ms) == ("k-1", "7", None)
        assert json.loads(event.body or b"")["object_kind"] == "issue"
        assert dict(event.headers)["Idempotency-Key"] == "k-1"
        await on.driver.sent_list().redeliver(event, hook)
        assert vendor.asked("POST /projects/acme%2Fshop/hooks/1/events/7/resend")


class CircleCi(Hooks):
    def __init__(self) -> None:
        super().__init__("circleci", "/api/v2", "/webhook", "items")

    def all(self) -> Any:
        return {**super().all(), "next_page_token": None}

    def drop(self, asked: Asked, id: str) -> Reply:
        if self.made.pop(id, None):
            return Reply({"message": "Webhook deleted."})
        return Reply({"message": "Webhook not found."}, 404)


async def test_circleci() -> None:
    asked = wanted("workflow-completed", project="6b7f9c1e-0000-4000-8000-000000000001")
    fields = {"org_slug": "gh/acme"}
    async with (
        running(CircleCi()) as vendor,
        account("circleci", {**fields, "base_url": vendor.url}, {"token": "CCIPAT_0123456789abcdef"}) as on,
    ):
        await lived(on, asked, pauses=False)
        body = vendor.asked("POST /webhook")[0].json
        assert body["signing-secret"] == SECRET.reveal() and body["verify-tls"] is True
        with pytest.raises(ConfigError, match="keeps no list"):
            await sent(on, 0, 1)


class Paypal(Hooks):
    def __init__(self) -> None:
        super().__init__(
            "paypal", "", "/v1/notifications/webhooks", "webhooks", undescribed=("/v1/oauth2/token",)
        )
        self.on(
            "POST /v1/oauth2/token", {"access_token": "A21-token", "token_type": "Bearer", "expires_in": 3600}
        )
        self.on("GET /v1/notifications/webhooks-events", self.events)
        self.on("POST /v1/notifications/webhooks-events/{id}/resend", self.resend)
        self.resent: list[Any] = []

    def name(self, number: str) -> Any:
        return number  # a real one is like 5GP028458E2496506

    def events(self, asked: Asked) -> Any:
        assert asked.query["start_time"] == "2027-01-15T08:00:00Z"
        first = {"id": "WH-1", "create_time": "2027-01-15T08:00:10Z", "event_type": "PAYMENT.SALE.COMPLETED"}
        if "page" in asked.query:
            return {"events": [{**first, "id": "WH-2"}], "links": []}
        more = f"{self.url}/v1/notifications/webhooks-events?{asked_query(asked)}&page=2"
        return {"events": [first], "links": [{"href": more, "rel": "next", "method": "GET"}]}

    def resend(self, asked: Asked, id: str) -> Reply:
        self.resent.append((id, asked.json))
        return Reply({"id": id}, 202)


def asked_query(asked: Asked) -> str:
    return "&".join(f"{name}={value}" for name, value in asked.query.items())


async def test_paypal() -> None:
    asked = wanted("PAYMENT.SALE.COMPLETED", secret=None)
    vendor = Paypal()
    async with running(vendor):
        fields = {"client_id": "client", "base_url": vendor.url}
        async with account("paypal", fields, {"client_secret": "secret-of-paypal"}) as on:
            made = await lived(on, asked, pauses=False)
            # What PayPal signs has the webhook's id in it: the profile must know it.
            assert made.fields == {"webhook_id": "1"} and made.secret is None
            body = vendor.asked("POST /v1/notifications/webhooks")[0].json
            assert body == {"url": URL, "event_types": [{"name": "PAYMENT.SALE.COMPLETED"}]}
            events = await sent(on, 1_800_000_000_000, 1_800_000_060_000)
            vendor.forgive("page")  # of PayPal's own next link
            assert [(item.event_id, item.type) for item in events] == [
                ("WH-1", "PAYMENT.SALE.COMPLETED"),
                ("WH-2", "PAYMENT.SALE.COMPLETED"),
            ]
            assert events[0].time_ms == 1_800_000_010_000
            await on.driver.sent_list().redeliver(events[0], of(made, asked))
            assert vendor.resent == [("WH-1", {"webhook_ids": ["1"]})]
            vendor.forgive("which does not fit")  # the description knows no hyphen in an event's id


class Jira(Vendor):
    def __init__(self) -> None:
        super().__init__("jira", "")
        self.made: dict[int, dict[str, Any]] = {}
        self.on("POST /rest/api/3/webhook", self.make)
        self.on("GET /rest/api/3/webhook", self.all)
        self.on("DELETE /rest/api/3/webhook", self.drop)
        self.on("PUT /rest/api/3/webhook/refresh", {"expirationDate": 1_900_000_000_000})
        self.on("GET /rest/api/3/webhook/failed", self.failed)

    def make(self, asked: Asked) -> Any:
        [one] = asked.json["webhooks"]
        if "bad" in one["jqlFilter"]:
            return {"webhookRegistrationResult": [{"errors": ["The clause bad is unsupported"]}]}
        number = 10_000 + len(self.made)
        self.made[number] = {"id": number, **one}
        return {"webhookRegistrationResult": [{"createdWebhookId": number}]}

    def all(self, asked: Asked) -> Any:
        rows = [{**item, "expirationDate": 1_802_592_000_000} for item in self.made.values()]
        start, size = int(asked.query["startAt"]), int(asked.query["maxResults"])
        return {"values": rows[start : start + size], "total": len(rows), "startAt": start, "isLast": True}

    def drop(self, asked: Asked) -> Reply:
        for number in asked.json["webhookIds"]:
            self.made.pop(number, None)
        return Reply(None, 202)

    def failed(self, asked: Asked) -> Any:
        item = {"id": "f0b5", "url": URL, "failureTime": 1_800_000_005_000, "body": '{"webhookEvent":"x"}'}
        return {"values": [item], "maxResults": 100}


async def test_jira() -> None:
    asked = wanted("jira:issue_created", secret=None, jql="project = SHOP")
    async with running(Jira()) as vendor:
        fields = {"site": "acme", "base_url": vendor.url, "email": "ada@example.com"}
        async with account("jira", fields, {"api_token": "ATATT-0123456789"}) as on:
            registrar = on.driver.registrar()
            before = on.clock.now_ms()
            made = await registrar.create(asked)
            assert made.webhook.id == "10000"
            assert made.webhook.expires_ms is not None
            assert 0 <= made.webhook.expires_ms - before - 30 * 86_400_000 < 60_000
            [there] = await listed(on, asked)
            assert (there.id, there.expires_ms, there.types) == (
                "10000",
                1_802_592_000_000,
                ("jira:issue_created",),
            )
            assert await registrar.renew(of(made, asked)) == 1_900_000_000_000
            assert vendor.asked("PUT /rest/api/3/webhook/refresh")[0].json == {"webhookIds": [10000]}
            with pytest.raises(SystemicError, match="The clause bad is unsupported"):
                await registrar.create(replace(asked, scope={"jql": "bad = 1"}))
            [event] = await sent(on, 1_800_000_000_000, 1_800_000_010_000)
            assert (event.event_id, event.body) == ("f0b5", b'{"webhookEvent":"x"}')
            await registrar.remove(of(made, asked))
            assert await listed(on, asked) == []


class Sendgrid(Hooks):
    def __init__(self) -> None:
        path = "/v3/user/webhooks/event/settings"
        super().__init__("sendgrid", "", path, "webhooks")
        self.on(f"GET {path}/all", lambda asked: {"max_allowed": 5, **self.all()})
        self.on(f"PATCH {path}/signed/{{id}}", lambda asked, id: {"id": id, "public_key": "MFkwEwYH-the-key"})

    def name(self, number: str) -> Any:
        return number

    def drop(self, asked: Asked, id: str) -> Reply:
        found = self.made.pop(id, None)
        return Reply(None, 204) if found else Reply({"errors": [{"message": "not found"}]}, 404)


async def test_sendgrid() -> None:
    asked = wanted("delivered", "bounce", secret=None)
    async with (
        running(Sendgrid()) as vendor,
        account("sendgrid", {"base_url": vendor.url}, {"api_key": "SG.0123456789"}) as on,
    ):
        made = await lived(on, asked, pauses=True)
        assert made.secret is not None and made.secret.reveal() == "MFkwEwYH-the-key"
        body = vendor.asked("POST /v3/user/webhooks/event/settings")[0].json
        assert body["delivered"] is True and body["bounce"] is True and "open" not in body


async def test_a_webhook_that_was_made_without_a_secret_is_not_taken_for_none() -> None:
    vendor = Sendgrid()
    vendor.on("PATCH /v3/user/webhooks/event/settings/signed/{id}", Reply({"errors": []}, 403, checked=False))
    async with (
        running(vendor),
        account("sendgrid", {"base_url": vendor.url}, {"api_key": "SG.0123456789"}) as on,
    ):
        with pytest.raises(PlatintError) as refused:
            await on.driver.registrar().create(wanted("bounce", secret=None))
        assert refused.value.code == "no_secret" and "The webhook 1 was made" in refused.value.hint


class Woo(Hooks):
    def __init__(self) -> None:
        super().__init__("woocommerce", "", "/wp-json/wc/v3/webhooks", "")

    def name(self, number: str) -> Any:
        return int(number)

    def all(self) -> Any:
        return super().all()

    def make(self, asked: Asked) -> Reply:
        values = dict(asked.json)
        assert values.pop("secret") == SECRET.reveal()
        return Reply(self.keep(values), 201)


async def test_woocommerce() -> None:
    asked = wanted("order.updated")
    vendor = Woo()
    vendor.on(
        "GET /wp-json/wc/v3/webhooks",
        lambda asked: vendor.all() if asked.query.get("page", "1") == "1" else [],
    )
    async with running(vendor):
        fields = {"base_url": vendor.url, "signing": "signature", "consumer_key": "ck_0123456789"}
        async with account("woocommerce", fields, {"consumer_secret": "cs_0123456789"}) as on:
            await lived(on, asked, pauses=True)
            assert vendor.asked("DELETE /wp-json/wc/v3/webhooks/1")[0].query["force"] == "true"


class Shopify(Vendor):
    def __init__(self) -> None:
        super().__init__("shopify", "", undescribed=("/admin/api/*/graphql.json",))
        self.made: list[dict[str, Any]] = []
        self.on("POST /admin/api/{version}/graphql.json", self.graphql)

    def graphql(self, asked: Asked, version: str) -> Any:
        assert self.description is not None
        hooks = {
            "nodes": self.made,
            "pageInfo": {
                "hasNextPage": False,
                "endCursor": None,
                "hasPreviousPage": False,
                "startCursor": None,
            },
        }
        return self.description.graphql(
            asked,
            {
                "webhookSubscriptions": lambda info, **given: hooks,
                "webhookSubscriptionCreate": self.create,
                "webhookSubscriptionDelete": self.delete,
            },
        )

    def create(self, info: Any, topic: str, **given: Any) -> Any:
        [webhook] = given.values()
        if "refused" in webhook["uri"]:
            return {"userErrors": [{"field": ["uri"], "message": "Address is not allowed"}]}
        identity = f"gid://shopify/WebhookSubscription/{len(self.made)}"
        self.made.append({"id": identity, "topic": topic, "uri": webhook["uri"]})
        return {"webhookSubscription": self.made[-1], "userErrors": []}

    def delete(self, info: Any, id: str) -> Any:
        self.made = [item for item in self.made if item["id"] != id]
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}


async def test_shopify() -> None:
    asked = wanted("ORDERS_CREATE", secret=None)
    async with running(Shopify()) as vendor:
        fields = {"shop": "acme", "base_url": vendor.url}
        async with account("shopify", fields, {"access_token": "shpat_0123456789"}) as on:
            await lived(on, asked, pauses=False)
            with pytest.raises(SystemicError, match="Address is not allowed"):
                await on.driver.registrar().create(replace(asked, url="https://refused.example.com/"))


class Discord(Vendor):
    def __init__(self) -> None:
        super().__init__("discord", "/api/v10")
        self.app: dict[str, Any] = {"id": "1", "verify_key": "ab" * 32, "event_webhooks_url": None}
        self.app |= {"event_webhooks_status": 1, "event_webhooks_types": []}
        self.on("GET /applications/@me", lambda asked: Reply(self.app, checked=False))
        self.on("PATCH /applications/@me", self.patch)

    def patch(self, asked: Asked) -> Any:
        self.app |= asked.json
        return Reply(self.app, checked=False)


async def test_discord_has_one_address() -> None:
    asked = wanted("APPLICATION_AUTHORIZED", secret=None)
    async with (
        running(Discord()) as vendor,
        account("discord", {"base_url": vendor.url}, {"token": "bot-token-0123456789"}) as on,
    ):
        registrar = on.driver.registrar()
        # Discord asks with a signature while the address is entered, so the key is known before.
        assert (await registrar.secret(asked)).reveal() == "ab" * 32
        assert await registrar.address(asked) == ""
        made = await registrar.create(asked)
        assert await registrar.address(asked) == URL
        [there] = await listed(on, asked)
        assert (there.active, there.types) == (True, ("APPLICATION_AUTHORIZED",))
        await registrar.pause(of(made, asked))
        [there] = await listed(on, asked)
        assert there.active is False
        await registrar.remove(of(made, asked))
        assert vendor.app["event_webhooks_url"] is None and vendor.app["event_webhooks_status"] == 1


class Twilio(Vendor):
    def __init__(self) -> None:
        super().__init__("twilio", "")
        self.number = {"sid": "PN" + "1" * 32, "sms_url": "https://demo.twilio.com/welcome/sms/reply"}
        path = "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}.json"
        self.on(f"GET {path}", lambda asked, account, sid: self.number)
        self.on(f"POST {path}", self.change)

    def change(self, asked: Asked, account: str, sid: str) -> Any:
        self.number["sms_url"] = asked.form["SmsUrl"]
        return self.number


async def test_a_number_of_twilio_calls_one_address() -> None:
    asked = wanted(secret=None, number="PN" + "1" * 32)
    async with running(Twilio()) as vendor:
        fields = {"account_sid": "AC" + "0" * 32, "endpoint_url": vendor.url}
        async with account("twilio", fields, {"auth_token": "token-0123456789"}) as on:
            registrar = on.driver.registrar()
            assert await registrar.address(asked) == "https://demo.twilio.com/welcome/sms/reply"
            made = await registrar.create(asked)
            [there] = await listed(on, asked)
            assert there.id == made.webhook.id and there.url == URL
            await registrar.remove(of(made, asked))
            [there] = await registrar.list(asked)
            assert there.url == "" and there.active is False


class Hubspot(Vendor):
    def __init__(self) -> None:
        super().__init__("hubspot", "")
        self.target: str | None = None
        self.made: dict[str, dict[str, Any]] = {}
        self.on("GET /webhooks/v3/42/settings", self.settings)
        self.on("PUT /webhooks/v3/42/settings", self.configure)
        self.on("GET /webhooks/v3/42/subscriptions", lambda asked: {"results": list(self.made.values())})
        self.on("POST /webhooks/v3/42/subscriptions", self.make)
        self.on("PATCH /webhooks/v3/42/subscriptions/{id}", self.change)
        self.on("DELETE /webhooks/v3/42/subscriptions/{id}", self.drop)

    def settings(self, asked: Asked) -> Any:
        assert asked.query["hapikey"] == "developer-0123456789"
        if self.target is None:
            return Reply({"message": "no settings", "status": "error"}, 404)
        return {"targetUrl": self.target, "throttling": {"maxConcurrentRequests": 10}}

    def configure(self, asked: Asked) -> Any:
        self.target = asked.json["targetUrl"]
        return self.settings(asked)

    def make(self, asked: Asked) -> Reply:
        number = str(len(self.made) + 1)
        self.made[number] = {"id": number, **asked.json}
        return Reply(self.made[number], 201)

    def change(self, asked: Asked, id: str) -> Any:
        self.made[id] |= asked.json
        return self.made[id]

    def drop(self, asked: Asked, id: str) -> Reply:
        return Reply(None, 204) if self.made.pop(id, None) else Reply({"message": "none"}, 404)


async def test_hubspot() -> None:
    asked = wanted("contact.creation", secret=None, app="42")
    async with running(Hubspot()) as vendor:
        secrets = {"access_token": "pat-na1-0123456789", "developer_key": "developer-0123456789"}
        async with account("hubspot", {"base_url": vendor.url}, secrets) as on:
            registrar = on.driver.registrar()
            assert await registrar.address(asked) == ""
            await lived(on, asked, pauses=True)
            assert await registrar.address(asked) == URL == vendor.target
        vendor.forgive("hapikey")  # how to sign in is not in the table of operations


class EventGrid(Vendor):
    def __init__(self) -> None:
        super().__init__("azure", "", undescribed=("/*/oauth2/v2.0/token",))
        self.made: dict[str, dict[str, Any]] = {}
        token = {"access_token": "token", "token_type": "Bearer", "expires_in": 3600}
        self.on("POST /{tenant}/oauth2/v2.0/token", token)
        path = "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.EventGrid/eventSubscriptions/{name}"
        self.on(f"PUT {path}", self.make)
        self.on(f"GET {path}", self.get)
        self.on(f"DELETE {path}", self.drop)

    def get(self, asked: Asked, name: str) -> Any:
        missing = {"error": {"code": "ResourceNotFound", "message": "none"}}
        return self.made.get(name) or Reply(missing, 404)

    def make(self, asked: Asked, name: str) -> Reply:
        properties = json.loads(json.dumps(asked.json["properties"]))
        self.address = properties["destination"]["properties"].pop("endpointUrl")
        properties["destination"]["properties"]["endpointBaseUrl"] = self.address.partition("?")[0]
        properties["provisioningState"] = "Succeeded"
        self.made[name] = {"id": f"/x/{name}", "name": name, "type": "t", "properties": properties}
        return Reply(self.made[name], 201)

    def drop(self, asked: Asked, name: str) -> Reply:
        return Reply(None, 200) if self.made.pop(name, None) else Reply(None, 204)


async def test_azure_event_grid_has_the_token_in_its_address() -> None:
    asked = wanted("Microsoft.Resources.ResourceWriteSuccess", resource="subscriptions/s1/resourceGroups/g1")
    async with running(EventGrid()) as vendor:
        fields = {
            "tenant_id": "contoso.example",
            "client_id": "c",
            "login_url": vendor.url,
            "base_url": vendor.url,
        }
        async with account("azure", fields, {"client_secret": "secret-of-azure"}) as on:
            made = await lived(on, asked, pauses=False)
            assert made.webhook.id == "platint-sub-1"
            assert vendor.address == f"{URL}?token={SECRET.reveal()}"


async def test_a_lost_answer_says_that_nobody_knows() -> None:
    vendor = CircleCi()
    vendor.on("POST /webhook", lambda asked: Reply("<html>Bad Gateway</html>", 502, checked=False))
    async with (
        running(vendor),
        account(
            "circleci", {"org_slug": "gh/acme", "base_url": vendor.url}, {"token": "CCIPAT_0123456789abcdef"}
        ) as on,
    ):
        with pytest.raises(UnknownOutcome):
            await on.driver.registrar().create(wanted("job-completed", project="x"))
        assert len(vendor.asked("POST /webhook")) == 1


async def test_what_is_done_by_hand_says_how() -> None:
    async with account("slack", {}, {"token": "xoxb-0123456789"}) as on:
        with pytest.raises(ConfigError, match="no API to register webhooks") as refused:
            await on.driver.registrar().create(wanted("message"))
        assert "address" in refused.value.hint


class Stripe(Vendor):
    def __init__(self) -> None:
        super().__init__("stripe", "")
        self.made: dict[str, dict[str, Any]] = {}
        self.on("POST /v1/webhook_endpoints", self.make)
        self.on("GET /v1/webhook_endpoints", self.all)
        self.on("POST /v1/webhook_endpoints/{id}", self.change)
        self.on("DELETE /v1/webhook_endpoints/{id}", self.drop)
        self.on("GET /v1/events", self.events)

    def make(self, asked: Asked) -> Any:
        types = [value for name, value in asked.form.items() if name.startswith("enabled_events")]
        row = {"id": f"we_{len(self.made) + 1}", "object": "webhook_endpoint", "url": asked.form["url"]}
        self.made[row["id"]] = {**row, "enabled_events": types, "status": "enabled", "livemode": False}
        return Reply({**self.made[row["id"]], "secret": "whsec_of-stripe-0123456789"}, checked=False)

    def all(self, asked: Asked) -> Any:
        rows = list(self.made.values())
        return {"object": "list", "url": "/v1/webhook_endpoints", "has_more": False, "data": rows}

    def change(self, asked: Asked, id: str) -> Any:
        self.made[id]["status"] = "disabled" if asked.form["disabled"] == "true" else "enabled"
        return self.made[id]

    def drop(self, asked: Asked, id: str) -> Any:
        found = self.made.pop(id, None)
        missing = Reply({"error": {"type": "invalid_request_error", "message": "No such endpoint"}}, 404)
        return {"id": id, "object": "webhook_endpoint", "deleted": True} if found else missing

    def events(self, asked: Asked) -> Any:
        event = {"id": "evt_1", "object": "event", "type": "charge.failed", "created": 1_800_000_000}
        return {"object": "list", "url": "/v1/events", "has_more": False, "data": [event]}


async def test_stripe() -> None:
    asked = wanted("charge.failed", "charge.succeeded", secret=None)
    async with (
        running(Stripe()) as vendor,
        account("stripe", {"base_url": vendor.url}, {"api_key": "rk_test_0123"}) as on,
    ):
        made = await lived(on, asked, pauses=True)
        assert made.secret is not None and made.secret.reveal() == "whsec_of-stripe-0123456789"
        [page] = [
            page
            async for page in on.driver.sent_list().sent(
                None, 1_800_000_000_000, 1_800_000_060_000, only_failed=True
            )
        ]
        assert vendor.asked("GET /v1/events")[0].query["delivery_success"] == "false"
        assert [(item.event_id, item.type, item.time_ms) for item in page] == [
            ("evt_1", "charge.failed", 1_800_000_000_000)
        ]

"""Events by the command line: look, deliver once more, pause and refuse sources."""

from __future__ import annotations

import asyncio
import csv
import http.client
import io
import json
import shlex
import socket
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe
from cli.kit import Cli, rows, wait_for

from platint_tui.cli.main import run
from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ErrorClass
from platint_tui.core.events import DeliveryState, EventState, NewDelivery, NewEvent
from platint_tui.core.exports import payload_of
from platint_tui.core.model import Fault, NewDeadLetter
from platint_tui.store import open_store
from platint_tui.store.ports import EventFilter, RoutedEvent

FILE = """
integration: payments
integration_type: webhook_automation
platforms:
  - {name: stripe, profile: shop, endpoints: [customers]}
  - {name: sqlite, profile: warehouse}
"""


async def ingest(cli: Cli, count: int) -> None:
    """Events of the past, which no integration wanted then."""
    store = await open_store(cli.database, clock=SystemClock(), role="console")
    try:
        await store.events.ingest([event(number) for number in range(count)])
    finally:
        await store.close()


def event(number: int) -> NewEvent:
    body = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "customer.updated",
        "created": 1_700_000_000 + number,
        "data": {
            "object": {"id": f"cus_{number % 2}", "object": "customer", "created": 1, "name": f"n{number}"}
        },
    }
    return NewEvent(
        profile="shop",
        platform="stripe",
        event_id=f"evt_{number}",
        type="customer.updated",
        order_key=f"cus_{number % 2}",
        occurred_ms=1_700_000_000_000 + number,
        received_ms=SystemClock().now_ms(),
        method="POST",
        target="/webhooks/shop",
        headers=(("content-type", "application/json"),),
        body=json.dumps(body).encode(),
        state=EventState.UNWANTED,
    )


class Shop:
    """Commands in this process, which saves its start; `cli` is the same installation for what needs its own."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli = cli
        self.folder = folder

    def __call__(self, *args: str | Path, code: int = 0) -> str:
        """What a command says."""
        return "".join(self._run(args, code))

    def json(self, *args: str) -> Any:
        """The document of a command; stdout must hold nothing else."""
        return json.loads(self._run((*args, "--json"), 0)[0])

    def _run(self, args: Sequence[str | Path], code: int) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.cli.env.items():
                patch.setenv(name, value)
            patch.setattr("sys.stdin", io.StringIO())
            patch.setattr("resource.setrlimit", lambda *_: None)
            found = run([str(arg) for arg in args], no_screen)
        assert found == code, (args, found, out.getvalue(), err.getvalue())
        return out.getvalue(), err.getvalue()


async def no_screen() -> int:
    raise AssertionError("no command of these opens the screen")


@pytest.fixture(scope="module")
def shop(make_cli: Callable[..., Cli], tmp_path_factory: pytest.TempPathFactory) -> Shop:
    cli = make_cli("events", STRIPE_KEY="rk_test_0123456789abcdef", STRIPE_HOOK="whsec_0123456789abcdef")
    shop = Shop(cli, tmp_path_factory.mktemp("files"))
    secrets = ("api_key=env:STRIPE_KEY", "webhook_secret=env:STRIPE_HOOK")
    named = [argument for secret in secrets for argument in ("--secret-from", secret)]
    shop("profiles", "add", "stripe", "--name", "shop", "--environment", "sandbox", *named)
    shop("profiles", "add", "sqlite", "--name", "warehouse", "--field", f"path={shop.folder / 'w.sqlite'}")
    asyncio.run(ingest(cli, 4))
    (shop.folder / "payments.yaml").write_text(FILE)
    shop("syncs", "show", shop.folder / "payments.yaml")
    return shop


def test_a_file_that_webhooks_alone_feed_is_imported_and_not_run(shop: Shop) -> None:
    said = shop("syncs", "run", shop.folder / "payments.yaml")
    assert "'payments' version 1 is imported" in said and "There is nothing to run" in said
    assert shop.json("syncs", "run", str(shop.folder / "payments.yaml"))["run"] is None
    assert "events resend" in shop("syncs", "run", "payments", code=4)
    listed, shown = shop("syncs", "list"), shop("syncs", "show", "payments")
    assert "by webhooks" in listed and "never ran" not in listed
    assert "by webhooks" in shown and "from the beginning" not in shown


def test_events_are_listed_filtered_and_shown(shop: Shop) -> None:
    found = shop.json("events", "list", "--type", "customer.*", "--text", "cus_1", "--since", "1h")
    assert [item["event_id"] for item in found] == ["evt_3", "evt_1"]
    typed = "type:customer.* source:shop state:unwanted since:1h cus_1"
    assert shop.json("events", "list", "--filter", typed) == found
    assert shop("events", "list", "--filter", "tpye:x", code=2).startswith("The filter knows no 'tpye:'.")
    assert {item["state"] for item in found} == {"unwanted"}
    shown = shop.json("events", "show", "evt_1")
    assert json.loads(shown["payload"])["data"]["object"]["name"] == "n1"
    assert shop("events", "list", "--state", "odd", code=2).startswith("'odd' is no state of an event.")
    assert "There is no event 'evt_9'" in shop("events", "show", "evt_9", code=4)


def test_events_are_written_out_exactly_and_as_requests(shop: Shop) -> None:
    shop("events", "export", "--type", "customer.*", "--output", shop.folder / "events.jsonl")
    lines = [json.loads(line) for line in (shop.folder / "events.jsonl").read_text().splitlines()]
    assert [payload_of(line) for line in lines] == [event(number).body for number in range(4)]
    assert (shop.folder / "events.jsonl").stat().st_mode & 0o777 == 0o600
    assert "not there yet" in shop("events", "export", "--output", shop.folder / "events.jsonl", code=4)
    table = list(csv.DictReader(shop("events", "export", "--format", "csv").splitlines()))
    assert [row["event_id"] for row in table] == ["evt_0", "evt_1", "evt_2", "evt_3"]
    curl = shop("events", "export", "evt_2", "--format", "curl")
    words = shlex.split(curl, comments=True)
    assert words[0] == "curl" and words[words.index("--request") + 1] == "POST"
    assert words[words.index("--url") + 1] == "http://127.0.0.1:8787/webhooks/shop"
    assert event(2).body.decode() in words


def test_older_events_are_delivered_to_a_new_integration_and_only_once(shop: Shop) -> None:
    plan = shop.cli.json("events", "resend", "--profile", "shop", "--dry-run")
    assert (plan["events"], plan["new"], plan["again"]) == (4, {"payments/customers": 4}, {})
    assert not shop.json("events", "deliveries")
    assert "Nobody is there to answer" in shop("events", "resend", "--profile", "shop", code=2)
    assert shop.json("events", "resend", "--profile", "shop", "--yes")["new"] == {"payments/customers": 4}

    def delivered() -> list[dict[str, Any]] | None:
        found = rows(shop.cli.database, "SELECT * FROM deliveries WHERE state = 'done'")
        return found if len(found) == 4 else None

    wait_for(delivered, "delivering four events")
    written = rows(shop.folder / "w.sqlite", "SELECT id, name FROM customers")
    assert {row["id"]: row["name"] for row in written} == {"cus_0": "n2", "cus_1": "n3"}
    plan = shop.json("events", "resend", "--profile", "shop", "--dry-run")
    assert (plan["new"], plan["left"]) == ({}, {"payments/customers": 4})
    assert "nothing is filtered by" in shop("events", "resend", "--yes", code=2)


def test_sources_are_paused_and_refused(shop: Shop) -> None:
    shop("events", "pause", "shop")
    (source,) = shop.json("events", "sources")["sources"]
    assert (source["profile"], source["state"], source["events"]) == ("shop", "paused", 4)
    assert "Nobody is there to answer" in shop("events", "disable", "shop", code=2)
    shop("events", "disable", "shop", "--yes")
    assert "has no webhooks" in shop("events", "pause", "warehouse", code=4)
    shop("events", "enable", "shop")
    gaps = rows(
        shop.cli.database, "SELECT kind, state, end_ms IS NOT NULL AS ended FROM gaps ORDER BY number"
    )
    assert [tuple(gap.values()) for gap in gaps] == [("paused", "filled", 1), ("disabled", "open", 1)]


def test_alerts_are_seen_until_they_are_acknowledged(shop: Shop) -> None:
    async def tell() -> None:
        store = await open_store(shop.cli.database, clock=SystemClock(), role="console")
        for _ in range(2):
            await store.alerts.raise_alert("warning", "payments/customers", "It failed.")
        await store.close()

    asyncio.run(tell())
    (alert,) = shop.json("alerts", "list")
    assert (alert["subject"], alert["times"]) == ("payments/customers", 2)
    shop("alerts", "ack", str(alert["number"]))
    assert not shop.json("alerts", "list")
    assert shop.json("alerts", "list", "--all")[0]["acknowledged_ms"]
    assert "There is no alert 99" in shop("alerts", "ack", "99", code=4)


def test_a_webhook_as_stripe_signs_it_is_a_row_a_moment_later(shop: Shop) -> None:
    """From the request to the table through one `serve`; what is forged reaches nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    wait_for(lambda: shop.cli.engine_pid() is None, "the end of the engine that delivered before")
    process = shop.cli.start("serve", "--listen", address)
    wait_for(lambda: post(address, b"{}", {}) is not None, "the receiver's start")
    body = event(7).body
    assert post(address, body, {"stripe-signature": "t=1,v1=00"}) == 401
    signature = stripe.WebhookSignature.generate_signature_header(body.decode(), shop.cli.env["STRIPE_HOOK"])
    assert post(address, body, {"stripe-signature": signature}) == 200

    def written() -> bool:
        found = rows(shop.folder / "w.sqlite", "SELECT name FROM customers WHERE id = 'cus_1'")
        return [row["name"] for row in found] == ["n7"]

    wait_for(written, "the row")
    process.terminate()
    process.wait(10)
    ended = rows(shop.cli.database, "SELECT state FROM deliveries WHERE idempotency_key IS NOT NULL")
    assert {row["state"] for row in ended} == {"done"}


def post(address: str, body: bytes, headers: dict[str, str]) -> int | None:
    """The status of a request to the source `shop`, None while nobody listens."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("POST", "/webhooks/shop", body, {"content-type": "application/json", **headers})
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


async def lose_an_answer(cli: Cli) -> None:
    """A delivery that was sent and whose answer never came."""
    fault = Fault(ErrorClass.TRANSIENT, "unknown_outcome", "The engine ended before the answer arrived.")
    letter = NewDeadLetter(
        profile="shop",
        platform="stripe",
        integration="elsewhere",
        stream="customers",
        run="",
        manifest_version="1.0.0",
        record_key='["cus_9"]',
        payload=b"{}",
        content_hash="c",
        idempotency_key="k",
        fingerprint="f",
        fault=fault,
        direction="event",
    )
    made = NewDelivery(
        "elsewhere", 1, "customers", '["cus_9"]', "k", b"{}", state=DeliveryState.DEAD, letter=letter
    )
    store = await open_store(cli.database, clock=SystemClock(), role="console")
    try:
        await store.events.ingest([replace(event(99), state=EventState.NEW)])
        (came,) = await store.events.rows(await store.events.numbers(EventFilter(), limit=1))
        assert await store.deliveries.route([RoutedEvent(came, EventState.ROUTED, [made])]) == 1
    finally:
        await store.close()


def test_what_nobody_knows_the_outcome_of_is_told_beside_the_open_ones(shop: Shop) -> None:
    asyncio.run(lose_an_answer(shop.cli))
    said = shop("dead", "list")
    assert "cus_9" not in said and "Of 1 more nobody knows whether they arrived" in said
    assert "cus_9" in shop("dead", "list", "--state", "unknown")
    assert "nobody knows" not in shop("dead", "list", "--integration", "payments")

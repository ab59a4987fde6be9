"""What a profile may do, what there is, and what a bad profile says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from drivers.amqp.conftest import Broker, Proxy, amqp_driver, numbered, scan, values
from drivers.test_postgresql_tls import certificate
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.errors import ConfigError, CredentialError, ErrorClass, PlatintError, TransientError
from platint_tui.core.model import Capability
from platint_tui.drivers.amqp import AmqpDriver, catalogue, management
from platint_tui.drivers.amqp.management import topic_matches


async def checked(driver: AmqpDriver) -> dict[str, Capability]:
    found = {item.id: item for item in await driver.check()}
    await driver.close()
    return found


async def test_an_administrator_may_do_everything(rabbitmq_server: RabbitmqServer) -> None:
    found = await checked(amqp_driver(rabbitmq_server))
    assert all(item.ok and item.detail for item in found.values())
    assert found["connect"].detail == "RabbitMQ 3.10.8"
    assert set(found) == {"connect", "configure", "write", "read", "management"}


async def test_missing_rights_name_their_remedy(broker: Broker, rabbitmq_server: RabbitmqServer) -> None:
    server = rabbitmq_server
    account = {"user": server.limited_user, "password": server.limited_password}
    found = await checked(amqp_driver(server, queues="app.orders", **account))
    assert found["connect"].ok and found["read"].ok
    for name in ("configure", "write"):
        item = found[name]
        assert (item.ok, item.optional, item.error_class) == (False, True, ErrorClass.AUTH)
        assert f"right to {name}" in item.detail and "rabbitmqctl set_permissions -p / app" in item.detail
    assert "rabbitmqctl set_user_tags app monitoring" in found["management"].detail
    queues = [item["name"] for item in server.manage("GET", "queues/%2F")]
    assert not [name for name in queues if "check" in name]


async def test_a_refused_sign_in_leaves_the_others_untried(rabbitmq_server: RabbitmqServer) -> None:
    found = await checked(amqp_driver(rabbitmq_server, password="wrong-canary-19"))
    assert found["connect"].error_class == ErrorClass.AUTH and "wrong-canary" not in found["connect"].detail
    assert [item.tried for item in found.values()] == [True, False, False, False, False]


async def test_without_the_management_api_the_rest_works(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(3), message_id="{id}")
    closed = f"http://{rabbitmq_server.host}:9"
    driver = amqp_driver(rabbitmq_server, management=closed, queues=f"{queue},missing")
    found = {item.id: item for item in await driver.check()}
    assert (
        not found["management"].ok
        and "rabbitmq-plugins enable rabbitmq_management" in found["management"].detail
    )
    named, missing, rest = await driver.discover()
    assert (named.name, named.estimate, named.readable) == (queue, 3, True)
    assert missing.name == "missing" and "no queue 'missing'" in missing.refused
    assert (rest.name, rest.incomplete) == ("*", True) and "cannot list queues" in rest.notes[0]
    assert "rabbitmq_management" in rest.notes[0]
    assert len(values(await scan(driver, queue))) == 3
    await driver.close()


async def test_any_broker_has_no_management_api(rabbitmq_server: RabbitmqServer) -> None:
    driver = amqp_driver(rabbitmq_server, platform="amqp")
    assert {item.id for item in await driver.check()} == {"connect", "configure", "write", "read"}
    [rest] = await driver.discover()
    assert rest.incomplete and "profile's field queues" in rest.notes[1]
    await driver.close()


async def test_queues_and_exchanges_with_their_state(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    channel = await broker.channel()
    await channel.exchange_declare(f"{make_name}-x", exchange_type="topic")
    dead = await broker.queue(f"{make_name}-dead")
    classic = await broker.queue(
        make_name, dead_letter_exchange="", dead_letter_routing_key=dead, message_ttl=60_000, max_length=9
    )
    quorum = await broker.queue(f"{make_name}/q", queue_type="quorum", delivery_limit=7)
    stream = await broker.queue(f"{make_name}-s", queue_type="stream", max_age="1D")
    for number in range(12):
        await channel.queue_bind(classic, f"{make_name}-x", f"order.{number}")
    driver = amqp_driver(rabbitmq_server)
    found = {item.name: item for item in await driver.discover()}
    facts = dict(found[classic].facts)
    assert (facts["type"], facts["durable"]) == ("classic", "yes")
    assert (
        facts["dead letters to exchange"] == "(default exchange)" and facts["dead letters with key"] == dead
    )
    assert (facts["messages expire after ms"], facts["most messages"]) == ("60000", "9")
    assert facts["bound to"].endswith("and 2 more")
    assert dict(found[dead].facts)["dead letters of"] == classic
    assert dict(found[quorum].facts)["delivery limit"] == "7"
    assert any("After 7 deliveries" in note for note in found[quorum].notes)
    assert any(f"'/{quorum}'" in note for note in found[quorum].notes)  # how it is written to
    assert dict(found[stream].facts)["kept for"] == "1D"
    assert (
        found[stream].key == ("id",) and found[stream].modes == ("consume",) and not found[stream].incomplete
    )
    exchange = found[f"{make_name}-x/"]
    assert (exchange.kind, exchange.readable, exchange.writable) == ("exchange", False, True)
    assert dict(exchange.facts)["type"] == "topic" and "ROUTING.KEY" in exchange.notes[0]
    assert "amq.headers/" not in found and "/" not in found
    await driver.close()


async def test_an_account_with_more_queues_than_are_listed(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "PAGE", 1)
    monkeypatch.setattr(management, "MOST_PAGES", 2)
    for number in range(3):
        await broker.queue(f"{make_name}-{number}")
    driver = amqp_driver(rabbitmq_server)
    streams = await driver.discover()
    assert len([item for item in streams if item.kind == "queue" and not item.incomplete]) == 2
    assert "Only the first 2 queues" in streams[-1].notes[0]
    await driver.close()


@pytest.mark.parametrize(
    ("fields", "kind", "part"),
    [
        ({"host": ""}, ConfigError, "'host' is empty"),
        ({"user": ""}, ConfigError, "'user' is empty"),
        ({"port": "70000"}, ConfigError, "no port"),
        ({"port": "x"}, ConfigError, "no port"),
        ({"tls": "maybe"}, ConfigError, "no TLS mode"),
    ],
)
def test_a_bad_profile_is_one_sentence(fields: dict[str, str], kind: type[PlatintError], part: str) -> None:
    class Nowhere:
        host, port, user, password, management_url = "broker.example", 5672, "u", "p", "http://127.0.0.1:1"

    with pytest.raises(kind, match=part):
        amqp_driver(Nowhere(), **fields)  # type: ignore[arg-type]


def test_defaults_follow_tls() -> None:
    class Far:
        host, port, user, password, management_url = "broker.example", "", "u", "p/ä@", ""

    plain = amqp_driver(Far(), tls="disable")._address  # type: ignore[arg-type]
    assert (plain.port, plain.management, plain.vhost) == (5672, "http://broker.example:15672", "/")
    safe = amqp_driver(Far(), tls="", vhost="a/b c")._address  # type: ignore[arg-type]
    assert (safe.port, safe.tls, safe.management) == (5671, True, "https://broker.example:15671")
    assert safe.url() == "amqps://u:p%2F%C3%A4%40@broker.example:5671/a%2Fb%20c?heartbeat=20"


@pytest.mark.parametrize(
    ("fields", "kind", "part", "hint"),
    [
        ({"vhost": "nope"}, ConfigError, "vhost.*not found", "rabbitmqctl add_vhost nope"),
        (
            {"vhost": "other", "user": "app"},
            ConfigError,
            "refused for user 'app'",
            "set_permissions -p other app",
        ),
        ({"user": "nobody"}, CredentialError, "sign-in of 'nobody'", "Check user and password"),
        ({"port": "9"}, TransientError, "cannot be reached", "Check host, port"),
        ({"tls": "verify-full"}, ConfigError, "does not speak TLS", "5671"),
    ],
)
async def test_what_a_wrong_profile_says(
    rabbitmq_server: RabbitmqServer, fields: dict[str, str], kind: type[PlatintError], part: str, hint: str
) -> None:
    password = rabbitmq_server.limited_password if fields.get("user") == "app" else ""
    driver = amqp_driver(rabbitmq_server, password=password, **fields)
    with pytest.raises(kind, match=part) as caught:
        await driver.discover()
    assert hint in caught.value.sentence()
    await driver.close()


async def test_the_management_api_is_not_asked_in_the_clear_where_the_broker_is_not() -> None:
    class Far:
        host, port, user, password, management_url = (
            "broker.example",
            "",
            "u",
            "p",
            "http://broker.example:15672",
        )

    api = amqp_driver(Far(), tls="verify-full")._management()  # type: ignore[arg-type]
    assert api is not None
    with pytest.raises(ConfigError, match="show the credentials to the network"):
        await api.version()
    allowed = amqp_driver(Far(), tls="disable")._management()  # type: ignore[arg-type]
    assert allowed is not None and allowed._opened().host == "broker.example"
    await allowed.close()


async def test_another_virtual_host_has_its_own_queues(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, vhost=rabbitmq_server.other_vhost)
    assert make_name not in {item.name for item in await driver.discover()}
    with pytest.raises(ConfigError, match="no queue") as caught:
        await scan(driver, make_name)
    assert caught.value.code == "NOT_FOUND" and "virtual host" in caught.value.hint
    await driver.close()


@pytest.fixture
async def behind_tls(rabbitmq_server: RabbitmqServer, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """The broker behind TLS, with a certificate for 127.0.0.1: the port, and the authority's file."""
    public, private = certificate(x509.IPAddress(ip_address("127.0.0.1")))
    authority, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    authority.write_bytes(public)
    key.write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    proxy = Proxy(rabbitmq_server, context)
    await proxy.start()
    yield proxy.port, authority
    proxy.stop()


async def test_a_broker_behind_tls(
    broker: Broker,
    rabbitmq_server: RabbitmqServer,
    make_name: str,
    behind_tls: tuple[int, Path],
    tmp_path: Path,
) -> None:
    port, authority = behind_tls
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(2), message_id="{id}")
    driver = amqp_driver(rabbitmq_server, port=str(port), tls="verify-full", ca_file=str(authority))
    assert len(values(await scan(driver, queue))) == 2
    await driver.close()
    untrusting = amqp_driver(rabbitmq_server, port=str(port), tls="verify-full")
    with pytest.raises(ConfigError, match="certificate is not trusted"):
        await scan(untrusting, queue)
    (tmp_path / "bad.pem").write_text("nothing")
    broken = amqp_driver(
        rabbitmq_server, port=str(port), tls="verify-full", ca_file=str(tmp_path / "bad.pem")
    )
    with pytest.raises(ConfigError, match="certificate authorities cannot be used"):
        await scan(broken, queue)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("order.new", "order.new", True),
        ("order.*", "order.new", True),
        ("order.*", "order.new.eu", False),
        ("order.#", "order", True),
        ("#", "", True),
        ("#.eu", "order.new.eu", True),
        ("*.#.eu", "eu", False),
        (".".join(["#"] * 60), ".".join(["a"] * 60), True),
    ],
)
def test_topics(pattern: str, key: str, matches: bool) -> None:
    words = key.split(".") if key else []
    assert topic_matches(pattern.split("."), words) is matches


def test_a_long_list_of_names_is_cut() -> None:
    assert catalogue._some([str(number) for number in range(1_012)]).endswith("and 1,002 more")

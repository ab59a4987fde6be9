"""Signing in, transports, what a broker says of itself, discovery, and brokers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from drivers.mqtt.broker import ScriptedBroker
from drivers.mqtt.conftest import Bench, mqtt_driver, scan, values
from hypothesis import given
from hypothesis import strategies as st
from peers.certificate import make_certificate
from peers.mosquitto import MosquittoServer

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, TransientError
from platint_tui.drivers.mqtt import wire
from platint_tui.drivers.mqtt.packets import V5, V311, Message, decoded, publish
from platint_tui.drivers.mqtt.properties import Cursor, Malformed, packed, variable


async def test_what_the_broker_can_do(mosquitto_server: MosquittoServer, broker: ScriptedBroker) -> None:
    driver = mqtt_driver(mosquitto_server)
    done = {item.id: item for item in await driver.check()}
    assert all(item.ok for item in done.values())
    assert done["connect"].detail.startswith("MQTT 5") and "$share" in done["shared"].detail
    old = {item.id: item.detail for item in await mqtt_driver(mosquitto_server, version="3.1.1").check()}
    assert old["connect"] == "MQTT 3.1.1" and "does not say" in old["qos"]
    broker.features = {"maximum_qos": 0, "retain_available": 0, "session_expiry": 0, "shared_available": 0}
    poor = {item.id: item for item in await broker.driver().check()}
    assert [item.id for item in poor.values() if not item.ok] == ["qos", "sessions", "retain", "shared"]
    broker.features = {"session_expiry": 7200, "maximum_packet_size": 1000}
    limited = {item.id: item.detail for item in await broker.driver().check()}
    assert "2.0 h" in limited["sessions"] and "1,000 bytes" in limited["sizes"]


async def test_websockets_and_tls(
    mosquitto_server: MosquittoServer, bench: Bench, topic: str, tmp_path: Path
) -> None:
    port = str(mosquitto_server.websocket_port)
    driver = mqtt_driver(mosquitto_server, transport="websocket", port=port)
    await scan(driver, topic)
    await bench.send(topic, ["x" * 9_000, "y"])
    assert [len(item["body"]) for item in values(await scan(driver, topic))] == [9_000, 1]
    await driver.close()
    with pytest.raises(CredentialError):
        await scan(
            mqtt_driver(mosquitto_server, transport="websocket", port=port, password="bad-canary"), topic
        )
    with pytest.raises(PlatintError):
        await scan(mqtt_driver(mosquitto_server, transport="websocket"), topic)
    with pytest.raises(PlatintError):
        await scan(mqtt_driver(mosquitto_server, tls="verify-full"), topic)
    with pytest.raises(ConfigError, match="certificate authorities"):
        await scan(mqtt_driver(mosquitto_server, tls="verify-full", ca_file=str(tmp_path / "none")), topic)
    with pytest.raises(TransientError, match="cannot be reached"):
        await scan(mqtt_driver(mosquitto_server, port="1"), topic)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("host", "", "'host' is empty"),
        ("port", "x", "is no port"),
        ("tls", "maybe", "no TLS mode"),
        ("transport", "udp", "no transport"),
        ("version", "4", "no version"),
    ],
)
async def test_profiles_that_cannot_be_used(
    mosquitto_server: MosquittoServer, field: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        mqtt_driver(mosquitto_server, **{field: value})


@pytest.mark.parametrize(
    ("connack", "kind", "code"),
    [
        (b"\x20\x03\0\x86\0", CredentialError, "BAD_USER_NAME_OR_PASSWORD"),
        (b"\x20\x03\0\x87\0", CredentialError, "NOT_AUTHORIZED"),
        (b"\x20\x02\0\x05", CredentialError, "NOT_AUTHORIZED"),
        (b"\x20\x02\0\x01", ConfigError, "UNSUPPORTED_PROTOCOL_VERSION"),
        (b"\x20\x03\0\x85\0", ConfigError, "CLIENT_IDENTIFIER_NOT_VALID"),
        (b"\x20\x03\0\x89\0", TransientError, "SERVER_BUSY"),
        (b"\x20\x09\0\x9d\x06\x1c\0\x03abc", ConfigError, "SERVER_MOVED"),
        (b"\x30\x05\0\x01aab", TransientError, "protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4, TransientError, "protocol"),
        (b"\x20\xff\xff\xff\xff\x01", TransientError, "protocol"),
    ],
)
async def test_refused_connections(
    broker: ScriptedBroker, connack: bytes, kind: type[PlatintError], code: str
) -> None:
    broker.connack = connack
    with pytest.raises(kind) as caught:
        await scan(broker.driver(), "t")
    assert caught.value.code == code and "canary" not in caught.value.sentence()


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        (b"\xe0\x02\x8e\0", ConfigError, "session taken over"),
        (b"\xe0\x02\x8b\0", TransientError, "server shutting down"),
        (b"\xe0\x09\x98\x07\x1f\0\x04gone", TransientError, r"administrative action \(gone\)"),
        (b"\x36\x05\0\x01a\0\x01", TransientError, "no QoS 3"),
        (b"\x32\x05\0\x01a\0\0", TransientError, "identifier is 0"),
        (b"\x32\x06\0\x01\xff\0\x01\0", TransientError, "no UTF-8"),
        (b"\x32\x08\0\x01a\0\x01\x02\x7f\0", TransientError, "does not know"),
        (b"\x32\xff\xff\xff\x7f", ConfigError, "268,435,455 bytes"),
        (b"\xc0\0", TransientError, "sends no such packet"),
    ],
)
async def test_brokers_that_end_a_session_or_send_rubbish(
    broker: ScriptedBroker, says: bytes, kind: type[PlatintError], words: str
) -> None:
    broker.says = says
    driver = broker.driver()
    with pytest.raises(kind, match=words):
        await scan(driver, "t")
    await driver.close()


async def test_a_subscription_that_is_refused_or_loses_messages(broker: ScriptedBroker) -> None:
    broker.granted = 0
    with pytest.raises(ConfigError, match="QoS 0 only"):
        await scan(broker.driver(), "t")
    for code, name in ((0x87, "NOT_AUTHORIZED"), (0x9E, "SHARED_SUBSCRIPTIONS_NOT_SUPPORTED")):
        broker.granted = code
        with pytest.raises(ConfigError) as caught:
            await scan(broker.driver(), "t")
        assert caught.value.code == name


async def test_discovery_shows_what_is_retained_and_what_is_named(
    mosquitto_server: MosquittoServer, bench: Bench, topic: str
) -> None:
    for name in ("a", "b"):
        await bench.send(f"{topic}/{name}", ["x"], retain=True)
    found = {item.name: item for item in await mqtt_driver(mosquitto_server).discover()}
    one, rest = found[f"{topic}/a"], found["*"]
    assert one.modes == ("consume", "snapshot") and one.writable and not one.incomplete
    assert rest.incomplete and any("sensors/+/temperature" in note for note in rest.notes)
    assert dict(rest.facts)["broker"].startswith("mosquitto version")
    named = await mqtt_driver(mosquitto_server, topics="a/+, b/#/c").discover()
    assert [item.name for item in named] == ["a/+", "b/#/c", "*"] and "no topic filter" in named[1].refused
    assert not named[0].writable
    limited = mqtt_driver(
        mosquitto_server, user=mosquitto_server.limited_user, password=mosquitto_server.limited_password
    )
    assert dict((await limited.discover())[-1].facts) == {}


PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.text(max_size=20),
        "correlation_data": st.binary(max_size=20),
        "message_expiry": st.integers(0, 2**32 - 1),
        "user": st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=4).map(
            tuple
        ),
    },
)


@given(
    st.text(min_size=1, max_size=30), st.binary(max_size=300), st.integers(1, 2), st.booleans(), PROPERTIES
)
def test_a_message_is_the_same_after_its_bytes(
    topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, object]
) -> None:
    for version in (V5, V311):
        own = properties if version == V5 else {}
        message = Message(topic, payload, qos, retain, False, 7, own)
        try:
            data = publish(version, message)
        except Malformed:
            assert "\0" in f"{topic}{properties}" or "\\x00" in repr(properties)
            return
        size = Cursor(data[1:]).variable()
        assert decoded(version, data[0], data[len(data) - size :]) == message


@given(st.integers(0, 255), st.binary(max_size=60), st.sampled_from([V5, V311]))
def test_any_bytes_are_a_packet_or_malformed(first: int, body: bytes, version: int) -> None:
    try:
        decoded(version, first, body)
    except Malformed:
        pass


@given(st.integers(0, 268_435_455))
def test_variable_numbers(number: int) -> None:
    assert Cursor(variable(number)).variable() == number


def test_what_has_no_form() -> None:
    with pytest.raises(Malformed):
        variable(268_435_456)
    with pytest.raises(Malformed):
        packed({"content_type": "x" * 70_000})
    with pytest.raises(Malformed):
        Cursor(b"\xff\xff\xff\xff\x01").variable()
    assert wire.LARGEST < 268_435_455


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_broker_behind_tls_is_verified(
    mosquitto_server: MosquittoServer, topic: str, tmp_path: Path, transport: str
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    websocket = transport == "websocket"
    inner = mosquitto_server.websocket_port if websocket else mosquitto_server.port

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(mosquitto_server.host, inner)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    port = str(server.sockets[0].getsockname()[1])
    options = {"port": port, "tls": "verify-full", "transport": transport}
    driver = mqtt_driver(mosquitto_server, ca_file=str(certificate.certificate), **options)
    assert (await scan(driver, topic))[-1].last
    await driver.close()
    with pytest.raises(ConfigError, match="not trusted"):
        await scan(mqtt_driver(mosquitto_server, **options), topic)
    server.close()

"""Connecting: TLS, signing in, what a wrong port answers, and sentences that say which it was."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from drivers.kafka.between import (
    API_VERSIONS,
    HANDSHAKE,
    LIST_GROUPS,
    METADATA,
    PASSWORD,
    USER,
    Asked,
    between,
)
from drivers.kafka.conftest import Kafka, Make, kafka_context
from peers.certificate import Certificate, make_certificate
from peers.kafka import KafkaServer
from peers.server import steady_ports

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, TransientError
from platint_tui.drivers.kafka import open_kafka
from platint_tui.drivers.kafka.address import address_of
from platint_tui.drivers.kafka.cluster import connected


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("kafka-tls"))


def server_side(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


async def refused(driver: Any) -> PlatintError:
    """Why it cannot connect."""
    with pytest.raises(PlatintError) as caught:
        await driver.discover()
    assert PASSWORD not in caught.value.sentence()
    return caught.value


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_signing_in_over_tls(
    kafka_server: KafkaServer,
    make: Make,
    certificate: Certificate,
    mechanism: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with between(kafka_server.port, tls=server_side(certificate), mechanisms=MECHANISMS) as listener:
        known = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism, "user": USER}
        driver = make(listener.bootstrap, PASSWORD, ca_file=str(certificate.certificate), **known)
        checked = await driver.check()
        assert [item.id for item in checked if item.ok] == ["connect", "topics", "groups"]
        assert "Kafka cluster tansu_cluster: 1 broker, controller 127.0.0.1" in checked[0].detail
        wrong = make(listener.bootstrap, "wrong-password", ca_file=str(certificate.certificate), **known)
        checked = await wrong.check()
        assert (checked[0].ok, checked[0].error_class) == (False, "auth")
        assert [item.tried for item in checked] == [True, False, False]
        error = await refused(wrong)
        assert isinstance(error, CredentialError) and "sign-in of 'ada'" in error.message and error.hint
    assert PASSWORD not in caplog.text and "wrong-password" not in caplog.text


async def test_a_mechanism_that_is_not_offered_and_a_listener_without_sign_in(
    kafka_server: KafkaServer, make: Make
) -> None:
    known = {"security_protocol": "SASL_PLAINTEXT", "user": USER, "sasl_mechanism": "PLAIN"}
    async with between(kafka_server.port, mechanisms=("SCRAM-SHA-512",)) as listener:
        error = await refused(make(listener.bootstrap, PASSWORD, **known))
        assert isinstance(error, ConfigError) and "does not offer the SASL mechanism PLAIN" in error.message
        # A client that does not sign in is sent away at its first request.
        error = await refused(make(listener.bootstrap))
        assert isinstance(error, TransientError) and "security protocol" in error.hint
    async with between(kafka_server.port) as listener:

        async def no_sign_in(asked: Asked) -> bytes:
            return b"\x00\x22\x00\x00\x00\x00"  # ILLEGAL_SASL_STATE (34), no mechanisms

        listener.on(HANDSHAKE, no_sign_in)
        error = await refused(make(listener.bootstrap, PASSWORD, **known))
        assert isinstance(error, ConfigError) and "asks for no sign-in" in error.message


async def test_a_broker_that_does_not_know_the_password_is_not_trusted(
    kafka_server: KafkaServer, make: Make
) -> None:
    async with between(kafka_server.port, mechanisms=MECHANISMS) as listener:
        known = {"security_protocol": "SASL_PLAINTEXT", "user": USER, "sasl_mechanism": "SCRAM-SHA-256"}
        listener.impostor = True
        error = await refused(make(listener.bootstrap, PASSWORD, **known))
        assert isinstance(error, CredentialError) and "does not prove" in error.message


async def test_plaintext_and_tls_are_told_apart(
    kafka_server: KafkaServer, make: Make, certificate: Certificate, tmp_path: Path
) -> None:
    async with between(kafka_server.port, tls=server_side(certificate)) as listener:
        error = await refused(make(listener.bootstrap))
        assert isinstance(error, ConfigError) and "speaks TLS on this port" in error.message
        assert "SSL" in error.hint
        strange = {"security_protocol": "SSL", "ca_file": str(make_certificate(tmp_path).certificate)}
        error = await refused(make(listener.bootstrap, **strange))
        assert isinstance(error, ConfigError) and "certificate is not trusted" in error.message
        assert (
            await make(
                listener.bootstrap, security_protocol="SSL", ca_file=str(certificate.certificate)
            ).check()
        )[0].ok
    # Tansu waits for the rest of what it takes for a long request.
    plain = make(security_protocol="SSL", ca_file=str(certificate.certificate), seconds=0.3)
    error = await refused(plain)
    assert isinstance(error, TransientError) and "security protocol" in error.hint


async def test_other_servers_and_silence(make: Make) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def curt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    told = {}
    for answer in (web, silent, curt):
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            told[answer.__name__] = await refused(make(f"127.0.0.1:{port}", seconds=0.3))
    assert isinstance(told["web"], ConfigError) and "web server" in told["web"].message
    assert isinstance(told["silent"], TransientError) and "in time" in told["silent"].message
    assert "security protocol" in told["silent"].hint and "security protocol" in told["curt"].hint
    error = await refused(make(f"127.0.0.1:{steady_ports()}"))
    assert isinstance(error, TransientError) and "cannot be reached" in error.message
    assert "no-such-host.invalid" in (await refused(make("no-such-host.invalid:9092"))).sentence()


async def test_the_first_server_that_answers_is_enough(kafka_server: KafkaServer, make: Make) -> None:
    driver = make(f"127.0.0.1:{steady_ports()}, {kafka_server.bootstrap}")
    assert (await driver.check())[0].ok


async def test_an_advertised_address_that_cannot_be_reached(kafka_server: KafkaServer, make: Make) -> None:
    async with between(kafka_server.port) as listener:

        async def elsewhere(asked: Asked) -> bytes:
            found = listener.metadata(await asked.forward())
            found.brokers = [(111, "127.0.0.1", steady_ports(), None)]
            return bytes(found.encode())

        listener.on(METADATA, elsewhere)
        error = await refused(make(listener.bootstrap))
        assert isinstance(error, TransientError) and "advertised.listeners" in error.hint


async def test_a_right_that_is_missing_is_told_with_its_probe(kafka_server: KafkaServer, make: Make) -> None:
    async with between(kafka_server.port) as listener:

        async def not_allowed(asked: Asked) -> bytes:
            return b"\0\0\0\0" + b"\x00\x1f" + b"\0\0\0\0"  # CLUSTER_AUTHORIZATION_FAILED (31), no groups

        listener.on(LIST_GROUPS, not_allowed)
        checked = {item.id: item for item in await make(listener.bootstrap).check()}
        assert checked["topics"].ok and not checked["groups"].ok and checked["groups"].optional
        assert "kafka-acls" in checked["groups"].detail


async def test_an_answer_that_is_no_kafka_is_not_tried_for_ever(
    kafka_server: KafkaServer, make: Make
) -> None:
    async with between(kafka_server.port) as listener:

        async def odd(asked: Asked) -> bytes:
            return b"\x00\x00\xff"

        listener.on(API_VERSIONS, odd)
        error = await refused(make(listener.bootstrap))
        assert error.code == "protocol" and not isinstance(error, TransientError)


async def test_every_connection_is_closed(kafka_server: KafkaServer, kafka: Kafka, make: Make) -> None:
    topic = await kafka.create(partitions=3)
    async with between(kafka_server.port) as listener:
        driver = make(listener.bootstrap)
        pages = driver.read(topic, None)
        await anext(pages)
        await driver.check()
        assert listener.open >= 2
        await pages.aclose()  # type: ignore[attr-defined]  # it is a generator
        await driver.close()
        for _ in range(100):
            if not listener.open:
                break
            await asyncio.sleep(0.01)
        assert listener.open == 0


@pytest.mark.parametrize(
    ("servers", "places"),
    [
        ("a:1, b:2", (("a", 1), ("b", 2))),
        ("broker", (("broker", 9092),)),
        ("[::1]:9093,[::1]", (("::1", 9093), ("::1", 9092))),
        ("fe80::1", (("fe80::1", 9092),)),
    ],
)
def test_bootstrap_servers(servers: str, places: object) -> None:
    assert address_of(kafka_context({"bootstrap_servers": servers})).servers == places


@pytest.mark.parametrize("servers", ["", " , ", "a:0", "a:99999", "a:x", "http://a:1", ":9092"])
def test_bootstrap_servers_that_are_none(servers: str) -> None:
    with pytest.raises(ConfigError):
        open_kafka(kafka_context({"bootstrap_servers": servers}))


def test_a_sign_in_needs_a_user_and_a_password() -> None:
    fields = {"bootstrap_servers": "a:1", "security_protocol": "SASL_SSL"}
    with pytest.raises(ConfigError, match="user"):
        open_kafka(kafka_context(fields, PASSWORD))
    with pytest.raises(CredentialError, match="password"):
        open_kafka(kafka_context({**fields, "user": "ada"}))


async def test_a_file_of_authorities_that_is_none(
    kafka_server: KafkaServer, make: Make, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    error = await refused(make(security_protocol="SSL", ca_file=str(tmp_path / "ca.pem")))
    assert isinstance(error, ConfigError) and "authorities" in error.message


async def test_a_cluster_can_be_asked_by_several_at_once(kafka_server: KafkaServer) -> None:
    context = kafka_context({"bootstrap_servers": kafka_server.bootstrap})
    async with connected(address_of(context), context) as cluster:
        found = await asyncio.gather(*(cluster.topics([]) for _ in range(20)))
        assert len(found) == 20

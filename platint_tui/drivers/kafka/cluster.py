"""Connections to the brokers of a Kafka cluster, and requests over them.

aiokafka's connection and its classes of the wire protocol are used, not its consumer and producer: those connect
again, send again and leave out what they cannot take on their own, and only a log would tell. Here every failure
is an error of ours at once, and what was sent without an answer is told apart from what was not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.core.wire import count_request
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.address import Address, tls_context
from platint_tui.drivers.kafka.codes import error_of

# Its debug log has whole requests, the sign-in with the password among them.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

FAILURES = (
    kafka_errors.KafkaError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    AssertionError,
    NotImplementedError,
)
"""What aiokafka raises while it connects and asks; the last four for answers that it did not expect."""
_CLOSE_SECONDS = 1.0
_PROBE_SECONDS = 2.0
_HTTP = int.from_bytes(b"HTTP", "big")
"""What a web server's answer says where one of Kafka has its length."""
_LISTENER = (
    "If this stays so, compare the profile's security protocol with the listener: one for TLS or SASL answers "
    "other clients in this way."
)


class AnswerLost(TransientError):
    """A request was sent, and the connection was lost or time was over before its answer came."""

    code = "answer_lost"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic in the metadata: the leader of each partition (-1 without one), and an error code."""

    name: str
    code: int
    internal: bool
    leaders: dict[int, int]


class Cluster:
    """Open connections, one a broker. A request waits for the one before it on its connection, so whoever waits
    for messages has a cluster of its own.
    """

    def __init__(self, address: Address, context: DriverContext) -> None:
        self.address = address
        self.id = ""
        self.controller = -1
        self.brokers: dict[int, tuple[str, int]] = {}
        self._telemetry = context.telemetry
        self._clock = context.clock
        self._tls = tls_context(address)
        self._connections: dict[int, AIOKafkaConnection] = {}
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._coordinators: dict[str, int] = {}

    async def open(self) -> None:
        """Learn the brokers from the first server that answers.

        Raises CredentialError, ConfigError, or TransientError when none can be reached.
        """
        failures: list[PlatintError] = []
        for host, port in self.address.servers:
            try:
                connection = await self._connect(host, port)
                try:
                    self._learn(await self._exchange(connection, MetadataRequest([], False)))
                except BaseException:
                    connection.close()
                    raise
            except PlatintError as error:
                if isinstance(error, AnswerLost):
                    error.hint = _LISTENER
                failures.append(error)
                continue
            known = next((node for node, place in self.brokers.items() if place == (host, port)), None)
            if known is None:
                connection.close()
            else:
                self._connections[known] = connection
            return
        raise next((item for item in failures if not isinstance(item, TransientError)), failures[0])

    async def close(self) -> None:
        """Close every connection."""
        connections, self._connections = self._connections, {}
        ends = [asyncio.ensure_future(item.close()) for item in connections.values()]
        if ends:
            await asyncio.wait(ends, timeout=_CLOSE_SECONDS)

    async def topics(self, names: Sequence[str] | None) -> list[Topic]:
        """These topics, or all of them. One that is not there has an error code; none is created by asking."""
        answer = await self.ask(MetadataRequest(None if names is None else list(names), False))
        self._learn(answer)
        return [
            Topic(name, code, bool(internal), {item[1]: item[2] for item in partitions})
            for code, name, internal, partitions, *_ in answer.topics
        ]

    async def topic(self, name: str, act: str = "read") -> Topic:
        """One topic. Raises ConfigError when it is not there or not allowed, TransientError without partitions."""
        found = next((item for item in await self.topics([name]) if item.name == name), None)
        if found is None or found.code:
            raise error_of(found.code if found else 3, self.address, topic=name, act=act)
        if not found.leaders:
            raise error_of(5, self.address, topic=name)
        return found

    async def coordinator(self, group: str) -> int:
        """The broker that keeps the offsets of a group."""
        if group not in self._coordinators:
            answer = await self.ask(FindCoordinatorRequest(group, 0))
            if answer.error_code:
                raise error_of(answer.error_code, self.address, group=group)
            node = answer.coordinator_id
            self.brokers.setdefault(node, (answer.host, answer.port))
            self._coordinators[group] = node
        return self._coordinators[group]

    def forget_coordinator(self, group: str) -> None:
        """The coordinator of a group has moved."""
        self._coordinators.pop(group, None)

    async def ready(self, node: int) -> None:
        """Connect to a broker if that is to be done. Raises like `open`; then nothing was asked."""
        async with self._locks[node]:
            connection = self._connections.get(node)
            if connection is not None and connection.connected():
                return
            place = self.brokers.get(node)
            if place is None:
                raise error_of(8, self.address)
            try:
                self._connections[node] = await self._connect(*place)
            except TransientError as error:
                if place not in self.address.servers:
                    error.hint = (
                        f"The broker names {clean(place[0])}:{place[1]} as its address (advertised.listeners): "
                        "that must be reachable from here."
                    )
                raise

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """The answer of a broker, of any without `node`. Raises AnswerLost when it was sent and none came."""
        if node is None:
            held = (key for key, item in self._connections.items() if item.connected())
            node = next(held, None)
            if node is None:
                node = next(iter(self.brokers), -1)
        await self.ready(node)
        return await self._exchange(self._connections[node], request)

    async def _connect(self, host: str, port: int) -> AIOKafkaConnection:
        address, started = self.address, self._clock.monotonic()
        ok = False
        try:
            async with asyncio.timeout(address.connect_seconds):
                connection: AIOKafkaConnection = await create_conn(
                    host,
                    port,
                    client_id=address.client_id,
                    request_timeout_ms=int(address.request_seconds * 1000),
                    ssl_context=self._tls,
                    security_protocol=address.protocol,
                    sasl_mechanism=address.mechanism if address.sasl else None,
                    sasl_plain_username=address.user,
                    sasl_plain_password=address.password.reveal() if address.password is not None else "",
                )
            ok = True
        except FAILURES as error:
            failure = connect_failure(error, address, f"{host}:{port}")
            if (
                isinstance(failure, TransientError)
                and not address.tls
                and await _speaks_tls(host, port, min(_PROBE_SECONDS, address.connect_seconds))
            ):
                failure = ConfigError(
                    "The broker speaks TLS on this port, and the profile does not.",
                    where=failure.where,
                    hint="Set the profile's security protocol to SSL or SASL_SSL, or use the plaintext port.",
                    code="tls",
                )
            raise failure from None
        finally:
            self._telemetry.observe("connect", self._clock.monotonic() - started, ok)
        return connection

    async def _exchange(self, connection: AIOKafkaConnection, request: Any) -> Any:
        count_request()
        try:
            return await connection.send(request)
        except (kafka_errors.IncompatibleBrokerVersion, NotImplementedError):
            raise error_of(35, self.address) from None
        except FAILURES as error:
            if isinstance(error, TimeoutError):
                # Its answer may still come, and would be taken for that of the next request.
                connection.close()
            raise _lost(error, self.address) from None

    def _learn(self, answer: Any) -> None:
        self.brokers = {node: (host, port) for node, host, port, *_ in answer.brokers}
        self.controller = getattr(answer, "controller_id", -1)
        self.id = getattr(answer, "cluster_id", None) or ""
        if not self.brokers:
            raise error_of(8, self.address)


@contextlib.asynccontextmanager
async def connected(address: Address, context: DriverContext) -> AsyncIterator[Cluster]:
    """A cluster for a while. Raises like `Cluster.open`."""
    cluster = Cluster(address, context)
    try:
        await cluster.open()
        yield cluster
    finally:
        await cluster.close()


def _lost(error: BaseException, address: Address) -> PlatintError:
    if isinstance(error, TimeoutError):
        return AnswerLost(
            f"The broker did not answer within {address.request_seconds:.0f} s.", where=address.where
        )
    cause = error.__cause__
    if cause is not None and not isinstance(cause, OSError | EOFError):
        return SystemicError(
            f"The broker's answer cannot be understood: {_words(cause)}.",
            where=address.where,
            code="protocol",
        )
    return AnswerLost("The connection to the broker was lost.", where=address.where)


def connect_failure(error: BaseException, address: Address, place: str) -> PlatintError:
    """Why a broker could not be connected to: the network, TLS, the sign-in, or no Kafka at all."""
    where = f"kafka://{clean(place)}"
    failure = _sign_in_failure(error, address) or _tls_failure(error)
    if failure is None:
        failure = _network_failure(error, address.tls)
    failure.where = where
    return failure


def _sign_in_failure(error: BaseException, address: Address) -> PlatintError | None:
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
        return error_of(33, address)
    if isinstance(error, kafka_errors.IllegalSaslStateError):
        return error_of(34, address)
    if isinstance(error, kafka_errors.SaslAuthenticationFailed):
        said = REDACTOR.redact(str(error.args[0])) if error.args and error.args[0] else ""
        return error_of(58, address, said=said)
    if address.sasl and isinstance(error, ValueError | KeyError | AssertionError):
        return CredentialError(
            f"The sign-in of '{clean(address.user)}' failed: the broker does not prove that it knows the password.",
            hint="Check user, password and mechanism of the profile.",
            code="SASL_AUTHENTICATION_FAILED",
        )
    return None


def _tls_failure(error: BaseException) -> PlatintError | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"The broker's certificate is not trusted: {error.verify_message}.",
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return ConfigError(
            "The broker does not speak TLS on this port.",
            hint="Set the profile's security protocol to PLAINTEXT or SASL_PLAINTEXT, or use the TLS port.",
            code="tls",
        )
    return None


def _network_failure(error: BaseException, tls: bool) -> PlatintError:
    if isinstance(error, TimeoutError):
        return TransientError(
            "The broker did not answer in time.", hint=f"Check host and port. {_LISTENER}", code="timeout"
        )
    if isinstance(error, OSError):
        if tls and not isinstance(error, ConnectionRefusedError | socket.gaierror):
            return TransientError(
                f"The broker cannot be reached over TLS: {_words(error)}.", hint=_LISTENER, code="unreachable"
            )
        return TransientError(
            f"The broker cannot be reached: {_words(error)}.",
            hint="Check host and port, and that the broker runs.",
            code="unreachable",
        )
    if isinstance(error, kafka_errors.BrokerResponseError):
        return SystemicError(f"The broker refuses the connection: {_words(error)}.", code="protocol")
    cause = error.__cause__
    if isinstance(cause, asyncio.IncompleteReadError) and cause.expected == _HTTP:
        return ConfigError(
            "A web server answers on this port, no Kafka broker.", hint="Check the port.", code="no_kafka"
        )
    if cause is not None and not isinstance(cause, OSError | EOFError):
        return SystemicError(f"The broker's answer cannot be understood: {_words(cause)}.", code="protocol")
    return TransientError("The broker closed the connection at once.", hint=_LISTENER, code="unreachable")


async def _speaks_tls(host: str, port: int, seconds: float) -> bool:
    """Whether a TLS handshake succeeds there. Nothing is sent over it, so that its certificate does not matter."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, EOFError):
        return False
    writer.close()
    return True


def _words(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clean(REDACTOR.redact(text or type(error).__name__)).rstrip(".")[:300]

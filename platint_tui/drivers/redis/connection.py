"""Connecting to Redis: one connection that is never opened again behind anybody's back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.asyncio import Connection, SSLConnection
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.core.wire import count_request
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.redis.errors import code_of, translate
from platint_tui.manifest.schema import Connector

TLS_MODES = ("disable", "require", "verify-full")
FAILURES = (RedisError, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError)
"""What the client library raises."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_DATABASES = 1_000_000
_REPLIES = 100
"""So many replies are waited for at a time, each time as long as for one."""

Command: TypeAlias = tuple[bytes | str | int, ...]
Reply: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and who signs in."""

    host: str
    port: int
    user: str
    password: Secret | None
    database: int
    tls: str
    ca_file: str | None
    connect_seconds: float
    answer_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"redis://{self.host}:{self.port}/{self.database}"


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field."""
    fields, name = context.profile.fields, context.profile.name
    host = fields.get("host", "")
    if not host:
        raise ConfigError("The profile's field 'host' is empty.", where=name, hint="Edit the profile.")
    port = _number(fields.get("port") or "6379", "port", 65_535, name)
    database = _number(fields.get("database") or "0", "database number", _MOST_DATABASES, name)
    # Between machines nothing less than a verified server is a default.
    tls = fields.get("tls") or ("disable" if host in _LOOPBACK else "verify-full")
    if tls not in TLS_MODES:
        raise ConfigError(f"'{clean(tls)}' is no TLS mode.", where=name, hint=f"Use {', '.join(TLS_MODES)}.")
    transport = context.connector.transport
    return Address(
        host,
        port,
        fields.get("user") or "",
        context.secrets.get("password"),
        database,
        tls,
        fields.get("ca_file") or transport.ca_file,
        transport.timeout.connect,
        transport.timeout.read,
        context.connector,
    )


def _number(text: str, what: str, most: int, where: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:8]) <= most:
        return int(text[:8])
    raise ConfigError(
        f"'{clean(text)}' is no {what}.", where=where, hint=f"Write a number of at most {most:,}."
    )


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself when it is greeted. `modules` are the names of its modules."""

    version: str
    mode: str
    role: str
    modules: tuple[str, ...] = ()


class Wire:
    """One connection. Replies are RESP2 as it comes: bytes, integers, None and lists of these.

    A connection that is lost, or whose answer was not waited for, stays closed: every later call raises
    TransientError.
    """

    server: Server

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address

    @property
    def lost(self) -> bool:
        """Whether the connection is closed."""
        return not self._connection.is_connected

    @property
    def patience(self) -> float:
        """Seconds that an answer is waited for."""
        return self._address.answer_seconds

    async def call(self, *command: bytes | str | int, about: str = "") -> Reply:
        """The reply to one command. `about` are the keys that an error is about. Raises PlatintError."""
        reply = (await self.exchange([command]))[0]
        if isinstance(reply, ResponseError):
            raise self.error(reply, about)
        return reply

    async def exchange(self, commands: Sequence[Command], into: list[Reply] | None = None) -> list[Reply]:
        """Send all commands at once and return their replies in order; one that the server refuses has a
        ResponseError in its place. Replies are put into `into` as they come, so that after a loss of the
        connection it shows what was answered. Raises PlatintError for a connection that is lost or refused.
        """
        replies: list[Reply] = [] if into is None else into
        connection = self._connection
        count_request()
        loop = asyncio.get_running_loop()
        try:
            if self.lost:
                raise LostConnection("the connection was closed")
            async with asyncio.timeout(self.patience) as deadline:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                for number in range(len(commands)):
                    if number % _REPLIES == 0:
                        deadline.reschedule(loop.time() + self.patience)
                    try:
                        replies.append(await connection.read_response(disable_decoding=True))
                    except ResponseError as refusal:
                        replies.append(refusal)
        except FAILURES as error:
            await self.close()
            raise self.error(error) from None
        return replies

    async def atomically(self, commands: Sequence[Command], about: str = "") -> list[Reply] | None:
        """Carry out all commands in one transaction and return their replies (a ResponseError for each that
        failed while the others were done), None when a watched key has changed: then nothing was done.

        Raises PlatintError when the server takes one of the commands not at all: nothing was done either.
        """
        replies = await self.exchange([("MULTI",), *commands, ("EXEC",)])
        refused = next((reply for reply in replies[:-1] if isinstance(reply, ResponseError)), None)
        if refused is not None:
            raise self.error(refused, about)
        if isinstance(replies[-1], ResponseError):
            raise self.error(replies[-1], about)
        done: list[Reply] | None = replies[-1]
        return done

    def error(self, error: BaseException, about: str = "") -> PlatintError:
        """What an error of this server means."""
        return translate(error, self._address, about)

    async def close(self) -> None:
        """Close the connection, without waiting for the server."""
        await self._connection.disconnect(nowait=True)


async def connect(address: Address) -> Wire:
    """A connection that is signed in. Raises CredentialError, ConfigError, TransientError.

    A cluster of several shards is refused: each of them holds a part of the keys only.
    """
    connection = _connection(address)
    wire = Wire(connection, address)
    try:
        async with asyncio.timeout(address.connect_seconds + address.answer_seconds):
            await connection.connect()  # type: ignore[no-untyped-call]  # the library says no types here
        wire.server = await _greet(wire)
        await _refuse_parts(wire, address)
    except FAILURES as error:
        await wire.close()
        raise translate(error, address) from None
    except BaseException:
        await wire.close()
        raise
    return wire


def _connection(address: Address) -> Connection:
    common: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.user or None,
        "password": address.password.reveal() if address.password is not None else None,
        "socket_connect_timeout": address.connect_seconds,
        # Deadlines are set here: the library's own one is wait_for, which swallows a cancellation now and then
        # before Python 3.12.
        "socket_timeout": None,
        "protocol": 2,
    }
    if address.tls == "disable":
        return Connection(**common)
    verified = address.tls == "verify-full"
    return SSLConnection(
        ssl_cert_reqs="required" if verified else "none",
        ssl_check_hostname=verified,
        ssl_ca_certs=address.ca_file if verified else None,
        **common,
    )


async def _greet(wire: Wire) -> Server:
    """HELLO tells everybody who is signed in; servers before 6.0 have INFO, which nobody is refused there."""
    hello, named = await wire.exchange([("HELLO", 2), ("CLIENT", "SETNAME", "platint-tui")])
    del named  # a name in CLIENT LIST is a courtesy that a rule may forbid
    if isinstance(hello, ResponseError):
        if code_of(hello) != "ERR":
            raise wire.error(hello)
        info = info_of(await wire.call("INFO"))
        return Server(
            info.get("redis_version", "?"),
            info.get("redis_mode", "standalone"),
            info.get("role", "master"),
        )
    told = pairs(hello)
    modules = [pairs(module).get("name", b"") for module in told.get("modules") or ()]
    role = _word(told.get("role"))
    return Server(
        _word(told.get("version")), _word(told.get("mode")), role, tuple(_word(name) for name in modules)
    )


async def _refuse_parts(wire: Wire, address: Address) -> None:
    if wire.server.mode == "sentinel":
        raise ConfigError(
            "This is a Sentinel, which holds no data.",
            where=address.where,
            hint="Give the address of the primary itself in the profile.",
            code="sentinel",
        )
    if wire.server.mode != "cluster":
        return
    told = (await wire.exchange([("CLUSTER", "INFO")]))[0]
    info = {} if isinstance(told, ResponseError) else info_of(told)
    if info.get("cluster_size") != "1":
        raise ConfigError(
            "This server is one shard of a Redis Cluster and holds a part of the keys only.",
            where=address.where,
            hint="Clusters of several shards cannot be used; give a server or proxy that holds all keys.",
            code="cluster",
        )
    if info.get("cluster_state") != "ok":
        raise TransientError("The cluster is down.", where=address.where, code="CLUSTERDOWN")


def pairs(reply: Reply) -> dict[str, Reply]:
    """A flat list of names and values as a dict."""
    items = reply or ()
    return {_word(name): value for name, value in zip(items[::2], items[1::2], strict=False)}


def info_of(reply: Reply) -> dict[str, str]:
    """The lines `name:value` of INFO and CLUSTER INFO."""
    lines = (line.partition(":") for line in _word(reply).splitlines())
    return {name: value for name, mark, value in lines if mark}


def _word(value: Reply) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")

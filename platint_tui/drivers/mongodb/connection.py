"""Reaching MongoDB: the address in a profile, the client, and a count of what it sends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from platint_tui.core.errors import ConfigError
from platint_tui.core.ports import Telemetry
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.core.wire import count_request
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.schema import Connector

Client: TypeAlias = AsyncMongoClient[dict[str, Any]]
Database: TypeAlias = AsyncDatabase[dict[str, Any]]
Raw: TypeAlias = AsyncCollection[RawBSONDocument]
Session: TypeAlias = AsyncClientSession

TLS_MODES = ("disable", "require", "verify-full")
MECHANISMS = ("", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "MONGODB-X509")
_EXTERNAL = frozenset({"PLAIN", "MONGODB-X509"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)(?::([0-9]{1,5}))?")
_BAD_IN_DATABASE = re.compile(r'[\x00-\x20/\\."$*<>:|?]')
_MOST_CONNECTIONS = 8
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)
_WRITES = frozenset({"update", "delete", "bulkWrite"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who signs in. `hosts` are `host:port`, or with `srv` one name in the DNS."""

    hosts: tuple[str, ...]
    srv: bool
    direct: bool
    replica_set: str
    database: str
    user: str
    password: Secret | None
    auth_database: str
    mechanism: str
    tls: str
    ca_file: str | None
    certificate: str | None
    connect_seconds: float
    answer_seconds: float
    profile: str
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        scheme = "mongodb+srv" if self.srv else "mongodb"
        return f"{scheme}://{','.join(self.hosts)}/{self.database}"


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field; a value is repeated only when it is harmless."""
    fields, name = context.profile.fields, context.profile.name
    for needed in ("host", "database"):
        if not fields.get(needed):
            raise ConfigError(
                f"The profile's field '{needed}' is empty.", where=name, hint="Edit the profile."
            )
    srv = fields.get("srv", "no") in ("yes", "true")
    hosts = _hosts(fields["host"], fields.get("port") or "27017", srv, name)
    database = fields["database"]
    if _BAD_IN_DATABASE.search(database) or len(database.encode()) > 63:
        raise ConfigError(f"'{clean(database)}' is no name of a database.", where=name)
    mechanism = fields.get("mechanism") or ""
    mechanism = "" if mechanism == "default" else mechanism
    if mechanism not in MECHANISMS:
        hint = f"Use default, {', '.join(MECHANISMS[1:])}."
        raise ConfigError(f"'{clean(mechanism)}' is no way to sign in.", where=name, hint=hint)
    local = all(host.rpartition(":")[0] in _LOOPBACK for host in hosts)
    # Between machines nothing less than a verified server is a default.
    tls = fields.get("tls") or ("disable" if local and not srv else "verify-full")
    if tls not in TLS_MODES:
        raise ConfigError(f"'{clean(tls)}' is no TLS mode.", where=name, hint=f"Use {', '.join(TLS_MODES)}.")
    if mechanism == "PLAIN" and tls != "verify-full" and not local:
        raise ConfigError(
            "PLAIN sends the password as it is, so it needs a verified server.",
            where=name,
            hint="Set the profile's tls to verify-full.",
        )
    transport = context.connector.transport
    return Address(
        hosts,
        srv,
        fields.get("direct", "no") in ("yes", "true"),
        fields.get("replica_set") or "",
        database,
        fields.get("user") or "",
        context.secrets.get("password"),
        "$external" if mechanism in _EXTERNAL else fields.get("auth_database") or "",
        mechanism,
        tls,
        fields.get("ca_file") or transport.ca_file,
        fields.get("certificate") or None,
        transport.timeout.connect,
        transport.timeout.total,
        name,
        context.connector,
    )


def _hosts(text: str, port: str, srv: bool, name: str) -> tuple[str, ...]:
    found = []
    for item in text.split(","):
        match = _HOST.fullmatch(item.strip())
        if match is None:
            # Not repeated: whoever pastes a connection string pastes its password.
            raise ConfigError(
                "The profile's host is no name or address, or a list of them with commas between.",
                where=name,
                hint="Write host or host:port only; user, password and options have fields of their own.",
            )
        own = match.group(2) or port
        if not (own.isascii() and own.isdigit() and 0 < int(own[:6]) < 65_536):
            raise ConfigError(
                f"'{clean(own)}' is no port.", where=name, hint="Write a number from 1 to 65535."
            )
        found.append(match.group(1) if srv else f"{match.group(1)}:{own}")
    if srv and len(found) > 1:
        raise ConfigError("With srv there is one host name, whose DNS entry lists the servers.", where=name)
    return tuple(found)


class Counter(CommandListener):
    """Counts the requests of a client and reports how long each took.

    Writes are reported by the target, with their tries; the answer to a getMore that waits for changes says
    nothing about the server.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._about: dict[int, str] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """A command is sent."""
        count_request()
        name = event.command_name
        if name in _WRITES or (name == "getMore" and "maxTimeMS" in event.command):
            return
        about = event.command.get("collection") if name == "getMore" else event.command.get(name)
        self._about[event.request_id] = f"{name} {about}" if isinstance(about, str) else name

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """It was answered."""
        self._observe(event, True)

    def failed(self, event: CommandFailedEvent) -> None:
        """It was refused, or the connection was lost."""
        self._observe(event, False)

    def _observe(self, event: CommandSucceededEvent | CommandFailedEvent, ok: bool) -> None:
        about = self._about.pop(event.request_id, None)
        if about is not None:
            self._telemetry.observe(about, event.duration_micros / 1_000_000, ok)


def client_of(address: Address, telemetry: Telemetry) -> Client:
    """A client with our settings; nothing is connected yet. Raises ConfigError, and what pymongo raises.

    Everything goes as an option, never in a connection string.
    """
    milliseconds = int(address.connect_seconds * 1000)
    options: dict[str, Any] = {
        "appname": "platint-tui",
        "tls": address.tls != "disable",
        "connectTimeoutMS": milliseconds,
        # A little longer, so that it can say what the last connection failed with.
        "serverSelectionTimeoutMS": milliseconds + milliseconds // 10,
        "socketTimeoutMS": int(address.answer_seconds * 1000),
        # A server that was refused or lost is looked at again at once, not when an awaited greeting ends.
        "serverMonitoringMode": "poll",
        "maxPoolSize": _MOST_CONNECTIONS,
        "event_listeners": [Counter(telemetry)],
    }
    if address.tls != "disable":
        options |= {"tlsCAFile": address.ca_file} if address.ca_file else {}
        options |= {"tlsCertificateKeyFile": address.certificate} if address.certificate else {}
        options |= {"tlsAllowInvalidCertificates": True} if address.tls == "require" else {}
    if address.user or address.mechanism == "MONGODB-X509":
        options |= {"username": address.user} if address.user else {}
        options |= {"password": address.password.reveal()} if address.password is not None else {}
        options |= {"authSource": address.auth_database} if address.auth_database else {}
        options |= {"authMechanism": address.mechanism} if address.mechanism else {}
    if address.replica_set:
        options["replicaSet"] = address.replica_set
    if address.direct:
        options["directConnection"] = True
    hosts = [f"mongodb+srv://{address.hosts[0]}"] if address.srv else list(address.hosts)
    return AsyncMongoClient(hosts, **options)


def raw_collection(database: Database, name: str) -> Raw:
    """A collection whose documents come as bytes, and only those that a majority of the members holds.

    Each document is decoded by itself, so that a damaged one does not hide the others.
    """
    return database.with_options(codec_options=_RAW, read_concern=ReadConcern("majority"))[name]


def durable(address: Address) -> WriteConcern:
    """Written to the journal of a majority of the members, or an error after a while."""
    return WriteConcern("majority", wtimeout=int(address.answer_seconds * 1000), j=True)

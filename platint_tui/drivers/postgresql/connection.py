"""Connecting to PostgreSQL, and what its errors mean."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.core.model import Fault
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.tables import quoted
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.vectors import rule_for_code

TLS_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_OFFERED = ("disable", "require", "verify-full")
"""The modes that the profile's form has to choose from."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCK_MS = 30_000
# The text of a value depends on these; a snapshot and the feed of changes must give the same text.
_SETTINGS = f"""
SET synchronous_commit = on; SET lock_timeout = {_LOCK_MS}; SET idle_in_transaction_session_timeout = 300000;
SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET lc_monetary = 'C'; SET standard_conforming_strings = on;
"""
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises; an internal client error comes when the server closed the connection unasked."""
# Errors of asyncpg's own encoder, for values that do not fit a column.
CLIENT_ERRORS = (asyncpg.exceptions.DataError, UnicodeEncodeError, OverflowError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who signs in."""

    host: str
    port: int
    database: str
    user: str
    password: Secret | None
    schema: str
    tls: str
    ca_file: str | None
    connect_seconds: float
    command_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"postgresql://{self.host}:{self.port}/{self.database}"


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field."""
    fields = context.profile.fields
    name = context.profile.name
    for needed in ("host", "database", "user"):
        if not fields.get(needed):
            raise ConfigError(
                f"The profile's field '{needed}' is empty.", where=name, hint="Edit the profile."
            )
    port = fields.get("port") or "5432"
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ConfigError(f"'{clean(port)}' is no port.", where=name, hint="Write a number from 1 to 65535.")
    host = fields["host"]
    # Between machines nothing less than a verified server is a default.
    tls = fields.get("tls") or ("prefer" if host in _LOOPBACK or host.startswith("/") else "verify-full")
    if tls not in TLS_MODES:
        raise ConfigError(f"'{clean(tls)}' is no TLS mode.", where=name, hint=f"Use {', '.join(_OFFERED)}.")
    transport = context.connector.transport
    return Address(
        host,
        int(port),
        fields["database"],
        fields["user"],
        context.secrets.get("password"),
        fields.get("schema") or "public",
        tls,
        fields.get("ca_file") or transport.ca_file,
        transport.timeout.connect,
        transport.timeout.total,
        context.connector,
    )


async def connect(address: Address, *, replication: bool = False) -> asyncpg.Connection[Any]:
    """A connection with our settings. Raises CredentialError, ConfigError or TransientError.

    `replication`: it takes the commands of the streaming replication protocol (and `execute`, nothing else).
    """
    try:
        try:
            connection = await _connect(address, _tls_context(address), replication)
        except ConnectionError as error:
            if address.tls != "prefer" or "rejected SSL upgrade" not in str(error):
                raise
            connection = await _connect(address, False, replication)
        try:
            await connection.execute(f"{_SETTINGS} SET search_path = {quoted(address.schema)}")
        except BaseException:
            connection.terminate()
            raise
    except (*FAILURES, ValueError) as error:
        raise translate(error, address) from None
    return connection


async def _connect(
    address: Address, tls: ssl.SSLContext | bool, replication: bool
) -> asyncpg.Connection[Any]:
    # Everything is said here, so that neither PG* variables nor ~/.pgpass have a say.
    settings = {"application_name": "platint-tui"}
    if replication:
        settings["replication"] = "database"
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        password=address.password.reveal() if address.password is not None else "",
        ssl=tls,
        timeout=address.connect_seconds,
        command_timeout=address.command_seconds,
        server_settings=settings,
        target_session_attrs=SessionAttribute.any,
    )
    return connection


def _tls_context(address: Address) -> ssl.SSLContext | bool:
    if address.tls == "disable" or address.host.startswith("/"):
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = address.tls == "verify-full"
    if address.tls in ("prefer", "require"):
        context.verify_mode = ssl.CERT_NONE
    elif address.ca_file:
        try:
            context.load_verify_locations(address.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The file of certificate authorities cannot be used: {error.strerror or error}.",
                where=address.ca_file,
            ) from None
    else:
        context.load_default_certs()
    return context


def translate(error: BaseException, address: Address) -> PlatintError:
    """What an error of the server, of the network or of asyncpg means for the operator."""
    where = address.where
    state = str(getattr(error, "sqlstate", "") or "")
    text = clean(REDACTOR.redact(str(error)))
    if state:
        return by_rules(_of_state(state, text, address), address.connector, state)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"The server's certificate is not trusted: {error.verify_message}.",
            where=where,
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in text:
        return ConfigError(
            "The server does not offer the TLS that the profile asks for.",
            where=where,
            hint="Turn TLS on at the server; for one on this machine the profile's tls may be disable.",
            code="tls",
        )
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return TransientError("The database did not answer in time.", where=where, code="timeout")
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        reason = error.strerror if isinstance(error, OSError) and error.strerror else text
        return TransientError(
            f"The database cannot be reached: {clean(reason)}.",
            where=where,
            hint="Check host and port, and that the server runs.",
            code="unreachable",
        )
    return SystemicError(f"The database driver reports: {text}.", where=where, code="postgresql")


def _of_state(state: str, text: str, address: Address) -> PlatintError:
    """Errors that carry a SQLSTATE (the error codes of PostgreSQL, appendix A)."""
    where = address.where
    if state.startswith("28"):
        return CredentialError(
            f"The database refuses the sign-in of '{clean(address.user)}'.",
            where=where,
            hint="Check user and password of the profile.",
            code=state,
        )
    if state == "3D000":
        return ConfigError(
            f"There is no database '{clean(address.database)}' on this server.", where=where, code=state
        )
    if state in ("42501", "3F000", "25006"):
        hints = {
            "42501": f"Grant the user CREATE and USAGE on schema {clean(address.schema)}, or ask who may.",
            "3F000": "Create the schema, or name another in the profile.",
            "25006": "This server or session is read-only: connect to the primary.",
        }
        return ConfigError(f"The database refuses: {text}.", where=where, hint=hints[state], code=state)
    if state == "53100":
        return ConfigError("The disk of the database server is full.", where=where, code=state)
    if state[:2] in ("08", "40", "53", "57") or state == "55P03":
        return TransientError(f"The database could not do it now: {text}.", where=where, code=state)
    return SystemicError(f"The database refuses: {text}.", where=where, code=state)


def is_record_error(error: BaseException, connector: Connector) -> bool:
    """Whether one row is to blame: what the manifest's rules say of the SQLSTATE (without a rule, classes 22 and
    23), or a value that asyncpg cannot encode.
    """
    state = str(getattr(error, "sqlstate", "") or "")
    if state:
        rule = rule_for_code(connector, state)
        return rule.class_ == ErrorClass.RECORD if rule else state[:2] in ("22", "23")
    return isinstance(error, CLIENT_ERRORS) and not isinstance(error, OSError)


def row_fault(error: BaseException) -> Fault:
    """Why the table refuses one row."""
    if isinstance(error, UnicodeEncodeError):
        return Fault(
            ErrorClass.RECORD, "invalid_text", "A text holds half of a surrogate pair, which is no character."
        )
    state = str(getattr(error, "sqlstate", "") or "")
    field = str(getattr(error, "column_name", "") or "")
    code = "constraint" if state.startswith("23") else "not_storable"
    return Fault(ErrorClass.RECORD, code, f"The table refuses this row: {clean(str(error))}.", field=field)

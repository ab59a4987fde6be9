"""Connecting to a database through SQLAlchemy, and what its errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.model import Fault
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.sql.client import NO_TLS, connect
from platint_tui.manifest.schema import Connector

DIALECTS = {"mysql": "mysql+aiomysql", "mariadb": "mariadb+aiomysql"}
"""What there is a client for: the dialect of a profile and the driver of SQLAlchemy."""
TLS_MODES = ("disable", "require", "verify-full")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# The text of a value depends on the time zone; without strict mode values would be cut to fit.
_SETTINGS = (
    "SET time_zone = '+00:00', innodb_lock_wait_timeout = 30, sql_mode ="
    " 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"
)
_REFUSED = frozenset({1045, 1698, 1862, 3118})
_RIGHTS = frozenset({1044, 1142, 1143, 1227, 1370})
_MISSING = frozenset({1049, 1146, 1054})
_PASSING = frozenset({1040, 1053, 1077, 1205, 1213, 1317, 1927, 2002, 2003, 2006, 2013, 2055, 0})
_READ_ONLY = frozenset({1290, 1792, 1836})
_FULL = frozenset({3, 1021, 1114})
_ROW = frozenset(
    {1048, 1062, 1138, 1153, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1406, 1416, 1451, 1452, 1644, 1690}
    | {3140, 3819, 4025}
)
_COLUMN = re.compile(r"[Cc]olumn '(?:[^']*`)?([^'`.]+)`?'")
FAILURES = (SQLAlchemyError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who signs in."""

    dialect: str
    host: str
    port: int
    database: str
    user: str
    password: Secret | None
    tls: str
    ca_file: str | None
    connect_seconds: float
    command_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"{self.dialect}://{self.host}:{self.port}/{self.database}"


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field."""
    fields, name = context.profile.fields, context.profile.name
    for needed in ("host", "database", "user"):
        if not fields.get(needed):
            raise ConfigError(
                f"The profile's field '{needed}' is empty.", where=name, hint="Edit the profile."
            )
    port = fields.get("port") or "3306"
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ConfigError(f"'{clean(port)}' is no port.", where=name, hint="Write a number from 1 to 65535.")
    dialect = fields.get("dialect") or "mysql"
    if dialect not in DIALECTS:
        raise ConfigError(
            f"'{clean(dialect)}' is no dialect.", where=name, hint=f"Use {', '.join(DIALECTS)}."
        )
    host = fields["host"]
    tls = fields.get("tls") or ("disable" if host in _LOOPBACK else "verify-full")
    if tls not in TLS_MODES:
        raise ConfigError(f"'{clean(tls)}' is no TLS mode.", where=name, hint=f"Use {', '.join(TLS_MODES)}.")
    transport = context.connector.transport
    return Address(
        dialect,
        host,
        int(port),
        fields["database"],
        fields["user"],
        context.secrets.get("password"),
        tls,
        fields.get("ca_file") or transport.ca_file,
        transport.timeout.connect,
        transport.timeout.total,
        context.connector,
    )


def engine_of(address: Address) -> AsyncEngine:
    """An engine that opens a connection each time. Raises ConfigError for a CA file that cannot be used.

    Every value comes as the text (or the bytes) that the server sent: nothing is rounded on its way. The password is
    no part of the URL, so that no error can show it.
    """
    url = URL.create(
        DIALECTS[address.dialect], address.user, None, address.host, address.port, address.database
    )
    return create_async_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "password": address.password.reveal() if address.password is not None else "",
            "ssl": _tls_context(address),
            "connect_timeout": address.connect_seconds,
            "charset": "utf8mb4",
            "init_command": _SETTINGS,
            "conv": {str: None},
            "async_creator_fn": connect,
            "program_name": "platint-tui",
            "local_infile": False,
        },
    )


def _tls_context(address: Address) -> ssl.SSLContext | None:
    if address.tls == "disable":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if address.tls == "require":
        context.check_hostname = False
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


class Database:
    """Connections to one database. Errors come out of its methods as PlatintError."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._engine = engine_of(address)

    @contextlib.asynccontextmanager
    async def connection(self, *, transaction: bool = False) -> AsyncIterator[Session]:
        """A connection that is closed in the end; with `transaction` everything on it is committed then."""
        level = "READ COMMITTED" if transaction else "AUTOCOMMIT"
        try:
            async with asyncio.timeout(self.address.connect_seconds + 5):
                connection = await self._engine.connect()
            try:
                await connection.execution_options(isolation_level=level)
                session = Session(connection, self.address)
                if transaction:
                    async with connection.begin():
                        yield session
                else:
                    yield session
            except BaseException:
                # It may stand in the middle of an answer.
                with contextlib.suppress(*FAILURES):
                    await connection.invalidate()
                raise
            finally:
                with contextlib.suppress(*FAILURES):
                    await connection.close()
        except FAILURES as error:
            raise translate(error, self.address) from None

    async def close(self) -> None:
        """Nothing stays open."""
        await self._engine.dispose()


class Session:
    """Statements on one connection. `%s` stands for a value."""

    def __init__(self, connection: AsyncConnection, address: Address) -> None:
        self._connection = connection
        self._address = address

    async def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query: None, text, or bytes."""
        async with asyncio.timeout(self._address.command_seconds):
            result = await self._connection.exec_driver_sql(statement, tuple(values))
            return [tuple(row) for row in result]

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Carry a statement out; how many rows it found or changed."""
        async with asyncio.timeout(self._address.command_seconds):
            result = await self._connection.exec_driver_sql(statement, tuple(values))
            return int(result.rowcount)

    def savepoint(self) -> Any:
        """What is inside is undone as a whole when it fails."""
        return self._connection.begin_nested()


def code_of(error: BaseException) -> int | None:
    """The server's or the client's number of an error."""
    original = error.orig if isinstance(error, DBAPIError) else error
    arguments: tuple[Any, ...] = getattr(original, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def text_of(error: BaseException) -> str:
    """The server's words."""
    original = error.orig if isinstance(error, DBAPIError) else error
    arguments: tuple[Any, ...] = getattr(original, "args", ())
    said = arguments[1] if len(arguments) > 1 else str(original)
    return clean(REDACTOR.redact(str(said)))[:500]


def translate(error: BaseException, address: Address) -> PlatintError:
    """What an error of the server, of the network or of the client means for the operator."""
    code, text, where = code_of(error), text_of(error), address.where
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ConfigError(
            "The server's certificate is not trusted.",
            where=where,
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if code == NO_TLS:
        return ConfigError(
            f"The profile asks for TLS, and there is none: {text}.",
            where=where,
            hint="Turn TLS on at the server, or set the profile's tls to disable on a network that you trust.",
            code="tls",
        )
    if isinstance(error, TimeoutError):
        return TransientError("The database did not answer in time.", where=where, code="timeout")
    if isinstance(error, OSError | asyncio.IncompleteReadError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated and code not in _REFUSED
    ):
        return TransientError(
            f"The connection to the database is gone: {text}", where=where, code=str(code or "unreachable")
        )
    if not isinstance(error, DBAPIError) or code is None:
        return SystemicError(f"The database driver reports: {text}", where=where, code="sql")
    return by_rules(_of_code(code, text, address), address.connector, str(code))


def _of_code(code: int, text: str, address: Address) -> PlatintError:
    """Errors with a number (https://dev.mysql.com/doc/mysql-errors/8.4/en/)."""
    where, native = address.where, str(code)
    if code in _REFUSED:
        return CredentialError(
            f"The server refuses the user '{clean(address.user)}' or the password.",
            where=where,
            hint="Check user and password of the profile.",
            code=native,
        )
    if code in _RIGHTS:
        right = next(
            (name for name in ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER") if name in text),
            "SELECT",
        )
        return ConfigError(
            f"The user '{clean(address.user)}' lacks a privilege: {text}",
            where=where,
            hint=f"Run GRANT {right} ON {ticked(address.database)}.* TO '{clean(address.user)}'@'…';",
            code=native,
        )
    if code in _MISSING:
        return ConfigError(
            f"The server says: {text}.",
            where=where,
            hint="Check the names in profile and integration.",
            code=native,
        )
    if code in _PASSING:
        return TransientError(f"The database says: {text}.", where=where, code=native)
    if code in _READ_ONLY:
        return ConfigError(
            f"The server takes no writes: {text}.",
            where=where,
            hint="Name the server that is written to, not a replica of it.",
            code=native,
        )
    if code in _FULL:
        return ConfigError(
            f"The server has no room left: {text}.",
            where=where,
            hint="Free some space and run again: it goes on where it stopped.",
            code="disk_full",
        )
    kind = RecordError if code in _ROW else SystemicError
    return kind(f"The database says: {text}.", where=where, code=native)


def row_fault(error: BaseException, address: Address) -> Fault | None:
    """Why the server refuses one row; None for an error that is not about a row."""
    if not isinstance(error, DBAPIError) or error.connection_invalidated:
        return None
    judged = translate(error, address)
    if not isinstance(judged, RecordError):
        return None
    text = text_of(error)
    found = _COLUMN.search(text)
    return Fault(ErrorClass.RECORD, judged.code, judged.message, found.group(1) if found else "", judged.hint)


def ticked(name: str) -> str:
    """A name as an identifier of MySQL; the client takes a sign of percent for the place of a value."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"

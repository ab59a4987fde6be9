"""What errors of MongoDB, of the network and of pymongo mean for the operator."""

from __future__ import annotations

import re

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.mongodb.connection import Address

FAILURES = (PyMongoError, BSONError, OSError)
"""What pymongo raises."""

# Codes of the server (src/mongo/base/error_codes.yml).
UNAUTHORIZED = 13
DUPLICATE_KEY = 11000
TIME_LIMIT = 50
NAMESPACE_EXISTS = 48
_SIGN_IN = frozenset({11, 18, 8000})
_CHANGES_UNSUPPORTED = 40573
_DISK_FULL = 14031
_TOO_LARGE = 10334
_MEMORY = frozenset({146, 292})
LOST = frozenset({136, 260, 280, 286})
"""Codes with which a change stream says that what follows a position is gone, or was never there."""
_UNREADABLE_TOKEN = frozenset({9, 40647, 50811})
# Elections, shutdowns, lost cursors, conflicts, time limits: it may work the next time.
_PASSING = frozenset(
    {
        6,
        7,
        24,
        43,
        50,
        63,
        64,
        89,
        91,
        107,
        112,
        133,
        134,
        150,
        175,
        189,
        202,
        234,
        237,
        246,
        262,
        314,
        365,
        384,
    }
    | {9001, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 16500}
)
# Values, shapes and sizes of one document: duplicate key, validation, too large, names and ids that are refused.
_RECORD = frozenset(
    {2, 14, 15, 16, 22, 52, 53, 54, 55, 56, 57, 66, 121, 10334, 11000, 11001, 12582, 17280, 17419, 17420}
)
_TLS_TEXT = re.compile(r"\[SSL|SSL handshake|CERTIFICATE_VERIFY_FAILED", re.I)


def translate(error: BaseException, address: Address, doing: str = "read") -> PlatintError:
    """The error of the program for one of pymongo; `doing` is what was tried: read, write or look."""
    if isinstance(error, OperationFailure) and error.code is not None:
        found = _of_code(error, address, doing)
        # The rules that blame a record are about writing: what cannot be read is no record.
        blames = error.code in _RECORD and doing != "write"
        return found if blames else by_rules(found, address.connector, str(error.code))
    if isinstance(error, ServerSelectionTimeoutError):
        return _unreachable(error, address)
    if isinstance(error, NetworkTimeout):
        return TransientError("The database did not answer in time.", where=address.where, code="timeout")
    if isinstance(error, NotPrimaryError):
        return TransientError("The server is no longer the primary.", where=address.where, code="not_primary")
    if isinstance(error, AutoReconnect | ConnectionFailure | OSError):
        return TransientError(
            f"The connection to the database was lost: {_words(error)}.",
            where=address.where,
            code="connection_lost",
        )
    if isinstance(error, ConfigurationError):
        return ConfigError(
            f"The profile cannot be used as it is: {_words(error)}.",
            where=address.where,
            hint="Edit the profile.",
            code="profile",
        )
    return SystemicError(
        f"The database driver reports: {_words(error)}.", where=address.where, code="mongodb"
    )


def code_of(error: BaseException) -> int:
    """The server's code of an error, 0 without one."""
    return int(getattr(error, "code", None) or 0)


def is_lost(error: BaseException) -> bool:
    """Whether a change stream cannot go on from its position."""
    return code_of(error) in LOST | _UNREADABLE_TOKEN


def is_record_code(code: int) -> bool:
    """Whether the server blames one document, without a rule of the manifest that says otherwise."""
    return code in _RECORD


def said(error: BaseException) -> str:
    """The server's own words of an error on one harmless line, without the document that it may hold."""
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, dict) else None
    return one_line(REDACTOR.redact(str(text or error).split(", full error:", 1)[0])).rstrip(".")


def _words(error: BaseException) -> str:
    text = str(error).split(" (configured timeouts", 1)[0].split(", Timeout:", 1)[0]
    return one_line(REDACTOR.redact(text.split(", full error:", 1)[0])).rstrip(".") or type(error).__name__


def _unreachable(error: ServerSelectionTimeoutError, address: Address) -> PlatintError:
    """No server that fits. pymongo keeps of the reason only its text, so that is looked at."""
    text, where = _words(error), address.where
    if address.replica_set and "replica set name" in text:
        return ConfigError(
            f"The servers are there, but belong to no replica set '{clean(address.replica_set)}'.",
            where=where,
            hint="Correct the replica set in the profile, or leave it empty.",
            code="replica_set",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ConfigError(
            f"The server's certificate is not trusted: {text}.",
            where=where,
            hint="Give the certificate authority in the profile's ca_file, and the host as the certificate names it.",
            code="tls",
        )
    if _TLS_TEXT.search(text):
        return ConfigError(
            f"The server does not take the TLS that the profile asks for: {text}.",
            where=where,
            hint="Turn TLS on at the server, or set the profile's tls to what it has.",
            code="tls",
        )
    return TransientError(
        f"The database cannot be reached: {text}.",
        where=where,
        hint="Check host and port, that a server runs there, and that both sides use TLS or neither does.",
        code="unreachable",
    )


def _of_code(error: OperationFailure, address: Address, doing: str) -> PlatintError:
    code, where, text = code_of(error), address.where, said(error)
    native = str(code)
    if code in _SIGN_IN:
        return CredentialError(
            f"The database refuses the sign-in of '{clean(address.user)}'.",
            where=where,
            hint="Check user, password and authentication database of the profile.",
            code=native,
        )
    if code == UNAUTHORIZED:
        return unauthorized(address, doing)
    if code == _CHANGES_UNSUPPORTED:
        return ConfigError(
            "This server keeps no changes: change streams need a replica set or a sharded cluster.",
            where=where,
            hint="Make it a replica set of one member (rs.initiate()), or read with mode snapshot or cursor.",
            code="no_change_streams",
        )
    if code == _DISK_FULL:
        return ConfigError("The disk of the database server is full.", where=where, code=native)
    if code in _MEMORY:
        return ConfigError(
            f"The server has too little memory to sort the collection: {text}.",
            where=where,
            hint="Make an index on the field that the stream is read by.",
            code=native,
        )
    if code == _TOO_LARGE and doing != "write":
        return SystemicError(
            "A change is larger than the 16 MB that the server can send.",
            where=where,
            hint="Go on from now with a gap, or read the collection again from the beginning.",
            code=native,
        )
    if code == TIME_LIMIT:
        return TransientError("The server reached the time limit.", where=where, code=native)
    if code in _PASSING or error.has_error_label("RetryableWriteError"):
        return TransientError(f"The database could not do it now: {text}.", where=where, code=native)
    if code in _RECORD and doing == "write":
        return RecordError(f"The database refuses this document: {text}.", where=where, code=native)
    return SystemicError(f"The database refuses: {text}.", where=where, code=native)


def unauthorized(address: Address, doing: str) -> ConfigError:
    """What a user lacks who may not do this, and the command that grants it."""
    role = "readWrite" if doing == "write" else "read"
    database, user = clean(address.database), clean(address.user)
    verb = {"read": "read", "write": "write", "look": "list the collections of"}.get(doing, doing)
    if not user:
        return ConfigError(
            f"The database wants a sign-in before anybody may {verb} '{database}'.",
            where=address.where,
            hint="Give user and password in the profile.",
            code=str(UNAUTHORIZED),
        )
    home = clean(address.auth_database or "admin")
    return ConfigError(
        f"The user '{user}' may not {verb} the database '{database}'.",
        where=address.where,
        hint=f"Grant the role {role}: db.getSiblingDB('{home}').grantRolesToUser('{user}',"
        f" [{{role: '{role}', db: '{database}'}}]).",
        code=str(UNAUTHORIZED),
    )

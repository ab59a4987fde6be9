"""What the errors of Redis mean: by the code that begins them (`WRONGTYPE …`), never by the rest of the text.

The codes are those of the server's source; the client library cuts some of them off and has a class for each.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

from redis import exceptions

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
from platint_tui.core.text import clean
from platint_tui.drivers.judged import by_rules
from platint_tui.manifest.vectors import rule_for_code

if TYPE_CHECKING:
    from platint_tui.drivers.redis.connection import Address
    from platint_tui.manifest.schema import Connector

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.ExecAbortError, "EXECABORT"),
    (exceptions.ClusterCrossSlotError, "CROSSSLOT"),
    (exceptions.AskError, "MOVED"),  # MovedError is one
)
_CODE = re.compile(r"([A-Z][A-Z_]{2,})")
_IN_SCRIPT = re.compile(r"@user_script: \d+: -([A-Z][A-Z_]{2,})")
_UNKNOWN = re.compile(r"required|HELLO must be called")
_COMMAND = re.compile(r"run the '([^' ]+)' command")
_SENTENCES: dict[str, tuple[type[PlatintError], str, str]] = {
    "READONLY": (
        ConfigError,
        "This server is a replica, which cannot be written",
        "Give the address of the primary in the profile.",
    ),
    "OOM": (
        SystemicError,
        "The memory of the server is full",
        "Raise its maxmemory, or remove keys; with maxmemory-policy noeviction it drops none by itself.",
    ),
    "MISCONF": (
        SystemicError,
        "The server takes no writes because it cannot save to its disk",
        "Look into the server's log; writes are taken again after a snapshot that succeeds.",
    ),
    "CROSSSLOT": (ConfigError, "The keys lie in different shards of a cluster", ""),
    "MOVED": (
        ConfigError,
        "This server is one shard of a Redis Cluster and holds a part of the keys only",
        "Clusters of several shards cannot be used; give a server or proxy that holds all keys.",
    ),
    "DENIED": (
        ConfigError,
        "The server is in protected mode and takes connections from its own machine only",
        "Set a password and its `bind` address there.",
    ),
    "LOADING": (TransientError, "The server is reading its data from disk", "It answers when it is done."),
    "BUSY": (TransientError, "A script runs on the server and keeps everybody waiting", ""),
    "CLUSTERDOWN": (TransientError, "The cluster is down", ""),
    "MASTERDOWN": (TransientError, "The replica has lost its primary", ""),
    "TRYAGAIN": (TransientError, "Keys are being moved between shards", ""),
    "NOREPLICAS": (TransientError, "Too few replicas are connected for the server to take writes", ""),
    "UNBLOCKED": (TransientError, "The key was removed or replaced while it was waited for", ""),
    "NOGROUP": (TransientError, "The consumer group was removed", ""),
    "WRONGTYPE": (RecordError, "The key holds a value of another type", ""),
}
_TRANSIENT_TEXT = "max number of clients reached"


def code_of(error: BaseException) -> str:
    """The code of a refusal: `NOPERM`, `WRONGTYPE`; `ERR` for those without an own one."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, exceptions.AuthenticationError):
        # The code itself is cut off; HELLO words it in another way than every other command.
        return "NOAUTH" if _UNKNOWN.search(str(error)) else "WRONGPASS"
    # Before 7.0 the error of a command in a script stands at the end of a longer text.
    match = _IN_SCRIPT.search(str(error)) or _CODE.match(str(error))
    return match.group(1) if match else "ERR"


def translate(error: BaseException, address: Address, about: str = "") -> PlatintError:
    """What an error of the server, of the network or of the client library means for the operator.

    `about` are the keys that the refused command named, for the rule that is missing.
    """
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        judged: PlatintError = _sign_in(error, address)
    elif isinstance(error, exceptions.ResponseError | exceptions.BusyLoadingError):
        judged = _refused(error, address, about)
    else:
        return _network(error, address)
    return by_rules(judged, address.connector, judged.code)


def _text(error: BaseException) -> str:
    return clean(REDACTOR.redact(str(error))).rstrip(".")


def _sign_in(error: BaseException, address: Address) -> PlatintError:
    code = code_of(error)
    who = f"the sign-in of '{clean(address.user)}'" if address.user else "the sign-in"
    if code == "NOAUTH":
        return CredentialError(
            "The server wants a password, and the profile has none.",
            where=address.where,
            hint="Give user and password in the profile.",
            code=code,
        )
    return CredentialError(
        f"The server refuses {who}.",
        where=address.where,
        hint="Check user and password of the profile.",
        code=code,
    )


def _refused(error: BaseException, address: Address, about: str) -> PlatintError:
    code, text, where = code_of(error), _text(error), address.where
    if code == "NOPERM":
        return _not_allowed(text, address, about)
    if code in _SENTENCES:
        kind, sentence, hint = _SENTENCES[code]
        return kind(f"{sentence}.", where=where, hint=hint, code=code)
    if "DB index is out of range" in text:
        return ConfigError(
            f"The server has no database {address.database}.",
            where=where,
            hint="Most servers have the databases 0 to 15, and shards of a cluster only 0.",
            code=code,
        )
    if "no such key" in text:
        return ConfigError("There is no such key.", where=where, code="not_found")
    if "unknown command" in text or "unknown subcommand" in text.lower():
        return ConfigError(
            f"The server does not know a command that is needed: {text}.",
            where=where,
            hint="Redis 5.0 is the oldest that can be used; a command may also have been renamed or switched off.",
            code=code,
        )
    return SystemicError(f"The server refuses: {text}.", where=where, code=code)


def _not_allowed(text: str, address: Address, about: str) -> ConfigError:
    user = clean(address.user or "default")
    match = _COMMAND.search(text)
    if match is not None:
        command = clean(match.group(1))
        return ConfigError(
            f"The user '{user}' may not run {command.upper().replace('|', ' ')}.",
            where=address.where,
            hint=f"Allow it on the server: ACL SETUSER {user} +{command}",
            code="NOPERM",
        )
    keys = clean(about) or "KEYS"
    return ConfigError(
        f"The user '{user}' may not use the keys {keys}.",
        where=address.where,
        hint=f"Allow it on the server: ACL SETUSER {user} ~{keys}",
        code="NOPERM",
    )


def _network(error: BaseException, address: Address) -> PlatintError:
    where = address.where
    cause = error.__cause__ or error.__context__
    for item in (error, cause):
        if isinstance(item, ssl.SSLCertVerificationError):
            return ConfigError(
                f"The server's certificate is not trusted: {item.verify_message}.",
                where=where,
                hint="Give the certificate authority in the profile's ca_file.",
                code="tls",
            )
        if isinstance(item, ssl.SSLError):
            return ConfigError(
                "The server does not speak TLS there.",
                where=where,
                hint="Use the server's TLS port, or set the profile's tls to disable.",
                code="tls",
            )
        if isinstance(item, FileNotFoundError | PermissionError):
            return ConfigError("The file of certificate authorities cannot be read.", where=where, code="tls")
    if isinstance(error, exceptions.InvalidResponse):
        return ConfigError(
            "What answers at this address is no Redis server.", where=where, hint="Check host and port."
        )
    if isinstance(error, exceptions.TimeoutError | asyncio.TimeoutError):
        hint = "" if address.tls == "disable" else "A port that does not speak TLS stays silent, too."
        return TransientError("The server did not answer in time.", where=where, hint=hint, code="timeout")
    if _TRANSIENT_TEXT in str(error):
        return TransientError(
            "The server has as many clients as it takes.",
            where=where,
            hint="Raise its maxclients, or close other clients.",
            code="clients",
        )
    if isinstance(error, exceptions.ConnectionError | OSError | asyncio.IncompleteReadError):
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else _text(error)
        return TransientError(
            f"The server cannot be reached: {clean(reason)}.",
            where=where,
            hint="Check host, port and tls of the profile, and that the server runs.",
            code="unreachable",
        )
    return SystemicError(f"The Redis client reports: {_text(error)}.", where=where, code="redis")


def is_record_error(error: BaseException, connector: Connector) -> bool:
    """Whether a refusal is the fault of one row: what the manifest's rules say of its code, else WRONGTYPE."""
    code = code_of(error)
    rule = rule_for_code(connector, code)
    return rule.class_ == ErrorClass.RECORD if rule else code == "WRONGTYPE"


def row_fault(error: BaseException, key: str) -> Fault:
    """Why one row cannot be written to its key."""
    code = code_of(error)
    if code == "WRONGTYPE":
        return Fault(
            ErrorClass.RECORD,
            code,
            f"The key '{clean(key)}' holds a value of another type, which is left as it is.",
            hint="Choose another target name in the integration, or remove that key.",
        )
    return Fault(ErrorClass.RECORD, code, f"The server refuses this row: {_text(error)}.")

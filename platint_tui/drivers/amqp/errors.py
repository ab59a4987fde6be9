"""What the refusals of a broker mean for the operator. Codes and their names are those of AMQP 0-9-1, 1.2
(`reply-code`); the manifest's rules name them too, and `LOGIN_REFUSED` beside them for a refused sign-in."""

from __future__ import annotations

import re
import ssl
from shlex import quote

from aiormq import exceptions
from pamqp.exceptions import PAMQPException

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.profile import Address
from platint_tui.drivers.judged import by_rules

NAMES = {
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    313: "NO_CONSUMERS",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
LOGIN_REFUSED = "LOGIN_REFUSED"
UNREADABLE = "unreadable"
"""Code of the error for what came over a connection and is not AMQP 0-9-1."""

FAILURES = (
    exceptions.AMQPError,
    exceptions.ChannelInvalidStateError,
    PAMQPException,
    OSError,
    TimeoutError,
    RuntimeError,
)
"""What the client library raises; a RuntimeError says that the connection is closed."""

_REPLIES: tuple[tuple[type[BaseException], int], ...] = (
    (exceptions.ChannelAccessRefused, 403),
    (exceptions.ChannelNotFoundEntity, 404),
    (exceptions.ChannelLockedResource, 405),
    (exceptions.ChannelPreconditionFailed, 406),
    (exceptions.ConnectionFrameError, 501),
    (exceptions.ConnectionSyntaxError, 502),
    (exceptions.ConnectionCommandInvalid, 503),
    (exceptions.ConnectionChannelError, 504),
    (exceptions.ConnectionUnexpectedFrame, 505),
    (exceptions.ConnectionResourceError, 506),
    (exceptions.ConnectionNotAllowed, 530),
    (exceptions.ConnectionNotImplemented, 540),
    (exceptions.ConnectionInternalError, 541),
)
_RIGHTS = re.compile(r"access to (queue|exchange|topic) '(.*?)' in vhost", re.S)
_PASSING = frozenset({320, 506, 541})
_OURS = frozenset({501, 502, 503, 504, 505})


def translate(
    error: BaseException, address: Address, said: tuple[int, str] | None = None, need: str = ""
) -> PlatintError:
    """The typed form of an error of the client library. `said` is what the broker closed the connection with,
    `need` which of the rights configure, write and read was asked for."""
    if isinstance(error, PlatintError):
        return error
    if isinstance(error, exceptions.ProbableAuthenticationError):
        return by_rules(_login(address), address.connector, LOGIN_REFUSED)
    reply = _reply(error) or said
    if reply is not None:
        code, text = reply
        return by_rules(_of_reply(code, _plain(text), address, need), address.connector, _name(code))
    return _of_wire(error, address)


def _name(code: int) -> str:
    return NAMES.get(code, str(code))


def _reply(error: BaseException) -> tuple[int, str] | None:
    """Code and text of the broker's own reply, None for an error of another kind."""
    for kind, code in _REPLIES:
        if isinstance(error, kind):
            return code, str(error.args[-1]) if error.args else ""
    if isinstance(error, exceptions.ChannelClosed | exceptions.ConnectionClosed) and len(error.args) == 2:
        code, text = error.args
        return (code, str(text or "")) if isinstance(code, int) and code not in (0, 200) else None
    return None


def _plain(text: str) -> str:
    """A reply's text without its name in front, as one harmless line."""
    head, dash, rest = text.partition(" - ")
    return clean(REDACTOR.redact(rest if dash and head.isupper() else text)).rstrip(".")


def _login(address: Address) -> CredentialError:
    return CredentialError(
        f"The broker refuses the sign-in of '{clean(address.user)}'.",
        where=address.where,
        hint="Check user and password of the profile; the user 'guest' may sign in on the broker's machine only.",
        code=LOGIN_REFUSED,
    )


def _of_reply(code: int, text: str, address: Address, need: str) -> PlatintError:
    where, name = address.where, _name(code)
    message = f"The broker refuses: {text or name}."
    if code == 530:
        return ConfigError(message, where=where, hint=_vhost_hint(text, address), code=name)
    if code == 403:
        return ConfigError(message, where=where, hint=_rights_hint(text, address, need), code=name)
    if code == 404:
        hint = "Check the name and the virtual host; capital and small letters differ."
        return ConfigError(message, where=where, hint=hint, code=name)
    if code == 405:
        hint = (
            "The queue is exclusive to another connection, or its single active consumer is another program."
        )
        return ConfigError(message, where=where, hint=hint, code=name)
    if code == 406 and "timed out" in text:
        hint = "A message was not stored within the broker's consumer_timeout, so it is delivered again."
        return TransientError(message, where=where, hint=hint, code="ack_timeout")
    if code in _PASSING:
        return TransientError(f"The broker ended the connection: {text or name}.", where=where, code=name)
    if code in _OURS:
        return SystemicError(message, where=where, code=name)
    return ConfigError(message, where=where, code=name)


def _vhost_hint(text: str, address: Address) -> str:
    vhost, user = quote(address.vhost), quote(address.user)
    if "not found" in text:
        return f"Correct the profile's virtual host, or make it: rabbitmqctl add_vhost {vhost}"
    if "refused" in text:
        return f"Let the user in: rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'"
    return ""


def _rights_hint(text: str, address: Address, need: str) -> str:
    found = _RIGHTS.search(text)
    if found is None:
        if "exclusive use" in text:
            return "Another program consumes this queue exclusively; stop it first."
        return ""
    wanted = need or "configure, write or read"
    command = f"rabbitmqctl set_permissions -p {quote(address.vhost)} {quote(address.user)}"
    return (
        f"The user needs the right to {wanted}: {command} CONFIGURE WRITE READ, three patterns of which that for "
        f"{wanted} matches '{found.group(2)}'."
    )


def _of_wire(error: BaseException, address: Address) -> PlatintError:
    """Errors without a reply of the broker: of the network, of TLS, of a connection that is gone."""
    where = address.where
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"The broker's certificate is not trusted: {error.verify_message}.",
            where=where,
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if isinstance(error, ssl.SSLError):
        return ConfigError(
            "The broker does not speak TLS on this port.",
            where=where,
            hint="Give the port of its TLS listener (5671 by default), or set the profile's tls to disable.",
            code="tls",
        )
    if isinstance(error, exceptions.AuthenticationError):
        return ConfigError(
            "The broker does not offer to sign in with user and password (PLAIN).",
            where=where,
            hint="Allow the mechanism PLAIN at the broker.",
            code="mechanism",
        )
    if isinstance(error, TimeoutError):
        return TransientError("The broker did not answer in time.", where=where, code="timeout")
    if isinstance(
        error, exceptions.IncompatibleProtocolError | exceptions.ProtocolSyntaxError | PAMQPException
    ):
        return TransientError(
            "What came from the broker is not AMQP 0-9-1, or was cut off.",
            where=where,
            hint="Check host, port and TLS of the profile.",
            code=UNREADABLE,
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "the connection is closed"
    return TransientError(
        f"The broker cannot be reached: {clean(str(reason))}.",
        where=where,
        hint="Check host, port and TLS of the profile, and that the broker runs.",
        code="unreachable",
    )

"""What went wrong on the wire, as one sentence with the host in it."""

from __future__ import annotations

import re
import ssl

import aiohttp
import httpx

from platint_tui.core.errors import ConfigError, PlatintError, TransientError

_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class NetworkError(TransientError):
    """No complete answer. `sent` says whether the request may have reached the platform."""

    def __init__(self, message: str, *, code: str, sent: bool, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.sent = sent


def translate(error: httpx.TransportError, host: str, scheme: str, unresolved: str = "") -> PlatintError:
    """The typed error for a failed exchange: ConfigError for certificates, NetworkError for the rest.
    `unresolved` is what to do about a host that has no address.
    """
    cause = error.__cause__
    sent = not isinstance(error, _BEFORE_SENDING)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return _certificate(cause.certificate_error, host)
    tls = _tls_error(cause)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return _certificate(tls, host)
    if tls is not None:
        return _tls(tls, host)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return NetworkError(
            f"Cannot resolve the host {host}.",
            code="dns",
            sent=False,
            hint=unresolved or "Is the address right?",
        )
    if isinstance(error, httpx.ProxyError):
        return NetworkError(f"The proxy to {host} cannot be used.", code="proxy", sent=False)
    if isinstance(error, httpx.ConnectTimeout):
        hint = "Does this port speak TLS?" if scheme == "https" else ""
        message = f"{host} did not accept a connection in time."
        return NetworkError(message, code="connect_timeout", sent=False, hint=hint)
    if isinstance(error, httpx.ConnectError):
        return _refused(cause, host)
    if isinstance(error, httpx.ReadTimeout):
        return NetworkError(f"{host} fell silent in the middle of an answer.", code="read_timeout", sent=True)
    if isinstance(error, httpx.RemoteProtocolError):
        return _protocol(cause, host, scheme)
    return NetworkError(f"The connection to {host} broke.", code="connection_broken", sent=sent)


def _tls_error(cause: BaseException | None) -> ssl.SSLError | None:
    # aiohttp's own class is an SSLError too, but an empty one around the real one.
    for candidate in (getattr(cause, "_os_error", None), cause.__cause__ if cause else None, cause):
        if isinstance(candidate, ssl.SSLError):
            return candidate
    return None


def _certificate(error: Exception, host: str) -> ConfigError:
    reason = str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or "it does not verify")
    reason = re.sub(r"\s+", " ", reason)[:200].rstrip(".")
    return ConfigError(
        f"The certificate of {host} is refused: {reason}.",
        hint="If the platform has an authority of its own, name its PEM file as ca_file; nothing else helps.",
        code="certificate",
    )


def _tls(error: ssl.SSLError, host: str) -> PlatintError:
    reason = (getattr(error, "reason", None) or "").upper()
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return ConfigError(
            f"{host} does not speak TLS on this port, it seems to speak plain http.",
            hint="Check the port of the base URL.",
            code="not_tls",
        )
    shown = reason.replace("_", " ").lower() or "it failed"
    return NetworkError(f"The TLS handshake with {host} did not succeed: {shown}.", code="tls", sent=False)


def _refused(cause: BaseException | None, host: str) -> NetworkError:
    inner = getattr(cause, "_os_error", None)
    if isinstance(inner, ConnectionRefusedError):
        return NetworkError(
            f"{host} refuses the connection.",
            code="connection_refused",
            sent=False,
            hint="Is the address right, and does the service run?",
        )
    if isinstance(inner, ConnectionResetError):
        return NetworkError(f"{host} closed the connection at once.", code="connection_broken", sent=False)
    return NetworkError(
        f"Cannot connect to {host}.", code="connect", sent=False, hint="Is the address right?"
    )


def _protocol(cause: BaseException | None, host: str, scheme: str) -> PlatintError:
    if isinstance(cause, aiohttp.ClientPayloadError):
        return NetworkError(f"{host} ended the answer before its announced end.", code="truncated", sent=True)
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return NetworkError(
            f"{host} closed the connection without an answer.", code="connection_broken", sent=True
        )
    text = str(cause)
    if "bytes when reading" in text or "too long" in text.lower():
        return NetworkError(f"The headers of {host}'s answer are too large.", code="header_size", sent=True)
    if scheme == "http":
        return NetworkError(
            f"{host} answered with something that is no HTTP.",
            hint="Does this port speak TLS? Then the base URL begins with https://.",
            code="not_http",
            sent=True,
        )
    return NetworkError(f"{host} answered with something that is no HTTP.", code="not_http", sent=True)

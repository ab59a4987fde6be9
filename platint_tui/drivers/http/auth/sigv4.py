"""AWS Signature Version 4, as pure functions over one request.

Source: AWS's "Signature Version 4 signing process". Amazon S3 has rules of its own: its path is encoded once
and not normalised, the digest of the body is a header, and a presigned request does not cover the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.base import Signed, Unsigned

ALGORITHM = "AWS4-HMAC-SHA256"
PRESIGNED_SECONDS = 900
QUERY_NAMES = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)
_UNSIGNED_BODY = "UNSIGNED-PAYLOAD"
_SAFE = "-_.~"
_NOT_SIGNED = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "transfer-encoding",
        "user-agent",
        "x-amzn-trace-id",
    }
)
"""Headers that proxies and client libraries change on the way."""
_SPACES = re.compile(r" +")


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key, with a session token when it is a temporary one. `expires` is epoch seconds."""

    access: str
    secret: Secret
    session: Secret | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is for: the signing name of the service and the region."""

    service: str
    region: str

    @property
    def is_s3(self) -> bool:
        """Whether the rules of Amazon S3 apply."""
        return self.service in ("s3", "s3-object-lambda", "s3express")

    def dated(self, stamp: str) -> str:
        """The credential scope of a time like 20130524T000000Z."""
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"


def in_headers(request: Unsigned, keys: Keys, scope: Scope, at: datetime) -> Signed:
    """The request with its signature in the Authorization header."""
    stamp = _stamp(at)
    digest = hashlib.sha256(request.content or b"").hexdigest()
    added = {"x-amz-date": stamp}
    if keys.session is not None:
        added["x-amz-security-token"] = keys.session.reveal()
    if scope.is_s3:
        added["x-amz-content-sha256"] = digest
    url, path, pairs = _address(request.url, scope)
    headers = {**{name.lower(): text for name, text in request.headers.items()}, **added}
    names, canonical = _headers(headers, url)
    text = _to_sign(request.method, path, pairs, canonical, names, digest, scope, stamp)
    signature = _sign(keys, scope, stamp, text)
    headers["authorization"] = (
        f"{ALGORITHM} Credential={keys.access}/{scope.dated(stamp)}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return Signed(url, headers)


def in_query(
    request: Unsigned, keys: Keys, scope: Scope, at: datetime, expires: int = PRESIGNED_SECONDS
) -> Signed:
    """The request with its signature in the query; good for `expires` seconds."""
    stamp = _stamp(at)
    url, path, pairs = _address(request.url, scope)
    pairs = [pair for pair in pairs if pair[0].lower() not in QUERY_NAMES]
    headers = {name.lower(): text for name, text in request.headers.items()}
    names, canonical = _headers(headers, url)
    added = [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{keys.access}/{scope.dated(stamp)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", names),
    ]
    if keys.session is not None:
        added.append(("X-Amz-Security-Token", keys.session.reveal()))
    pairs += added
    digest = _UNSIGNED_BODY if scope.is_s3 else hashlib.sha256(request.content or b"").hexdigest()
    text = _to_sign(request.method, path, pairs, canonical, names, digest, scope, stamp)
    query = f"{_encoded(pairs)}&X-Amz-Signature={_sign(keys, scope, stamp, text)}"
    return Signed(urlunsplit(urlsplit(url)._replace(query=query)), headers)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _address(url: str, scope: Scope) -> tuple[str, str, list[tuple[str, str]]]:
    """The address as it is sent, its canonical path, and its query, decoded.

    The query (for S3 the path too) is encoded anew, so that what is sent is what the platform computes.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if scope.is_s3:
        sent = canonical = quote(unquote(parts.path or "/"), safe="/" + _SAFE)
    else:
        sent = parts.path or "/"
        canonical = quote(_normal(sent), safe="/" + _SAFE)
    return urlunsplit((parts.scheme, parts.netloc, sent, _encoded(pairs), "")), canonical, pairs


def _normal(path: str) -> str:
    """RFC 3986 section 5.2.4, and repeated slashes are one."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    tail = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(kept) + tail


def _encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe=_SAFE)}={quote(text, safe=_SAFE)}" for name, text in pairs)


def _headers(headers: Mapping[str, str], url: str) -> tuple[str, str]:
    """The names of the signed headers, and their canonical lines."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port and parts.port != {"http": 80, "https": 443}.get(parts.scheme):
        host += f":{parts.port}"
    signed = {"host": host}
    for name, text in headers.items():
        if name not in _NOT_SIGNED:
            signed[name] = _SPACES.sub(" ", text.strip())
    names = sorted(signed)
    return ";".join(names), "".join(f"{name}:{signed[name]}\n" for name in names)


def _to_sign(
    method: str,
    path: str,
    pairs: list[tuple[str, str]],
    headers: str,
    names: str,
    digest: str,
    scope: Scope,
    stamp: str,
) -> str:
    encoded = sorted((quote(name, safe=_SAFE), quote(text, safe=_SAFE)) for name, text in pairs)
    query = "&".join(f"{name}={text}" for name, text in encoded)
    canonical = "\n".join((method.upper(), path, query, headers, names, digest))
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    return "\n".join((ALGORITHM, stamp, scope.dated(stamp), hashed))


def _sign(keys: Keys, scope: Scope, stamp: str, text: str) -> str:
    key = b"AWS4" + keys.secret.reveal().encode()
    for part in (stamp[:8], scope.region, scope.service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()

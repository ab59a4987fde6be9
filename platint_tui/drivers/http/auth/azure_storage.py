"""Azure Storage: Shared Key signatures, and shared access signatures.

Source: Microsoft, "Authorize with Shared Key" and "Create an account SAS". Blob, Queue and Data Lake sign
the same text; Table signs a shorter one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from platint_tui.core.clock import Clock
from platint_tui.core.errors import CredentialError
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned

_STANDARD = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class SharedKey(Authorizer):
    """`Authorization: SharedKey account:signature`; `table` for the Table service."""

    def __init__(self, account: str, key: Secret, clock: Clock, *, table: bool = False) -> None:
        """Raises CredentialError when the key is no base64."""
        self._account = account
        self._key = decoded_key(key)
        self._clock = clock
        self._table = table

    async def sign(self, request: Unsigned) -> Signed:
        """The request with `x-ms-date` and its signature."""
        headers = {name.lower(): text for name, text in request.headers.items() if name.lower() != "date"}
        headers["x-ms-date"] = formatdate(self._clock.now_ms() / 1000, usegmt=True)
        text = to_sign_table if self._table else to_sign
        plain = text(self._account, Unsigned(request.method, request.url, headers, request.content))
        signature = base64.b64encode(hmac.new(self._key, plain.encode(), hashlib.sha256).digest()).decode()
        headers["authorization"] = f"SharedKey {self._account}:{signature}"
        return Signed(request.url, headers)


def to_sign(account: str, request: Unsigned) -> str:
    """The text that Blob, Queue and Data Lake sign (version 2015-02-21 and later: no length for no body)."""
    headers = {name.lower(): text for name, text in request.headers.items()}
    headers["content-length"] = str(len(request.content)) if request.content else ""
    if "x-ms-date" in headers:
        headers["date"] = ""
    lines = [request.method.upper(), *(headers.get(name, "") for name in _STANDARD)]
    lines += [f"{name}:{headers[name].strip()}" for name in sorted(headers) if name.startswith("x-ms-")]
    parts = urlsplit(request.url)
    values: Mapping[str, list[str]] = defaultdict(list)
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        values[name.lower()].append(text)
    lines.append(f"/{account}{parts.path or '/'}")
    lines += [f"{name}:{','.join(sorted(values[name]))}" for name in sorted(values)]
    return "\n".join(lines)


def to_sign_table(account: str, request: Unsigned) -> str:
    """The text that the Table service signs."""
    headers = {name.lower(): text for name, text in request.headers.items()}
    parts = urlsplit(request.url)
    resource = f"/{account}{parts.path or '/'}"
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name.lower() == "comp":
            resource += f"?comp={text}"
    moment = headers.get("x-ms-date") or headers.get("date", "")
    described = (headers.get("content-md5", ""), headers.get("content-type", ""))
    return "\n".join((request.method.upper(), *described, moment, resource))


def decoded_key(key: Secret) -> bytes:
    """The bytes of an account key. Raises CredentialError when it is no base64."""
    try:
        return base64.b64decode(key.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        raise CredentialError(
            "The account key is not the base64 text that Azure gives out.",
            hint="Copy it again, whole, with the signs at its end.",
            code="credential_form",
        ) from None


class SharedAccess(Authorizer):
    """The parameters of a shared access signature, added to each request as they are."""

    def __init__(self, token: Secret) -> None:
        """`token` is the signature's query, with or without `?`, or a whole address with it.

        Raises CredentialError when it holds no signature.
        """
        text = token.reveal().strip()
        query = text.rpartition("?")[2]
        names = [part.partition("=")[0] for part in query.split("&")]
        if "sig" not in names or not query.isascii() or not query.isprintable() or " " in query:
            raise CredentialError(
                "The shared access signature has no 'sig' part.",
                hint="Enter the token that begins with 'sv=' or '?sv='.",
                code="credential_form",
            )
        self._query = query
        # Shown nowhere, in whatever form an answer repeats it.
        signature = next(part for part in query.split("&") if part.startswith("sig="))
        Secret(unquote_plus(signature.partition("=")[2]))
        self.private = frozenset(name.lower() for name in names)

    async def sign(self, request: Unsigned) -> Signed:
        """The request with the signature's parameters at the end of its query."""
        mark = "?" if "?" not in request.url else "" if request.url.endswith(("?", "&")) else "&"
        return Signed(f"{request.url}{mark}{self._query}", dict(request.headers))

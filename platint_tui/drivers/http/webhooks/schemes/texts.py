"""Senders that are known by a text: a token, a password, the id of an organization, or by nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from platint_tui.core.errors import SystemicError
from platint_tui.core.webhooks import Cause
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    Check,
    Keys,
    Refused,
    counted,
    exact_base64,
    query_values,
    raw,
)
from platint_tui.drivers.http.xmltree import parse_xml
from platint_tui.manifest.template import lookup
from platint_tui.manifest.verifying import BasicScheme, NoneScheme, OrganizationScheme, TokenScheme

_SHORT_ID = 15


def _hashed(data: bytes) -> bytes:
    """Texts are compared by their hashes, so that not even their length shows in the time."""
    return hashlib.sha256(data).digest()


def has_prefix(call: Call, header: str, prefix: str | None) -> bool:
    """Whether a header is there and begins with a word like `Bearer `, however it is written (RFC 9110, 11.1)."""
    value = call.headers.get(header)
    if value is None:
        return False
    return not prefix or header in call.repeated or value[: len(prefix)].lower() == prefix.lower()


def after_prefix(call: Call, header: str, prefix: str | None) -> str:
    """What follows the prefix in a header that must be there once. Raises Refused."""
    value = call.one(header)
    text = value[len(prefix or "") :]
    if not text:
        raise Refused(Cause.MISSING_HEADER, f"The header {header} has nothing after {prefix}.")
    return text


class TokenCheck(Check):
    """A text in a header or a parameter of the address."""

    def __init__(self, scheme: TokenScheme) -> None:
        super().__init__(scheme)
        self._header = scheme.header.lower() if scheme.header else None
        self._query = scheme.query or ""
        self._prefix = scheme.prefix
        place = f"the header {self._header}" if self._header else f"the parameter {self._query}"
        self.label = f"token in {place}"
        self.wanted = f"{place} with {self._prefix.strip()}" if self._prefix else place

    def named_by(self, call: Call) -> bool:
        if self._header is not None:
            return has_prefix(call, self._header, self._prefix)
        return bool(query_values(call.request.target, self._query))

    def key_of(self, text: str) -> Any:
        return _hashed(text.encode())

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        if self._header is not None:
            found = raw(after_prefix(call, self._header, self._prefix))
        else:
            given = query_values(call.request.target, self._query)
            if len(given) != 1:
                raise Refused(Cause.MALFORMED, f"The parameter {self._query} was sent more than once.")
            found = given[0]
            if not found:
                raise Refused(Cause.MISSING_HEADER, f"The parameter {self._query} is empty.")
        if call.trace is not None:
            call.note(
                "Token", f"A text of {counted(len(found), 'byte')} was sent; the body is not signed.", None
            )
        made = _hashed(found)
        for field, key in keys:
            if hmac.compare_digest(made, key):
                call.note("Token", f"It is the one in {field}.")
                return field
        raise _unknown(keys, "token")


def _unknown(keys: Keys, what: str) -> Refused:
    names = " or ".join(field for field, _ in keys)
    return Refused(Cause.BAD_TOKEN, f"The {what} is not the one in {names}.", "Token")


class BasicCheck(Check):
    """HTTP Basic (RFC 7617)."""

    label = "HTTP Basic"
    wanted = "the header authorization with Basic"

    def __init__(self, scheme: BasicScheme) -> None:
        super().__init__(scheme)
        self._username = scheme.username

    def named_by(self, call: Call) -> bool:
        return has_prefix(call, "authorization", "Basic ")

    def key_of(self, text: str) -> Any:
        return _hashed(text.encode())

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        pair = exact_base64(after_prefix(call, "authorization", "Basic "))
        if pair is None or b":" not in pair:
            raise Refused(
                Cause.MALFORMED, "The header authorization has no user name and password in base64."
            )
        username, _, password = pair.partition(b":")
        known = hmac.compare_digest(_hashed(username), _hashed(values[self._username].encode()))
        if call.trace is not None:
            call.note(
                "Token", f"A user name of {counted(len(username), 'byte')} was sent with a password.", None
            )
        made = _hashed(password)
        fitting = [field for field, key in keys if hmac.compare_digest(made, key)]
        if known and fitting:
            call.note("Token", f"They are those in {self._username} and {fitting[0]}.")
            return fitting[0]
        raise _unknown(keys, f"user name is not the one in {self._username}, or the password")


class OrganizationCheck(Check):
    """Salesforce's outbound messages: SOAP with the id of the organization, and nothing that proves it."""

    label = "OrganizationId of an outbound message"
    wanted = "a SOAP body with an OrganizationId"

    def __init__(self, scheme: OrganizationScheme) -> None:
        super().__init__(scheme)

    def named_by(self, call: Call) -> bool:
        return b"OrganizationId" in call.request.body

    def key_of(self, text: str) -> Any:
        text = text.strip()
        if not (text.isascii() and text.isalnum() and len(text) in (_SHORT_ID, 18)):
            raise ValueError("an organization's id of 15 or 18 letters and digits")
        return text[:_SHORT_ID].encode()

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        try:
            tree = parse_xml(call.request.body, "The sender")
        except SystemicError:
            raise Refused(
                Cause.MALFORMED, "The body is no XML that is read (a document type is refused).", "Body"
            ) from None
        found = lookup(tree, "Body.notifications.OrganizationId")
        if not isinstance(found, str) or len(found.strip()) not in (_SHORT_ID, 18):
            raise Refused(Cause.MALFORMED, "The body has no OrganizationId in Body.notifications.", "Body")
        if call.trace is not None:
            call.note("Body", "An OrganizationId was sent; nothing in the request proves it.", None)
        made = found.strip()[:_SHORT_ID].encode()
        for field, key in keys:
            # The last three characters of the long form only repeat which letters are capital.
            if hmac.compare_digest(made, key):
                call.note("Token", f"It is the one in {field}.")
                return field
        raise _unknown(keys, "OrganizationId")


class NoCheck(Check):
    """Nothing is checked, because the manifest says so."""

    label = "nothing is checked"
    wanted = ""

    def __init__(self, scheme: NoneScheme) -> None:
        super().__init__(scheme)
        self._reason = scheme.reason

    def named_by(self, call: Call) -> bool:
        return True

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        call.note("Signature", f"Nothing is checked: {self._reason}", None)
        return ""

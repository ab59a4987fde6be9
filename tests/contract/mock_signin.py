"""Ways to sign in that the mock server accepts: a function from the call to whether it is signed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeAlias

from contract.mock_pages import Call

Signin: TypeAlias = Callable[[Call], bool]


def bearer(token: str, word: str = "Bearer") -> Signin:
    """`Authorization: Bearer <token>`; Discord's `word` is Bot."""
    return header("authorization", f"{word} {token}")


def basic(user: str, password: str) -> Signin:
    """HTTP Basic."""
    return header("authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def header(name: str, value: str) -> Signin:
    """A header with exactly this value."""
    return lambda call: call.headers.get(name.lower()) == value


def query(name: str, value: str) -> Signin:
    """A query parameter with exactly this value."""
    return lambda call: call.query.pop(name, None) == value

"""The tests of manifests on answers: what stands at a path of a document, what a header says, where a redirect
leads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from urllib.parse import urljoin, urlsplit

from platint_tui.core.model import Json
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

_LOGIN = re.compile(
    r"log[-_]?(in|on)|sign[-_]?in|(^|[^a-z])(sso|saml2?|oauth2?|openid|oidc|auth|authorize|securityrealm)([^a-z]|$)",
    re.IGNORECASE,
)


def body_holds(test: schema.BodyMatch, document: Json) -> bool:
    """Whether the value at the path of `test` passes all of its tests. Null counts as none, and without any
    test the value must only be there. In a list, one element that contains the text is enough."""
    value = lookup(document, test.path)
    if value is None:
        return test.exists is False
    if test.exists is False:
        return False
    if test.equals is not None and not same(value, test.equals):
        return False
    if test.in_ is not None and not any(same(value, item) for item in test.in_):
        return False
    return test.contains is None or _contains(value, test.contains)


def same(value: Json, expected: Json) -> bool:
    """Equality that tells true from 1."""
    return bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)


def _contains(value: Json, text: str) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(item, str) and text in item for item in value)
    return isinstance(value, str) and text in value


def header_holds(test: schema.HeaderMatch, headers: Mapping[str, str]) -> bool:
    """Whether a header is there and says what `test` asks for."""
    value = headers.get(test.name)
    if value is None:
        return False
    if test.equals is not None and value.strip() != test.equals:
        return False
    if test.in_ is not None and value.strip() not in test.in_:
        return False
    return test.contains is None or test.contains in value


def stays(url: str, location: str) -> bool:
    """Whether a redirect from `url` leads to the same origin, and not to a login as far as its path shows. What
    the path has in common with that of `url` is no sign of one: a thing may be called so."""
    if not location.strip():
        return False
    try:
        here, there = urlsplit(url), urlsplit(urljoin(url, location.strip()))
        same_origin = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
    except ValueError:
        return False
    before, after = here.path.split("/"), there.path.split("/")
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    return same_origin and not any(_LOGIN.search(part) for part in after[common:])

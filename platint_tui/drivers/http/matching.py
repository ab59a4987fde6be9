"""The tests of manifests on answers: what stands at a path of a document, what a header says."""

from __future__ import annotations

from collections.abc import Mapping

from platint_tui.core.model import Json
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup


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

"""Strict JSON that keeps the platform's own text: nothing is rounded, dropped or guessed.

Integers stay exact, decimals become a float only when that float has exactly their value (else a Decimal),
NaN, Infinity, 1e400, duplicate keys and nesting beyond 200 levels are refused. The raw text of every record
is kept beside its decoded value: the text is the truth, the value is a view.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from json.decoder import scanstring as _scanstring  # type: ignore[attr-defined]
from math import isinf
from typing import Any

from platint_tui.core.errors import RecordError, SystemicError
from platint_tui.core.model import BadElement, Record

MAX_DEPTH = 200
MAX_DIGITS = 4300

_SKIP = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.S)
_LONE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = " \t\n\r"


class _RefusedError(ValueError):
    """A value that is JSON by its form but not accepted; carries the reason."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RefusedError(f"the key {_short(name)} occurs twice in one object")
            seen.add(name)
    return result


def _float(text: str) -> float | Decimal:
    number = float(text)
    shortest = repr(number)
    if shortest == text:
        return number
    if isinf(number):
        raise _RefusedError(f"the number {_short(text)} is out of range")
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise _RefusedError(f"the number {_short(text)} is out of range") from None
    return number if exact == Decimal(shortest) else exact


def _constant(text: str) -> Any:
    raise _RefusedError(f"{text} is not JSON")


def _short(text: str) -> str:
    """A name or number for a message: at most 40 characters, encodable."""
    shown = text if len(text) <= 40 else text[:37] + "..."
    return json.dumps(shown)


_STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_float, parse_constant=_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _STRICT.scan_once  # type: ignore[attr-defined]
# Finds the end of an element that the strict decoder refuses, whatever its numbers and keys are.
_FORM = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_scan_form: Callable[[str, int], tuple[Any, int]] = _FORM.scan_once  # type: ignore[attr-defined]


def loads(data: bytes | str, where: str = "") -> Any:
    """Decode one JSON document. Raises SystemicError (code `json`) with the position of the fault."""
    text = _text(data, where) if isinstance(data, bytes) else data
    if text[:1] == "\ufeff":
        text = text[1:]
    start = _space(text, 0)
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise _broken(text, int(stop.value), where) from None
    except json.JSONDecodeError as error:
        raise _broken(text, error.pos, where, error.msg) from None
    except (ValueError, RecursionError) as error:
        raise _fault(_reason(error), where) from None
    if _space(text, end) != len(text):
        raise _broken(text, _space(text, end), where, "text after the end of the document")
    reason = _form_fault(text, value)
    if reason:
        raise _fault(reason, where)
    return value


def split_page(
    body: bytes | str, records_path: tuple[str, ...], where: str = ""
) -> tuple[dict[str, Any] | None, list[Record | BadElement]]:
    """The records of one answer, each with its exact text, and the envelope around them.

    `records_path` leads through objects to the list; empty: the document is the list, and there is no
    envelope (None). The list itself is left out of the envelope. An element that is no object, repeats a key
    or holds a number or text that cannot be kept exactly comes back as BadElement; the others are untouched.
    Raises SystemicError: code `json` when the document is broken, `records_path` when no list is there.
    """
    text = _text(body, where) if isinstance(body, bytes) else body
    if text[:1] == "\ufeff":
        text = text[1:]
    walker = _Walker(text, where, bool(_LONE_ESCAPE.search(text)))
    try:
        envelope, end = walker.value(_space(text, 0), records_path, 0)
    except StopIteration as stop:
        raise _broken(text, int(stop.value), where) from None
    except json.JSONDecodeError as error:
        raise _broken(text, error.pos, where, error.msg) from None
    except (ValueError, RecursionError) as error:
        raise _fault(_reason(error), where) from None
    if _space(text, end) != len(text):
        raise _broken(text, _space(text, end), where, "text after the end of the document")
    if walker.records is None:
        raise _no_list(records_path, "nothing", where)
    return envelope, walker.records


class _Walker:
    """Walks the envelope by hand down to the list of records; everything else is decoded as a whole."""

    def __init__(self, text: str, where: str, escapes: bool) -> None:
        self.text = text
        self.where = where
        self.escapes = escapes
        self.records: list[Record | BadElement] | None = None

    def value(self, index: int, path: tuple[str, ...], level: int) -> tuple[dict[str, Any] | None, int]:
        """The object or, at the end of the path, the list that starts at `index`."""
        opening = self.text[index : index + 1]
        if level == len(path):
            if opening != "[":
                self._refuse(index, path)
            return None, self._list(index + 1)
        if opening != "{":
            self._refuse(index, path[:level])
        return self._object(index + 1, path, level)

    def _refuse(self, index: int, path: tuple[str, ...]) -> None:
        if index >= len(self.text):
            raise _broken(self.text, index, self.where, "the document ends too early")
        value, _ = _scan(self.text, index)
        raise _no_list(path, _kind(value), self.where)

    def _object(self, index: int, path: tuple[str, ...], level: int) -> tuple[dict[str, Any], int]:
        text = self.text
        result: dict[str, Any] = {}
        seen: set[str] = set()
        index = _space(text, index)
        if text[index : index + 1] == "}":
            return result, index + 1
        while True:
            if text[index : index + 1] != '"':
                raise json.JSONDecodeError("a key in double quotes is expected", text, index)
            name, index = _scanstring(text, index + 1, True)
            if name in seen:
                raise _RefusedError(f"the key {_short(name)} occurs twice in one object")
            seen.add(name)
            index = _space(text, index)
            if text[index : index + 1] != ":":
                raise json.JSONDecodeError("':' is expected", text, index)
            index = _space(text, index + 1)
            if name == path[level]:
                inner, index = self.value(index, path, level + 1)
                if inner is not None:
                    result[name] = inner
            else:
                result[name], index = self._other(index)
            index = _space(text, index)
            mark = text[index : index + 1]
            if mark == "}":
                return result, index + 1
            if mark != ",":
                raise json.JSONDecodeError("',' or '}' is expected", text, index)
            index = _space(text, index + 1)

    def _other(self, index: int) -> tuple[Any, int]:
        value, end = _scan(self.text, index)
        if isinstance(value, dict | list):
            raw = self.text[index:end]
            if raw.count("{") + raw.count("[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
                raise _RefusedError(f"nested more than {MAX_DEPTH} levels deep")
        return value, end

    def _list(self, index: int) -> int:
        text, escapes = self.text, self.escapes
        records: list[Record | BadElement] = []
        add = records.append
        self.records = records
        if text[index : index + 1] in _SPACE:
            index = _space(text, index)
        if text[index : index + 1] == "]":
            return index + 1
        while True:
            try:
                value, end = _scan(text, index)
            except json.JSONDecodeError:
                raise
            except ValueError as error:
                end = _scan_form(text, index)[1]
                add(BadElement(text[index:end], _reason(error)))
            else:
                raw = text[index:end]
                if type(value) is not dict:
                    add(BadElement(raw, f"a record is an object, this is {_kind(value)}"))
                elif (raw.count("{") + raw.count("[") > MAX_DEPTH or escapes) and (
                    reason := _form_fault(raw, value)
                ):
                    add(BadElement(raw, reason))
                else:
                    add(Record(raw, value))
            mark = text[end : end + 1]
            if mark in _SPACE:
                end = _space(text, end)
                mark = text[end : end + 1]
            if mark == "]":
                return end + 1
            if mark != ",":
                raise json.JSONDecodeError("',' or ']' is expected", text, end)
            index = end + 1
            if text[index : index + 1] in _SPACE:
                index = _space(text, index)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Compact JSON of `value`, Decimals with all their digits. Raises RecordError for what is not JSON."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        # A Decimal somewhere (the C encoder cannot write one as a number), or not JSON at all.
        parts: list[str] = []
        _write(value, parts.append, 0)
        return "".join(parts)


def _write(value: Any, put: Callable[[str], None], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RecordError(f"The value is nested more than {MAX_DEPTH} levels deep.", code="json")
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise RecordError(f"{value} cannot be written as JSON.", code="json")
        put(str(value))
    elif isinstance(value, Mapping):
        put("{")
        for number, (name, item) in enumerate(value.items()):
            if not isinstance(name, str):
                raise RecordError("A key of an object is not text.", code="json")
            put(("," if number else "") + json.dumps(name, ensure_ascii=False) + ":")
            _write(item, put, depth + 1)
        put("}")
    elif isinstance(value, list | tuple):
        put("[")
        for number, item in enumerate(value):
            if number:
                put(",")
            _write(item, put, depth + 1)
        put("]")
    else:
        try:
            put(json.dumps(value, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError):
            raise RecordError(
                f"A value of type {type(value).__name__} cannot be written as JSON.", code="json"
            ) from None


_encode_text = json.encoder.encode_basestring


def canonical_key(values: Iterable[Any]) -> str:
    """The identity of a record: the compact JSON array of its key values, so that 1 and "1" differ.

    Raises RecordError (code `key`) when a value is null, an object or a list.
    """
    items = list(values)
    if len(items) == 1 and type(items[0]) is str:
        return f"[{_encode_text(items[0])}]"
    for item in items:
        if item is None or isinstance(item, dict | list):
            raise RecordError(f"A key value is {_kind(item)}.", code="key")
    return dumps(items)


def content_hash(raw: str) -> str:
    """Hex digest (128 bits) of a record's exact text."""
    return hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _space(text: str, index: int) -> int:
    match = _SKIP.match(text, index)
    assert match is not None
    return match.end()


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = "It looks like UTF-16." if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise SystemicError(
            f"The text is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}.",
            where=where,
            code="encoding",
            hint=hint,
        ) from None


def _reason(error: BaseException) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, RecursionError):
        return f"nested more than {MAX_DEPTH} levels deep"
    return f"a number has more than {MAX_DIGITS} digits"


def _form_fault(raw: str, value: Any) -> str:
    """Why a decoded value is not kept: too deep, or half a surrogate pair; empty when it is fine."""
    if raw.count("{") + raw.count("[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep"
    if _LONE_ESCAPE.search(raw) and _SURROGATE.search(_all_text(value)):
        return "a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ""


def _all_text(value: Any) -> str:
    parts: list[str] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, dict):
            parts.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    # The separator keeps two halves of different texts from looking like one pair.
    return " ".join(parts)


def _depth(raw: str) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(raw):
        mark = match.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | Decimal):
        return "a number"
    names = ((str, "a text"), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in names if isinstance(value, kind)), "something else")


def _broken(text: str, index: int, where: str, message: str = "") -> SystemicError:
    """The sentence for broken JSON, with the offset in bytes as the wire had it."""
    offset = len(text[:index].encode("utf-8", "surrogatepass"))
    if index >= len(text):
        what = "the text ends too early" if text.strip() else "the text is empty"
    else:
        what = message[:1].lower() + message[1:] if message else "a value is expected"
    return SystemicError(f"This is not valid JSON: at byte {offset} {what}.", where=where, code="json")


def _fault(reason: str, where: str) -> SystemicError:
    return SystemicError(f"This JSON is refused: {reason}.", where=where, code="json")


def _no_list(path: tuple[str, ...], found: str, where: str) -> SystemicError:
    place = ".".join(path) or "the document"
    return SystemicError(
        f"A list of records is expected at '{place}', the answer has {found} there."
        if path
        else f"A list of records is expected, the answer is {found}.",
        where=where,
        code="records_path",
        hint="The page is refused as a whole; the position stays.",
    )

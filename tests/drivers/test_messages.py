"""Messages of brokers as records, and rows as messages."""

from __future__ import annotations

import pytest

from platint_tui.core.errors import RecordError
from platint_tui.core.model import BadElement
from platint_tui.drivers.messages import as_record, decoded, iso, sendable


@pytest.mark.parametrize(
    ("content", "media", "body"),
    [
        (b'{"a": 12345678901234567890}', "", {"a": 12345678901234567890}),
        (b" [1, 2]", "", [1, 2]),
        (b"7", "", "7"),
        (b"7", "application/json; charset=utf-8", 7),
        (b"[INFO] started", "", "[INFO] started"),
        (b'{"cut": ', "application/json", '{"cut": '),
        (b"hello", "text/plain", "hello"),
        (b"", "application/json", ""),
    ],
)
def test_bodies(content: bytes, media: str, body: object) -> None:
    assert decoded(content, media) == {"body": body}


def test_what_is_no_text_is_base64() -> None:
    assert decoded(b"\xff\x00") == {"body": "/wA=", "encoding": "base64"}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '["\\ud800"]', "[" * 5000 + "]" * 5000])
def test_json_that_cannot_be_kept_exactly_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="cannot be kept exactly"):
        decoded(text)


def test_a_record_is_compact_json_or_a_bad_element() -> None:
    assert as_record({"id": "1", "n": 10**30}).raw == '{"id":"1","n":1000000000000000000000000000000}'
    assert isinstance(as_record({"id": "\ud800"}), BadElement)
    assert isinstance(as_record({"id": float("nan")}), BadElement)


def test_a_row_is_sent_as_json_and_a_message_as_what_it_was() -> None:
    row = sendable({"id": 1, "body": "a note"})
    assert (row.content, row.media, row.headers, row.key) == (
        b'{"id":1,"body":"a note"}',
        "application/json",
        {},
        None,
    )
    message = {
        "id": "m",
        "body": {"a": 1},
        "headers": {"h": "v"},
        "key": "k",
        "queue": "q",
        "timestamp": None,
    }
    assert sendable(message).content == b'{"a":1}' and sendable(message).headers == {"h": "v"}
    assert sendable({**message, "body": "plain"}).content == b"plain"
    assert sendable({**message, "body": "/wA=", "encoding": "base64"}).content == b"\xff\x00"
    with pytest.raises(RecordError, match="not base64"):
        sendable({**message, "body": "%", "encoding": "base64"})
    with pytest.raises(RecordError, match="surrogate"):
        sendable({"a": "\ud800"})


def test_times_have_an_offset() -> None:
    assert iso(1_700_000_000_123) == "2023-11-14T22:13:20.123+00:00"

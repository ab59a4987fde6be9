"""What is taken down of requests: exact, and without anything that could be a credential."""

from __future__ import annotations

import json

from platint_tui.core.redaction import REDACTOR
from platint_tui.core.wire import MOST_BODY, Exchanged, present_watch, watching

CANARY = "canary-wire-0123456789"


def noted(url: str = "https://x.example/a", body: bytes | None = None, **headers: str) -> Exchanged:
    with watching(["X-Odd"]) as watch:
        assert present_watch() is watch
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        watch.note("POST", url, named, body, status=200, ms=1.25)
    assert present_watch() is None
    return watch.seen[0]


def test_addresses_keep_what_is_no_secret() -> None:
    url = (
        f"https://user:{CANARY}@x.example/a%20b?page_token=p1&nextPageToken=p2&access_token={CANARY}"
        f"&X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}&X-Amz-Date=20260101T000000Z&sig={CANARY}"
        f"&x-odd={CANARY}&empty=&token="
    )
    shown = noted(url).url
    assert CANARY not in shown and "X-Amz-Date=20260101T000000Z" in shown and "empty=" in shown
    assert "page_token=p1&nextPageToken=p2&access_token=•••" in shown
    assert shown.startswith("https://x.example/a%20b?")


def test_headers_are_masked_by_name_and_by_value() -> None:
    REDACTOR.add(CANARY)
    shown = noted(
        Authorization="Bearer x", Cookie="sid=1", Jenkins_Crumb="c", X_Odd="o", Accept=f"a {CANARY}"
    )
    assert dict(shown.headers) == {
        "Authorization": "•••",
        "Cookie": "•••",
        "Jenkins-Crumb": "•••",
        "X-Odd": "•••",
        "Accept": "a •••",
    }


def test_bodies_are_masked_in_their_own_form() -> None:
    form = noted(
        body=f"grant_type=refresh_token&refresh_token={CANARY}&client_secret={CANARY}&code={CANARY}".encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert form.body == "grant_type=refresh_token&refresh_token=•••&client_secret=•••&code=•••"
    document = {"name": "a", "list": [{"password": "p", "id": 7}], "secretKey": 5, "token": {"id": 1}}
    shown = noted(body=json.dumps(document).encode(), Content_Type="application/json").body
    assert json.loads(shown or "") == {
        "name": "a",
        "list": [{"password": "•••", "id": 7}],
        "secretKey": "•••",
        "token": {"id": 1},
    }
    exact = b'{"a":  1.10}'
    assert noted(body=exact, Content_Type="application/json").body == exact.decode()
    assert noted(body=b"\xff\x00", Content_Type="application/octet-stream").body is not None
    assert noted().body is None


def test_what_is_large_is_cut() -> None:
    shown = noted(body=b"no secret. " * (MOST_BODY * 3 // 11 + 1)).body or ""
    assert shown.startswith("no secret. no secret. ")
    assert len(shown) < MOST_BODY + 100 and "49,159 bytes" in shown
    deep = b"[" * 100_000
    assert noted(body=deep, Content_Type="application/json").body

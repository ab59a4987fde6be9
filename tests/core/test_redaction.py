"""Secrets are masked however a platform or a library writes them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from platint_tui.core.redaction import MASK, Redactor


@pytest.mark.parametrize("secret", ["sk_live_0123456789", 'a"b\\c/d 1+2', "gehe\u00efm und \u00fcbrig"])
def test_N12_an_echo_in_any_usual_form_is_masked(secret: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    for shown in (
        secret,
        json.dumps({"got": secret}),
        json.dumps({"got": secret}, ensure_ascii=False),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        quote_plus(secret),
        secret.encode().hex(),
        base64.b64encode(secret.encode()).decode(),
    ):
        assert MASK in redactor.redact(f"answer: {shown}."), shown

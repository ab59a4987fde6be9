"""Twilio's REST API as the npm package `emulate` has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from peers.emulate import Emulate
from peers.process import expect, request

ACCOUNT = "AC00000000000000000000000000000001"
KEY = "SK00000000000000000000000000000001"


class TwilioEmulator(Emulate):
    """Messages, calls and numbers: `url`, `account`, `auth_token`, `key` with `key_secret`, `number`.

    What differs from Twilio: the filters by date are not looked at, and a message is sent when it is told to be.
    """

    account, auth_token = ACCOUNT, "0123456789abcdef0123456789abcdef"
    key, key_secret = KEY, "abcdef0123456789abcdef0123456789"
    number = "+15552229999"

    def __init__(self, folder: Path, messages: int = 12) -> None:
        seed = {
            "twilio": {
                "account": {
                    "sid": self.account,
                    "auth_token": self.auth_token,
                    "friendly_name": "Example Ltd",
                },
                "api_keys": [{"sid": self.key, "secret": self.key_secret, "friendly_name": "sync"}],
                "phone_numbers": [{"phone_number": self.number, "friendly_name": "Shop"}],
            }
        }
        super().__init__("twilio", folder, yaml.safe_dump(seed))
        for count in range(1, messages + 1):
            self.message(f"Number {count}")

    def call(self, method: str, path: str, **form: str) -> tuple[int, Any, Any]:
        """One request to the account: status, headers, body."""
        url = f"{self.url}/2010-04-01/Accounts/{self.account}/{path}"
        login = f"{self.account}:{self.auth_token}"
        return request(method, url, form=urlencode(form).encode() if form else None, basic=login)

    def message(self, body: str) -> dict[str, Any]:
        """A message that was sent just now."""
        created = dict(
            expect(201, self.call("POST", "Messages.json", To="+15558881111", From=self.number, Body=body))
        )
        return dict(expect(200, self.call("POST", f"Messages/{created['sid']}.json", Status="sent")))

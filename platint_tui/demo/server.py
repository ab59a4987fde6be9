"""Starts the three demo platforms in one process, on loopback.

Settings are one JSON object:

    seed            which records (default 1)
    records         number of charges; customers are a quarter of that, at least 10 (default 2000)
    record_bytes    size of a charge (default 600)
    generation      how often 2 percent of newer records came in addition (default 0)
    misbehave       429s, 5xx, lost answers and the chat's rate limit (default true)
    latency         [shortest, longest] in milliseconds (default [5, 40]; [0, 0] for none)
    token_seconds   lifetime of a CRM access token (default 60)
    chat_rate       messages per second that the chat takes when it misbehaves (default 20)
    state           folder in which crm and chat keep what was written (default: memory)
    ports           {"payments", "crm", "chat"}: ports wanted (default 0: a free one)
    credentials     {"payments_key", "crm_client_id", "crm_client_secret", "chat_token"}: required
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from platint_tui.core.errors import ConfigError
from platint_tui.core.secret import Secret
from platint_tui.demo.chat import Chat
from platint_tui.demo.crm import Crm
from platint_tui.demo.misbehaviour import Misbehaviour, Rates, TokenBucket
from platint_tui.demo.payments import Payments
from platint_tui.demo.records import Dataset

PLATFORMS = ("payments", "crm", "chat")
CREDENTIALS = ("payments_key", "crm_client_id", "crm_client_secret", "chat_token")
_RATES = {
    "payments": Rates(limited=0.04, failed=0.03, unavailable=0.02),
    "crm": Rates(limited=0.006, failed=0.004, unavailable=0.003, lost=0.004),
    "chat": Rates(failed=0.01, unavailable=0.005, lost=0.005),
}


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Settings of the demo platforms, as the module describes them."""

    credentials: Mapping[str, Secret]
    seed: int = 1
    records: int = 2000
    record_bytes: int = 600
    generation: int = 0
    misbehave: bool = True
    latency: tuple[float, float] = (5.0, 40.0)
    token_seconds: int = 60
    chat_rate: float = 20.0
    state: Path | None = None
    ports: Mapping[str, int] = field(default_factory=dict)


def parse_settings(text: str) -> DemoSettings:
    """Settings from their JSON text. Raises ConfigError naming the setting; never shows a credential."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable("they are no JSON") from None
    if not isinstance(document, dict):
        raise _unusable("they are no JSON object")
    unknown = sorted(document.keys() - DemoSettings.__dataclass_fields__.keys())
    if unknown:
        raise _unusable(f"'{unknown[0]}' is not known")
    values: dict[str, Any] = {}
    for name, low, high in (
        ("seed", 0, 2**63),
        ("records", 1, 10**9 - 1),
        ("record_bytes", 300, 100_000),
        ("generation", 0, 10_000),
        ("token_seconds", 1, 86_400),
        ("chat_rate", 0, 10**6),
    ):
        if name in document:
            values[name] = _number(document[name], name, low, high)
    if "misbehave" in document:
        if not isinstance(document["misbehave"], bool):
            raise _unusable("'misbehave' is neither true nor false")
        values["misbehave"] = document["misbehave"]
    if "latency" in document:
        pair = document["latency"]
        if not isinstance(pair, list) or len(pair) != 2:
            raise _unusable("'latency' is no pair of milliseconds")
        low, high = (_number(item, "latency", 0, 60_000) for item in pair)
        if low > high:
            raise _unusable("'latency' has its longest before its shortest")
        values["latency"] = (low, high)
    if document.get("state") is not None:
        if not isinstance(document["state"], str):
            raise _unusable("'state' is no path")
        values["state"] = Path(document["state"])
    ports = _names(document, "ports", PLATFORMS)
    values["ports"] = {name: _number(port, "ports", 0, 65_535) for name, port in ports.items()}
    given = _names(document, "credentials", CREDENTIALS)
    for name in CREDENTIALS:
        if not isinstance(given.get(name), str) or not given[name]:
            raise _unusable(f"the credential '{name}' is missing")
    values["credentials"] = {name: Secret(given[name]) for name in CREDENTIALS}
    return DemoSettings(**values)


def _number(value: object, name: str, low: int, high: int) -> Any:
    whole = name != "latency" and name != "chat_rate"
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if not right or isinstance(value, bool) or not low <= value <= high:  # type: ignore[operator]
        raise _unusable(f"'{name}' must be a number from {low} to {high}")
    return value


def _names(document: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise _unusable(f"'{name}' is no object")
    unknown = sorted(value.keys() - set(known))
    if unknown:
        raise _unusable(f"'{name}' has '{unknown[0]}', which is not known")
    return value


def _unusable(reason: str) -> ConfigError:
    return ConfigError(f"The settings of the demo platforms are not usable: {reason}.", code="demo_settings")


class DemoServer:
    """The three platforms, from `start` to `stop`."""

    def __init__(self, settings: DemoSettings) -> None:
        self._settings = settings
        self._runners: list[web.AppRunner] = []

    async def start(self) -> dict[str, str]:
        """Listen on 127.0.0.1; returns the base URL of each platform. Raises ConfigError."""
        urls: dict[str, str] = {}
        try:
            for name, app in self._applications().items():
                runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
                self._runners.append(runner)
                await runner.setup()
                port = self._settings.ports.get(name, 0)
                try:
                    await web.TCPSite(runner, "127.0.0.1", port).start()
                except OSError as error:
                    raise ConfigError(
                        f"The demo platform '{name}' cannot listen on port {port}: {error.strerror}.",
                        hint="Choose another port, or 0 for a free one.",
                    ) from None
                urls[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        except BaseException:
            await self.stop()
            raise
        return urls

    async def stop(self) -> None:
        """Close all sockets and files."""
        while self._runners:
            await self._runners.pop().cleanup()

    def _applications(self) -> dict[str, web.Application]:
        settings = self._settings
        secrets = settings.credentials
        dataset = Dataset(settings.seed, settings.records, settings.generation, settings.record_bytes)
        client = (secrets["crm_client_id"], secrets["crm_client_secret"])
        bucket = TokenBucket(settings.chat_rate if settings.misbehave else 0, 20)
        return {
            "payments": Payments(dataset, secrets["payments_key"], self._chaos("payments")).application(),
            "crm": Crm(client, self._chaos("crm"), settings.state, settings.token_seconds).application(),
            "chat": Chat(secrets["chat_token"], self._chaos("chat"), bucket, settings.state).application(),
        }

    def _chaos(self, name: str) -> Misbehaviour:
        settings = self._settings
        rates = _RATES[name] if settings.misbehave else None
        return Misbehaviour(name, settings.seed, rates, settings.latency)

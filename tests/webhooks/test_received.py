"""The requests that manifests ship, sent to a real receiver: what is stored of them, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Environment, Profile
from platint_tui.core.paths import find_paths
from platint_tui.core.secret import Secret
from platint_tui.engine.receiver.options import ReceiverOptions
from platint_tui.engine.receiver.server import Receiver
from platint_tui.engine.serve import make_context
from platint_tui.manifest.registry import Registry, bundled_dir
from platint_tui.manifest.schema import TestCase
from platint_tui.manifest.webhook_vectors import HookVector, hook_of
from platint_tui.store import open_store
from platint_tui.vault import Vault

REGISTRY = Registry([bundled_dir("connectors")])
BY_ADDRESS = ("twilio", "hubspot")
"""They sign the address, which is another one here for each request."""


class SetClock(SystemClock):
    """Shows the time of the request that is sent."""

    ms = 0

    def now_ms(self) -> int:
        return self.ms or super().now_ms()


def requests() -> dict[str, tuple[str, TestCase, HookVector]]:
    """Every request that needs nothing from the network, by the name of a profile of its own."""
    found = {}
    for platform in REGISTRY.list():
        tests = [item for item in REGISTRY.get(platform).tests if item.kind == "webhook"]
        for number, test in enumerate(tests):
            vector = hook_of(test, REGISTRY.vectors(platform))
            if platform not in BY_ADDRESS and not vector.certificates:
                found[f"{platform}-{number}"] = (platform, test, vector)
    return found


async def send(client: httpx.AsyncClient, name: str, test: TestCase, vector: HookVector) -> None:
    """Send a request as its platform would, and see what is answered."""
    query = vector.request.target.partition("?")[2]
    answer = await client.request(
        vector.request.method,
        f"/webhooks/{name}" + (f"?{query}" if query else ""),
        headers=[
            (key, value.encode()) for key, value in [("host", "hooks.example.com"), *vector.request.headers]
        ],
        content=vector.request.body,
    )
    if test.expect.accepted is False:
        assert (answer.status_code, answer.content) == (401, b""), (name, test.name)
    else:
        assert answer.status_code == (test.expect.status or answer.status_code), (name, answer.text)
        assert answer.is_success, (name, answer.text)


async def test_every_request_of_the_manifests(home: Path) -> None:
    environ = dict(os.environ)
    paths, clock, asked = find_paths(environ), SetClock(), requests()

    async def secrets(profile: Profile, fields: Collection[str], /) -> Mapping[str, Secret]:
        values = asked[profile.name][2].secrets
        return {name: Secret(values[name]) for name in fields if name in values}

    store = await open_store(paths.database, clock=clock, role="engine")
    for name, (platform, _, vector) in asked.items():
        await store.profiles.put(Profile(name, platform, Environment.SANDBOX, dict(vector.profile), {}))
    context = make_context(store, REGISTRY, Vault(paths.config, environ), clock=clock)
    context = replace(context, present_secrets=secrets)
    options = ReceiverOptions(listen="127.0.0.1:0", public_url="https://hooks.example.com")
    receiver = Receiver(context, options, environ)
    task = asyncio.create_task(receiver.run())
    try:
        while not receiver.address:
            assert not task.done()
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=receiver.address, trust_env=False, timeout=60) as client:
            for moment in sorted({vector.now_ms for _, _, vector in asked.values()}):
                clock.ms = moment
                await asyncio.gather(
                    *(
                        send(client, name, test, vector)
                        for name, (_, test, vector) in asked.items()
                        if vector.now_ms == moment
                    )
                )
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await receiver.stop()
        await store.close()
    with contextlib.closing(sqlite3.connect(paths.database)) as connection:
        events = connection.execute("SELECT profile, state, type FROM events ORDER BY number").fetchall()
        refused = dict(connection.execute("SELECT profile, cause FROM rejections").fetchall())
    for name, (_, test, _) in asked.items():
        states = [state for profile, state, _ in events if profile == name]
        if test.expect.accepted is False:
            assert (states, refused.get(name)) == ([], str(test.expect.cause)), name
        elif test.expect.handshake is None:
            assert states == ["new"] * (test.expect.events or 1), name
            first = next(kind for profile, _, kind in events if profile == name)
            assert test.expect.type is None or first == test.expect.type
    told = {name.partition("-")[0] for name, cause in refused.items() if cause == "handshake"}
    assert told == {"salesforce"}
    assert len(asked) > 50

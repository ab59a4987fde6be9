"""The engine as a process, or inside another one: opens the store, holds the lock, handles signals."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Collection, Mapping

from platint_tui.core.clock import Clock, SystemClock
from platint_tui.core.errors import ExitCode
from platint_tui.core.ids import new_id
from platint_tui.core.model import Profile
from platint_tui.core.paths import Paths, make_private
from platint_tui.core.ports import Driver
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext, open_driver
from platint_tui.engine.context import Context
from platint_tui.engine.engine import Engine
from platint_tui.engine.limits import LimiterHub
from platint_tui.engine.lock import EngineLock
from platint_tui.engine.receiver import Receiver, ReceiverOptions
from platint_tui.engine.telemetry import TelemetryHub
from platint_tui.manifest.registry import Registry
from platint_tui.manifest.schema import Connector
from platint_tui.store import open_store
from platint_tui.store.ports import Store
from platint_tui.vault import Vault, VaultTokens, override_variable


def make_context(
    store: Store,
    registry: Registry,
    vault: Vault,
    *,
    clock: Clock,
    rng: random.Random | None = None,
    worker: str = "",
) -> Context:
    """The parts of an engine over `store`; secrets come from `vault`, drivers from their manifests."""
    worker = worker or new_id("eng")
    rng = rng or random.Random()  # noqa: S311 - jitter
    limits = LimiterHub(store.limits, clock)
    telemetry = TelemetryHub(worker, store.metrics, clock)

    async def secrets(profile: Profile) -> Mapping[str, Secret]:
        references = dict(profile.secrets)
        for field in registry.get(profile.platform).profile.fields:
            if field.secret and field.required and field.id not in references:
                # The one place left where an unattended run may have put it; the vault says so when not.
                references[field.id] = f"env:{override_variable(profile.name, field.id)}"
        return await vault.resolve_many(profile.name, references)

    def driver(profile: Profile, values: Mapping[str, Secret], *, retries: bool = True) -> Driver:
        connector = registry.get(profile.platform)
        if not retries:
            connector = _tries_once(connector)
        return open_driver(
            DriverContext(
                connector=connector,
                profile=profile,
                secrets=values,
                limiter=limits.of(profile.name),
                budgets=limits.budgets(profile.name),
                telemetry=telemetry.of(profile.platform, profile.name),
                clock=clock,
                rng=rng,
                tokens=VaultTokens(vault, store.profiles, profile.name, vault.locks),
            )
        )

    async def present_secrets(profile: Profile, fields: Collection[str]) -> Mapping[str, Secret]:
        return await vault.resolve_present(profile.name, fields, profile.secrets)

    return Context(
        store, registry, secrets, driver, clock, rng, worker, limits, telemetry, vault, present_secrets
    )


def _tries_once(connector: Connector) -> Connector:
    """The connector with a retry policy of one try."""
    policy = connector.errors.policy.model_copy(update={"attempts": 1})
    return connector.model_copy(update={"errors": connector.errors.model_copy(update={"policy": policy})})


async def run_engine(
    paths: Paths,
    registry: Registry,
    vault: Vault,
    *,
    clock: Clock,
    stop: asyncio.Event,
    until_idle: bool = False,
    linger: float = 2.0,
    lock: EngineLock | None = None,
    receiver: ReceiverOptions | None = None,
) -> None:
    """Be the engine until `stop` is set; the caller holds the engine lock. With `receiver` it takes webhooks too.

    Raises ConfigError or StoreError when the store cannot be opened, Fenced when `lock` was taken away.
    """
    # The thread that writes rows would otherwise hold the next request back for 5 ms each time.
    sys.setswitchinterval(0.0001)
    store = await open_store(paths.database, clock=clock, role="engine")
    try:
        context = make_context(store, registry, vault, clock=clock, worker=lock.worker if lock else "")
        receiving = Receiver(context, receiver) if receiver is not None else None
        engine = Engine(context, lock, receiver=receiving)
        await engine.run(stop, until_idle=until_idle, linger=linger)
    finally:
        await store.close()


async def serve(
    paths: Paths,
    registry: Registry,
    vault: Vault,
    *,
    clock: Clock | None = None,
    until_idle: bool = False,
    linger: float = 2.0,
    takeover: bool = False,
    receiver: ReceiverOptions | None = None,
) -> int:
    """The engine process: takes the lock, works until SIGTERM, SIGINT or SIGHUP; returns the exit code.

    `takeover` takes the lock from an engine that is stopped or out of reach. Raises EngineBusyError,
    ConfigError, StoreError, Fenced.
    """
    for folder in (paths.config, paths.data, paths.state):
        make_private(folder)
    lock = EngineLock(paths.engine_lock, new_id("eng"), force=takeover)
    lock.acquire()
    stop = asyncio.Event()
    code = int(ExitCode.DONE)

    def interrupt() -> None:
        nonlocal code
        code = int(ExitCode.INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    try:
        for number in signals:
            loop.add_signal_handler(number, interrupt)
        await run_engine(
            paths,
            registry,
            vault,
            clock=clock or SystemClock(),
            stop=stop,
            until_idle=until_idle,
            linger=linger,
            lock=lock,
            receiver=receiver or ReceiverOptions(),
        )
    finally:
        for number in signals:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
        lock.release()
    return code

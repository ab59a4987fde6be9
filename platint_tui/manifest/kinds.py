"""The drivers by name, and what the manifest and the engine need to know of each before it is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriverKind:
    """What holds for every platform of a driver.

    `http`: its manifest declares requests, addresses and ways to sign in. `tables`: a target is a table of
    any name that is upserted by key, and two streams must not share one, `columns`: its columns have types, which
    every row is checked against. `dead_letters`: the platform keeps dead
    letters of its own, `keeps`: it keeps something for each sync (a slot, a consumer group). `extra`: what to
    install for it, "" when nothing more is needed.
    """

    name: str
    http: bool = False
    tables: bool = False
    columns: bool = False
    dead_letters: bool = False
    keeps: bool = False
    extra: str = ""


_KINDS = (
    DriverKind("http", http=True),
    DriverKind("sqlite", tables=True, columns=True),
    DriverKind("postgresql", tables=True, columns=True, keeps=True, extra="postgresql"),
    DriverKind("sql", tables=True, columns=True, extra="sql"),
    DriverKind("mongodb", tables=True, extra="mongodb"),
    DriverKind("redis", dead_letters=True, keeps=True, extra="redis"),
    DriverKind("amqp", dead_letters=True, extra="amqp"),
    DriverKind("kafka", dead_letters=True, keeps=True, extra="kafka"),
    DriverKind("mqtt", keeps=True, extra="mqtt"),
    DriverKind("sqs", http=True, dead_letters=True),
    DriverKind("servicebus", http=True, dead_letters=True, extra="servicebus"),
    DriverKind("websocket", http=True, extra="websocket"),
    DriverKind("sse", http=True),
    DriverKind("grpc", extra="grpc"),
)
DRIVER_KINDS = {kind.name: kind for kind in _KINDS}
OUTSIDE = "python:"
"""Before the name of an entry point (group `platint_tui.drivers`) of a driver that another package brings."""


def kind_of(driver: str) -> DriverKind:
    """The kind of a driver; one from outside says nothing of itself."""
    return DRIVER_KINDS.get(driver) or DriverKind(driver)

"""What a manifest says of reading and writing where the driver is not http: databases, brokers, live feeds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platint_tui.manifest.fields import Bool, DataPath, Duration, FieldName, Int, Line, Model, Positive, Size
from platint_tui.manifest.live import Events, Socket

Mode = Literal["snapshot", "cursor", "cdc", "consume"]
"""snapshot: everything, in the order of the key. cursor: what is new by a field. cdc: the platform's own feed of
changes, after a snapshot. consume: messages, acknowledged when they are stored."""


class PageTokens(Model):
    """The field of the request that takes a page token, and the one of the answer that has the next."""

    token: DataPath = "page_token"  # noqa: S105 - the name of a field
    next: DataPath = "next_page_token"


class Resume(Model):
    """The field of the request that says after what to go on, and the one of a record that it is filled from."""

    request: DataPath
    record: DataPath


class Call(Model):
    """How a method of gRPC is read. `method` is `package.Service/Method` where the resource is called otherwise.

    `request` is the request message in the JSON of Protocol Buffers, `records` the repeated field of the answer
    that holds the records (without it the answer itself is one). `follow`: the answer is a stream that does not
    end by itself.
    """

    method: Line | None = None
    request: dict[FieldName, Any] = Field(default_factory=dict)
    records: DataPath | None = None
    page: PageTokens | None = None
    resume: Resume | None = None
    follow: Bool = False


class Send(Model):
    """How a method of gRPC is written. `method` and `request` are as in `Call`; the row is put into the field `row`
    of the request, without it the row is the request.
    """

    method: Line | None = None
    request: dict[FieldName, Any] = Field(default_factory=dict)
    row: DataPath | None = None


class Source(Model):
    """How a stream is read. `modes` are the possible ones, the usual one first; a stream of an integration may
    name another.

    `chunk` rows are asked for at a time, `overlap` is how far before the greatest cursor value the next scan
    starts, `prefetch` how many messages may be unacknowledged, `idle` how long a scan waits for one more
    message before it ends, `heartbeat` how often a quiet feed is moved on, `max_retained` the bytes of log that
    a feed may keep on the server. `visibility` is how long a received message is hidden from others, where the
    platform hides it; while it waits to be stored, that is extended. `start` is where a consumer that the platform
    does not know yet begins (with all that is there, or with what comes from then on), `max_deliveries` the number
    of deliveries from which on a message that nobody acknowledges counts as a dead letter, where the platform only
    counts. `qos` is the quality of service that a subscription asks for, `expiry` how long the platform keeps what
    arrives while nobody reads, where the client says how long. `events` is a feed of Server-Sent Events and `socket` a
    WebSocket. `call` is the method that is called.
    """

    modes: tuple[Mode, ...] = Field(min_length=1)
    chunk: Annotated[Int, Field(ge=1, le=1_000_000)] = 5_000
    overlap: Duration = 0.0
    prefetch: Annotated[Int, Field(ge=1, le=65_535)] = 500
    idle: Positive = 1.0
    heartbeat: Positive = 30.0
    max_retained: Size = 10 * 1024**3
    max_message: Size = 16 * 1024**2
    visibility: Annotated[Positive, Field(le=43_200)] = 120.0
    start: Literal["earliest", "latest"] = "earliest"
    max_deliveries: Annotated[Int, Field(ge=1, le=1_000_000)] = 5
    qos: Literal[1, 2] = 1
    expiry: Positive = 7 * 86_400.0
    events: Events | None = None
    socket: Socket | None = None
    call: Call | None = None


class Sink(Model):
    """How a target is written. `batch` rows go at a time. `shape` is what a row becomes in a store of keys: a hash
    of its fields, a text of JSON, or an entry of a stream. A topic that has to be made gets `partitions`, each kept
    by `replication` brokers (without it by up to three); a queue that has to be made is of the kind `queue`, where
    the broker has kinds. `qos` is the quality of service of a message, and with `retain` the broker keeps the last
    one of each topic for later subscribers. `call` is the method that is called for each row.
    """

    batch: Annotated[Int, Field(ge=1, le=1_000_000)] = 2_000
    shape: Literal["hash", "json", "stream"] = "hash"
    partitions: Annotated[Int, Field(ge=1, le=10_000)] = 3
    replication: Annotated[Int, Field(ge=1, le=100)] | None = None
    queue: Literal["classic", "quorum"] = "classic"
    qos: Literal[1, 2] = 1
    retain: Bool = False
    call: Send | None = None

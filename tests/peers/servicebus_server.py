"""The part of Azure Service Bus that clients of queues and topics meet, over AMQP 1.0.

usage: servicebus_server.py CONFIG.json

It runs in an environment of its own, with python-qpid-proton. It knows: tokens with a signature that is checked and
rights by key ($cbs); sending alone or in batches; peek-lock and receive-and-delete; complete, abandon, defer and
dead-letter; delivery counts, lock durations and what happens after too many deliveries; and by $management peek,
renewal of locks, settlement and deferred messages. It does not know sessions, scheduled messages, expiry,
transactions, filters of subscriptions, AMQP over WebSockets, and the administration over HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import secrets
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from proton import Condition, Delivery, Endpoint, Link, Message, int32, symbol, timestamp
from proton.handlers import MessagingHandler
from proton.reactor import Container

DEAD = "/$deadletterqueue"
MANAGEMENT = "/$management"
LOST = "com.microsoft:message-lock-lost"
LOST_TEXT = "The lock supplied is invalid. Either the lock expired, or the message has already been removed."
CREDIT = 500


@dataclass
class Kept:
    """A message of one queue or subscription."""

    number: int
    body: bytes
    enqueued: float
    count: int = 0
    deferred: bool = False
    reason: str | None = None
    description: str | None = None
    source: str | None = None
    token: str | None = None
    until: float = 0.0

    def encoded(self, *, locked: bool) -> bytes:
        message = Message()
        message.decode(self.body)
        notes = {
            **(message.annotations or {}),
            symbol("x-opt-sequence-number"): self.number,
            symbol("x-opt-enqueued-time"): timestamp(int(self.enqueued * 1000)),
            symbol("x-opt-message-state"): int32(1 if self.deferred else 0),
        }
        if locked:
            notes[symbol("x-opt-locked-until")] = timestamp(int(self.until * 1000))
        if self.source is not None:
            notes[symbol("x-opt-deadletter-source")] = self.source
            told = {"DeadLetterReason": self.reason, "DeadLetterErrorDescription": self.description}
            message.properties = {
                **(message.properties or {}),
                **{name: value for name, value in told.items() if value is not None},
            }
        message.annotations = notes
        return self._header(message) + b"".join(
            whole for code, whole in _sections(bytes(message.encode())) if code != 0x70
        )

    def _header(self, message: Message) -> bytes:
        # proton leaves out a delivery count of 0, which the real service sends.
        wanted = [
            b"\x41" if message.durable else b"\x42",
            bytes([0x50, message.priority]),
            b"\x70" + int(message.ttl * 1000).to_bytes(4, "big") if message.ttl else b"\x40",
            b"\x42",
            bytes([0x52, self.count]),
        ]
        fields = b"".join(wanted)
        return b"\x00\x53\x70\xc0" + bytes([len(fields) + 1, len(wanted)]) + fields


@dataclass
class Entity:
    """A queue, a subscription, or what is dead of one of them."""

    path: str
    name: str
    lock_seconds: float
    max_delivery: int
    messages: dict[int, Kept] = field(default_factory=dict)
    readers: list[Any] = field(default_factory=list)
    last: int = 0

    @property
    def is_dead_letters(self) -> bool:
        return self.path.endswith(DEAD)


class Store:
    """Messages on disk, so that the program can be killed and started again."""

    def __init__(self, file: str) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS kept (entity, number, body, enqueued, count, deferred, reason,"
            " description, source, PRIMARY KEY (entity, number))"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS last (entity PRIMARY KEY, number)")

    def load(self, entity: Entity) -> None:
        columns = "number, body, enqueued, count, deferred, reason, description, source"
        rows = self._db.execute(f"SELECT {columns} FROM kept WHERE entity = ? ORDER BY number", [entity.path])
        for number, body, enqueued, count, deferred, *dead in rows:
            entity.messages[number] = Kept(number, body, enqueued, count, bool(deferred), *dead)
        found = self._db.execute("SELECT number FROM last WHERE entity = ?", [entity.path]).fetchone()
        entity.last = found[0] if found else 0

    def put(self, entity: Entity, kept: Kept) -> None:
        values = [kept.number, kept.body, kept.enqueued, kept.count, kept.deferred]
        values += [kept.reason, kept.description, kept.source]
        self._db.execute(f"REPLACE INTO kept VALUES (?{', ?' * 8})", [entity.path, *values])
        self._db.execute("REPLACE INTO last VALUES (?, ?)", [entity.path, entity.last])

    def remove(self, entity: Entity, kept: Kept) -> None:
        self._db.execute("DELETE FROM kept WHERE entity = ? AND number = ?", [entity.path, kept.number])


class Bus(MessagingHandler):  # type: ignore[misc]
    """Everything that happens on every connection."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(prefetch=0)
        self.handlers = self.handlers[:1]  # links and sessions only: messages are read raw here
        self._config = config
        self._store = Store(config["store"])
        self._entities: dict[str, Entity] = {}
        self._topics: dict[str, list[str]] = {}
        self._claims: dict[str, list[tuple[str, set[str], float]]] = {}
        self._answers: list[Any] = []
        self._locked: dict[str, tuple[Entity, Kept]] = {}
        for name, settings in config["queues"].items():
            self._add(name, settings)
        for name, subscriptions in config["topics"].items():
            paths = [self._add(f"{name}/Subscriptions/{sub}", how) for sub, how in subscriptions.items()]
            self._topics[name.lower()] = paths

    def _add(self, name: str, settings: dict[str, Any]) -> str:
        path = name.lower()
        for suffix, shown in (("", name), (DEAD, f"{name}/$DeadLetterQueue")):
            entity = Entity(path + suffix, shown, settings["lock_seconds"], settings["max_delivery"])
            self._store.load(entity)
            self._entities[entity.path] = entity
        return path

    # --- links -------------------------------------------------------------------------------------------------

    def on_start(self, event: Any) -> None:
        self._container = event.container
        event.container.listen(f"{self._config['host']}:{self._config['port']}")
        event.container.schedule(0.05, self)

    def on_timer_task(self, event: Any) -> None:
        now = time.time()
        for token, (entity, kept) in list(self._locked.items()):
            if kept.until <= now:
                self._unlock(token)
                self._failed(entity, kept)
        self._container.schedule(0.05, self)

    def on_link_remote_open(self, event: Any) -> None:
        link = event.link
        if not link.state & Endpoint.LOCAL_UNINIT:
            return
        link.snd_settle_mode, link.rcv_settle_mode = link.remote_snd_settle_mode, link.remote_rcv_settle_mode
        path = _path(link.remote_source.address if link.is_sender else link.remote_target.address)
        refusal = self._refusal(event.connection, path, listens=link.is_sender)
        if refusal is not None:
            link.condition = Condition(*refusal)
            link.open()  # without source and target, which says that the end follows
            link.close()
            return
        for own, remote in ((link.source, link.remote_source), (link.target, link.remote_target)):
            own.copy(remote)
        link.open()
        if not link.is_sender:
            link.flow(CREDIT)
        elif path == "$cbs" or path.endswith(MANAGEMENT):
            self._answers.append(link)
        else:
            self._entities[path].readers.append(link)

    def _refusal(self, connection: Any, path: str, *, listens: bool) -> tuple[str, str] | None:
        if path == "$cbs":
            return None
        entity = path.removesuffix(MANAGEMENT)
        right = "Listen" if listens or path.endswith(MANAGEMENT) else "Send"
        held: set[str] = set()
        for scope, rights, expiry in self._claims.get(connection.remote_container, []):
            if expiry > time.time() and (not scope or entity == scope or entity.startswith(f"{scope}/")):
                held |= rights
        if right not in held:
            text = f"Unauthorized access. '{right}' claim(s) are required to perform this operation."
            return "amqp:unauthorized-access", text
        if entity in self._entities or (entity in self._topics and (right == "Send" or path != entity)):
            return None
        return "amqp:not-found", f"The messaging entity '{entity}' could not be found."

    def on_link_flow(self, event: Any) -> None:
        link = event.link
        if link.is_sender and link.state & Endpoint.LOCAL_ACTIVE:
            entity = self._entities.get(_path(link.source.address))
            if entity is not None:
                self._pump(entity)
            if link.drain_mode:
                link.drained()

    def on_link_closing(self, event: Any) -> None:
        self._forget([event.link])

    def on_session_closing(self, event: Any) -> None:
        self._forget(link for link in self._all_links() if link.session == event.session)

    def on_connection_closing(self, event: Any) -> None:
        self.on_disconnected(event)

    def on_disconnected(self, event: Any) -> None:
        self._forget(link for link in self._all_links() if link.connection == event.connection)
        self._claims.pop(event.connection.remote_container, None)

    def _all_links(self) -> list[Any]:
        return [*self._answers, *itertools.chain(*(entity.readers for entity in self._entities.values()))]

    def _forget(self, links: Iterable[Any]) -> None:
        # What was locked by a link stays locked until its time is over, as in the real service.
        for link in list(links):
            for kept in (self._answers, *(entity.readers for entity in self._entities.values())):
                if link in kept:
                    kept.remove(link)

    # --- messages in -------------------------------------------------------------------------------------------

    def on_delivery(self, event: Any) -> None:
        delivery = event.delivery
        if delivery.link.is_sender:
            if delivery.updated:
                self._settled(delivery)
            return
        link = delivery.link
        if not link.state & Endpoint.LOCAL_ACTIVE or not delivery.readable or delivery.partial:
            return  # the first is a link that was refused while the client was sending already
        raw = bytes(link.recv(delivery.pending))
        link.advance()
        link.flow(1)
        path = _path(link.target.address)
        if path == "$cbs":
            self._put_token(link, _decoded(raw))
        elif path.endswith(MANAGEMENT):
            self._manage(link, path, _decoded(raw))
        else:
            for one in _messages(raw):
                for target in self._topics.get(path, [path]):
                    self._enqueue(self._entities[target], one)
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()

    def _enqueue(self, entity: Entity, body: bytes) -> None:
        entity.last += 1
        kept = Kept(entity.last, body, time.time())
        entity.messages[kept.number] = kept
        self._store.put(entity, kept)
        self._pump(entity)

    # --- messages out ------------------------------------------------------------------------------------------

    def _pump(self, entity: Entity) -> None:
        waiting = (
            kept for kept in list(entity.messages.values()) if kept.token is None and not kept.deferred
        )
        for kept in waiting:
            reader = next((link for link in entity.readers if link.credit > 0), None)
            if reader is None:
                return
            entity.readers.remove(reader)
            entity.readers.append(reader)  # the next message is for the next reader
            at_once = reader.snd_settle_mode == Link.SND_SETTLED
            if at_once:
                kept.token = secrets.token_hex(8)
            else:
                self._lock(entity, kept)
            delivery = reader.delivery(kept.token)
            reader.stream(kept.encoded(locked=not at_once))
            reader.advance()
            if at_once:
                delivery.settle()
                self._remove(entity, kept)

    def _lock(self, entity: Entity, kept: Kept) -> None:
        # 16 letters: proton hands a tag back as text, and clients make their lock token of its bytes.
        kept.token = secrets.token_hex(8)
        kept.until = time.time() + entity.lock_seconds
        self._locked[kept.token] = (entity, kept)

    def _unlock(self, token: str) -> tuple[Entity, Kept] | None:
        found = self._locked.pop(token, None)
        if found is not None:
            found[1].token = None
        return found

    def _settled(self, delivery: Any) -> None:
        state, remote = delivery.remote_state, delivery.remote
        found = self._unlock(delivery.tag)
        if found is None:
            if state:
                delivery.local.condition = Condition(LOST, LOST_TEXT)
                delivery.update(Delivery.REJECTED)
            delivery.settle()
            return
        entity, kept = found
        if state == Delivery.ACCEPTED:
            self._remove(entity, kept)
        elif state == Delivery.REJECTED:
            told = (remote.condition.info if remote.condition else None) or {}
            self._bury(entity, kept, told.get("DeadLetterReason"), told.get("DeadLetterErrorDescription"))
        elif state == Delivery.MODIFIED:
            self._failed(entity, kept, defer=bool(remote.undeliverable))
        else:  # released, or settled without a word: as if it had not been delivered
            self._pump(entity)
        if state == Delivery.MODIFIED:
            delivery.local.failed, delivery.local.undeliverable = remote.failed, remote.undeliverable
        if state:
            delivery.update(state)
        delivery.settle()

    def _failed(self, entity: Entity, kept: Kept, *, defer: bool = False) -> None:
        kept.count += 1
        kept.deferred = kept.deferred or defer
        if kept.count >= entity.max_delivery and not kept.deferred and not entity.is_dead_letters:
            text = f"Message could not be consumed after {kept.count} delivery attempts."
            self._bury(entity, kept, "MaxDeliveryCountExceeded", text)
            return
        self._store.put(entity, kept)
        self._pump(entity)

    def _bury(self, entity: Entity, kept: Kept, reason: str | None, description: str | None) -> None:
        if entity.is_dead_letters:
            self._pump(entity)
            return
        self._remove(entity, kept)
        kept.reason, kept.description, kept.source, kept.deferred = reason, description, entity.name, False
        dead = self._entities[entity.path + DEAD]
        dead.messages[kept.number] = kept
        self._store.put(dead, kept)
        self._pump(dead)

    def _remove(self, entity: Entity, kept: Kept) -> None:
        entity.messages.pop(kept.number, None)
        self._store.remove(entity, kept)

    # --- tokens ------------------------------------------------------------------------------------------------

    def _put_token(self, link: Any, message: Message) -> None:
        claim = self._claim(message.body) if message.properties.get("operation") == "put-token" else None
        if claim is not None:
            self._claims.setdefault(link.connection.remote_container, []).append(claim)
        status, text = (
            (202, "Accepted") if claim else (401, "InvalidSignature: The token has an invalid signature.")
        )
        self._answer(link, "$cbs", message, {"status-code": int32(status), "status-description": text}, None)

    def _claim(self, token: str) -> tuple[str, set[str], float] | None:
        kind, _, rest = token.partition(" ")
        given = dict(pair.split("=", 1) for pair in rest.split("&") if "=" in pair)
        key = self._config["keys"].get(given.get("skn"))
        if kind != "SharedAccessSignature" or key is None or not {"sr", "se", "sig"} <= given.keys():
            return None
        signed = f"{given['sr']}\n{given['se']}".encode()
        wanted = base64.b64encode(hmac.new(key["secret"].encode(), signed, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(unquote(given["sig"]), wanted) or int(given["se"]) < time.time():
            return None
        return _path(unquote(given["sr"])), set(key["rights"]), float(given["se"])

    # --- management --------------------------------------------------------------------------------------------

    def _manage(self, link: Any, path: str, message: Message) -> None:
        entity = self._entities.get(path.removesuffix(MANAGEMENT))
        operation = str(message.properties.get("operation", "")).removeprefix("com.microsoft:")
        asked: dict[str, Any] = message.body or {}
        if entity is None:
            status, condition, body = 404, "amqp:not-found", None
        elif operation == "peek-message":
            status, condition, body = self._peek(entity, asked)
        elif operation == "renew-lock":
            status, condition, body = self._renew(entity, asked)
        elif operation == "update-disposition":
            status, condition, body = self._dispose(entity, asked)
        elif operation == "receive-by-sequence-number":
            status, condition, body = self._deferred(entity, asked)
        else:
            status, condition, body = 501, "amqp:not-implemented", None
        properties = {
            "statusCode": int32(status),
            "statusDescription": LOST_TEXT if condition == LOST else condition,
        }
        if status >= 400:
            properties["errorCondition"] = symbol(condition)
        self._answer(link, path, message, properties, body)

    def _peek(self, entity: Entity, asked: dict[str, Any]) -> tuple[int, str, Any]:
        first, count = asked["from-sequence-number"], asked["message-count"]
        numbers = sorted(number for number in entity.messages if number >= first)[:count]
        shown = [{"message": entity.messages[number].encoded(locked=False)} for number in numbers]
        return (200, "OK", {"messages": shown}) if shown else (204, "No Content", None)

    def _held(self, asked: dict[str, Any]) -> list[str] | None:
        tokens = [_tag(token) for token in asked["lock-tokens"]]
        return tokens if all(token in self._locked for token in tokens) else None

    def _renew(self, entity: Entity, asked: dict[str, Any]) -> tuple[int, str, Any]:
        tokens = self._held(asked)
        if tokens is None:
            return 410, LOST, None
        until = time.time() + entity.lock_seconds
        for token in tokens:
            self._locked[token][1].until = until
        return 200, "OK", {"expirations": [timestamp(int(until * 1000)) for _ in tokens]}

    def _dispose(self, entity: Entity, asked: dict[str, Any]) -> tuple[int, str, Any]:
        tokens = self._held(asked)
        if tokens is None:
            return 410, LOST, None
        for token in tokens:
            held = self._unlock(token)
            assert held is not None
            kept, status = held[1], asked["disposition-status"]
            if status == "completed":
                self._remove(entity, kept)
            elif status == "suspended":
                self._bury(entity, kept, asked.get("deadletter-reason"), asked.get("deadletter-description"))
            else:
                self._failed(entity, kept, defer=status == "defered")
        return 200, "OK", None

    def _deferred(self, entity: Entity, asked: dict[str, Any]) -> tuple[int, str, Any]:
        found = [entity.messages.get(number) for number in asked["sequence-numbers"]]
        wanted = [kept for kept in found if kept is not None and kept.deferred and kept.token is None]
        if len(wanted) < len(found):
            return 404, "com.microsoft:message-not-found", None
        shown = []
        for kept in wanted:
            if asked["receiver-settle-mode"] == 0:
                shown.append({"message": kept.encoded(locked=False)})
                self._remove(entity, kept)
                continue
            self._lock(entity, kept)
            assert kept.token is not None
            token = uuid.UUID(bytes_le=kept.token.encode())
            shown.append({"message": kept.encoded(locked=True), "lock-token": token})
        return 200, "OK", {"messages": shown}

    def _answer(self, link: Any, path: str, asked: Message, properties: dict[str, Any], body: Any) -> None:
        for answer in self._answers:
            if answer.session == link.session and _path(answer.source.address) == path:
                answer.send(Message(correlation_id=asked.id, properties=properties, body=body))
                return


def _path(address: str | None) -> str:
    """The entity of an address or URL; names of entities are the same in capitals."""
    address = address or ""
    return (urlparse(address).path if "://" in address else address).strip("/").lower()


def _tag(token: Any) -> str:
    return uuid.UUID(str(token)).bytes_le.decode("latin-1")


def _decoded(raw: bytes) -> Message:
    message = Message()
    message.decode(raw)
    return message


def _messages(raw: bytes) -> list[bytes]:
    """The messages of a batch, or the message itself.

    A batch has a message in each section of data. Its format number would say so, but proton does not tell it.
    """
    found = [_data(whole) for code, whole in _sections(raw) if code == 0x75]
    return found if found and all(re.match(rb"\x00\x53[\x70-\x78]", data) for data in found) else [raw]


def _data(section: bytes) -> bytes:
    return section[5:] if section[3] == 0xA0 else section[8:]  # after a length of one byte or of four


def _sections(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Each section of an encoded message with the code of its descriptor (0x00 0x53 and the code)."""
    at = 0
    while at < len(raw):
        start, code, kind = at, raw[at + 2], raw[at + 3]
        at += 4
        if kind >> 4 in (0xA, 0xC, 0xE):
            at += 1 + raw[at]
        elif kind >> 4 in (0xB, 0xD, 0xF):
            at += 4 + int.from_bytes(raw[at : at + 4], "big")
        else:
            at += {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}[kind >> 4]
        yield code, raw[start:at]


if __name__ == "__main__":
    Container(Bus(json.loads(Path(sys.argv[1]).read_text()))).run()

"""What an account may do on a Redis server, and what the server promises: the probes of a profile.

Whether a command is allowed is asked without carrying it out: it is queued in a transaction, where the server
judges it (rights, role, memory), and discarded. Nobody needs a right for that which a sync would not need too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from redis.exceptions import ResponseError

from platint_tui.core.errors import ErrorClass, PlatintError
from platint_tui.core.text import clean
from platint_tui.drivers.redis.connection import Command, Wire, info_of, pairs
from platint_tui.drivers.redis.errors import code_of

Outcome = tuple[bool, str, str]
"""Whether it is so, what there is to say, and the class of the error ("" when it is so)."""

_KEY = "platint-tui:probe"
READING: tuple[Command, ...] = (
    ("SCAN", 0, "COUNT", 1),
    ("TYPE", _KEY),
    ("PTTL", _KEY),
    ("MEMORY", "USAGE", _KEY),
    ("GET", _KEY),
    ("HGETALL", _KEY),
    ("LRANGE", _KEY, 0, -1),
    ("SMEMBERS", _KEY),
    ("ZRANGE", _KEY, 0, -1, "WITHSCORES"),
)
CONSUMING: tuple[Command, ...] = (
    ("XINFO", "STREAM", _KEY),
    ("XINFO", "GROUPS", _KEY),
    ("XREAD", "COUNT", 1, "STREAMS", _KEY, "0"),
    ("XGROUP", "CREATE", _KEY, "g", "0"),
    ("XGROUP", "SETID", _KEY, "g", "0"),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", _KEY, ">"),
    ("XACK", _KEY, "g", "0-1"),
)
WRITING: tuple[Command, ...] = (
    ("HMGET", _KEY, "f"),
    ("HKEYS", _KEY),
    ("GETRANGE", _KEY, 0, 1),
    ("EXISTS", _KEY),
    ("HSET", _KEY, "f", "v"),
    ("HDEL", _KEY, "f"),
    ("SET", _KEY, "v"),
    ("DEL", _KEY),
    ("EVAL", "return 1", 0),
    ("XADD", _KEY, "*", "f", "v"),
)


async def probe(wire: Wire, name: str, user: str) -> Outcome:
    """The outcome of one probe of the manifest; one that is not known here only says that the server answers."""
    probes: dict[str, Callable[[], Awaitable[Outcome]]] = {
        "read": lambda: _allowed(wire, READING, "Keys can be read"),
        "consume": lambda: _allowed(wire, CONSUMING, "Streams can be consumed by a group"),
        "write": lambda: _allowed(wire, WRITING, "Keys and streams can be written"),
        "durable": lambda: _durable(wire, user),
        "eviction": lambda: _eviction(wire, user),
        "notifications": lambda: _notifications(wire, user),
    }
    return await probes.get(name, lambda: _connected(wire))()


async def _connected(wire: Wire) -> Outcome:
    pong, who = await wire.exchange([("PING",), ("ACL", "WHOAMI")])
    if isinstance(pong, ResponseError):
        raise wire.error(pong)
    server = wire.server
    role = "replica, which can be read only" if server.role in ("slave", "replica") else "primary"
    signed_in = f", signed in as {clean(who.decode())}" if isinstance(who, bytes) else ""
    modules = f", modules {clean(', '.join(server.modules))}" if server.modules else ""
    return True, f"Redis {clean(server.version)}, {role}{signed_in}{modules}", ""


async def refusal_of(wire: Wire, commands: Sequence[Command], about: str = "") -> PlatintError | None:
    """Why the server would not carry out one of the commands, None when it would. None of them is carried out.

    `about` are the keys that they name; without it they name any, and it is no refusal that the account may not
    use that.
    """
    replies = await wire.exchange([("MULTI",), *commands, ("DISCARD",)])
    for reply in replies[:-1]:
        if not isinstance(reply, ResponseError):
            continue
        if not about and code_of(reply) == "NOPERM" and "command" not in str(reply):
            continue
        return wire.error(reply, about)
    return None


async def _allowed(wire: Wire, commands: Sequence[Command], sentence: str) -> Outcome:
    refusal = await refusal_of(wire, commands)
    if refusal is not None:
        return False, refusal.sentence(), refusal.error_class.value
    return True, sentence, ""


async def _info(wire: Wire, section: str, user: str) -> dict[str, str] | Outcome:
    reply = (await wire.exchange([("INFO", section)]))[0]
    return _untold("INFO", "info", user) if isinstance(reply, ResponseError) else info_of(reply)


async def _setting(wire: Wire, name: str) -> str | None:
    """A setting of the server, None where CONFIG GET is refused, as on most managed servers."""
    reply = (await wire.exchange([("CONFIG", "GET", name)]))[0]
    if isinstance(reply, ResponseError) or not reply:
        return None
    value = pairs(reply)[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _untold(command: str, rule: str, user: str) -> Outcome:
    hint = f"allow it with ACL SETUSER {clean(user or 'default')} +{rule}"
    return False, f"Not known: this account may not run {command}; {hint}.", ErrorClass.CONFIG.value


async def _durable(wire: Wire, user: str) -> Outcome:
    info = await _info(wire, "persistence", user)
    if isinstance(info, tuple):
        return info
    if info.get("aof_enabled") == "1":
        every = await _setting(wire, "appendfsync")
        lost = {"always": ": nothing that was answered is lost", "everysec": ": up to a second may be lost"}
        how = f" (appendfsync {clean(every)}{lost.get(every, '')})" if every else ""
        return True, f"Every write goes to the append-only file{how}.", ""
    saves = await _setting(wire, "save")
    if saves:
        return False, "Snapshots only: a crash loses what was written since the last one.", "config"
    if saves == "":
        return False, "Nothing is saved to disk: a restart loses everything.", "config"
    return (
        False,
        "There is no append-only file: a crash loses at least what is newer than a snapshot.",
        "config",
    )


async def _eviction(wire: Wire, user: str) -> Outcome:
    info = await _info(wire, "memory", user)
    if isinstance(info, tuple):
        return info
    policy, limit = clean(info.get("maxmemory_policy", "?")), info.get("maxmemory", "0")
    if policy == "noeviction":
        return True, "When its memory is full, writes are refused and nothing is dropped (noeviction).", ""
    which = "any key" if policy.startswith("allkeys") else "keys with a time to live"
    if limit == "0":
        return (
            True,
            f"Memory has no limit; with one, {which} would be dropped when it is full ({policy}).",
            "",
        )
    return False, f"When its memory is full, the server drops {which} by itself ({policy}).", "config"


async def _notifications(wire: Wire, user: str) -> Outcome:
    events = await _setting(wire, "notify-keyspace-events")
    if events is None:
        return _untold("CONFIG GET", "config|get", user)
    state = f"on ({clean(events)})" if events else "off"
    return True, f"{state}; not used, because a notification that nobody hears is lost.", ""

"""Who listens for webhooks, in one line, for Events and the Dashboard. Pure functions."""

from __future__ import annotations

from platint_tui.services.inbound import Inbound, Receiver
from platint_tui.tui import glyphs, present

Pieces = list[tuple[str, str]]


def place(receiver: Receiver) -> str:
    """Where, without the scheme that goes without saying: `127.0.0.1:8787`."""
    return receiver.address.removeprefix("http://")


def listener(receiver: Receiver, now_ms: int) -> Pieces:
    """Glyph, word and where; or why nobody listens."""
    signs = glyphs.current()
    if receiver.state == "listening":
        return [(f"{signs.dot} listening", "ok"), (f" on {place(receiver)}", "")]
    if receiver.state == "stale":
        silent = present.age(receiver.beat_ms, now_ms)
        return [(f"{signs.bang} stale", "warn"), (f": the listener's last sign of life was {silent}", "warn")]
    if receiver.state == "failed":
        return [(f"{signs.cross} not listening", "bad"), (f": {receiver.error}", "bad")]
    if receiver.state == "off":
        return [(f"{signs.slash} off", "muted"), (": the setting says that nothing is received", "muted")]
    where = place(receiver)
    return [
        (f"{signs.ring} not listening", "warn"),
        (f": an engine with a source listens on {where}; `platint-tui serve` keeps one", "muted"),
    ]


def head(found: Inbound, now_ms: int) -> Pieces:
    """The head of the section: who listens, the public URL, what is held up."""
    pieces = listener(found.receiver, now_ms)
    if found.receiver.public_url:
        pieces += [("   public ", "muted"), (found.receiver.public_url, "key")]
    else:
        pieces.append(("   no public URL: vendors cannot reach this (9 tells how)", "warn"))
    held = held_words(found)
    if held:
        pieces.append((f"   {held}", "bad"))
    return pieces


def held_words(found: Inbound) -> str:
    """What holds deliveries up, "" for nothing."""
    parts = []
    if found.holds:
        first = found.holds[0]
        more = f" and {len(found.holds) - 1} more" if len(found.holds) > 1 else ""
        parts.append(f"held: {first.integration}{more}")
    broken = [item.profile for item in found.health if item.state != "closed"]
    if broken:
        parts.append(f"breaker open: {', '.join(broken[:3])}")
    return ", ".join(parts)

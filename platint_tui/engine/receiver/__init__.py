"""The receiver of webhooks: an HTTP server in the engine's process that answers once an event is on the disk."""

from __future__ import annotations

from platint_tui.engine.receiver.options import ReceiverOptions
from platint_tui.engine.receiver.server import Receiver

__all__ = ["Receiver", "ReceiverOptions"]

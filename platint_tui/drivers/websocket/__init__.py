"""WebSockets: feeds that are read as they come, and messages that are sent, under the credential and the origin rule
of the http driver. Needs the extra `websocket`.

`connection` (handshake, sign-in, close codes), `reader` (pages and positions), `target` (sending) and `driver`.
"""

from platint_tui.drivers.websocket.driver import WebsocketDriver, open_websocket

__all__ = ["WebsocketDriver", "open_websocket"]

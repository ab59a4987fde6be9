"""A real server of Server-Sent Events and WebSockets: nginx with its module Nchan."""

from __future__ import annotations

import base64
import os
import urllib.request
from pathlib import Path

from peers.process import PeerError, listening, missing, program
from peers.server import Peer

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
USER = "ada"
PASSWORD = "nchan-canary-2d70"
TOKEN = "nchan-canary-token-f3a9"


class NchanServer(Peer):
    """Channels with a buffer of 100 messages in memory, which a restart forgets.

    `sse_url(channel)` and `ws_url(channel)` are open to all; with `private=True` they ask for `user` and `password`
    (Basic) or `token` (Bearer, or `?token=`) and answer 401 to anybody else. Both begin with the oldest message of
    the buffer; a stream of events that is asked for with `Last-Event-ID` goes on after it. What a client sends into
    its WebSocket is published. Every second without a message a stream of events has a comment line.
    """

    user = USER
    password = PASSWORD
    token = TOKEN

    def sse_url(self, channel: str, *, private: bool = False) -> str:
        """Where the events of this channel are."""
        return f"http://{self.host}:{self.port}{'/private' if private else ''}/sse/{channel}"

    def ws_url(self, channel: str, *, private: bool = False) -> str:
        """The WebSocket of this channel."""
        return f"ws://{self.host}:{self.port}{'/private' if private else ''}/ws/{channel}"

    def publish(self, channel: str, data: str | bytes, *, event: str = "") -> None:
        """Send a message to everybody who reads the channel; `event` is its name in a stream of events."""
        headers = {"Content-Type": "text/plain", **({"X-EventSource-Event": event} if event else {})}
        self._call("POST", channel, data.encode() if isinstance(data, str) else data, headers)

    def close(self, channel: str) -> None:
        """Delete the channel with its messages; whoever reads it is disconnected."""
        self._call("DELETE", channel, None, {})

    def _call(self, method: str, channel: str, data: bytes | None, headers: dict[str, str]) -> None:
        url = f"http://{self.host}:{self.port}/pub/{channel}"
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            if answer.status >= 300:
                raise PeerError(f"nchan answered {answer.status}")

    def command(self) -> list[str]:
        if not MODULE.exists():
            raise missing("Nchan (libnginx-mod-nchan)")
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        kinds = {
            "sse": "nchan_subscriber eventsource; nchan_eventsource_ping_interval 1;",
            "ws": "nchan_pubsub websocket; nchan_websocket_ping_interval 5;",
        }
        places = "".join(
            f"location ~ ^{prefix}/{name}/([-\\w.]+)$ {{ {guard}{how} nchan_channel_id $1;"
            " nchan_message_buffer_length 100; nchan_message_timeout 10m; }\n"
            for prefix, guard in (("", ""), ("/private", "if ($allowed = 0) { return 401; } "))
            for name, how in kinds.items()
        )
        temporary = "".join(
            f"{name}_temp_path {self.folder}; "
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"load_module {MODULE};\n"
            f"{'user root;' if os.geteuid() == 0 else ''}\n"
            f"daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr warn;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; {temporary}\n"
            'map "$http_authorization $arg_token" $allowed { default 0;\n'
            f'"Basic {basic} " 1; "Bearer {TOKEN} " 1; " {TOKEN}" 1; }}\n'
            f"server {{ listen {self.host}:{self.port};\n"
            "location ~ ^/pub/([-\\w.]+)$ { nchan_publisher; nchan_channel_id $1;"
            " nchan_message_buffer_length 100; nchan_message_timeout 10m; }\n"
            f"{places}}} }}\n"
        )
        return [program("nginx"), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]

    def ready(self) -> bool:
        return listening(self.port)

"""A gRPC server of ours on Google's library, with reflection (version 1alpha)."""

from __future__ import annotations

import sys
from pathlib import Path

from peers.certificate import Certificate, make_certificate
from peers.server import Peer

PROGRAM = Path(__file__).with_name("grpc_server_main.py")
TOKEN = "grpc-canary-token-9c41"
SERVICE = "shop.v1.Orders"


class GrpcServer(Peer):
    """`shop.v1.Orders`: orders that are kept over a kill, behind `authorization: Bearer {token}`.

    `Get`, `Create` (its trailing metadata has `x-order`), `Delete` and `List` (`page_size`, `next_page_token`,
    `created_after` in seconds) are unary. `Export` streams what is there; `Watch(after_id)` goes on with what is
    created later. `Fail(code, message)` ends with that status, and RESOURCE_EXHAUSTED says `retry-after: 7` in its
    trailing metadata. Reflection asks for no token. With `tls` the server has `certificate`.
    """

    token = TOKEN
    service = SERVICE

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.certificate: Certificate | None = make_certificate(folder) if tls else None
        super().__init__(folder)

    @property
    def target(self) -> str:
        """`host:port`, as clients want it."""
        return f"{self.host}:{self.port}"

    def command(self) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = [str(self.certificate.certificate), str(self.certificate.key)] if self.certificate else []
        return [sys.executable, "-P", str(PROGRAM), str(self.port), str(self.folder), TOKEN, *files]

    def ready(self) -> bool:
        import grpc

        options = [("grpc.enable_http_proxy", 0)]
        if self.certificate is None:
            channel = grpc.insecure_channel(self.target, options)
        else:
            trusted = grpc.ssl_channel_credentials(self.certificate.certificate.read_bytes())
            channel = grpc.secure_channel(self.target, trusted, options)
        with channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=0.5)
            except grpc.FutureTimeoutError:
                return False
        return True

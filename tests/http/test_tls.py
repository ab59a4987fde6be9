"""Certificates and TLS (F1, F2, F17): refused with the reason, never passed over."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from platint_tui.core.errors import ConfigError, PlatintError
from tests.http.hostile import Build, Hostile

PAGE = {"data": [{"id": 1}], "next": None}
NOW = datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority in a folder; `issue` makes server certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self.certificate = (
            self._builder(self.name, self.name, self.key, 0, 30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: Any, start: int, end: int
    ) -> x509.CertificateBuilder:
        days = datetime.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start * days - days)
            .not_valid_after(NOW + end * days)
        )

    def issue(
        self, host: str = "127.0.0.1", start: int = 0, end: int = 30, self_signed: bool = False
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        alternative: x509.GeneralName = x509.DNSName(host)
        if host[0].isdigit():
            alternative = x509.IPAddress(ipaddress.ip_address(host))
        issuer, signer = (subject, key) if self_signed else (self.name, self.key)
        certificate = (
            self._builder(subject, issuer, key, start, end)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        file = self.folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


Serve = Callable[[ssl.SSLContext], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(context)`: a server that speaks TLS."""
    async with AsyncExitStack() as stack:

        async def start(context: ssl.SSLContext) -> Hostile:
            server = Hostile()
            await server.start(context)
            stack.push_async_callback(server.stop)
            server.json("/items", PAGE)
            return server

        yield start


async def refused(rig: Any) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    return caught.value


def trusting(authority: Authority) -> dict[str, Any]:
    return {"transport": {"ca_file": str(authority.file)}}


async def test_F1_a_certificate_of_the_named_authority_is_good(
    build: Build, authority: Authority, serve: Serve
) -> None:
    server = await serve(authority.issue())
    assert len(await build(trusting(authority), base_url=server.url).read()) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"start": -20, "end": -10}, "expired"),
        ({"host": "other.example"}, "IP address mismatch"),
        ({"self_signed": True}, "self-signed"),
    ],
)
async def test_F1_refused_certificates(
    build: Build, authority: Authority, serve: Serve, options: dict[str, Any], reason: str
) -> None:
    server = await serve(authority.issue(**options))
    rig = build(trusting(authority), base_url=server.url)
    error = await refused(rig)
    assert isinstance(error, ConfigError) and error.code == "certificate"
    assert reason in error.message and "127.0.0.1" in error.message
    assert len(rig.notes.seen) == 1 and server.seen == []


async def test_F1_an_unknown_authority(build: Build, authority: Authority, serve: Serve) -> None:
    server = await serve(authority.issue())
    error = await refused(build(base_url=server.url))
    assert error.code == "certificate" and "issuer" in error.message and "ca_file" in error.hint


async def test_F1_a_ca_file_that_is_none(
    build: Build, authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    server = await serve(authority.issue())
    for name in ("missing.pem", "text.pem"):
        (tmp_path / "text.pem").write_text("no certificate")
        rig = build({"transport": {"ca_file": str(tmp_path / name)}}, base_url=server.url)
        assert (await refused(rig)).code == "ca_file"


async def test_F2_tls_to_a_plain_port(build: Build) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        error = await refused(build(base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert isinstance(error, ConfigError) and "plain http" in error.message


async def test_F2_tls_to_a_port_that_waits_for_more(build: Build, hostile: Hostile) -> None:
    changes = {"transport": {"timeout": {"connect": "200ms"}}}
    error = await refused(build(changes, base_url=f"https://127.0.0.1:{hostile.port}"))
    assert error.code == "connect_timeout" and "TLS" in error.hint


async def test_F2_plain_http_to_a_tls_port(build: Build, authority: Authority, serve: Serve) -> None:
    server = await serve(authority.issue())
    error = await refused(build(base_url=f"http://127.0.0.1:{server.port}"))
    assert error.code in ("not_http", "connection_broken")
    assert error.code == "connection_broken" or "https://" in error.hint


async def test_G10_a_redirect_from_https_to_http(
    build: Build, authority: Authority, serve: Serve, other: Hostile
) -> None:
    server = await serve(authority.issue())
    server.json("/items", {}, status=302, headers={"Location": f"http://127.0.0.1:{server.port}/items"})
    assert (await refused(build(trusting(authority), base_url=server.url))).code == "origin"
    assert len(server.seen) == 1


async def test_F17_a_key_log_of_the_environment_stays_without_secrets(
    authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    server = await serve(authority.issue())
    log = tmp_path / "keys.log"
    code = """
import asyncio, sys
import httpx
from platint_tui.drivers.http.transport import AiohttpTransport

async def main():
    transport = AiohttpTransport(connect=5, read=5, ca_file=sys.argv[2])
    answer = await transport.handle_async_request(httpx.Request("GET", sys.argv[1]))
    print((await answer.aread()).decode())
    await transport.aclose()

asyncio.run(main())
"""
    environment = {**os.environ, "SSLKEYLOGFILE": str(log), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, f"{server.url}/items", str(authority.file),
        env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert json.loads(output) == PAGE
    assert not log.exists() or b"SECRET" not in log.read_bytes()

"""Where webhooks are received: options, environment, setting; what is refused, and what is followed."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from receiver.support import Peer, finish, request, serve, until

from platint_tui.core.errors import ConfigError
from platint_tui.engine.receiver.options import ReceiverOptions, listening


def test_options_win_over_the_environment_and_that_over_the_setting() -> None:
    setting = {"listen": "127.0.0.1:1", "public_url": "https://a.example/", "forwarded": True}
    environ = {"PLATINT_LISTEN": "127.0.0.2:2", "PLATINT_PUBLIC_URL": "https://b.example"}
    default = listening(ReceiverOptions(), {}, None)
    assert default is not None
    assert (default.host, default.port, default.public_url, default.wanted) == ("127.0.0.1", 8787, "", False)
    found = listening(ReceiverOptions(), {}, setting)
    assert found is not None
    assert (found.port, found.public_url, found.wanted, found.forwarded) == (
        1,
        "https://a.example",
        True,
        True,
    )
    found = listening(ReceiverOptions(), environ, setting)
    assert found is not None
    assert (found.host, found.port, found.public_url) == ("127.0.0.2", 2, "https://b.example")
    found = listening(ReceiverOptions(listen="[::1]:3", public_url="https://c.example/x"), environ, setting)
    assert found is not None
    assert (found.host, found.port, found.public_url) == ("::1", 3, "https://c.example/x")
    assert listening(ReceiverOptions(listen="off"), environ, setting) is None


@pytest.mark.parametrize(
    "listen", ["8787", "localhost", ":1", "a:b", "127.0.0.1:70000", "::1:80", "h:-1", "h:१"]
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="no address to listen on"):
        listening(ReceiverOptions(listen=listen), {}, None)


@pytest.mark.parametrize(
    "url", ["hooks.example.com", "ftp://a.example", "https://", "https://a.example/?x=1"]
)
def test_what_is_no_public_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no public URL"):
        listening(ReceiverOptions(public_url=url), {}, None)


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:80", "192.168.1.5:80", "hooks.example.com:80"])
def test_J16_what_others_reach_must_be_meant(listen: str) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        listening(ReceiverOptions(listen=listen), {}, None)
    for options, environ, setting in (
        (ReceiverOptions(listen=listen, expose=True), {}, None),
        (ReceiverOptions(listen=listen), {"PLATINT_EXPOSE": "1"}, None),
        (ReceiverOptions(), {}, {"listen": listen, "expose": True}),
    ):
        assert listening(options, environ, setting) is not None


async def test_it_listens_once_a_profile_receives_webhooks_and_follows_the_setting(tmp_path: Path) -> None:
    served = await serve(tmp_path, listen="")
    try:
        await served.store.settings.put("webhooks", {"listen": "off"})
        await served.profile("gh")
        assert served.receiver.address == ""
        await served.store.settings.put("webhooks", {"listen": "127.0.0.1:0"})
        await served.listens()
        before = served.port
        peer = await served.connect()
        peer.write(request())
        assert (await peer.answer()).status == 200
        await served.store.settings.put(
            "webhooks", {"listen": "127.0.0.1:0", "public_url": "https://hooks.example.com"}
        )

        async def shown(name: str, value: str) -> bool:
            status = await served.store.settings.get("receiver.status")
            return value in str(status[name])  # type: ignore[index, call-overload]

        await until(lambda: shown("public_url", "https://hooks.example.com"))
        assert served.port == before
        # Nobody was interrupted, and the name is ours now.
        peer.write(request(b"{}", "d2").replace(b"Host: 127.0.0.1", b"Host: hooks.example.com"))
        assert (await peer.answer()).status == 200
        peer.close()
        await served.store.settings.put("webhooks", {"listen": "localhost:0"})
        await until(lambda: shown("address", "http://localhost:"))
        await served.store.settings.put("webhooks", {"listen": "0.0.0.0:1"})
        await until(lambda: not served.receiver.address)
        await until(lambda: shown("error", "can be reached from other machines"))
    finally:
        await finish(served)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


async def test_it_serves_https_with_a_certificate_of_the_operator(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    served = await serve(tmp_path / "home", cert=cert, key=key)
    try:
        await served.listens()
        await served.profile("gh")
        assert served.receiver.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", served.port, ssl=context, server_hostname="localhost"
        )
        peer = Peer(reader, writer)
        peer.write(request(b"{}", "tls") + request(b"x" * 300_000, "tls2", chunks=10_000))
        assert [(await peer.answer()).status for _ in range(2)] == [200, 200]
        peer.write(request(b"{}", more={"Connection": "close"}))
        assert (await peer.answer()).headers["connection"] == "close"
        assert await peer.closed()
        peer.close()
    finally:
        await finish(served)


async def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    served = await serve(tmp_path / "home", cert=wrong)
    try:

        async def error() -> str:
            found = await served.store.settings.get("receiver.status")
            return str(found["error"]) if found else ""  # type: ignore[index, call-overload]

        assert "The certificate cannot be used" in await until(error)
        assert served.receiver.address == ""
    finally:
        await finish(served)

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.postgresql import PostgresqlDriver


def certificate(host: x509.GeneralName) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platint test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM), private


async def switch(server: Any, on: bool) -> None:
    """Turn the server's TLS on or off and wait until it says so."""
    connection = await asyncpg.connect(server.dsn, ssl=False)
    try:
        await connection.execute(f"ALTER SYSTEM SET ssl = {'on' if on else 'off'}")
        await connection.execute("SELECT pg_reload_conf()")
        deadline = asyncio.get_running_loop().time() + 20
        while await connection.fetchval("SHOW ssl") != ("on" if on else "off"):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
    finally:
        await connection.close()


@pytest.fixture
async def tls(postgres_server: Any, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    """TLS on the server for one test; the path of the authority. The certificate is for `request.param`."""
    data = postgres_server.folder / "data"
    owner = data.stat()
    public, private = certificate(request.param)
    for name, content in (("server.crt", public), ("server.key", private)):
        file = data / name
        file.write_bytes(content)
        os.chown(file, owner.st_uid, owner.st_gid)
        file.chmod(0o600)
    await switch(postgres_server, True)
    authority = tmp_path / "ca.pem"
    authority.write_bytes(public)
    yield authority
    await switch(postgres_server, False)


RIGHT = x509.IPAddress(ip_address("127.0.0.1"))
OTHER = x509.DNSName("db.example")


async def check(tools: Any, server: Any, **fields: str) -> str:
    """Empty when a connection works, else the sentence."""
    base = {"host": server.host, "port": str(server.port), "database": server.database, "user": server.user}
    driver = PostgresqlDriver(tools.context("postgresql", {**base, **fields}, password=server.password))
    try:
        await driver.discover()
    except PlatintError as error:
        assert isinstance(error, ConfigError)
        return error.sentence()
    return ""


@pytest.mark.parametrize("tls", [RIGHT], indirect=True)
async def test_every_mode_works_with_a_trusted_certificate(
    tools: Any, postgres_server: Any, tls: Path
) -> None:
    for mode in ("disable", "prefer", "require", "verify-ca", "verify-full"):
        assert await check(tools, postgres_server, tls=mode, ca_file=str(tls)) == ""


@pytest.mark.parametrize("tls", [RIGHT], indirect=True)
async def test_a_feed_of_changes_comes_over_the_same_tls(tools: Any, postgres_server: Any, tls: Path) -> None:
    server = postgres_server
    fields = {"host": server.host, "port": str(server.port), "database": server.database, "user": server.user}
    fields |= {"tls": "verify-full", "ca_file": str(tls), "schema": "tls_feed"}
    driver = PostgresqlDriver(tools.context("postgresql", fields, password=server.password))
    options = ReadOptions(sync="tls", mode="cdc", key=("id",), follow=True)
    server.psql("CREATE SCHEMA tls_feed; CREATE TABLE tls_feed.t (id int PRIMARY KEY, v text)")
    found: list[Any] = []
    begun = False
    try:
        pages = driver.read("t", None, options)
        async with asyncio.timeout(20), contextlib.aclosing(pages):  # type: ignore[type-var]
            async for page in pages:
                if "scan" not in page.position and not begun:
                    begun = True
                    rows = "SELECT g, repeat('x', 900) FROM generate_series(1, 999) g"
                    await asyncio.to_thread(server.psql, f"INSERT INTO tls_feed.t {rows}")
                found += page.records
                await driver.acknowledge("t", page.position)
                if len(found) >= 999:
                    break
            secured = await asyncio.to_thread(
                server.psql,
                "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                " WHERE a.application_name = 'platint-tui' AND a.backend_type = 'walsender'",
            )
            assert secured == "t"
    finally:
        await driver.release("tls", "t")
        server.psql("DROP SCHEMA tls_feed CASCADE")
    assert {record.value["id"] for record in found} == set(range(1, 1000))


@pytest.mark.parametrize("tls", [OTHER], indirect=True)
async def test_a_certificate_for_another_host_is_refused_by_verify_full_only(
    tools: Any, postgres_server: Any, tls: Path
) -> None:
    assert await check(tools, postgres_server, tls="verify-ca", ca_file=str(tls)) == ""
    assert "not trusted" in await check(tools, postgres_server, tls="verify-full", ca_file=str(tls))


@pytest.mark.parametrize("tls", [RIGHT], indirect=True)
async def test_an_unknown_authority_is_refused(tools: Any, postgres_server: Any, tls: Path) -> None:
    for mode in ("verify-ca", "verify-full"):
        assert "certificate is not trusted" in await check(tools, postgres_server, tls=mode)
    assert await check(tools, postgres_server, tls="require") == ""

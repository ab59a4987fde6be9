"""The peers are real and filled as the other tests expect."""

from __future__ import annotations

import os
import socket

import asyncpg
import pytest
from peers.canary import forms, leaks
from peers.emulate import GithubEmulator, StripeEmulate
from peers.localstripe import StripeEmulator
from peers.postgres import PostgresServer
from peers.process import request
from peers.secret_service import SecretService


def other_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        own = probe.getsockname()[0]
    return [] if own.startswith("127.") else [own]


def assert_loopback_only(port: int) -> None:
    for address in other_addresses():
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex((address, port)) != 0, f"port {port} is open on {address}"


def test_github_has_issues_over_more_than_three_pages(github_emulator: GithubEmulator) -> None:
    status, headers, issues = github_emulator.call(
        "GET", "/repos/octocat/alpha/issues?per_page=100&state=all"
    )
    assert status == 200 and len(issues) == 100
    assert 'rel="next"' in headers["link"] and github_emulator.url in headers["link"]
    assert "page=4" in headers["link"]
    names = {repository["name"] for repository in github_emulator.call("GET", "/user/repos?per_page=100")[2]}
    assert {"alpha", "beta", "gamma", "empty"} <= names
    assert_loopback_only(github_emulator.port)


def test_stripe_has_customers_and_charges_over_two_pages(stripe_emulator: StripeEmulator) -> None:
    for stream in ("customers", "charges"):
        status, _, page = request(
            "GET", f"{stripe_emulator.url}/v1/{stream}?limit=100", token=stripe_emulator.key
        )
        assert status == 200 and len(page["data"]) == 100 and page["has_more"]
        last = page["data"][-1]["id"]
        url = f"{stripe_emulator.url}/v1/{stream}?limit=100&starting_after={last}"
        assert request("GET", url, token=stripe_emulator.key)[2]["has_more"]
    assert request("GET", f"{stripe_emulator.url}/v1/customers")[0] == 401
    assert_loopback_only(stripe_emulator.port)


def test_the_other_stripe_is_newest_first(stripe_emulate: StripeEmulate) -> None:
    for stream in ("customers", "charges"):
        page = request("GET", f"{stripe_emulate.url}/v1/{stream}?limit=100", token=stripe_emulate.token)[2]
        assert len(page["data"]) == 100 and page["has_more"]
        created = [item["created"] for item in page["data"]]
        assert created == sorted(created, reverse=True)
    assert_loopback_only(stripe_emulate.port)


async def test_postgresql_checks_its_password(postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres_server.dsn)
    assert str(await connection.fetchval("SHOW server_version_num")) >= "130000"
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.dsn.replace(postgres_server.password, "wrong"))
    assert_loopback_only(postgres_server.port)


def test_the_secret_service_keeps_an_item(secret_service: SecretService) -> None:
    secret_service.store("peer", "check", "value é")
    assert secret_service.lookup("peer", "check") == "value é"
    secret_service.clear("peer", "check")
    assert secret_service.lookup("peer", "check") == ""


def test_a_peer_that_is_not_installed_names_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("peers.emulate.PEERS", tmp_path)
    with pytest.raises(AssertionError, match="tests/run"):
        GithubEmulator(tmp_path)


@pytest.mark.parametrize("form", sorted(forms("sk_live_a+b/c=d")))
def test_a_canary_is_found_in_every_form(tmp_path, form: bytes) -> None:
    (tmp_path / "clean.txt").write_bytes(b"nothing here")
    (tmp_path / "dirty.bin").write_bytes(b"before " + form + b" after")
    assert leaks("sk_live_a+b/c=d", [tmp_path]) == [tmp_path / "dirty.bin"]


def test_the_start_of_a_private_bus_leaves_no_process() -> None:
    service = SecretService()
    processes = [peer.process.pid for peer in service._processes]
    service.stop()
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

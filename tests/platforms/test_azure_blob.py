"""Azure Blob Storage through its manifest, against Microsoft's emulator Azurite, which checks every signature."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from peers.azurite import AzuriteServer
from platforms.vendor import Account, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError


def fields(server: AzuriteServer, container: str = "data") -> dict[str, str]:
    return {"storage_account": server.account, "blob_url": server.url, "files_container": container}


@pytest.fixture(params=["by-key", "by-signature"])
def container(request: pytest.FixtureRequest) -> str:
    """The container of one run, named after how the account signs in."""
    return str(request.param)


@pytest.fixture
async def storage(container: str, azurite_server: AzuriteServer) -> AsyncIterator[Account]:
    secrets = {"storage_key": azurite_server.key}
    if container == "by-signature":
        secrets = {"storage_sas": azurite_server.sas()}
    async with account("azure-blob", fields(azurite_server, container), secrets) as opened:
        yield opened


async def test_containers_and_blobs(storage: Account, container: str) -> None:
    stream = f"blobs.{container}"
    probe = (await storage.check())["containers"]
    assert probe.ok and "devstoreaccount1" in probe.detail
    assert (await storage.write("blob_containers", "create", {"Name": container})).written == 1
    rows = [
        {"Name": "in/ä b+c.csv", "Content": "id,name\n1,Ada\n2,Bob\n"},
        {"Name": "d.ndjson", "Content": '{"id": 3}\n'},
    ]
    assert (await storage.write(stream, "upsert", *rows)).written == 2
    again = await storage.write(stream, "create", rows[0])
    assert again.written == 0 and again.faults[0][1].code == "BlobAlreadyExists"
    assert {stream, "blob_containers"} <= await storage.streams()
    assert container in {item["Name"] for item in await storage.read(stream="blob_containers")}

    assert {item["Name"] for item in await storage.read(stream=stream)} == {row["Name"] for row in rows}
    position = storage.position
    assert await storage.read(position, stream) == []
    read = await storage.read(stream="blob_rows")
    assert [(row["blob_name"], row["id"]) for row in read] == [
        ("d.ndjson", 3),
        ("in/ä b+c.csv", "1"),
        ("in/ä b+c.csv", "2"),
    ]
    assert (await storage.write(stream, "delete", {"Name": "d.ndjson"}, {"Name": "nope"})).written == 2
    assert len(await storage.read(stream=stream)) == 1
    error = await storage.refused("blobs.nowhere")
    assert isinstance(error, ConfigError) and error.code == "ContainerNotFound"


async def test_what_a_signature_does_not_allow(azurite_server: AzuriteServer) -> None:
    async with account(
        "azure-blob", fields(azurite_server), {"storage_sas": azurite_server.sas("rl")}
    ) as guest:
        assert (await guest.check())["containers"].ok
        with pytest.raises(CredentialError) as caught:
            await guest.write("blob_containers", "create", {"Name": "forbidden"})
        assert caught.value.code == "AuthorizationPermissionMismatch"


@pytest.mark.parametrize("how", ["wrong key", "forged", "ended"])
async def test_a_bad_credential_ends_the_run(azurite_server: AzuriteServer, how: str) -> None:
    secrets = {
        "wrong key": {"storage_key": "d3Jvbmc="},
        "forged": {"storage_sas": azurite_server.sas().rpartition("sig=")[0] + "sig=d3Jvbmc%3D"},
        "ended": {"storage_sas": azurite_server.sas(hours=-1)},
    }[how]
    async with account("azure-blob", fields(azurite_server), secrets) as stranger:
        probe = (await stranger.check())["containers"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("blob_containers"), CredentialError)


async def test_a_busy_account_is_waited_for() -> None:
    vendor = Vendor()
    xml = {"Content-Type": "application/xml", "x-ms-error-code": "ServerBusy"}
    vendor.refuse("/", Reply("<?xml version='1.0'?><Error><Code>ServerBusy</Code></Error>", 503, xml))
    page = "<Container><Name>{0}</Name></Container>"
    whole = "<?xml version='1.0'?><EnumerationResults><Containers>{0}</Containers>{1}</EnumerationResults>"

    def listing(marker: str | None) -> Reply:
        more = "" if marker else "<NextMarker>next one</NextMarker>"
        return Reply(whole.format(page.format("b" if marker else "a"), more), headers=xml)

    vendor.on("GET /", lambda asked: listing(asked.query.get("marker")))
    secrets = {"storage_key": "a2V5"}
    async with (
        running(vendor),
        account("azure-blob", {"storage_account": "shop", "blob_url": vendor.url}, secrets) as opened,
    ):
        assert [item["Name"] for item in await opened.read(stream="blob_containers")] == ["a", "b"]
        assert opened.waited(5) and vendor.seen[-1].query["marker"] == "next one"

"""Methods as streams and targets: what is found, in which form it comes, and what errors mean."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import grpc
import grpc.aio
import pytest
from drivers.grpc.conftest import Client, grpc_context, grpc_driver, plan, rows
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, wrappers_pb2
from peers.grpc_server import GrpcServer

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    PlatintError,
    RateLimited,
    RecordError,
    SystemicError,
    TransientError,
    UnknownOutcome,
)
from platint_tui.core.model import Batch, Page, ReadOptions
from platint_tui.drivers.grpc import GrpcDriver
from platint_tui.drivers.grpc.link import translate, violated, wait_of
from platint_tui.drivers.grpc.messages import as_json, fill, message_class

Make = Callable[..., GrpcDriver]


@pytest.fixture(autouse=True)
def empty(client: Client) -> None:
    client.clear()


async def scan(driver: GrpcDriver, stream: str, position: object = None) -> list[Page]:
    return [page async for page in driver.read(stream, position, ReadOptions(sync="sales"))]  # type: ignore[arg-type]


async def test_methods_are_discovered_with_the_fields_of_their_records(make: Make) -> None:
    found = {item.name: item for item in await make().discover()}
    assert set(found) == {
        *("orders", "newer", "one", "add"),
        "shop.v1.Orders/Delete",
        "shop.v1.Orders/Export",
        "refuse",
    }
    types = {field.name: (field.type, field.native) for field in found["orders"].fields}
    assert types == {
        "id": ("integer", "protobuf:int64"),
        "customer": ("string", "protobuf:string"),
        "total": ("number", "protobuf:double"),
        "state": ("string", "protobuf:enum"),
        "items": ("array", "protobuf:shop.v1.Item[]"),
        "tags": ("array", "protobuf:string[]"),
        "created": ("timestamp", "protobuf:google.protobuf.Timestamp"),
        "note": ("string", "protobuf:bytes"),
    }
    assert (found["orders"].key, found["orders"].kind, found["newer"].cursor) == (("id",), "method", "id")
    delete = found["shop.v1.Orders/Delete"]
    assert not delete.readable and delete.writable and "only reads" in delete.notes[0]
    assert found["shop.v1.Orders/Export"].readable


async def test_values_keep_their_digits_and_names(make: Make, client: Client) -> None:
    client.create(id=2**53 + 1, customer="ada", total=0.1, state=2, tags=["x"], note=b"\x00\xff")
    (record,) = (await scan(make(), "shop.v1.Orders/List"))[0].records
    created = record.value.pop("created")
    assert record.value == {
        "id": 2**53 + 1,
        "customer": "ada",
        "total": 0.1,
        "state": "PAID",
        "items": [],
        "tags": ["x"],
        "note": "AP8=",
    }
    assert created.endswith("Z") and f'"id":{2**53 + 1}' in record.raw


async def test_a_listing_is_read_page_by_page(make: Make, client: Client) -> None:
    numbers = [client.create(customer="ada") for _ in range(20)]
    pages = await scan(make(), "orders")
    assert [len(page.records) for page in pages] == [7, 7, 6]
    assert [record.value["id"] for page in pages for record in page.records] == numbers


async def test_an_expired_page_token_begins_the_listing_again(make: Make, client: Client) -> None:
    number = client.create(customer="ada")
    pages = await scan(make(), "orders", {"v": 1, "method": "shop.v1.Orders/List", "token": "expired"})
    assert [record.value["id"] for record in pages[-1].records] == [number] and pages[-1].last


async def test_a_stream_with_an_end_is_read_to_its_end(make: Make, client: Client) -> None:
    numbers = [client.create(customer="ada") for _ in range(5)]
    pages = await scan(make(), "shop.v1.Orders/Export")
    assert [record.value["id"] for page in pages for record in page.records] == numbers


async def test_a_quiet_stream_says_that_it_is_alive_and_a_halted_server_ends_it(
    make: Make, client: Client, grpc_server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.grpc.reading._ALIVE_SECONDS", 0.05)
    driver = make()
    pages = driver.read("newer", None, ReadOptions(sync="sales", follow=True))
    first = await anext(pages)
    assert not first.records and not first.last
    number = client.create(customer="ada")
    while not (page := await anext(pages)).records:
        pass
    assert page.records[0].value["id"] == number and page.position["after"] == number
    os.killpg(grpc_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TransientError):
            while True:
                await anext(pages)
    finally:
        os.killpg(grpc_server.pid, signal.SIGCONT)


async def test_a_method_that_may_change_something_is_not_read(make: Make) -> None:
    with pytest.raises(ConfigError, match="only reads"):
        await scan(make(), "shop.v1.Orders/Delete")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (16, CredentialError),
        (7, ConfigError),
        (5, ConfigError),
        (3, ConfigError),
        (12, ConfigError),
        (8, RateLimited),
        (14, TransientError),
        (4, TransientError),
        (13, SystemicError),
    ],
)
async def test_a_status_is_a_typed_error(make: Make, code: int, kind: type[PlatintError]) -> None:
    driver = make(code=code)
    with pytest.raises(kind) as caught:
        await scan(driver, "failing")
    if isinstance(caught.value, RateLimited):
        wait = caught.value.until_ms - grpc_now(driver)
        assert 5_000 < wait <= 7_000


def grpc_now(driver: GrpcDriver) -> int:
    return driver._context.clock.now_ms()


async def test_a_row_that_does_not_fit_names_its_field(make: Make, client: Client) -> None:
    target = await make().open_target(plan("add"))
    values = [
        {"id": 1, "customer": "ada", "total": Decimal("12.50"), "items": [{"sku": "a", "count": 2}]},
        {"id": 2, "customer": "ada", "colour": "red"},
        {"id": 3, "customer": "ada", "items": [{"sku": "a", "count": "many"}]},
        {"id": 4},
    ]
    result = await target.write(Batch(rows(values), None))
    assert result.written == 1
    assert [(index, fault.code, fault.field) for index, fault in result.faults] == [
        (1, "unknown_field", "colour"),
        (2, "wrong_type", "items.count"),
        (3, "INVALID_ARGUMENT", ""),
    ]
    assert {fault.error_class for _, fault in result.faults} == {ErrorClass.RECORD}
    (order,) = client.orders().values()
    assert (order.total, order.items[0].count) == (12.5, 2)


async def test_a_lost_answer_is_an_unknown_outcome_and_the_rows_behind_it_wait(
    make: Make, grpc_server: GrpcServer
) -> None:
    target = await make(deadline="1").open_target(plan("add"))
    await target.write(Batch(rows([{"id": 50, "customer": "ada"}]), None))
    os.killpg(grpc_server.pid, signal.SIGSTOP)
    await asyncio.sleep(0.1)
    try:
        result = await target.write(Batch(rows([{"id": 51, "customer": "ada"}, {"id": 52}]), None))
    finally:
        os.killpg(grpc_server.pid, signal.SIGCONT)
    assert result.written == 0
    assert [fault.code for _, fault in result.faults] == [UnknownOutcome.code, "not_sent"]


async def test_what_was_never_sent_is_not_in_doubt(
    make: Make, grpc_server: GrpcServer, client: Client
) -> None:
    target = await make().open_target(plan("add"))
    grpc_server.kill()
    try:
        await asyncio.sleep(0.1)
        with pytest.raises(TransientError):
            await target.write(Batch(rows([{"id": 60, "customer": "ada"}]), None))
    finally:
        grpc_server.start_again()
    assert "60" not in client.orders()


async def test_a_refused_call_stops_before_anything_is_sent(make: Make) -> None:
    target = await make("wrong-canary-5b").open_target(plan("add"))
    with pytest.raises(CredentialError) as caught:
        await target.write(Batch(rows([{"id": 70, "customer": "ada"}]), None))
    assert "wrong-canary-5b" not in caught.value.sentence()


async def test_a_message_that_is_too_large_is_no_rate_limit(make: Make, client: Client) -> None:
    client.create(customer="x" * 100_000)
    driver = make()
    driver._link._options = tuple(
        (name, 50_000 if name == "grpc.max_receive_message_length" else value)
        for name, value in driver._link._options
    )
    with pytest.raises(ConfigError) as caught:
        await scan(driver, "orders")
    assert caught.value.code == "message_size"


async def test_the_environment_has_no_say(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert all(item.ok for item in await make().check())


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": "authorization=x"},
        {"metadata": "grpc-timeout=1s"},
        {"metadata": "no value"},
        {"deadline": "0"},
    ],
)
def test_profiles_that_cannot_be_are_refused(grpc_server: GrpcServer, fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        GrpcDriver(grpc_context(grpc_server, **fields))


class TestTls:
    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcServer]:
        server = GrpcServer(tmp_path_factory.mktemp("grpc-tls"), tls=True)
        yield server
        server.stop()

    async def test_the_server_is_checked(self, server: GrpcServer) -> None:
        assert server.certificate is not None
        trusted = grpc_driver(server, tls="verify-full", ca_file=str(server.certificate.certificate))
        unknown = grpc_driver(server, tls="verify-full")
        plain = grpc_driver(server)
        try:
            assert all(item.ok for item in await trusted.check())
            (refused, *_) = await unknown.check()
            assert not refused.ok and "ca_file" in refused.detail and refused.error_class == ErrorClass.CONFIG
            assert not (await plain.check())[0].ok
        finally:
            for driver in (trusted, unknown, plain):
                await driver.close()


# --- without a server ------------------------------------------------------------------------------------


def detail(name: str, body: bytes) -> grpc.aio.Metadata:
    """Trailing metadata with a `google.rpc.Status` of one detail, written byte by byte."""
    item = any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=body).SerializeToString()
    return grpc.aio.Metadata(("grpc-status-details-bin", b"\x08\x08\x1a" + bytes([len(item)]) + item))


def refusal(code: grpc.StatusCode, trailing: grpc.aio.Metadata) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="no")


def test_waits_come_from_pushback_and_retry_info() -> None:
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    delay = duration_pb2.Duration(seconds=3, nanos=500_000_000).SerializeToString()
    info = detail("RetryInfo", b"\x0a" + bytes([len(delay)]) + delay)
    assert wait_of(refusal(code, info)) == 3.5
    assert wait_of(refusal(code, grpc.aio.Metadata(("grpc-retry-pushback-ms", "250")))) == 0.25
    assert wait_of(refusal(code, grpc.aio.Metadata())) is None


def test_a_violated_field_is_named(grpc_server: GrpcServer) -> None:
    violation = b"\x0a\x05total\x12\x03bad"
    error = refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        detail("BadRequest", b"\x0a" + bytes([len(violation)]) + violation),
    )
    assert violated(error) == "total"
    context = grpc_context(grpc_server)
    driver = GrpcDriver(context)
    assert isinstance(translate(error, driver._address, context, "x", writing=True), RecordError)


def test_every_kind_of_field_comes_exactly() -> None:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="M")
    entry = message.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL)
    single, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message.field.add(name="longs", number=1, type=field.TYPE_SINT64, label=many)
    message.field.add(
        name="counts", number=2, type=field.TYPE_MESSAGE, type_name=".t.M.CountsEntry", label=many
    )
    message.field.add(
        name="maybe",
        number=3,
        type=field.TYPE_MESSAGE,
        type_name=".google.protobuf.UInt64Value",
        label=single,
    )
    message.field.add(name="inner", number=4, type=field.TYPE_MESSAGE, type_name=".t.M", label=single)
    pool.AddSerializedFile(file.SerializeToString())
    made = message_class(pool.FindMessageTypeByName("t.M"))()
    value = {"longs": [-(2**60)], "counts": {"a": 2**64 - 1}, "maybe": 7, "inner": {"longs": [2**60]}}
    fill(made, value, pool)
    inner = {"longs": [2**60], "counts": {}}
    assert as_json(made, pool) == {**value, "inner": inner}


def test_the_manifest_is_checked() -> None:
    from platint_tui.manifest.loader import load_connector
    from platint_tui.manifest.vectors import check_code

    connector = load_connector(Path(__file__).parents[3] / "connectors" / "grpc.yaml")
    assert [check_code(connector, test) for test in connector.tests] == [()] * len(connector.tests)

"""A gRPC server with reflection, its messages described at run time: no file of it is generated.

usage: grpc_server_main.py PORT FOLDER TOKEN [CERTIFICATE KEY]

`shop.v1.Orders` is the service; what was created is kept in a file of FOLDER, so it outlives a kill. Without
`authorization: Bearer TOKEN` every call but reflection ends with UNAUTHENTICATED.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from grpc_reflection.v1alpha import reflection

PACKAGE = "shop.v1"
SERVICE = f"{PACKAGE}.Orders"
STATES = ("STATE_UNKNOWN", "OPEN", "PAID")
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Item": {"sku": (Field.TYPE_STRING, "", False), "count": (Field.TYPE_INT32, "", False)},
    "Order": {
        "id": (Field.TYPE_INT64, "", False),
        "customer": (Field.TYPE_STRING, "", False),
        "total": (Field.TYPE_DOUBLE, "", False),
        "state": (Field.TYPE_ENUM, "State", False),
        "items": (Field.TYPE_MESSAGE, "Item", True),
        "tags": (Field.TYPE_STRING, "", True),
        "created": (Field.TYPE_MESSAGE, ".google.protobuf.Timestamp", False),
        "note": (Field.TYPE_BYTES, "", False),
    },
    "GetRequest": {"id": (Field.TYPE_INT64, "", False)},
    "ListRequest": {
        "page_size": (Field.TYPE_INT32, "", False),
        "page_token": (Field.TYPE_STRING, "", False),
        "created_after": (Field.TYPE_INT64, "", False),
    },
    "ListResponse": {
        "orders": (Field.TYPE_MESSAGE, "Order", True),
        "next_page_token": (Field.TYPE_STRING, "", False),
    },
    "WatchRequest": {"after_id": (Field.TYPE_INT64, "", False)},
    "FailRequest": {"code": (Field.TYPE_INT32, "", False), "message": (Field.TYPE_STRING, "", False)},
}
METHODS = {
    "Get": ("GetRequest", "Order", False),
    "List": ("ListRequest", "ListResponse", False),
    "Create": ("Order", "Order", False),
    "Delete": ("GetRequest", "Order", False),
    "Export": ("ListRequest", "Order", True),
    "Watch": ("WatchRequest", "Order", True),
    "Fail": ("FailRequest", "Order", False),
}
"""Request, answer, and whether the answer is a stream."""


def described() -> Any:
    """The descriptor of the whole file, known to the pool of this process."""
    from google.protobuf import timestamp_pb2

    file = descriptor_pb2.FileDescriptorProto(name="shop/v1/orders.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    states = file.enum_type.add(name="State")
    for number, name in enumerate(STATES):
        states.value.add(name=name, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, (kind, of, many)) in enumerate(fields.items(), 1):
            label = Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                made.type_name = of if of.startswith(".") else f".{PACKAGE}.{of}"
    service = file.service.add(name="Orders")
    for name, (asks, gives, streams) in METHODS.items():
        service.method.add(
            name=name,
            input_type=f".{PACKAGE}.{asks}",
            output_type=f".{PACKAGE}.{gives}",
            server_streaming=streams,
        )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


class Orders:
    """The service. Numbers of orders grow; `Watch` gives what is there after a number, then what is created."""

    def __init__(self, file: Path, types: dict[str, Any]) -> None:
        self._types = types
        self._file = file
        self._changed = threading.Condition()
        self._orders: dict[int, Any] = {}
        self._last = 0
        for line in file.read_text().splitlines() if file.exists() else []:
            number, encoded = json.loads(line)
            self._last = max(self._last, number)
            if encoded is None:
                self._orders.pop(number, None)
            else:
                self._orders[number] = types["Order"].FromString(bytes.fromhex(encoded))

    def _keep(self, number: int, order: Any) -> None:
        encoded = None if order is None else order.SerializeToString().hex()
        with self._file.open("a") as file:
            file.write(json.dumps([number, encoded]) + "\n")

    def Get(self, request: Any, context: grpc.ServicerContext) -> Any:
        order = self._orders.get(request.id)
        if order is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"There is no order {request.id}.")
        return order

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not request.customer:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "An order needs a customer.")
        with self._changed:
            number = request.id or self._last + 1
            if number in self._orders:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"There is an order {number} already.")
            request.id = number
            if not request.HasField("created"):
                request.created.GetCurrentTime()
            self._last = max(self._last, number)
            self._keep(number, request)
            self._orders[number] = request
            self._changed.notify_all()
        context.set_trailing_metadata((("x-order", str(number)),))
        return request

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._changed:
            order = self._orders.get(request.id)
            if order is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"There is no order {request.id}.")
            self._keep(request.id, None)
            del self._orders[request.id]
        return order

    def _after(self, number: int, created_after: int = 0) -> list[Any]:
        with self._changed:
            return [
                self._orders[key]
                for key in sorted(self._orders)
                if key > number and self._orders[key].created.seconds >= created_after
            ]

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.page_token and not request.page_token.isdecimal():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "This page token is not one of this service.")
        size = request.page_size or 50
        found = self._after(int(request.page_token or 0), request.created_after)
        more = str(found[size - 1].id) if len(found) > size else ""
        return self._types["ListResponse"](orders=found[:size], next_page_token=more)

    def Export(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield from self._after(int(request.page_token or 0), request.created_after)

    def Watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        last = request.after_id
        context.add_callback(self._wake)
        while context.is_active():
            with self._changed:
                newest, found = self._last, self._after(last)
            yield from found
            last = max(last, newest)
            with self._changed:
                if self._last <= last and context.is_active():
                    self._changed.wait(timeout=5)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def Fail(self, request: Any, context: grpc.ServicerContext) -> Any:
        code = next(code for code in grpc.StatusCode if code.value[0] == request.code)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            context.set_trailing_metadata((("retry-after", "7"),))
        context.abort(code, request.message)


class Guard(grpc.ServerInterceptor):  # type: ignore[misc]
    """Asks for the token, except for reflection."""

    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}"

        def refuse(request: Any, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is missing or wrong.")

        self._refuse = grpc.unary_unary_rpc_method_handler(refuse)
        self._refuse_stream = grpc.unary_stream_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith("/grpc.reflection."):
            return handler
        if dict(details.invocation_metadata).get("authorization") == self._wanted:
            return handler
        return self._refuse_stream if handler.response_streaming else self._refuse


def main(port: str, folder: str, token: str, *tls: str) -> None:
    """Serve until the process is ended."""
    pool = described()
    types = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }
    orders = Orders(Path(folder) / "orders.jsonl", types)
    handlers = {}
    for name, (asks, gives, streams) in METHODS.items():
        make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        handlers[name] = make(
            getattr(orders, name),
            request_deserializer=types[asks].FromString,
            response_serializer=types[gives].SerializeToString,
        )
    # The port is taken by nobody else: without this two servers may share it.
    server = grpc.server(
        futures.ThreadPoolExecutor(32), interceptors=[Guard(token)], options=[("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
    address = f"127.0.0.1:{port}"
    if tls:
        certificate, key = (Path(name).read_bytes() for name in tls)
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])

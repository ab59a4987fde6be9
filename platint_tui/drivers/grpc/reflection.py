"""What a server says of itself: services, methods and messages, by server reflection.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. The versions v1 and v1alpha have the same
messages. What a server describes goes into a pool of its own, beside those of other servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.text import clean
from platint_tui.drivers.grpc.link import Link, code_of

_VERSIONS = ("v1", "v1alpha")
_MOST_FILES = 5_000
_NOT_THEIRS = ("grpc.reflection.", "grpc.health.", "grpc.channelz.")
_USUAL = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
}
"""Files that some servers use without describing them."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service: `name` is `package.Service/Method`. `safe`: it says that it changes nothing."""

    name: str
    input: Descriptor
    output: Descriptor
    sends_many: bool
    gives_many: bool
    safe: bool

    @property
    def path(self) -> str:
        """How it is called."""
        return f"/{self.name}"


@dataclass(frozen=True, slots=True)
class Described:
    """The methods of a server by name, and the pool that knows their messages."""

    methods: Mapping[str, Method]
    pool: descriptor_pool.DescriptorPool
    version: str

    def method(self, name: str, where: str) -> Method:
        """The method `package.Service/Method`. Raises ConfigError when the server has none of this name."""
        found = self.methods.get(name)
        if found is None:
            raise ConfigError(
                f"The server has no method '{clean(name)}'.",
                where=where,
                hint="Discover the streams again, or correct the name.",
                code="UNIMPLEMENTED",
            )
        return found


async def describe(link: Link) -> Described:
    """Ask the server for everything. Raises grpc.aio.AioRpcError, ConfigError where it has no reflection,
    SystemicError for descriptions that contradict themselves.
    """
    for version in _VERSIONS:
        try:
            return await _Asking(link, version).everything()
        except grpc.aio.AioRpcError as error:
            if code_of(error) != "UNIMPLEMENTED":
                raise
    raise ConfigError(
        "The server does not describe its services: it has no reflection.",
        where=link.address.where,
        hint="Turn server reflection on at the server.",
        code="no_reflection",
    )


class _Asking:
    """Questions and answers. Each question is a call of its own: on a stream of several, a server without this
    version of the service ends the call while a question is being written, and the library loses the reason.
    """

    def __init__(self, link: Link, version: str) -> None:
        self._link = link
        self._version = version
        self._where = link.address.where
        self._files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    async def everything(self) -> Described:
        listed = await self._ask(list_services="")
        names = [item.name for item in listed.list_services_response.service]
        theirs = [name for name in names if not name.startswith(_NOT_THEIRS)]
        for name in theirs:
            self._keep(await self._ask(file_containing_symbol=name))
        await self._complete()
        pool = descriptor_pool.DescriptorPool()
        added: set[str] = set()
        try:
            for name in list(self._files):
                self._add(pool, name, added, ())
            methods = [method for name in theirs for method in pool.FindServiceByName(name).methods]
        except (TypeError, KeyError) as error:
            raise SystemicError(
                f"What the server says of itself cannot be understood: {clean(str(error))[:300]}",
                where=self._where,
                code="reflection",
            ) from None
        return Described({item.name: item for item in map(_method, methods)}, pool, self._version)

    async def _ask(self, **question: Any) -> Any:
        path = f"/grpc.reflection.{self._version}.ServerReflection/ServerReflectionInfo"
        request = reflection_pb2.ServerReflectionRequest(**question).SerializeToString()
        return reflection_pb2.ServerReflectionResponse.FromString(await self._link.unary(path, request))

    def _keep(self, answer: Any) -> None:
        for data in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
            except DecodeError:
                continue
            self._files.setdefault(file.name, file)
        if len(self._files) > _MOST_FILES:
            raise SystemicError(
                f"The server describes more than {_MOST_FILES} files.", where=self._where, code="reflection"
            )

    async def _complete(self) -> None:
        """Get the files that the known ones depend on and that were not sent with them."""
        while True:
            wanted = {name for file in self._files.values() for name in file.dependency} - set(self._files)
            if not wanted:
                return
            for name in sorted(wanted):
                self._keep(await self._ask(file_by_filename=name))
                if name not in self._files and name in _USUAL:
                    self._files[name] = descriptor_pb2.FileDescriptorProto.FromString(_USUAL[name])
                if name not in self._files:
                    raise SystemicError(
                        f"The server does not describe '{clean(name)}', which its messages use.",
                        where=self._where,
                        code="reflection",
                    )

    def _add(
        self, pool: descriptor_pool.DescriptorPool, name: str, added: set[str], above: Sequence[str]
    ) -> None:
        if name in added or name in above:
            return
        for used in self._files[name].dependency:
            self._add(pool, used, added, (*above, name))
        pool.AddSerializedFile(self._files[name].SerializeToString())
        added.add(name)


def _method(found: MethodDescriptor) -> Method:
    options = found.GetOptions()
    return Method(
        f"{found.containing_service.full_name}/{found.name}",
        found.input_type,
        found.output_type,
        found.client_streaming,
        found.server_streaming,
        options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
    )

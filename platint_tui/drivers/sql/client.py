"""The client of MySQL's protocol, held to what the profile asks for."""

from __future__ import annotations

from typing import Any

from aiomysql import Connection, OperationalError

NO_TLS = 2026
_CLIENT_SSL = 1 << 11
_SENT_OPENLY = (b"mysql_clear_password", b"dialog")


class StrictConnection(Connection):  # type: ignore[misc]  # the library has no types
    """A connection that never goes on without the TLS that was asked for, nor sends a password in the clear."""

    async def _request_authentication(self) -> None:
        # The library itself would go on without TLS when the server, or somebody before it, offers none.
        if self._ssl_context is not None and not self.server_capabilities & _CLIENT_SSL:
            raise OperationalError(NO_TLS, "the server does not offer TLS")
        if self._ssl_context is None and self._server_auth_plugin.encode() in _SENT_OPENLY:
            raise OperationalError(NO_TLS, "the server wants the password in the clear, without TLS")
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if self._ssl_context is None and plugin_name in _SENT_OPENLY:
            raise OperationalError(NO_TLS, "the server wants the password in the clear, without TLS")
        return await super()._process_auth(plugin_name, auth_packet)

    def escape(self, obj: Any) -> Any:
        """A value as a literal; bytes as hexadecimal digits, whatever the character set is."""
        return f"_binary x'{obj.hex()}'" if isinstance(obj, bytes) else super().escape(obj)


async def connect(**settings: Any) -> StrictConnection:
    """An open connection. Raises what the library raises."""
    connection = StrictConnection(**settings)
    await connection._connect()
    return connection

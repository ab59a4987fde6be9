"""Runs localstripe (its own interpreter, its own process) on 127.0.0.1 instead of every interface.

Started by `peers.localstripe` with the interpreter of the peer's virtual environment. The program writes its
whole state to a shared file in the temporary folder after every change; two of them would overwrite each
other, and a fresh one per test session needs no state, so that is switched off.
"""

import runpy
import socket
import sys

from localstripe import resources

_bind = socket.socket.bind


def bind(self: socket.socket, address: tuple) -> None:
    if address[0] in ("", "::", "0.0.0.0"):
        host = "::ffff:127.0.0.1" if self.family == socket.AF_INET6 else "127.0.0.1"
        address = (host, *address[1:])
    _bind(self, address)


socket.socket.bind = bind
resources.Store.dump_to_disk = lambda self: None
sys.argv = ["localstripe", "--port", sys.argv[1], "--from-scratch"]
runpy.run_module("localstripe", run_name="__main__")

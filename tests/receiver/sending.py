"""A sender in a thread of its own that keeps what was acknowledged, as a platform does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable

from receiver.support import body_of, headers_of


class Sender(threading.Thread):
    """Sends webhooks one after the other until the other side is gone."""

    def __init__(self, port: int, deliveries: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.deliveries = list(deliveries)
        self.acknowledged: set[str] = set()
        self.statuses: list[int] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            for number in self.deliveries:
                body, name = body_of(number), f"d{number}"
                connection.request("POST", "/webhooks/gh", body, headers_of(body, name))
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
                if answer.status == 200:
                    self.acknowledged.add(name)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()


def send_all(port: int, deliveries: Iterable[int], connections: int) -> list[Sender]:
    """Deal the deliveries out to so many senders, and wait for all of them."""
    numbers = list(deliveries)
    senders = [Sender(port, numbers[n::connections]) for n in range(connections)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    return senders

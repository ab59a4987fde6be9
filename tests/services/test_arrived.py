"""What is said to have arrived did arrive: what a later event overtook was never sent."""

from __future__ import annotations

from platint_tui.core.events import DeliveryState
from platint_tui.services import syncs


def test_what_was_overtaken_did_not_arrive() -> None:
    states = {
        DeliveryState.DONE: 2,
        DeliveryState.SUPERSEDED: 3,
        DeliveryState.DEAD: 1,
        DeliveryState.PENDING: 4,
    }
    fed = syncs._fed_stream(states, "")
    assert (fed.waiting, fed.delivered) == (4, 2)

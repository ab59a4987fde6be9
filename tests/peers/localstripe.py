"""The Stripe emulator `localstripe` (GPL: a separate program in a virtual environment of its own)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from peers.process import PEERS, PeerProcess, expect, listening, missing, request, start_on_free_port

KEY = "sk_test_localstripe_0001"


class StripeEmulator:
    """Stripe's REST API: `url`, `key`, customers and charges created at the start.

    What differs from Stripe: lists are oldest first; only charges take a `created` filter, and only
    `created[gt]`; `limit` has no upper bound. Anything else in the query is answered by 400.
    """

    def __init__(self, folder: Path, customers: int = 240, charges: int = 215) -> None:
        python = PEERS / "localstripe-venv" / "bin" / "python"
        if not python.is_file():
            raise missing("The Stripe emulator `localstripe`")
        script = Path(__file__).with_name("localstripe_main.py")

        def start(port: int) -> PeerProcess:
            return PeerProcess([str(python), "-I", str(script), str(port)], folder=folder)

        self.port, self.process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = KEY
        self.customers = [self.create_customer(number)["id"] for number in range(1, customers + 1)]
        self.payer = self.create_payer()
        for number in range(1, charges + 1):
            self.create_charge(100 + number)

    def post(self, path: str, **form: str) -> dict[str, Any]:
        """One POST that must succeed."""
        answer = request("POST", self.url + path, form=urlencode(form).encode(), token=self.key)
        return dict(expect(200, answer))

    def create_customer(self, number: int) -> dict[str, Any]:
        """A customer with an email address made from `number`."""
        return self.post("/v1/customers", email=f"customer{number}@example.com", name=f"Customer {number}")

    def create_payer(self) -> str:
        """The first customer, given a card that charges can be made on."""
        card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2031", "cvc": "123"}
        form = {f"card[{name}]": value for name, value in card.items()}
        token = self.post("/v1/tokens", **form)
        self.post(f"/v1/customers/{self.customers[0]}/sources", source=token["id"])
        return str(self.customers[0])

    def create_charge(self, amount: int) -> dict[str, Any]:
        """A captured charge in euro cents on the paying customer's card."""
        return self.post("/v1/charges", amount=str(amount), currency="eur", customer=self.payer)

    def stop(self) -> None:
        """End the emulator."""
        self.process.stop()

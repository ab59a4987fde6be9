"""The GitHub, Stripe and Slack emulators of the npm package `emulate`, filled through their own APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from peers.process import (
    PEERS,
    PeerError,
    PeerProcess,
    expect,
    listening,
    missing,
    program,
    request,
    start_on_free_port,
)

TOKEN = "ghp_test_token_octocat_0001"
SEED = f"""\
tokens:
  {TOKEN}:
    login: octocat
    scopes: [repo, user]
github:
  users:
    - login: octocat
      name: The Octocat
      email: octocat@example.com
"""


class Emulate:
    """One service of `emulate` on a port of its own, loopback only."""

    def __init__(self, service: str, folder: Path, seed: str = SEED) -> None:
        main = PEERS / "npm" / "node_modules" / "emulate" / "dist" / "index.js"
        if not main.is_file():
            raise missing("The emulator `emulate` (npm)")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seed.yaml").write_text(seed)
        preload = Path(__file__).with_name("loopback.cjs")
        node = program("node")

        def start(port: int) -> PeerProcess:
            options = ["-p", str(port), "-s", service, "--base-url", f"http://127.0.0.1:{port}"]
            return PeerProcess(
                [node, "-r", str(preload), str(main), "start", *options, "--seed", "seed.yaml"], folder=folder
            )

        self.port, self.process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = TOKEN

    def stop(self) -> None:
        """End the emulator."""
        self.process.stop()


class GithubEmulator(Emulate):
    """GitHub's REST API: `url`, `token` (user octocat), repositories octocat/<name> with issues.

    `issues` says how many issues each repository was given at the start; `alpha` has four pages of 100.
    """

    login = "octocat"

    def __init__(self, folder: Path, issues: dict[str, int] | None = None) -> None:
        super().__init__("github", folder)
        self.issues = {"alpha": 320, "beta": 45, "gamma": 3, "empty": 0} if issues is None else issues
        for name, count in self.issues.items():
            self.create_repository(name)
            for number in range(1, count + 1):
                self.create_issue(name, f"{name} issue {number}", body=f"Steps to reproduce number {number}.")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        """One request as octocat: status, headers, body."""
        return request(method, self.url + path, json_body=body, token=self.token)

    def create_repository(self, name: str) -> dict[str, Any]:
        """A repository of octocat."""
        return dict(
            expect(201, self.call("POST", "/user/repos", {"name": name, "description": f"About {name}"}))
        )

    def create_issue(self, repository: str, title: str, **fields: Any) -> dict[str, Any]:
        """An issue in octocat/<repository>."""
        path = f"/repos/{self.login}/{repository}/issues"
        return dict(expect(201, self.call("POST", path, {"title": title, **fields})))

    def update_issue(self, repository: str, number: int, **fields: Any) -> dict[str, Any]:
        """Change fields of an issue; its updated_at moves."""
        path = f"/repos/{self.login}/{repository}/issues/{number}"
        return dict(expect(200, self.call("PATCH", path, fields)))


class StripeEmulate(Emulate):
    """Stripe as `emulate` has it: newest first, `created[gte]` on every list; `token` as bearer."""

    def __init__(self, folder: Path, customers: int = 250, charges: int = 230) -> None:
        super().__init__("stripe", folder)
        self.customers = [self.create_customer(number)["id"] for number in range(1, customers + 1)]
        for number in range(1, charges + 1):
            self.create_charge(self.customers[number % len(self.customers)], 100 + number)

    def _post(self, path: str, **form: str) -> dict[str, Any]:
        answer = request("POST", self.url + path, form=urlencode(form).encode(), token=self.token)
        return dict(expect(200, answer))

    def create_customer(self, number: int) -> dict[str, Any]:
        """A customer with an email address made from `number`."""
        return self._post("/v1/customers", email=f"customer{number}@example.com", name=f"Customer {number}")

    def create_charge(self, customer: str, amount: int) -> str:
        """A succeeded charge, made by confirming a payment intent. Returns the intent's id."""
        intent = self._post(
            "/v1/payment_intents",
            amount=str(amount),
            currency="eur",
            customer=customer,
            payment_method="pm_card_visa",
        )
        confirmed = self._post(f"/v1/payment_intents/{intent['id']}/confirm")
        if confirmed["status"] != "succeeded":
            raise PeerError(f"the emulator did not confirm the payment: {confirmed}")
        return str(intent["id"])


class GithubAppEmulator(Emulate):
    """GitHub with the organisation acme (member octocat) and the App 4711, installed as 99 for octocat/shop.

    The JWT of the App is verified; `key` is its private key (PEM).
    """

    app_id, installation_id = "4711", "99"

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        seed: dict[str, Any] = yaml.safe_load(SEED)
        seed["github"] |= {
            "orgs": [{"login": "acme", "name": "Acme", "members": [{"login": "octocat", "role": "admin"}]}],
            "repos": [{"owner": "octocat", "name": "shop", "auto_init": True}],
            "apps": [
                {
                    "app_id": int(self.app_id),
                    "slug": "platint",
                    "name": "Platint",
                    "private_key": key,
                    "permissions": {"issues": "write", "metadata": "read"},
                    "installations": [{"installation_id": int(self.installation_id), "account": "octocat"}],
                }
            ],
        }
        super().__init__("github", folder, yaml.safe_dump(seed))


class SlackEmulator(Emulate):
    """Slack's Web API with strict scopes: `token` may do everything that the manifest reads and writes, `narrow` has
    only channels:read. The channel `general` has its `channel` id, and more messages than fit on one page.
    """

    scopes = (
        "users:read",
        "channels:read",
        "channels:history",
        "channels:manage",
        "files:read",
        "chat:write",
    )

    def __init__(self, folder: Path, messages: int = 230) -> None:
        self.narrow = "xoxb-narrow-000000000001"
        token = "xoxb-emulate-000000000001"
        seed = {
            "slack": {
                "team": {"name": "Acme", "domain": "acme"},
                "strict_scopes": True,
                "users": [{"name": name, "real_name": name.title()} for name in ("ada", "bo")],
                "channels": [{"name": "ops"}],
                "tokens": [
                    {"token": token, "user": "ada", "type": "bot", "scopes": list(self.scopes)},
                    {"token": self.narrow, "user": "ada", "type": "bot", "scopes": ["channels:read"]},
                ],
            }
        }
        super().__init__("slack", folder, yaml.safe_dump(seed))
        self.token = token
        self.channel = next(
            item["id"] for item in self.call("conversations.list")["channels"] if item["name"] == "ops"
        )
        for number in range(1, messages + 1):
            self.post(f"message {number}")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One method; its answer, which must be ok."""
        answer = dict(
            expect(200, request("POST", f"{self.url}/api/{method}", json_body=arguments, token=self.token))
        )
        if not answer.get("ok"):
            raise PeerError(f"{method} was refused: {answer}")
        return answer

    def post(self, text: str, **arguments: Any) -> str:
        """A message in the channel; returns its ts."""
        return str(self.call("chat.postMessage", channel=self.channel, text=text, **arguments)["ts"])

"""The helper program's own rules: which backends it may use, how it splits long values, what it keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.vault import _keyring_helper as helper

LIMIT = 1280


class Limited:
    """A backend as the Windows Credential Manager is: an item holds 1,280 UTF-16 units, more is an error."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.items.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if len(password.encode("utf-16-le")) > LIMIT * 2:
            raise OSError(1783, "CredWrite", "The stub received bad data")
        self.items[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.items[service, username]


class Forgetful(Limited):
    """A backend as `null` is: it takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        return


@given(st.text(min_size=1, max_size=200).map(lambda text: text * 40))
def test_D12_a_long_value_is_split_and_comes_back(value: str) -> None:
    value = value.encode("utf-8", "ignore").decode() or "x"
    backend = Limited()
    helper.write(backend, "token", value, LIMIT)
    assert helper.read(backend, "token") == value
    helper.delete(backend, "token")
    assert backend.items == {}


def test_D12_a_refresh_token_of_20_kB(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Limited()
    value = "a😀" * 5_000
    helper.write(backend, "token", value, LIMIT)
    assert len(backend.items) == 1 + -(-15_000 // LIMIT)
    assert helper.read(backend, "token") == value


def test_D12_a_lost_or_changed_piece_is_no_value() -> None:
    backend = Limited()
    helper.write(backend, "token", "a" * 5_000, LIMIT)
    whole = dict(backend.items)
    for key in whole:
        if key[1] == "token":
            continue
        backend.items = {**whole, key: "b" * len(whole[key])}
        with pytest.raises(helper.HelperError, match="damaged"):
            helper.read(backend, "token")
        backend.items = {other: text for other, text in whole.items() if other != key}
        with pytest.raises(helper.HelperError, match="damaged"):
            helper.read(backend, "token")


def test_a_value_that_looks_like_the_head_of_a_split_one() -> None:
    backend = Limited()
    value = f"{helper.CHUNKED}3:abc"
    helper.write(backend, "token", value, None)
    assert helper.read(backend, "token") == value


def test_D4_a_backend_that_keeps_nothing_is_found_out() -> None:
    with pytest.raises(helper.HelperError, match="not_kept"):
        helper.write(Forgetful(), "token", "secret value", None)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "freebsd14"])
@pytest.mark.parametrize(
    "wanted",
    [
        "keyring.backends.null.Keyring",
        "keyring.backends.fail.Keyring",
        "keyring.backends.chainer.ChainerBackend",
        "keyrings.alt.file.PlaintextKeyring",
    ],
)
def test_D2_D3_D4_D5_only_backends_of_the_list(
    wanted: str, platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for environ in ({"PYTHON_KEYRING_BACKEND": wanted}, {}):
        if not environ:
            folder = tmp_path / ".config" / "python_keyring"
            folder.mkdir(parents=True)
            (folder / "keyringrc.cfg").write_text(
                f"[backend]\ndefault-keyring={wanted}\nkeyring-path={tmp_path}\n"
            )
        paths, ignored = helper.candidates(environ, platform)
        assert wanted not in paths and set(paths) <= set(helper.NAMES)
        assert ignored == wanted


def test_a_backend_of_the_list_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = helper.LINUX[1]
    paths, ignored = helper.candidates({"PYTHON_KEYRING_BACKEND": wanted}, "linux")
    assert paths[0] == wanted and len(paths) == len(set(paths)) and ignored == ""


def test_D2_an_installed_plaintext_backend_is_not_even_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As pip would install it: a package and an entry point, which `keyring` loads and prefers by itself.
    (tmp_path / "keyrings_plain.py").write_text(
        "import keyring.backend\n"
        "class Keyring(keyring.backend.KeyringBackend):\n"
        "    priority = 99\n"
        "    def get_password(self, service, username): return 'plain'\n"
        "    def set_password(self, service, username, password): pass\n"
        "    def delete_password(self, service, username): pass\n"
    )
    metadata = tmp_path / "keyrings_plain-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: keyrings-plain\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[keyring.backends]\nplain = keyrings_plain\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    with pytest.raises(helper.HelperError, match="no_backend"):
        helper.choose(helper.candidates({"PYTHON_KEYRING_BACKEND": "keyrings_plain.Keyring"}, "linux")[0])
    assert "keyrings_plain" not in sys.modules

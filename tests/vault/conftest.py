"""Vault files of these tests are made with a key that is quick to derive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from platint_tui.vault import encrypted_file


@pytest.fixture(scope="package", autouse=True)
def quick_key() -> Iterator[None]:
    """A hundredth of the work for each key. Its real strength is checked where the program makes the file:
    tests/cli/test_secrets.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encrypted_file, "SCRYPT_N", 2**10)
        yield

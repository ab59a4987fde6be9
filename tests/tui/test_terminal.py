"""The console on a real pseudo-terminal: signals, crashes, exit codes, what reaches the terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from seeding import NOW_MS as NOW
from seeding import FixedClock, Page, fault, integration, open_workspace, seed_run
from terminal import RESTORED, Terminal

ROOT = Path(__file__).parents[2]
CRASHING = """
import asyncio, sys
from platint_tui.core.secret import Secret
from platint_tui.tui.run import run_console
from platint_tui.tui.screens.dashboard.section import DashboardSection
async def opened():
    from platint_tui.services.workspace import open_workspace
    return await open_workspace()
def show(self, snapshot):
    token = "local-" + "variable"
    secret = Secret("s3cr3t-" + "canary")
    raise RuntimeError("the view broke with " + secret.reveal() + " \\x1b]52;c;aGk=\\x07")
DashboardSection.show = show
sys.exit(asyncio.run(run_console(opened)))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PLATINT_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "DBUS_SESSION_BUS_ADDRESS": "",
        "TEXTUAL_ANIMATIONS": "none",
    }


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[object]:
    terminals: list[Terminal] = []

    def begin(**options: object) -> Terminal:
        terminals.append(Terminal(environ, **options))  # type: ignore[arg-type]
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


def test_it_starts_and_leaves_the_terminal_as_it_was(start: type[Terminal]) -> None:
    terminal = start()
    terminal.read(b"engine idle")
    terminal.send(b"\x11")
    assert terminal.wait() == 0
    assert RESTORED in terminal.screen


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_O7_a_signal_restores_the_terminal(start: type[Terminal], number: signal.Signals, code: int) -> None:
    terminal = start()
    terminal.read(b"Dashboard")
    terminal.signal(number)
    assert terminal.wait() == code
    after = terminal.screen.rsplit(RESTORED, 1)
    assert len(after) == 2, "the alternate screen was left"
    for mouse in (b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?25h"):
        assert mouse in terminal.screen
    assert b"Traceback" not in terminal.screen


def test_A20_N3_O8_a_crash_says_one_sentence_and_shows_no_locals(
    start: type[Terminal], environ: dict[str, str]
) -> None:
    terminal = start(program=CRASHING)
    assert terminal.wait() == 1
    said = terminal.screen.rsplit(RESTORED, 1)[1]
    assert b"platint-tui stopped because of an error of its own." in said
    for leak in (b"Traceback", b"local-variable", b"s3cr3t-canary", b"\x1b]52"):
        assert leak not in terminal.screen, leak
    folder = Path(environ["PLATINT_HOME"]) / "state" / "crashes"
    (report,) = folder.iterdir()
    assert str(report).encode() in said.replace(b"\r\n", b"")
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text()
    assert "RuntimeError: the view broke with" in text and "show" in text
    assert "s3cr3t-canary" not in text and "\x1b" not in text and "local-variable" not in text


def test_an_installation_that_cannot_be_opened_is_said_with_its_code(
    start: type[Terminal], environ: dict[str, str]
) -> None:
    data = Path(environ["PLATINT_HOME"]) / "data"
    data.mkdir(parents=True, mode=0o700)
    (data / "platint.sqlite").write_text("this is no database" * 100)
    terminal = start()
    assert terminal.wait() == 4
    said = terminal.screen.rsplit(RESTORED, 1)[1]
    assert b"platint.sqlite" in said and b"Traceback" not in terminal.screen


def test_developer_tools_stay_off(start: type[Terminal], environ: dict[str, str], tmp_path: Path) -> None:
    environ |= {"TEXTUAL": "devtools,debug", "TEXTUAL_LOG": str(tmp_path / "screen.log")}
    terminal = start()
    terminal.read(b"engine idle")
    terminal.send(b"\x11")
    assert terminal.wait() == 0
    assert not (tmp_path / "screen.log").exists()


def test_M4_hostile_records_do_not_reach_the_terminal(start: type[Terminal], environ: dict[str, str]) -> None:
    attack = "\x1b]52;c;aGk=\x07\x9b2J\x1b[31mred"

    async def fill() -> None:
        clock = FixedClock()
        workspace = await open_workspace(Path(environ["PLATINT_HOME"]), clock)
        made = await workspace.store.integrations.put(integration("x", "payments", "crm", attack))
        why = fault(attack, attack, attack)
        await seed_run(workspace, clock, made, (Page(attack, 3, ((why, 2),)),), started_ms=NOW)
        await workspace.close()

    asyncio.run(fill())
    terminal = start(size=(120, 40))
    terminal.read(b"Open issues")
    for key in b"4578":
        terminal.send(bytes([key]))
        terminal.read({52: b"position", 53: b"Dead letters", 55: b"started", 56: b"Metrics"}[key])
    terminal.send(b"\x11")
    assert terminal.wait() == 0
    for sequence in (b"\x1b]52", b"\x9b2J", "\x9b2J".encode(), b"aGk=\x07"):
        place = terminal.screen.find(sequence)
        assert place < 0, terminal.screen[max(0, place - 60) : place + 20]
    assert "␛]52".encode() in terminal.screen


def test_O9_ctrl_z_is_ignored(start: type[Terminal]) -> None:
    terminal = start()
    terminal.read(b"engine idle")
    terminal.send(b"\x1a")
    terminal.send(b"4")
    terminal.read(b"No integration yet")
    terminal.send(b"\x11")
    assert terminal.wait() == 0


def test_M7_sizes_of_nothing_do_not_kill_it(start: type[Terminal]) -> None:
    import fcntl
    import struct
    import termios

    terminal = start()
    terminal.read(b"engine idle")
    for columns, lines in ((20, 5), (1, 1), (0, 0), (300, 100), (80, 24)):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, size)
        os.killpg(terminal.process.pid, signal.SIGWINCH)
    terminal.send(b"4")
    terminal.read(b"No integration yet")
    terminal.send(b"\x11")
    assert terminal.wait() == 0


def test_NO_COLOR_is_respected(start: type[Terminal], environ: dict[str, str]) -> None:
    environ["NO_COLOR"] = "1"
    terminal = start()
    terminal.read(b"engine idle")
    terminal.send(b"\x11")
    assert terminal.wait() == 0
    import re

    colours = {
        tuple(part.split(b";")[2:])
        for part in re.findall(rb"\x1b\[([0-9;]*)m", terminal.screen)
        if part.startswith((b"38;2", b"48;2"))
    }
    assert all(len(set(colour[:3])) == 1 for colour in colours), "only greys"

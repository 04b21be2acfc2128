"""Processes and ports: recognised by what they are, stopped with all they started, none left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from playlake.errors import PlaylakeError
from playlake.stack import ports
from playlake.stack.process import Recorded, leftovers, start, stop, tail, wait_ready
from playlake.stack.state import Home, State
from tests.support.waiting import wait_for

SLEEP = "import time; time.sleep(300)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"
FAMILY = f"""
import os, subprocess, sys, time
deaf = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE)
deaf.stdout.readline()
quick = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
print("family", os.getpid(), deaf.pid, quick.pid, flush=True)
time.sleep(300)
"""
GENERATIONS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FAMILY!r}])"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Start]:
    """Starts Python code as a process of ``tmp_path``; whatever it leaves is ended with the test."""
    children: list[subprocess.Popen[bytes]] = []
    families: list[psutil.Process] = []

    def begin(code: str, home: Path = tmp_path, **env: str) -> subprocess.Popen[bytes]:
        child = start("child", [sys.executable, "-c", code], home=home, log=tmp_path / "logs" / "child.log", env=env)
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            families += psutil.Process(child.pid).children(recursive=True)
            child.kill()
        child.wait()
    for process in [*families, *leftovers(tmp_path, [])]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- records ------------------------------------------------------------------------------------------------------


def test_a_record_finds_its_process(begin: Start) -> None:
    child = begin(SLEEP)
    recorded = Recorded.of("child", child.pid)
    found = recorded.process()
    assert found is not None
    assert found.pid == child.pid
    assert Recorded.load(recorded.dump()) == recorded


def test_a_record_is_not_fooled_by_a_reused_id(begin: Start) -> None:
    recorded = Recorded.of("child", begin(SLEEP).pid)
    assert replace(recorded, created=recorded.created - 60).process() is None
    assert replace(recorded, created=recorded.created + 60).process() is None


def test_a_record_of_an_ended_process(begin: Start) -> None:
    child = begin(SLEEP)
    recorded = Recorded.of("child", child.pid)
    child.terminate()
    wait_for(lambda: not runs(child.pid))
    assert recorded.process() is None  # a zombie: nobody has waited for it yet
    child.wait()
    assert recorded.process() is None


def test_the_state_file_keeps_records(begin: Start, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    child = begin(SLEEP)
    state = State({"s3": 1234}, {"child": Recorded.of("child", child.pid)}, Recorded.of("me", os.getpid()), ["child"])
    home.save(state)
    loaded = home.load()
    assert loaded == state
    assert loaded.alive("child")
    assert not loaded.alive("another")
    stop([psutil.Process(child.pid)])
    assert not loaded.alive("child")
    assert [path.name for path in home.run.iterdir()] == ["stack.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"5", b"{}", b'{"ports": {"s3": "x"}, "processes": {}}']
)
def test_a_damaged_state_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    (home.run / "stack.json").write_bytes(content)
    assert home.load() == State()


def test_the_folder_for_sockets_is_private_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = Home(tmp_path / ("long" * 40))
    made = home.make_sockets()
    assert made == home.make_sockets() == Home(home.path).sockets != Home(tmp_path / "other").sockets
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o755)
    with pytest.raises(PlaylakeError, match=str(made)):
        home.make_sockets()


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    keys = home.keys()
    assert home.keys() == keys
    assert len(set(keys.values())) == len(keys) == 3
    assert (home.run / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert home.run.stat().st_mode & 0o777 == 0o700
    other = Home(tmp_path / "other")
    other.prepare()
    assert not set(other.keys().values()) & set(keys.values())


# -- starting -----------------------------------------------------------------------------------------------------


def test_a_process_has_its_environment_log_and_session(begin: Start, tmp_path: Path) -> None:
    child = begin("import os; print(os.environ['WORD'], os.getcwd(), os.getsid(0) == os.getpid())", WORD="hello")
    assert child.wait(20) == 0
    assert tail(tmp_path / "logs" / "child.log") == f"  hello {tmp_path} True"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlaylakeError, match=r"no-such-program.*playlake doctor"):
        start("it", ["no-such-program"], home=tmp_path, log=tmp_path / "it.log")


def test_waiting_until_ready(begin: Start, tmp_path: Path) -> None:
    answers = iter([False, False, True])
    wait_ready("it", begin(SLEEP), lambda: next(answers), log=tmp_path / "none", timeout_s=10)
    assert next(answers, None) is None


def test_a_process_that_ends_instead_shows_its_log(begin: Start, tmp_path: Path) -> None:
    child = begin("import sys; print('the port is taken'); sys.exit(3)")
    with pytest.raises(PlaylakeError, match=r"(?s)ended with code 3.*the port is taken"):
        wait_ready("it", child, lambda: False, log=tmp_path / "logs" / "child.log", timeout_s=20)


def test_a_process_that_stays_silent(begin: Start, tmp_path: Path) -> None:
    with pytest.raises(PlaylakeError, match=r"no answer after 0 s.*\n.*\(no log\)"):
        wait_ready("it", begin(SLEEP), lambda: False, log=tmp_path / "none", timeout_s=0.2)


def test_the_end_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert tail(path) == "  (no log)"
    path.write_bytes(b"x" * 50_000 + b"\n" + b"".join(b"line %d\n" % n for n in range(100)) + b"\xff\n\n")
    assert tail(path, 3) == "  line 98\n  line 99\n  �"
    path.write_text("y" * 1_000)
    assert tail(path) == "  " + "y" * 300


# -- stopping -----------------------------------------------------------------------------------------------------


def test_stop_ends_a_whole_family(begin: Start, tmp_path: Path) -> None:
    grandparent = begin(GENERATIONS)
    log = tmp_path / "logs" / "child.log"
    wait_for(lambda: "family" in tail(log))
    family = [grandparent.pid, *map(int, tail(log).split()[-3:])]
    other = begin(SLEEP)
    assert all(map(runs, family))
    stop([psutil.Process(grandparent.pid)], timeout_s=1.0)
    assert not any(map(runs, family))
    assert runs(other.pid)


def test_stop_asks_first(begin: Start, tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up', flush=True)"
    child = begin(f"{code}; time.sleep(300)")
    wait_for(lambda: "up" in tail(tmp_path / "logs" / "child.log"))
    process = psutil.Process(child.pid)
    stop([process], timeout_s=3600)
    assert child.wait(0) == 7


def test_stop_does_not_wait_for_a_parent_to_reap(begin: Start, tmp_path: Path) -> None:
    """As in containers whose first process reaps late or never: what has ended has ended."""
    code = "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
    begin(f"{code}; print('child', c.pid, flush=True); time.sleep(300)")
    log = tmp_path / "logs" / "child.log"
    wait_for(lambda: "child" in tail(log))
    child = psutil.Process(int(tail(log).split()[-1]))
    stop([child], timeout_s=3600)
    assert child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux shows a process whose first thread has ended")
def test_a_process_lives_as_long_as_its_last_thread(begin: Start, tmp_path: Path) -> None:
    """Its ports are held until then, though its first thread looks like a zombie."""
    code = (
        "import ctypes, socket, threading, time; s = socket.create_server(('127.0.0.1', 0));"
        "threading.Thread(target=lambda: (print('port', s.getsockname()[1], flush=True), time.sleep(300))).start();"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    child = psutil.Process(begin(code).pid)
    log = tmp_path / "logs" / "child.log"
    wait_for(lambda: "port" in tail(log) and child.status() == psutil.STATUS_ZOMBIE)
    port = int(tail(log).split()[-1])
    assert not ports.is_free(port)
    stop([child], timeout_s=1.0)
    assert ports.is_free(port)


def test_stop_takes_what_is_gone_already(begin: Start) -> None:
    child = begin("pass")
    process = psutil.Process(child.pid)
    child.wait(20)
    stop([process])
    stop([])


def test_leftovers_are_found_by_their_mark(begin: Start, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "home2"
    home.mkdir()
    other.mkdir()
    recorded, forgotten, foreign = begin(SLEEP, home), begin(SLEEP, home), begin(SLEEP, other)
    wait_for(lambda: len(leftovers(home, [])) == 2 and len(leftovers(other, [])) == 1)  # begun: the mark is there
    assert [p.pid for p in leftovers(home, [recorded.pid])] == [forgotten.pid]
    assert [p.pid for p in leftovers(other, [])] == [foreign.pid]
    forgotten.terminate()
    wait_for(lambda: not runs(forgotten.pid))
    assert leftovers(home, [recorded.pid]) == []
    stop([*leftovers(home, []), *leftovers(other, [])])
    assert leftovers(home, []) == leftovers(other, []) == []


# -- ports --------------------------------------------------------------------------------------------------------


def test_chosen_ports_are_free_and_different() -> None:
    found = ports.choose(50)
    assert len(set(found)) == 50
    first = Path("/proc/sys/net/ipv4/ip_local_port_range")
    outgoing = int(first.read_text().split()[0]) if first.exists() else 49_152
    # An outgoing connection must not take a remembered port; 10,000 more is a port, too.
    assert all(1024 <= port < min(outgoing, 55_000) for port in found)
    assert all(map(ports.is_free, found))


def test_taken_ports_are_not_chosen() -> None:
    with socket.socket() as taken:
        port = ports.choose(1)[0]
        taken.bind((ports.LOOPBACK, port))
        assert port not in ports.choose(11_000)
    avoided = set(ports.choose(400))
    assert not avoided & set(ports.choose(400, avoided))


def test_a_remembered_port_is_waited_for() -> None:
    """The clients of a server that was killed wait there, and only there."""
    server = socket.create_server((ports.LOOPBACK, ports.choose(1)[0]))
    port = server.getsockname()[1]
    known = {"broker": port}
    timer = threading.Timer(0.5, server.close)
    timer.start()
    assert ports.settle(known, "broker", 0) == port
    timer.join()
    with socket.create_server((ports.LOOPBACK, port)):
        assert ports.settle(known, "broker", 0) != port
    assert known["broker"] != port


def test_a_port_that_another_command_is_about_to_serve_on_is_not_chosen() -> None:
    """Two that began together chose the same port, and one told the address of the other's server."""
    usual = ports.choose(1)[0]
    first, second = ports.Claims(), ports.Claims()
    try:
        assert ports.settle({}, "api", 0, usual, free=first.free) == usual
        assert ports.settle({}, "api", 0, usual, free=first.free) == usual, "it is its own"
        assert ports.settle({}, "api", 0, usual, free=second.free) != usual
        with pytest.raises(PlaylakeError, match=f"Port {usual} is taken"):
            ports.settle({}, "api", usual, free=second.free)
        first.close()
        assert ports.settle({}, "api", 0, usual, free=second.free) == usual
        with socket.create_server((ports.LOOPBACK, usual)):
            assert not second.free(usual), "claimed, but another program listens"
    finally:
        first.close()
        second.close()


def test_claims_are_made_where_no_folder_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none" / "such"))
    port = ports.choose(1)[0]
    assert ports.Claims().free(port)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert str(os.getpid()) in ports.holder(port)
    assert ports.is_free(port)
    assert ports.holder(port) == ""

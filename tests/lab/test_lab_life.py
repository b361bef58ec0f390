"""Labs come, are seen and used by the command line, and go without a trace, however they are ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haha_exabgp.config.keys import key_files, make_missing, no_key
from haha_exabgp.config.loader import LoadedHome, load
from haha_exabgp.lab import lab as lab_module
from haha_exabgp.lab.build import remove
from haha_exabgp.lab.daemons import Daemon, Plan
from haha_exabgp.lab.eventually import eventually
from haha_exabgp.lab.lab import Lab
from haha_exabgp.lab.processes import namespaces_of_lab
from haha_exabgp.lab.state import RUN_DIR, State
from haha_exabgp.lab.topology import LabError, Topology

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CONFIGS = Path(__file__).parents[2] / "configs"
COMMAND = (sys.executable, "-m", "haha_exabgp", "lab")


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose name, and so the lab's, is this run's own."""
    path = tmp_path_factory.mktemp("life") / f"life{os.getpid()}.yaml"
    shutil.copyfile(CONFIGS / "two-sites.yaml", path)
    home = load(path, no_key)
    assert list(make_missing(home.key_path(file) for _, file in key_files(home.config)))
    return path


@pytest.fixture
def name(config_path: Path) -> Iterator[str]:
    yield config_path.stem
    remove(config_path.stem)


@pytest.fixture
def trace(name: str) -> Callable[[], list[str]]:
    """What there is of a lab: namespaces, run directory, processes, interfaces beside namespaces."""
    before = _interfaces()

    def look() -> list[str]:
        found = [*namespaces_of_lab(name), *(str(one) for one in (RUN_DIR / name,) if one.exists())]
        found += [f"process {pid}" for pid in _processes_that_name(name)]
        return found + sorted((_interfaces() - before) & {"lan0", "lan1", "wan0", "eth0", "to-cn", "to-site"})

    return look


def _interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def _processes_that_name(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{RUN_DIR}/{name}/" in words or f"{name}.yaml" in words:
                found.append(int(entry.name))
    return found


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_lab_on_the_command_line(
    config_path: Path, name: str, trace: Callable[[], list[str]], tmp_path: Path
) -> None:
    up = _run("up", str(config_path), "--no-daemons")
    assert up.returncode == 0, up.stderr
    assert up.stdout.startswith(f"lab {name} is up: 14 nodes")
    assert trace()

    again = _run("up", str(config_path), "--no-daemons")
    assert again.returncode == 1
    assert f"haha lab down {name}" in again.stderr

    status = eventually(
        lambda: (done := _run("status", "--lab", name, "--json")).returncode == 0 and json.loads(done.stdout),
        30,
        "the lab is ready",
    )
    nodes = {node["name"]: node for node in status["nodes"]}
    assert status["ready"]
    assert nodes["inet1"]["daemons"] == {"zebra": True, "bgpd": True}
    assert nodes["inet1"]["sessions"] == {"site1-router": "Established", "inet2": "Established"}
    assert nodes["mr2"]["attached"] == "access2"
    table = _run("status", "--lab", name).stdout
    for words in ("2 of 2", "ready", "2001:db8:1:100::10"):
        assert words in table

    passed_through = _run("exec", "--lab", name, "cn1", "--", "sh", "-c", "echo $0 -x; exit 9", "word")
    assert (passed_through.returncode, passed_through.stdout) == (9, "word -x\n")
    unknown = _run("exec", "--lab", name, "cn7", "--", "true")
    assert unknown.returncode == 1
    assert "no node 'cn7'" in unknown.stderr
    assert "site1-router" in unknown.stderr

    assert _run("move", "--lab", name, "mr1", "access2").returncode == 0
    assert Lab.attach(name).attachment("mr1") == "access2"
    assert "there are: access1, access2" in _run("move", "--lab", name, "mr1", "access3").stderr

    down = _run("down", str(config_path))
    assert (down.returncode, down.stdout) == (0, f"lab {name} is down\n")
    assert trace() == []
    twice = _run("down", name)
    assert (twice.returncode, twice.stdout) == (0, f"no lab {name} was up\n")
    assert f"no lab {name} is up" in _run("status", "--lab", name).stderr


def test_a_lab_in_use_goes_down_with_what_runs_in_it(
    config_path: Path, name: str, trace: Callable[[], list[str]]
) -> None:
    lab = Lab.up(config_path, start_daemons=False)
    deaf = lab.spawn("cn1", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"])
    assert deaf.stdout is not None
    assert deaf.stdout.readline() == "ready\n"
    lab.down()
    assert deaf.returncode == -signal.SIGKILL
    assert trace() == []
    lab.down()


MOMENTS: dict[str, Callable[[str], bool]] = {
    "first file": lambda name: (RUN_DIR / name).exists(),
    "first namespace": lambda name: bool(namespaces_of_lab(name)),
    "first zebra": lambda name: bool(list((RUN_DIR / name).glob("*/zebra.vty"))),
    "first bgpd": lambda name: bool(list((RUN_DIR / name).glob("*/bgpd.vty"))),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupting_up_leaves_nothing(
    config_path: Path, name: str, trace: Callable[[], list[str]], moment: str, number: signal.Signals
) -> None:
    """The signal goes to all of the process group, as the terminal sends it."""
    up = subprocess.Popen(
        [*COMMAND, "up", str(config_path), "--no-daemons"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    eventually(lambda: MOMENTS[moment](name), 30, moment, interval=0.002)
    os.killpg(up.pid, number)
    error = up.communicate(timeout=30)[1]
    assert up.returncode == 130, error
    assert error == "haha lab: interrupted; nothing is left of the lab\n"
    assert trace() == []


def test_what_a_killed_up_leaves_can_be_taken_down(
    config_path: Path, name: str, trace: Callable[[], list[str]]
) -> None:
    up = subprocess.Popen([*COMMAND, "up", str(config_path), "--no-daemons"], start_new_session=True)
    eventually(lambda: MOMENTS["first zebra"](name), 30, "zebra runs", interval=0.002)
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()
    assert trace()
    assert "left half-made" in _run("up", str(config_path), "--no-daemons").stderr
    assert _run("down", name).stdout == f"lab {name} is down\n"
    assert trace() == []


def test_a_daemon_that_ends_at_once_fails_up_with_its_last_words(
    config_path: Path, name: str, trace: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(home: LoadedHome, topology: Topology, state: State) -> Plan:
        return Plan((), ((Daemon("inet1", "weak", ("sh", "-c", "echo no such luck; exit 3")),),))

    monkeypatch.setattr(lab_module, "plan_routers", plan)
    with pytest.raises(LabError, match=r"weak in inet1 ended right after.*\n  no such luck"):
        Lab.up(config_path, start_daemons=False)
    assert trace() == []


def test_a_failing_program_fails_up_with_its_complaint(
    config_path: Path, name: str, trace: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        if namespaces_of_lab(name):
            subprocess.run(["ip", "netns", "delete", f"{name}.cn2"], check=True)

    with pytest.raises(LabError, match="cn2"):
        Lab.up(config_path, start_daemons=False, checkpoint=stop)
    assert trace() == []


def test_the_demo_ends_cleanly_on_ctrl_c(config_path: Path) -> None:
    name = f"demo{os.getpid()}"
    demo = subprocess.Popen(
        [*COMMAND, "demo", str(config_path), "--name", name],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("2."):
            break
    demo.send_signal(signal.SIGINT)
    rest = demo.stdout.read()
    assert demo.wait(timeout=20) == 130, rest
    assert "nothing is left" in rest
    assert name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not Path(f"/run/haha/lab/{name}").exists()


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text((CONFIGS / "two-sites.yaml").read_text().replace("2001:db8:2::/48", "2001:dead:2::/48"))
    done = _run("up", str(path))
    assert done.returncode == 2
    assert re.search(rf"^{re.escape(str(path))}:\d+: sites.site2.partition: ", done.stderr, re.M), done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong." not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout

"""Dependencies point one way (docs/design.md): what each package may import, checked in the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "haha_exabgp"
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "protocol": {"wire"},
    "bgp": {"protocol.routes", "wire"},
    "kernel": {"protocol", "wire", "pyroute2"},
    "config": {"protocol", "wire", "pydantic", "pydantic_core", "yaml"},
    "mobile_routers": {"config", "protocol", "wire"},
    "rollout": {"config", "protocol", "jinja2"},
    "agent": {"bgp", "config", "kernel", "mobile_routers", "protocol", "wire"},
    "sim": {
        "agent.batch",
        "agent.binding_records",
        "agent.grace",
        "kernel.guard_sets",
        "kernel.guard_traffic",
        "protocol",
        "wire",
    },
    "lab": {"agent.control", "config", "protocol", "rollout", "rich"},
    "sim.planning": {
        "bgp.commands",
        "bgp.communities",
        "config",
        "protocol",
        "wire",
        "matplotlib",
        "numpy",
        "pydantic",
        "pydantic_core",
    },
    "cli": {
        "__version__",
        "agent",
        "config",
        "kernel",
        "lab",
        "mobile_routers",
        "protocol",
        "rollout",
        "sim",
        "wire",
        "rich",
    },
}
"""What each room may import besides the standard library and itself: our rooms, or parts of them, and
packages of others. `sim.planning` is a room of its own inside `sim`."""
HOOK_MAY_USE = {"bgp", "protocol.routes", "wire.address"}
"""What the child of ExaBGP may import of ours; it must start fast and never die."""


def modules(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


def room_of(file: Path) -> str:
    """The innermost room that a file is in; the package that it is in where none is known."""
    parts = file.relative_to(PACKAGE).parent.parts
    names = [".".join(parts[:depth]) for depth in range(len(parts), 0, -1)]
    return next((name for name in names if name in ALLOWED), parts[0])


def imports(file: Path) -> set[str]:
    """Full dotted names of the modules that a file imports, `TYPE_CHECKING` blocks and functions
    among them."""
    parts = ("haha_exabgp", *file.relative_to(PACKAGE).with_suffix("").parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from . import x` may mean the module x.
            names |= {module} if node.module else {f"{module}.{alias.name}" for alias in node.names}
    return names


def foreign(file: Path, allowed: set[str]) -> set[str]:
    """What a file imports that is neither of the standard library, nor of its own room, nor allowed."""
    own = room_of(file)
    names = {name.removeprefix("haha_exabgp.") for name in imports(file)}
    return {
        name
        for name in names
        if name.split(".")[0] not in sys.stdlib_module_names
        and not any(name == one or name.startswith(f"{one}.") for one in {*allowed, own})
    }


@pytest.mark.parametrize(
    "file",
    [f for p in ALLOWED if "." not in p for f in modules(p)],
    ids=lambda f: str(f.relative_to(PACKAGE)),
)
def test_a_room_imports_what_it_may_and_nothing_else(file):
    assert foreign(file, ALLOWED[room_of(file)]) == set()


def test_every_room_has_its_row():
    outer = {name for name in ALLOWED if "." not in name}
    assert outer == {one.parent.name for one in PACKAGE.glob("*/__init__.py")}
    assert all((PACKAGE / Path(*name.split(".")) / "__init__.py").exists() for name in ALLOWED)


def test_rooms_are_in_order():
    """Each imports from rows above it only: so there is no circle."""
    above: set[str] = set()
    for room, allowed in ALLOWED.items():
        assert {name.split(".")[0] for name in allowed} & ALLOWED.keys() <= above, room
        above.add(room)


@pytest.mark.parametrize(
    "name", ["socket", "asyncio", "threading", "time", "os", "subprocess", "select", "random"]
)
def test_the_core_touches_no_world(name):
    """No sockets, no clock, no threads: time and chance come in as arguments. `random.Random` is a type."""
    for file in modules("wire") + modules("protocol"):
        used = {one for one in imports(file) if one.split(".")[0] == name}
        if name == "random" and used:
            source = file.read_text()
            assert "from random import Random" in source and "import random" not in source
            used = set()
        assert used == set(), file


def reached(module: str) -> set[str]:
    """Every module of ours that importing one of them takes along."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        file = PACKAGE.parent / Path(*name.split("."))
        source = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
        if name in found or not source.exists():
            continue
        found.add(name)
        todo += [one for one in imports(source) if one.startswith("haha_exabgp")]
        todo += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
    return found


def test_the_hook_reaches_no_more_of_ours_than_it_needs():
    """Nor does what it imports import more than that."""
    found = {name.removeprefix("haha_exabgp").lstrip(".") for name in reached("haha_exabgp.bgp.hook")}
    allowed = HOOK_MAY_USE | {"", "protocol", "wire"}
    surplus = {
        name
        for name in found
        if name not in allowed and not any(name.startswith(f"{one}.") for one in ("bgp",))
    }
    assert surplus == set()


def test_the_hook_loads_nothing_from_outside_the_standard_library():
    script = (
        "import sys; before = set(sys.modules); import haha_exabgp.bgp.hook;"
        "names = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(names - set(sys.stdlib_module_names) - {'haha_exabgp'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_this_test_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "wire" / "bad.py"
    file.parent.mkdir()
    file.write_text(
        "import pydantic\nfrom ..kernel import netlink\nfrom .. import agent\nfrom . import mobility\n"
        "from .address import Address\nimport struct\n"
        "def f():\n    from yaml import load\n"
    )
    assert foreign(file, set()) == {"pydantic", "kernel", "agent", "yaml"}
    assert foreign(file, {"kernel", "yaml"}) == {"pydantic", "agent"}

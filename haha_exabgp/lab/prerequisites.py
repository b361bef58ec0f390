"""What a machine must have before a lab can come up."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable

from .topology import LabError

FRR_DIRS = "/usr/lib/frr:/usr/libexec/frr"
"""Where distributions put FRR's daemons, outside everybody's PATH."""

APT_PACKAGES = {
    "ip": "iproute2",
    "sysctl": "procps",
    "zebra": "frr",
    "bgpd": "frr",
    "ospf6d": "frr",
    "vtysh": "frr",
    "nft": "nftables",
    "tcpdump": "tcpdump",
    "ping": "iputils-ping",
}


def find_program(name: str) -> str:
    """The path of a program, FRR's daemons included. Raises LabError that names the package it is in."""
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(name, path=f"{path}:/usr/sbin:/sbin:{FRR_DIRS}")
    if found is None:
        raise LabError(f"{name} is not installed: apt-get install {APT_PACKAGES[name]}")
    return found


def check_root() -> None:
    """Raise LabError unless this process is root."""
    if os.geteuid() != 0:
        raise LabError("a lab is made of network namespaces, which only root may touch: sudo haha lab …")


def check_prerequisites() -> None:
    """Raise LabError unless this process is root and every program is there."""
    check_root()
    missing = sorted({package for name, package in APT_PACKAGES.items() if not _is_there(name)})
    if missing:
        raise LabError(f"programs are missing: apt-get install {' '.join(missing)}")


def _is_there(name: str) -> bool:
    try:
        find_program(name)
    except LabError:
        return False
    return True


def user_for_exabgp(environment: dict[str, str], warn: Callable[[str], None]) -> str:
    """`nobody`, to whom ExaBGP drops by default, or `root` with a warning where nobody cannot run Python.

    That is so where the interpreter or the package is in a home directory. `environment` is what ExaBGP
    is started with.
    """
    if _nobody_can_import(("exabgp", "haha_exabgp"), environment):
        return "nobody"
    warn(f"ExaBGP runs as root: user nobody may not read {sys.executable} or the packages it imports")
    return "root"


def _nobody_can_import(modules: tuple[str, ...], environment: dict[str, str]) -> bool:
    try:
        attempt = subprocess.run(
            [sys.executable, "-c", f"import {', '.join(modules)}"],
            user="nobody",
            group=group_of("nobody"),
            extra_groups=[],
            cwd="/",
            env=os.environ | environment,
            capture_output=True,
            process_group=0,
            check=False,
        )
    except PermissionError:
        return False
    return attempt.returncode == 0


def group_of(user: str) -> str:
    """The name of a user's own group; that of nobody is `nogroup` or `nobody`, as distributions have it."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name

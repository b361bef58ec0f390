"""Runs a command whose ptrace calls PTRACE_GETREGSET and PTRACE_SETREGSET fail: `without_xstate.py COMMAND…`

User-mode Linux 6.1 has room for 2,696 octets of extended registers. A host CPU with AMX has 11 kB, then no
process starts in it ("ptrace set fp regs failed, errno = 14"). Without these calls it saves the SSE registers
only; so whatever runs in it must not use wider ones (see machine.py).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_SYSCALL, _FIRST_ARGUMENT = 0, 16
_PTRACE = 101
_GETREGSET, _SETREGSET = 0x4204, 0x4205
_ENODEV = 0x00050000 | 19
_ALLOW = 0x7FFF0000

_PROGRAM = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (_LOAD, 0, 0, _SYSCALL),
        (_JUMP_EQUAL, 0, 4, _PTRACE),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 1, 0, _GETREGSET),
        (_JUMP_EQUAL, 0, 1, _SETREGSET),
        (_RETURN, 0, 0, _ENODEV),
        (_RETURN, 0, 0, _ALLOW),
    )
)


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    instructions = ctypes.create_string_buffer(_PROGRAM)
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(_PROGRAM) // 8, ctypes.addressof(instructions))
    )
    for option, one, two in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program)),
    ):
        if libc.prctl(option, one, two, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()

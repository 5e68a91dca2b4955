"""Runs a command under a seccomp profile in the form that container runtimes take.

confined.py PROFILE COMMAND [ARGUMENT ...]. By libseccomp, as runc does it: OCI runtime-spec,
config-linux.md, "Seccomp"; seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

_libseccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_COMPARISONS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


_libseccomp.seccomp_init.restype = ctypes.c_void_p
_libseccomp.seccomp_init.argtypes = [ctypes.c_uint32]
_libseccomp.seccomp_load.argtypes = [ctypes.c_void_p]
_libseccomp.seccomp_rule_add_array.argtypes = [
    *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
    ctypes.POINTER(_Comparison),
]


def number_of(name: str) -> int:
    """Return the number of a system call here; negative where there is none."""
    return int(_libseccomp.seccomp_syscall_resolve_name(name.encode()))


def confine(profile: dict[str, Any]) -> None:
    """Install the profile for this thread and its children."""
    context = _libseccomp.seccomp_init(_action(profile, "defaultAction", "defaultErrnoRet"))
    for rule in profile["syscalls"]:
        arguments = (_Comparison * len(rule.get("args", [])))(
            *(
                _Comparison(
                    each["index"],
                    _COMPARISONS[each["op"]],
                    each["value"],
                    each.get("valueTwo", 0),
                )
                for each in rule.get("args", [])
            )
        )
        for name in rule["names"]:
            number = number_of(name)
            if number < 0:  # of another architecture, or newer than the library
                continue
            action = _action(rule, "action", "errnoRet")
            added = _libseccomp.seccomp_rule_add_array(
                context, action, number, len(arguments), arguments
            )
            assert added == 0, (name, os.strerror(-added))
    loaded = _libseccomp.seccomp_load(context)
    assert loaded == 0, os.strerror(-loaded)


def _action(rule: dict[str, Any], action: str, number: str) -> int:
    numbers: dict[str, int] = {
        "SCMP_ACT_ALLOW": _ALLOW,
        "SCMP_ACT_LOG": 0x7FFC0000,
        "SCMP_ACT_KILL_PROCESS": 0x80000000,
    }
    return numbers.get(rule[action], _ERRNO | int(rule.get(number, 1)))


if __name__ == "__main__":
    confine(json.loads(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the test names

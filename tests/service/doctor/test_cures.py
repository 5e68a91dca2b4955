"""Every finding of the doctor: made true, and made false by the cure that it prints.

A finding is known by the function that makes it, and its verdict. `ROWS` has each; what is on no
kernel of the tests is `FAKED`, with the reason.
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import re
import resource
import sys
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from farpeek import doctor
from farpeek.access.probe import probe
from farpeek.doctor import kernel, surroundings
from support import landlocked
from support.doctoring import (
    FARPEEK,
    LANDLOCKED,
    NOBODY,
    OWN_PIDS,
    TOP,
    answering,
    as_user,
    findings,
    in_mounts,
    killing,
    makers,
    refusing,
    shell,
    under,
)
from support.folders import OURS, open_folder
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.doctoring import Command, Found

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes privileges away, so it needs some")

Cure = dict[str, str]
DOCTOR: Final = Path(doctor.__file__).parent
OTHER: Final = 4242


@dataclass(frozen=True, slots=True)
class Row:
    """A finding: who makes it, how it is made true, and how its printed cure is applied.

    ``target`` are flags of tests/targets/plain.c, where the doctor is to try a process; of one that
    has ended there is no cure.
    """

    made_by: str
    verdict: str
    gate: str
    true: Callable[[Path], Command]
    cured: Callable[[Cure, Path], Command] | None
    target: tuple[object, ...] | None = None
    ended: bool = False


def _profile(cure: Cure, _: Path) -> Command:
    """Docker's cure: the file that it names, installed as Docker does."""
    named = re.search(r"--security-opt seccomp=(\S+\.json)", cure["docker"])
    assert named is not None, cure
    assert Path(named[1]).name in cure["kubernetes"]
    assert "--security-opt no-new-privileges" in cure["docker"]  # else runc does not start
    assert "SystemCallFilter=" in cure["host"]
    return under(TOP / named[1], FARPEEK)


def _newer(cure: Cure, _: Path) -> Command:
    """A newer kernel, which is the one of these tests."""
    assert "kernel" in cure["host"] or "Linux" in cure["host"]
    return FARPEEK


def _command(cure: Cure) -> str:
    """What is to be typed: up to the remark in brackets, or the next thing that helps."""
    return re.split(r" \(|, (?:or|in) ", cure["host"])[0].removesuffix(";")


def _mounting(options: str, then: Command) -> Callable[[Path], Command]:
    return lambda _: in_mounts(f"mount -t proc -o {options} proc /proc", then)


def _typed(options: str, then: Command) -> Callable[[Cure, Path], Command]:
    """Type what the cure says, with such a /proc in place."""
    return lambda cure, _: in_mounts(
        f"mount -t proc -o {options} proc /proc\n{_command(cure)}", then
    )


def _group(cure: Cure, _: Path) -> Command:
    """Be a member of the group that the cure names."""
    named = re.search(r"member of the group (\d+)", cure["host"])
    assert named is not None
    mounted = f"mount -t proc -o hidepid=2,gid={named[1]} proc /proc"
    return in_mounts(mounted, as_user(gid=int(named[1])))


def _plainly(*words: str) -> Callable[[Cure, Path], Command]:
    """Run it without what was around it, as the cure says by these words."""

    def cured(cure: Cure, _: Path) -> Command:
        assert all(word in " ".join(cure.values()) for word in words), cure
        return FARPEEK

    return cured


def _powerless(name: str) -> Callable[[Path], Command]:
    """As root is without the privileges of root, who may read all files of the tests'."""
    del name
    return lambda _: ("setpriv", "--securebits", "+noroot", "--inh-caps", "-all", *FARPEEK)


def _ambient(cure: Cure, _: Path) -> Command:
    """AmbientCapabilities= with CapabilityBoundingSet=, as systemd sets them."""
    named = re.search(r"AmbientCapabilities=(.+) with CapabilityBoundingSet=\1", cure["host"])
    assert named is not None, cure
    given = [name.removeprefix("CAP_").lower() for name in named[1].split()]
    added = ",".join(f"+{name}" for name in given)
    sets = (f"-all,{added}", "--ambient-caps", added, "--bounding-set", f"-all,{added}")
    return ("setpriv", "--securebits", "+noroot", "--inh-caps", *sets, *FARPEEK)


def _raised(flag: str, then: Command) -> Callable[[Cure, Path], Command]:
    """Docker's --ulimit, as far as this host lets anybody go."""

    def cured(cure: Cure, _: Path) -> Command:
        named = re.search(rf"--ulimit {flag}=(\d+):", cure["docker"])
        assert named is not None
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{flag.upper()}"))[1]
        most = int(named[1]) if hard == resource.RLIM_INFINITY else min(int(named[1]), hard)
        return ("prlimit", f"--{flag}={most}:{most}", *then)

    return cured


def _pids(most: str, folder: Path) -> Command:
    """In a cgroup that may have so many processes; the test removes it."""
    cgroup = folder / "cgroup"
    return shell(f"echo {most} > {cgroup}/pids.max; echo $$ > {cgroup}/cgroup.procs", FARPEEK)


def _more_pids(cure: Cure, folder: Path) -> Command:
    named = re.search(r"--pids-limit (\d+)", cure["docker"])
    assert named is not None
    return _pids(named[1], folder)


def _beside_another(then: Command) -> Command:
    """In a pid namespace where there is somebody else, outside of whatever comes next."""
    return (*OWN_PIDS, *shell("sleep 1000 &", then))


def _unlocked(cure: Cure, _: Path) -> Command:
    assert "outside of a Landlock sandbox" in cure["host"]
    return _beside_another(FARPEEK)


def _unreadable(mode: str) -> Callable[..., Command]:
    """With interpreter and package in a folder that nobody but root may enter, or another mode."""

    def command(*given: Any) -> Command:  # noqa: ANN401 - with the cure, or without
        shut = given[-1] / "shut"
        base, top = shut / "base", shut / "top"
        for each in (shut, base, top):
            each.mkdir(exist_ok=True)
        shut.chmod(int(mode, 8))
        packages = Path(sysconfig.get_path("purelib")).relative_to(TOP)
        python = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        script = f"""
            mount --bind {sys.base_prefix} {base}
            mount --bind {TOP} {top}
            export PYTHONPATH={top}/service:{top}/api:{top / packages}
        """
        return in_mounts(script, (str(python), *as_user()[1:]))

    return command


def _kernel_feature(call: str, number: int) -> Callable[[Path], Command]:
    """A kernel that does not know an ioctl: a filter gives its answer."""
    rule = answering(call, errno.ENOTTY, index=1, value=number)
    return lambda folder: refusing(folder, rule)


def _native(flag: int) -> Callable[[Cure, Path], Command]:
    """A kernel that knows a flag, by the errno that it answers where iovecs are missing."""

    def cured(cure: Cure, folder: Path) -> Command:
        assert "newer kernel" in cure["host"]
        rule = answering("process_vm_readv", errno.EFAULT, index=5, value=flag)
        return refusing(folder, rule)

    return cured


def _refused(call: str, code: int = errno.EPERM) -> Callable[[Path], Command]:
    return lambda folder: refusing(folder, answering(call, code))


def _old(call: str) -> Callable[[Path], Command]:
    """A kernel before a call: it says that it is 2.6, and that the call is not there."""
    old = ("setarch", platform.machine(), "--uname-2.6", *FARPEEK)
    return lambda folder: refusing(folder, answering(call, errno.ENOSYS), old)


def _user(cure: Cure, _: Path) -> Command:
    """Run as the target's user and group, as the cure's `uid` says."""
    named = re.search(r"uid (\d+)", cure["host"])
    assert named is not None
    return as_user(uid=int(named[1]), gid=OTHER)


def _user_of_group(cure: Cure, _: Path) -> Command:
    named = re.search(r"gid (\d+)", cure["host"])
    assert named is not None
    return as_user(gid=int(named[1]))


def _as_nobody(*flags: str) -> Callable[[Path], Command]:
    return lambda _: as_user(*flags)


NOBODYS: Final = ("--uid", NOBODY, "--gid", NOBODY)
CALLS: Final = ("process_vm_writev", "openat2", "process_madvise", "move_pages", "mincore")
CAPABILITIES: Final = ("SYS_PTRACE", "DAC_READ_SEARCH", "CHECKPOINT_RESTORE", "SYS_NICE")
PTRACE_IT: Final = _plainly("CAP_SYS_PTRACE")

ROWS: Final = (
    Row(
        "kernel._mounted_proc",
        "blocks",
        "/proc",
        lambda _: ("unshare", "--pid", "--fork", "--kill-child", *FARPEEK),
        lambda cure, _: (*OWN_PIDS[:-1], *in_mounts(_command(cure), FARPEEK)),
    ),
    Row("kernel._pidfd_open", "blocks", "pidfd_open", _refused("pidfd_open"), _profile),
    Row(
        "kernel._pidfd_open", "blocks", "pidfd_open", _refused("pidfd_open", errno.ENOSYS), _profile
    ),
    Row("kernel._pidfd_open", "blocks", "pidfd_open", _old("pidfd_open"), _newer),
    Row("kernel._process_vm", "blocks", "process_vm_readv", _refused("process_vm_readv"), _profile),
    Row("kernel._flag", "note", "PROCESS_VM_PIDFD", lambda _: FARPEEK, _native(1)),
    Row("kernel._flag", "note", "PROCESS_VM_NOWAIT", lambda _: FARPEEK, _native(2)),
    Row(
        "kernel._feature",
        "note",
        "PROCMAP_QUERY",
        _kernel_feature("ioctl", 0xC0686611),
        _newer,
    ),
    Row("kernel._feature", "note", "PIDFD_GET_INFO", _kernel_feature("ioctl", 0xC040FF0B), _newer),
    Row("kernel._feature", "note", "PAGEMAP_SCAN", _kernel_feature("ioctl", 0xC0606610), _newer),
    Row(
        "kernel._closed_page_table",
        "limits",
        "pagemap",
        _as_nobody("--not-dumpable"),
        lambda cure, _: as_user() if "without file capabilities" in cure["host"] else (),
    ),
    Row("kernel._ptrace", "limits", "ptrace", _refused("ptrace"), _profile),
    *(
        Row("privileges._capability", "limits", f"CAP_{name}", _powerless(name), _ambient)
        for name in CAPABILITIES
    ),
    Row(
        "privileges._capability",
        "limits",
        "CAP_SYS_PTRACE",
        lambda _: ("setpriv", "--bounding-set", "-sys_ptrace", *FARPEEK),
        _plainly("--cap-add SYS_PTRACE", "{add: [SYS_PTRACE]}"),
    ),
    Row(
        "privileges._dumpable",
        "limits",
        "dumpable",
        _as_nobody("--not-dumpable"),
        lambda cure, _: as_user() if "without file capabilities" in cure["host"] else (),
    ),
    Row(
        "surroundings._user_namespace",
        "limits",
        "user namespace",
        lambda _: ("unshare", "--user", "--map-root-user", *FARPEEK),
        _plainly("first user namespace", "hostUsers: true"),
    ),
    Row(
        "surroundings._pid_namespace",
        "note",
        "pid namespace",
        lambda _: (*OWN_PIDS, *FARPEEK),
        _plainly("first pid namespace", "hostPID: true"),
    ),
    Row(
        "surroundings._no_yama",
        "note",
        "Yama",
        _mounting("subset=pid", FARPEEK),
        _typed("subset=pid", FARPEEK),
    ),
    Row(
        "surroundings._refusing_module",
        "limits",
        "security module",
        lambda _: _beside_another((*LANDLOCKED, *FARPEEK)),
        _unlocked,
    ),
    *(
        Row(
            "proc.hidepid",
            "limits",
            "hidepid",
            _mounting(f"hidepid={level}", as_user()),
            _typed(f"hidepid={level}", as_user()),
        )
        for level in (1, 2, 4)
    ),
    Row(
        "proc.hidepid",
        "limits",
        "hidepid",
        _mounting(f"hidepid=2,gid={OTHER}", as_user()),
        _group,
    ),
    Row(
        "proc.hidepid",
        "limits",
        "hidepid",
        lambda _: in_mounts(
            "mount -t proc -o hidepid=4 proc /proc",
            ("setpriv", "--bounding-set", "-sys_ptrace", *FARPEEK),
        ),
        lambda cure, _: in_mounts(
            "mount -t proc -o hidepid=4 proc /proc",
            FARPEEK if "--cap-add SYS_PTRACE" in cure["docker"] else (),
        ),
    ),
    Row(
        "proc.subset",
        "note",
        "/proc subset",
        _mounting("subset=pid,hidepid=2", FARPEEK),
        _typed("subset=pid,hidepid=2", FARPEEK),
    ),
    Row(
        "limits._descriptors",
        "limits",
        "descriptors",
        lambda _: ("prlimit", "--nofile=128:128", *FARPEEK),
        _raised("nofile", FARPEEK),
    ),
    Row("limits._threads_of_cgroup", "limits", "pids.max", lambda at: _pids("100", at), _more_pids),
    Row(
        "limits._threads_of_user",
        "limits",
        "RLIMIT_NPROC",
        lambda _: ("prlimit", "--nproc=200:200", *as_user()),
        _raised("nproc", as_user()),
    ),
    Row("trial._untried", "note", "a child of its own", _unreadable("700"), _unreadable("755")),
    Row(
        "trial.child",
        "blocks",
        "a child of its own",
        _refused("process_vm_readv"),
        lambda cure, folder: (
            _profile(
                findings(_refused("process_vm_readv")(folder))["process_vm_readv"]["cure"], folder
            )
            if "process_vm_readv" in cure["host"]
            else ()
        ),
    ),
    *(Row("calls._finding", "limits", call, _refused(call), _profile) for call in CALLS),
    Row("calls._finding", "limits", "cachestat", _refused("cachestat", errno.ENOSYS), _profile),
    Row(
        "calls._ended",
        "limits",
        "process_vm_writev",
        lambda folder: refusing(folder, killing("process_vm_writev")),
        _profile,
    ),
    *(Row("calls._missing", "note", call, _old(call), _newer) for call in ("cachestat", "openat2")),
    Row("trial.process", "blocks", "process", lambda _: FARPEEK, None, (), ended=True),
    Row(
        "trial.absent",
        "blocks",
        "process",
        lambda _: (*OWN_PIDS, *FARPEEK),
        _plainly("--pid host", "hostPID: true"),
        (),
    ),
    Row(
        "trial._failed",
        "blocks",
        "process",
        _refused("process_vm_readv", errno.ENOSYS),
        _plainly("process_vm_readv"),
        (),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: uid",
        _as_nobody(),
        _user,
        ("--uid", OTHER, "--gid", OTHER),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: gid",
        _as_nobody(),
        _user_of_group,
        ("--uid", NOBODY, "--gid", OTHER),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: dumpable",
        _as_nobody(),
        PTRACE_IT,
        (*NOBODYS, "--nondumpable"),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: capability",
        _as_nobody(),
        PTRACE_IT,
        (*NOBODYS, "--capability", 13),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: user-namespace",
        _as_nobody(),
        PTRACE_IT,
        (*NOBODYS, "--userns"),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: security-module",
        lambda _: (*LANDLOCKED, *FARPEEK),
        _plainly("outside of a Landlock sandbox"),
        (),
    ),
    Row(
        "trial._denied",
        "blocks",
        "process: seccomp",
        _refused("process_vm_readv"),
        _plainly("allow process_vm_readv"),
        (),
    ),
    Row(
        "trial._page_table",
        "limits",
        "page table",
        _powerless("DAC_READ_SEARCH"),
        _ambient,
        ("--uid", OTHER, "--gid", OTHER),
    ),
)

FAKED: Final = {
    ("kernel._no_page_table", "limits"): "kernels of the tests have CONFIG_PROC_PAGE_MONITOR",
    ("surroundings._yama", "blocks"): "they have no Yama: its file is the test's",
    ("surroundings._yama", "limits"): "they have no Yama: its file is the test's",
    ("surroundings._module", "note"): "they have neither AppArmor nor SELinux: the label is faked",
}
"""Findings that no kernel of the tests can give, and why; a test below gives each by a fake."""

_CGROUPS: Final = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that all users can reach, with a cgroup in it where the row needs one."""
    with open_folder() as made:
        yield made
        if (made / "cgroup").is_symlink():
            (made / "cgroup").resolve().rmdir()


def _make_cgroup(folder: Path) -> None:
    top = next((each for each in _CGROUPS if (each / "cgroup.procs").exists()), None)
    made = top / OURS if top else None
    if made is None or not os.access(made.parent, os.W_OK):
        pytest.skip("no tree of cgroups is to be written here")
    made.mkdir()
    (folder / "cgroup").symlink_to(made)
    if not (made / "pids.max").exists():
        pytest.skip("the cgroups have no controller of processes here")


def _name(row: Row) -> str:
    return f"{row.gate} {row.verdict} by {row.made_by}"


def _of(gate: str, found: Found) -> dict[str, Any] | None:
    """Find a gate, whatever the number of the process in question is."""
    return next((each for name, each in found.items() if _without_number(name) == gate), None)


def _without_number(gate: str) -> str:
    return re.sub(r"^process \d+", "process", re.sub(r"^page table of \d+", "page table", gate))


@contextmanager
def _asking(row: Row) -> Iterator[tuple[object, ...]]:
    """Give the doctor's flags: those of the row's process, which lives meanwhile."""
    if row.target is None:
        yield ()
        return
    with start("plain", *row.target) as target:
        if row.ended:
            target.kill()
            target.await_zombie()
        yield ("--pid", target.pid)


@functools.cache
def _missing_calls() -> frozenset[str]:
    """Find the calls that this kernel was built without: no cure brings them here."""
    found = findings(FARPEEK)
    return frozenset(call for call in CALLS if found[call]["verdict"] == "note")


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.host if row.gate == "pid namespace" else ())
        for row in ROWS
    ],
    ids=_name,
)
def test_a_finding_is_there_and_gone_once_its_cure_is_applied(row: Row, folder: Path) -> None:
    if row.gate.startswith("PROCESS_VM_") and probe().flag_pidfd:
        pytest.skip("this kernel has it")
    if row.gate == "ptrace" and probe().flag_pidfd:
        pytest.skip("nothing takes ptrace where the kernel has PROCESS_VM_PIDFD")
    if row.gate in CALLS and row.gate in _missing_calls():
        pytest.skip(f"this kernel was built without {row.gate}")
    if row.gate.endswith(("security module", "security-module")) and not landlocked.is_there():
        pytest.skip("this kernel has no Landlock")
    if row.gate == "pids.max":
        _make_cgroup(folder)
    with _asking(row) as flags:
        found = _of(row.gate, findings(row.true(folder), *flags))
        assert found is not None
        assert found["verdict"] == row.verdict, found
        if row.cured is None:
            assert not any(found["cure"].values())
            return
        assert found["cure"]["host"]
        after = findings(row.cured(found["cure"], folder), *flags)
        cured = _of(row.gate.partition(":")[0], after)
        assert cured is not None, sorted(after)
        assert cured["verdict"] == "fine", cured


def test_every_finding_has_a_row() -> None:
    made = {each for path in DOCTOR.glob("*.py") for each in makers(path)}
    assert made == {(row.made_by, row.verdict) for row in ROWS} | set(FAKED)


@pytest.mark.parametrize(
    ("scope", "has_ptrace", "verdict"),
    [
        *((0, False, "fine"), (1, False, "limits"), (2, False, "limits"), (3, False, "blocks")),
        *((1, True, "fine"), (2, True, "fine"), (3, True, "blocks")),
    ],
)
def test_yama_decides_by_its_setting_and_by_sys_ptrace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scope: int, verdict: str, *, has_ptrace: bool
) -> None:
    (tmp_path / "yama").mkdir()
    (tmp_path / "yama" / "ptrace_scope").write_text(f"{scope}\n")
    monkeypatch.setattr(surroundings, "_SYSCTL", tmp_path)
    found = {each.gate: each for each in surroundings.surroundings(has_ptrace=has_ptrace)}["Yama"]
    assert found.verdict == verdict
    if verdict == "limits":
        assert "sysctl kernel.yama.ptrace_scope=0" in found.cure.host
        assert "--cap-add SYS_PTRACE" in found.cure.docker


@pytest.mark.parametrize(
    ("label", "verdict"), [(b"unconfined\n", "fine"), (b"docker-default (enforce)\n", "note")]
)
def test_a_label_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, label: bytes, verdict: str
) -> None:
    (tmp_path / "current").write_bytes(label)
    monkeypatch.setattr(surroundings, "_LABEL", tmp_path / "current")
    found = {each.gate: each for each in surroundings.surroundings(has_ptrace=False)}
    assert found["security module"].verdict == verdict


def test_a_kernel_without_page_tables_in_proc_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel, "_PAGEMAP", tmp_path / "pagemap")
    monkeypatch.setattr("farpeek.access.probe._opens", lambda path: "pagemap" not in path)
    found = {each.gate: each for each in kernel.features(probe())}["pagemap"]
    assert (found.verdict, found.here) == ("limits", "there is none in /proc")
    assert "CONFIG_PROC_PAGE_MONITOR" in found.cure.host

"""One error of each kind, as the service raises them."""

from __future__ import annotations

import errno

from farpeek import errors
from farpeek.identity import Claim, ExitStatus, Identity, ListedProcess, TargetSnapshot, TargetState
from farpeek.model import Difference, Gap, GapReason, Gate, Stage
from farpeek_api.http import refusals

IDENTITY = Identity(
    pid=4242,
    ns_pids=(4242, 17),
    start_ticks=8812345,
    start_time=1780402946.120,
    comm="ruby",
    exe="/usr/bin/ruby3.1",
    exe_deleted=False,
    ppid=1,
    process_state="sleeping",
    uid=1000,
    gid=1000,
    cgroup="/",
    container=None,
    pointer_size=8,
    byte_order="little",
)
TARGET = TargetSnapshot(
    id="4242-8812345",
    identity=IDENTITY,
    generation=1,
    page_size=4096,
    address_bits=64,
    state=TargetState.EXITED,
    registered_at=1780402950.0,
    exited_at=1780402951.5,
    exit=ExitStatus(code=None, signal="SIGSEGV", core_dumped=True),
    claims={"uid 0": Claim({"a": "b"})},
)
EXAMPLES: list[Exception] = [
    errors.InvalidRequest("no", ("addresses", 3)),
    errors.RangeUnreadable(Gap(0, 0, 0x1000, 16, GapReason.NOT_RESIDENT)),
    errors.TooLarge("no"),
    errors.NoSuchTarget("1-2"),
    errors.NoFile("no"),
    errors.FileRemote("no"),
    errors.NoSuchMatch("no"),
    errors.NoSuchProcess("no"),
    errors.AmbiguousMatch([ListedProcess(IDENTITY, "4242-8812345")]),
    errors.AmbiguousNumber(17, ListedProcess(IDENTITY, None), None),
    errors.ProcessGone("4242-8812345"),
    errors.TargetExited(TARGET),
    errors.TargetChanged(1, 2),
    errors.ExpectationFailed(Difference(1, 2, 0x1002, 0xAB, None)),
    errors.AlreadyTraced(4711),
    errors.AccessDenied(Gate.YAMA, "no", "sysctl", errno.EPERM),
    errors.Unsupported("no"),
    errors.KernelFailure("process_vm_readv", errno.ENOMEM),
    errors.TooBusy("no", 7),
    errors.TargetStuck("no"),
    errors.DeadlineExceeded("no", Stage.PIN, 0.0),
    errors.ShuttingDown(),
    refusals.BadRange("no", "send FIRST-LAST"),
    refusals.RangeBeyond(4096),
    refusals.Changing(),
    refusals.Unauthenticated("no"),
    refusals.Forbidden("no"),
    refusals.NotPermitted("no", "clients.a.verbs, line 4", "read"),
    refusals.OptedOut("no"),
    refusals.Hidden("1-2"),
    refusals.WordUnknown(),
    refusals.AuditUnavailable(),
    refusals.NotAcceptable("no"),
    refusals.UnsupportedMediaType("no"),
    refusals.UpgradeRequired("no"),
    refusals.SlowRequest("no"),
    refusals.TooLate(1.5),
    refusals.BodyTooLarge(4096),
    refusals.UnsupportedExpectation("no"),
]

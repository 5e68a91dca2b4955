"""The promise of the pin: no byte is ever written into a process that merely got the number."""

from __future__ import annotations

import pytest

from support.namespaces import call_in_private_pid_namespace, can_have_a_private_pid_namespace
from support.writing import WAYS, writers

pytestmark = pytest.mark.skipif(
    not can_have_a_private_pid_namespace(),
    reason="a pid namespace of its own needs CAP_SYS_ADMIN",
)

ROUNDS = 2000
FEW_ROUNDS = 50


def _race(way: str, rounds: int) -> dict[str, int]:
    if writers(way) is None:
        pytest.skip("this kernel has no PROCESS_VM_PIDFD")
    seen = call_in_private_pid_namespace(
        "support.write_reuse:race_of_writes", patience_s=300, rounds=rounds, way=way
    )
    assert seen["failures"] == []
    assert seen["rounds"] == rounds
    assert seen["own"] >= rounds
    assert seen["gone"] >= rounds
    return dict(seen)


@pytest.mark.parametrize("way", WAYS)
def test_a_short_race_writes_into_no_impostor(way: str) -> None:
    assert _race(way, FEW_ROUNDS)["strays"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_write_never_reaches_an_impostor(way: str) -> None:
    seen = _race(way, ROUNDS)
    assert seen["strays"] == 0
    # Without these the race was none, and the zero above means nothing.
    assert seen["control_strays"] > 0, "writing by number alone met no impostor either"

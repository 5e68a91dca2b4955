"""The promise of the pidfd: never a byte, a gap or an error of a process that got the number."""

from __future__ import annotations

import pytest

from support.namespaces import call_in_private_pid_namespace, can_have_a_private_pid_namespace

pytestmark = pytest.mark.skipif(
    not can_have_a_private_pid_namespace(),
    reason="a pid namespace of its own needs CAP_SYS_ADMIN",
)

ROUNDS = 2000
FEW_ROUNDS = 100


def test_a_short_race_brings_no_impostors_bytes() -> None:
    seen = call_in_private_pid_namespace(
        "support.pid_reuse:race_of_reads", patience_s=120, rounds=FEW_ROUNDS
    )
    assert seen["failures"] == []
    assert seen["impostors"] == 0
    assert seen["rounds"] == FEW_ROUNDS
    assert seen["own"] >= FEW_ROUNDS
    assert seen["gone"] >= FEW_ROUNDS
    for way in ("quick", "there", "joint"):
        fast = seen[way]
        assert isinstance(fast, dict)
        assert fast["own"] >= FEW_ROUNDS
        assert fast["gone"] >= FEW_ROUNDS


@pytest.mark.slow
def test_a_read_never_returns_an_impostors_bytes() -> None:
    seen = call_in_private_pid_namespace(
        "support.pid_reuse:race_of_reads", patience_s=120, rounds=ROUNDS
    )
    assert seen["failures"] == []
    assert seen["impostors"] == 0
    assert seen["rounds"] == ROUNDS
    # Without these the race was none, and the zero above means nothing.
    assert seen["control_impostors"] > 0, "reading by number alone met no impostor either"
    assert seen["own"] >= ROUNDS
    assert seen["gone"] >= ROUNDS
    for way in ("quick", "there", "joint"):
        fast = seen[way]
        assert isinstance(fast, dict)
        assert fast["impostors"] == 0
        assert fast["own"] >= ROUNDS
        assert fast["gone"] >= ROUNDS


@pytest.mark.slow
def test_a_target_is_never_one_process_by_name_and_another_by_memory() -> None:
    seen = call_in_private_pid_namespace(
        "support.pid_reuse:race_of_registrations", patience_s=120, generations=8 * ROUNDS
    )
    assert seen["failure"] == ""
    assert seen["strangers"] == 0
    assert seen["own"] > 0, "no target lived long enough to be read"
    assert seen["targets"] > 1, "the number never changed hands between two registrations"

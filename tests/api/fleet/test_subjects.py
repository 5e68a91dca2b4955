"""Names and subjects: what is none is refused, whatever it looks like."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.bus import permits, subjects
from farpeek_api.bus.subjects import Asked, WrongName

SMALL = string.ascii_lowercase + string.digits
NAMES = st.text(SMALL + "-", min_size=1, max_size=63)
OPERATIONS = st.text(SMALL + "_", max_size=62).map("o".__add__)
IDS = st.text(SMALL + string.ascii_uppercase + "_-", min_size=1, max_size=64)


@given(NAMES, NAMES, OPERATIONS, st.none() | IDS)
def test_a_subject_says_what_was_written_into_it(
    client: str, node: str, operation: str, about: str | None
) -> None:
    subject = subjects.request(client, node, operation, about)
    assert subjects.parse(subject) == Asked(client, node, operation, about)


@given(st.text(max_size=200) | st.lists(st.text(max_size=70), max_size=7).map(".".join))
def test_whatever_is_parsed_has_names_that_are_names(text: str) -> None:
    for subject in (text, f"farpeek.v1.{text}"):
        asked = subjects.parse(subject)
        if asked is not None:
            assert subjects.request(*asked) == subject
            assert not set("*> \r\n") & set(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "farpeek.v1.alice.n1",
        "farpeek.v1.alice.*.info",
        "farpeek.v1.alice.n1.>",
        "farpeek.v1..n1.info",
        "farpeek.v1.alice.N1.info",
        "farpeek.v2.alice.n1.info",
        "x.farpeek.v1.alice.n1.info",
        f"farpeek.v1.alice.{'n' * 64}.info",
        f"farpeek.v1.alice.n1.{'i' * 4096}",
        "farpeek.v1.alice.n1.info\n",
    ],
)
def test_what_is_no_subject_is_none(subject: str) -> None:
    assert subjects.parse(subject) is None


@given(NAMES, NAMES, IDS)
def test_an_inbox_is_its_clients_alone(client: str, other: str, number: str) -> None:
    inbox = subjects.inbox(client, number)
    assert subjects.number_of(inbox, client) == number
    assert client == other or subjects.number_of(inbox, other) is None
    for wrong in (f"{inbox}.n1", f"{inbox}.", f"_INBOX.{client}", f"_INBOX.{client}.*", ""):
        assert subjects.number_of(wrong, client) is None


@given(NAMES.filter(lambda name: name != "all" and not name.startswith("label-")), IDS)
def test_one_subscription_of_a_node_alone_hears_what_the_broker_says_to_its_questions(
    node: str, number: str
) -> None:
    heard = permits.of_node(node, {"zone": "a"}).subscribe
    answer = f"{subjects.own_inbox(node)}.{number}"
    assert [each for each in heard if _matches(each, answer)] == [f"_INBOX.up.{node}.>"]


def _matches(pattern: str, subject: str) -> bool:
    """Tell whether a broker delivers a subject to such a subscription."""
    wanted, there = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, there = wanted[:-1], there[: len(wanted) - 1]
        if len(subject.split(".")) <= len(wanted):
            return False
    return len(wanted) == len(there) and all(
        token in ("*", own) for token, own in zip(wanted, there, strict=True)
    )


@pytest.mark.parametrize("name", ["", "all", "label-a-b", "N1", "n.1", "n*", "n 1", "x" * 64])
def test_no_node_is_called_so(name: str) -> None:
    with pytest.raises(WrongName):
        subjects.check_node(name)


def test_labels_make_groups_that_no_other_label_makes() -> None:
    pairs = [subjects.label(each) for each in ("a=b-c", "a=b", "ab=c")]
    assert len({subjects.group(*each) for each in pairs}) == 3
    for wrong in ("a", "a-b=c", "=a", "a=", "A=b", "a=b.c", f"{'a' * 25}=b"):
        with pytest.raises(WrongName):
            subjects.label(wrong)

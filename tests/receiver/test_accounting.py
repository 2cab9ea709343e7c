"""The receiver's books balance whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.accounting import REORDER_FRAMES, Fate, FrameLedger

fates = st.sampled_from([Fate.RENDERED, Fate.SUPERSEDED, Fate.UNDECODABLE])
events = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 300)),
    st.tuples(st.just("expect"), st.integers(0, 300)),
    st.tuples(st.just("settle"), st.integers(0, 300), fates),
)


@given(st.lists(events, max_size=200))
def test_ledger_any_events_balance_and_each_frame_has_one_fate(
    steps: list[tuple[Any, ...]],
) -> None:
    ledger = FrameLedger()
    received: set[int] = set()
    settled: dict[int, Fate] = {}
    for step in steps:
        if step[0] == "receive":
            if ledger.receive(step[1]):
                assert step[1] not in received
                received.add(step[1])
        elif step[0] == "expect":
            ledger.expect(step[1])
        elif ledger.settle(step[1], step[2]):
            assert step[1] in received
            assert step[1] not in settled
            settled[step[1]] = step[2]
        assert ledger.balance().balanced
    final = ledger.close()
    assert final.balanced
    assert final.open == 0
    assert final.received == len(received)
    assert final.fates["lost"] == final.sent - len(received)
    assert final.fates["unshown"] == len(received) - len(settled)


def test_ledger_skipped_numbers_are_lost_after_the_reorder_window() -> None:
    ledger = FrameLedger()
    ledger.receive(0)
    ledger.receive(3)
    assert ledger.balance().fates["lost"] == 0
    assert ledger.receive(1)
    for sequence in range(4, 4 + REORDER_FRAMES):
        ledger.receive(sequence)
    assert ledger.balance().fates["lost"] == 1
    assert not ledger.receive(2)


def test_ledger_tail_loss_is_known_from_the_senders_count() -> None:
    ledger = FrameLedger()
    ledger.receive(0)
    ledger.settle(0, Fate.RENDERED)
    ledger.expect(5)
    assert ledger.close().fates == {
        "rendered": 1, "superseded": 0, "undecodable": 0, "lost": 4, "unshown": 0,
    }  # fmt: skip


def test_ledger_absurd_number_costs_no_memory() -> None:
    ledger = FrameLedger()
    ledger.receive(2**62)
    balance = ledger.close()
    assert balance.balanced
    assert balance.received == 1

"""Who gets a sender, and whose turn it is."""

from __future__ import annotations

from app.lifecycle.receiver import Receiver
from app.lifecycle.senders import Room, SenderLimits, Turns

A, B, C = (Receiver("acme", f"https://{letter}.example") for letter in "abc")
OTHER = Receiver("umbrella", "https://a.example")


def test_no_receiver_and_no_tenant_may_hold_all_senders() -> None:
    limits = SenderLimits()
    assert limits.failing_receiver < limits.receiver < limits.tenant < limits.all
    assert limits.failing < limits.all


def test_room_is_what_is_left_in_all_for_the_tenant_and_for_the_receiver() -> None:
    limits = SenderLimits(all=10, tenant=6, receiver=4)
    room = Room(limits, [(A, False)] * 3 + [(B, False)])
    assert room.for_receiver(A, failing=False) == 1
    assert room.for_receiver(B, failing=False) == 2, "the tenant has six"
    assert room.for_receiver(OTHER, failing=False) == 4
    room.take(OTHER, 4, failing=False)
    assert room.for_receiver(C, failing=False) == 2, "there are ten in all"
    assert not room.is_full
    room.take(C, 2, failing=False)
    assert room.is_full
    assert room.for_receiver(C, failing=False) == 0


def test_who_fails_gets_one_and_all_who_fail_get_few() -> None:
    limits = SenderLimits(all=10, tenant=10, receiver=4, failing_receiver=1, failing=2)
    room = Room(limits, [(A, True)])
    assert [room.for_receiver(receiver, failing=True) for receiver in (A, B)] == [0, 1]
    room.take(B, 1, failing=True)
    assert room.for_receiver(C, failing=True) == 0
    assert room.for_receiver(C, failing=False) == 4


def test_tenants_take_turns_and_then_their_receivers() -> None:
    turns = Turns()
    assert turns.in_order([A, B, C, OTHER]) == [A, OTHER, B, C]
    turns.served(A)
    assert turns.in_order([A, B, C, OTHER]) == [OTHER, B, C, A]
    turns.served(OTHER)
    turns.served(B)
    assert turns.in_order([A, B, C, OTHER]) == [OTHER, C, A, B]

# SPDX-License-Identifier: BSD-3-Clause
"""The reference model of matching agrees with a naive worker, and finds each broken rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.matching import (
    CONTEXT,
    WHOLE_TAG,
    Driver,
    Mismatch,
    Result,
    Send,
    Settle,
    State,
    Step,
    TooLong,
    Use,
    Want,
    play,
    scripts,
)
from support.naive_worker import Asked, Moment, NaiveWorker, Request, Sent
from support.quick import examples

EXAMPLES = examples(250)
SEARCHED = 10_000  # scripts for a broken rule, at most: the first one that shows it is the last
KEEP, CONSUME = TooLong.KEEP, TooLong.CONSUME


def compare(make: Callable[[TooLong], Driver], examples: int) -> None:
    """Play drawn scripts on new drivers. Raises the Mismatch that was found first."""

    @settings(max_examples=examples, phases=[Phase.generate], report_multiple_bugs=False)
    @given(scripts(), st.sampled_from(TooLong))
    def drawn(script: list[Step], too_long: TooLong) -> None:
        play(make, too_long, script)

    drawn()


def test_the_reference_agrees_with_a_naive_worker() -> None:
    compare(NaiveWorker, EXAMPLES)


class SwitchesToRendezvous(NaiveWorker):
    """Not broken: while much of an endpoint is unreceived, its peer sends by rendezvous."""

    eager_sure = 3000

    def send(self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool) -> Sent:
        held = sum(len(sent.data) for sent in self.now().arrived if sent.source == endpoint)
        rendezvous |= held + len(data) > self.eager_sure
        return super().send(endpoint, tag, data, rendezvous=rendezvous, sync=sync)


def test_a_worker_may_tell_a_peer_to_send_by_rendezvous() -> None:
    compare(SwitchesToRendezvous, EXAMPLES)


# Broken rules


class NewestReceive(NaiveWorker):
    def first_receive(self, asked: list[Asked]) -> Asked:
        return asked[-1]


class ExactReceiveFirst(NaiveWorker):
    def first_receive(self, asked: list[Asked]) -> Asked:
        exact = [a for a in asked if a.source is not None and a.mask == WHOLE_TAG]
        return (exact or asked)[0]


class WholeReceiveLast(NaiveWorker):
    """Receives that take their messages whole are no part of the post order."""

    def first_receive(self, asked: list[Asked]) -> Asked:
        return ([a for a in asked if not a.whole] or asked)[0]


class WholeLeavesIt(NaiveWorker):
    """A receive that takes its message whole only looks at it."""

    def _meet(self, moment: Moment, sent: Sent, asked: Asked) -> bool:
        return super()._meet(moment, sent, asked) and not asked.whole


class WholeIsAMatch(NaiveWorker):
    """A synchronous send is complete although its message was only taken."""

    def _meet(self, moment: Moment, sent: Sent, asked: Asked) -> bool:
        if asked.whole:
            moment.results[sent] = Result(State.DONE)
        return super()._meet(moment, sent, asked)


class NewestMessage(NaiveWorker):
    def first_message(self, sent: list[Sent]) -> Sent:
        return sent[-1]


class ByEndpoint(NaiveWorker):
    """Arrival counts within an endpoint only."""

    def first_message(self, sent: list[Sent]) -> Sent:
        return min(sent, key=lambda s: s.source)


class NoContext(NaiveWorker):
    def accepts(self, asked: Asked, sent: Sent) -> bool:
        blind = Asked(asked.source, asked.tag, asked.mask & ~CONTEXT, asked.nbytes)
        return super().accepts(blind, sent)


class AnySource(NaiveWorker):
    def accepts(self, asked: Asked, sent: Sent) -> bool:
        return super().accepts(Asked(None, asked.tag, asked.mask, asked.nbytes), sent)


class KeepsAlways(NaiveWorker):
    def keeps(self, sent: Sent, asked: Asked) -> bool:
        return len(sent.data) > asked.nbytes


class ConsumesAlways(NaiveWorker):
    def keeps(self, sent: Sent, asked: Asked) -> bool:
        return False


class SyncDoneEarly(NaiveWorker):
    def is_done_early(self, sent: Sent) -> bool:
        return not sent.rendezvous


class NeverDoneEarly(NaiveWorker):
    def is_done_early(self, sent: Sent) -> bool:
        return False


class LostCancel(NaiveWorker):
    """A cancel in time has no effect."""

    def _cancel(self, moment: Moment, sent: Sent | None, asked: Asked | None) -> None:
        pass


class LostCancelOfSend(NaiveWorker):
    """The send is cancelled, and its message is still delivered."""

    def _cancel(self, moment: Moment, sent: Sent | None, asked: Asked | None) -> None:
        if sent:
            moment.arrived.append(sent)
        super()._cancel(moment, sent, asked)


class CancelTooLate(NaiveWorker):
    def cancel(self, request: Request) -> bool:
        return super().cancel(request) and isinstance(request, Asked)


class TakeLeavesIt(NaiveWorker):
    def _take(self, moment: Moment, sent: Sent, _: None) -> None:
        pass


class CancelsTaken(NaiveWorker):
    """A send may be cancelled although a matched probe took its message."""

    def cancel(self, request: Request) -> bool:
        taken = any(what == "take" and sent is request for what, sent, _ in self.log)
        return taken or super().cancel(request)


class CancelsWhole(NaiveWorker):
    """The same, although a receive took its message whole."""

    def cancel(self, request: Request) -> bool:
        return request in self.now().took.values() or super().cancel(request)


class OutOfOrder(NaiveWorker):
    """A message by rendezvous overtakes those sent before it."""

    def settle(self) -> None:
        for wire in self.wires:
            wire.sort(key=lambda sent: not sent.rendezvous)
        super().settle()


class SwitchesTooEarly(SwitchesToRendezvous):
    """It tells a peer to send by rendezvous before that may be expected."""

    eager_sure = 300_000

    def send(self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool) -> Sent:
        rendezvous |= any(sent.source == endpoint for sent in self.now().arrived)
        return super().send(endpoint, tag, data, rendezvous=rendezvous, sync=sync)


class OtherData(NaiveWorker):
    """A receive reports the right message, and has the bytes of another one."""

    def result(self, request: Request) -> Result:
        found = super().result(request)
        return found._replace(data=found.data[::-1])


@pytest.mark.parametrize(
    "broken",
    [
        SwitchesTooEarly,
        OtherData,
        NewestReceive,
        ExactReceiveFirst,
        WholeReceiveLast,
        WholeLeavesIt,
        WholeIsAMatch,
        NewestMessage,
        ByEndpoint,
        NoContext,
        AnySource,
        KeepsAlways,
        ConsumesAlways,
        SyncDoneEarly,
        NeverDoneEarly,
        LostCancel,
        LostCancelOfSend,
        CancelTooLate,
        TakeLeavesIt,
        CancelsTaken,
        CancelsWhole,
        OutOfOrder,
    ],
)
def test_a_broken_rule_is_found(broken: type[NaiveWorker]) -> None:
    with pytest.raises((Mismatch, ValueError)):  # ValueError: the broken worker trips over itself
        compare(broken, SEARCHED)


# Single scripts, so that what the reference demands can be read


def test_an_older_wildcard_gets_the_message_before_an_exact_receive() -> None:
    script = [Want("post", None, 0, 0, 8), Want("post", 0, 1, WHOLE_TAG, 8)]
    script_with_sends: list[Step] = [*script, Send(0, 1, 8, False, False), Settle()]
    play(NaiveWorker, KEEP, script_with_sends)
    with pytest.raises(Mismatch, match="a receive"):
        play(ExactReceiveFirst, KEEP, script_with_sends)


def test_messages_of_two_endpoints_are_found_by_arrival() -> None:
    script: list[Step] = [Send(2, 1, 8, False, False), Send(0, 1, 8, True, False)]
    script.append(Want("probe", None, 1, WHOLE_TAG))
    play(NaiveWorker, KEEP, script)
    with pytest.raises(Mismatch, match="a probe"):
        play(ByEndpoint, KEEP, script)


def test_what_is_too_long_is_kept_for_the_next_receive_or_consumed() -> None:
    script: list[Step] = [Send(0, 1, 8, False, False), Want("post", 0, 1, WHOLE_TAG, 4), Settle()]
    play(NaiveWorker, KEEP, script)
    play(NaiveWorker, CONSUME, script)
    with pytest.raises(Mismatch, match="too long"):
        play(ConsumesAlways, KEEP, script)
    with pytest.raises(Mismatch, match="truncated"):
        play(KeepsAlways, CONSUME, script)


def test_a_receive_that_takes_whole_gets_the_message_before_a_younger_one() -> None:
    script: list[Step] = [Want("post_whole", 0, 1, WHOLE_TAG), Want("post", 0, 1, WHOLE_TAG, 8)]
    script += [Send(0, 1, 4, False, False), Send(0, 1, 8, False, False), Settle()]
    play(NaiveWorker, KEEP, script)
    with pytest.raises(Mismatch, match="a receive"):
        play(WholeReceiveLast, KEEP, script)


def test_what_a_matched_probe_took_cannot_be_cancelled() -> None:
    script: list[Step] = [Send(0, 1, 8, True, False), Want("take", None, 0, 0)]
    script.append(Use("cancel_send", 0))
    play(NaiveWorker, KEEP, script)
    with pytest.raises(Mismatch, match="a cancel"):
        play(CancelsTaken, KEEP, script)

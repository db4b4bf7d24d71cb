"""Redis is away, slow, or has lost something: what calls have cost arrives exactly once, and no hold stays behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kong_plugins.llm.admission import Admission
from kong_plugins.llm.errors import PolicyUnavailable
from kong_plugins.llm.journal import Journal
from kong_plugins.llm.outbox import Outbox
from kong_plugins.llm.recovery import Recovery
from kong_plugins.llm.release import Limit, Scope
from kong_plugins.llm.store import Store
from tests.exhaustion import no_free_descriptor
from tests.llm.gateway import BUDGET, body
from tests.llm.proxy import LossyProxy
from tests.llm.store.conftest import OwnValkey
from tests.llm.store.own_node import COST_NUSD, Node, arrived, events_of, node_caller, wait_until_watched
from tests.servers import eventually

SHADOW = Limit(
    id="shadow", scope=Scope(kind="team", subject=None), unit="tokens", amount=1, window_ms=60_000, shadow=True
)


def test_an_answer_that_comes_while_redis_is_away_is_booked_when_it_is_back(node: Node, own_valkey: OwnValkey) -> None:
    grants = [node.gateway.admit() for _ in range(3)]
    own_valkey.kill()

    for grant in grants:
        node.finish(grant)
    assert node.outbox.waiting == 3
    own_valkey.start()

    eventually(lambda: node.outbox.waiting == 0, "what waits is sent")
    events = node.gateway.events()
    assert [(event.kind, event.quality, event.amount_nusd) for event in events] == [("posted", "exact", COST_NUSD)] * 3
    assert (node.budget().spent, node.budget().held) == (3 * COST_NUSD, 0)


def test_what_a_dead_process_could_not_send_is_sent_by_its_successor(node: Node, own_valkey: OwnValkey) -> None:
    grant = node.gateway.admit()
    own_valkey.kill()
    node.finish(grant)
    node.outbox.close()
    own_valkey.start()

    successor = node.new_process()

    eventually(arrived(node, 1), "the successor has sent it")
    assert node.budget().held == 0
    node.finish(grant, successor)
    assert arrived(node, 1)(), "twice told is once booked"


def test_what_cannot_be_counted_or_read_stops_nothing_else(node: Node, own_valkey: OwnValkey) -> None:
    grants = [node.gateway.admit() for _ in range(3)]
    own_valkey.kill()
    node.outbox.post("acme", "impossible", amount_nusd=-1, tokens=0, event_fields=b"{}")
    node.finish(grants[0])
    for path in node.folder.glob("*.journal"):
        path.unlink()
    late = node.new_process()
    for grant in grants[1:]:
        node.finish(grant, late)
    own_valkey.start()

    eventually(arrived(node, 2), "what can be read is sent")
    eventually(lambda: node.outbox.waiting == late.waiting == 0, "nothing waits for ever")
    assert node.store.open_holds("acme") == 1, "the other is posted in full when its lease ends"


def test_without_a_journal_a_living_process_still_sends_it(node: Node, own_valkey: OwnValkey) -> None:
    grant = node.gateway.admit()
    outbox = Outbox(node.store, None)
    outbox.start()
    own_valkey.kill()
    node.finish(grant, outbox)
    own_valkey.start()

    eventually(arrived(node, 1), "it is sent")
    outbox.close()


def test_a_reserve_of_unknown_outcome_is_given_back_when_redis_answers(node: Node, own_valkey: OwnValkey) -> None:
    with LossyProxy(own_valkey.url) as network:
        behind = Store.from_url(network.url, timeout_ms=2000)
        admission = Admission(behind, node.gateway.settings, outbox=node.outbox)
        admission.admit(node.gateway.caller(), body(), "openai_chat")
        network.answers_to_lose = 2
        with pytest.raises(PolicyUnavailable) as refusal:
            admission.admit(node.gateway.caller(), body(), "openai_chat")
        behind.close()

    assert "retry-after" in refusal.value.headers()
    eventually(lambda: node.store.open_holds("acme") == 1, "only the first is held")
    [voided] = node.gateway.events()
    assert (voided.kind, voided.outcome) == ("voided", "undecided")


def test_a_redis_that_hangs_is_given_up_on_and_told_later(node: Node, own_valkey: OwnValkey) -> None:
    hasty = Store.from_url(own_valkey.url, timeout_ms=100)
    outbox = Outbox(hasty, Journal(node.folder, "llm-rate-limit"))
    outbox.start()
    admission = Admission(hasty, node.gateway.settings, outbox=outbox)
    done = admission.admit(node.gateway.caller(), body(), "openai_chat")
    caller = node.gateway.caller()

    own_valkey.pause()
    with pytest.raises(PolicyUnavailable):
        admission.admit(caller, body(), "openai_chat")
    node.finish(done, outbox)
    assert outbox.waiting == 2, "a void and a post"
    own_valkey.resume()

    eventually(lambda: outbox.waiting == 0, "both are told")
    eventually(lambda: node.store.open_holds("acme") == 0, "whatever the hung Redis still did is undone")
    assert (node.budget().spent, node.budget().held) == (COST_NUSD, 0)
    outbox.close()
    hasty.close()


def test_a_full_journal_closes_what_a_hard_budget_governs_and_nothing_else(node: Node, tmp_path: Path) -> None:
    full = node.new_process(most_bytes=1)
    admission = Admission(node.store, node.gateway.settings, outbox=full)
    with pytest.raises(PolicyUnavailable):
        admission.admit(node.gateway.caller(), body(), "openai_chat")
    assert (node.store.open_holds("acme"), node.budget().held) == (0, 0)

    node.gateway.publish(budgets=(msgspec.structs.replace(BUDGET, hard=False),))
    grant = admission.admit(node.gateway.caller(), body(), "openai_chat")
    node.finish(grant, full)
    assert arrived(node, 1)(), "what cannot be written down is still told to Redis"


def test_a_redis_that_was_emptied_gets_back_what_was_held_and_posted(node: Node, own_valkey: OwnValkey) -> None:
    done, running = node.gateway.admit(), node.gateway.admit()
    node.finish(done)
    [before] = node.gateway.events()
    wait_until_watched(node)
    own_valkey.client.flushall()

    with pytest.raises(PolicyUnavailable):
        node.gateway.admission.admit(node_caller(node), body(), "openai_chat")
    eventually(lambda: node.store.open_holds("acme") == 1, "the running call is held again")
    node.publish_anew(node.document)
    Recovery(node.store).open_admission("acme", 2, replay_since_ms=0)

    [again] = events_of(node, 1)
    assert (again.id, again.reserved_at_ms, again.amount_nusd) == (before.id, before.reserved_at_ms, before.amount_nusd)
    assert again.uncounted, "the ledger decides whether it counts"
    assert (node.budget().spent, node.budget().held) == (0, running.meter.hold_nusd)

    node.finish(running)
    [late] = events_of(node, 1)
    assert (late.kind, late.quality, late.uncounted) == ("posted", "exact", True)
    assert (node.budget().spent, node.budget().held) == (0, 0)
    assert node.store.open_holds("acme") == 0


def test_what_has_outlived_its_lease_is_not_held_again(node: Node, own_valkey: OwnValkey) -> None:
    brief = msgspec.structs.replace(node.gateway.settings, deadline_ms=1, lease_grace_ms=0)
    Admission(node.store, brief, outbox=node.outbox).admit(node_caller(node), body(), "openai_chat")
    running = node.gateway.admit()
    eventually(lambda: node.store.expire_due("acme") == 1, "the lease of the first is over")
    wait_until_watched(node)
    own_valkey.client.flushall()

    eventually(lambda: node.store.open_holds("acme") > 0, "the other is held again")

    node.publish_anew(node.document)
    assert node.budget().held == running.meter.hold_nusd


def test_an_outbox_goes_on_after_an_error(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.folder.mkdir(parents=True, exist_ok=True)
    in_the_way = node.folder / "acme.mark"
    in_the_way.mkdir()
    node.finish(node.gateway.admit())
    eventually(lambda: "goes on after an error" in caplog.text, "an error")

    in_the_way.rmdir()

    wait_until_watched(node)


def test_an_outbox_goes_on_when_nothing_can_be_opened(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.gateway.admit()
    with no_free_descriptor():
        node.outbox.void("acme", "r1", b"{}")
        eventually(lambda: "cannot be brought to the disk" in caplog.text, "the disk is out of reach")

    grant = node.gateway.admit()
    node.finish(grant)

    eventually(arrived(node, 1), "it is sent")


def test_a_loss_that_no_process_has_lived_through_is_noticed_by_the_next(node: Node, own_valkey: OwnValkey) -> None:
    node.finish(node.gateway.admit())
    wait_until_watched(node)
    node.outbox.close()
    own_valkey.client.flushall()
    Recovery(node.store).open_admission("acme", 2, replay_since_ms=0)

    node.new_process()

    assert [event.uncounted for event in events_of(node, 1)] == [True]


def test_a_restored_hold_that_is_never_settled_is_posted_in_full(node: Node, own_valkey: OwnValkey) -> None:
    node.gateway.publish(budgets=(BUDGET,), limits=(SHADOW,))
    short = msgspec.structs.replace(node.gateway.settings, deadline_ms=2000, lease_grace_ms=1000)
    grant = Admission(node.store, short, outbox=node.outbox).admit(node_caller(node), body(), "openai_chat")
    wait_until_watched(node)
    own_valkey.client.flushall()
    eventually(lambda: node.store.open_holds("acme") == 1, "it is held again")

    eventually(lambda: node.store.expire_due("acme") == 1, "its lease is over")
    [expired] = node.gateway.events()
    assert (expired.kind, expired.amount_nusd, expired.uncounted) == ("expired", grant.meter.hold_nusd, True)
    assert expired.shadow_refusals == ("team limit of tokens per minute",)

    node.finish(grant)
    [late] = node.gateway.events()
    assert (late.id[-2:], late.kind, late.uncounted) == (":2", "adjusted", True)
    assert late.amount_nusd == COST_NUSD - grant.meter.hold_nusd


def test_a_replica_that_has_missed_the_last_writes_is_told_them_again(
    own_valkey: OwnValkey, other_valkey: OwnValkey, tmp_path: Path
) -> None:
    with LossyProxy(own_valkey.url) as network:
        node = Node(network.url, tmp_path / "journal")
        early = node.gateway.admit()
        wait_until_watched(node)
        for key in own_valkey.client.scan_iter():
            other_valkey.client.restore(key, 0, own_valkey.client.dump(key) or b"")
        node.finish(early)
        node.finish(node.gateway.admit())
        assert arrived(node, 2)()

        network.lead_to(other_valkey.url)

        eventually(arrived(node, 1), "the one whose hold the replica knows is posted again")
        assert {event.uncounted for event in events_of(node, 2)} == {False, True}
        assert (node.store.open_holds("acme"), node.budget().held) == (0, 0)
        node.close()

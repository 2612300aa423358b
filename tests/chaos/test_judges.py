"""The judges of the storm, each shown something broken: a check that cannot fail proves nothing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.lifecycle.ownership import hash_token
from tests.chaos import judge
from tests.chaos.callers import Answer, Order
from tests.chaos.explained import unexplained_failures
from tests.chaos.ledger import Ledger
from tests.chaos.replica import Replica
from tests.chaos.trouble import Kind, Trouble, Window
from tests.chaos.verdict import missed, overlong_waits

SENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = SENT.timestamp()
PICTURE = "http://upstream/images/one.jpeg"


class Life:
    """A job that was sent once, as the ledger and the upstream's account have it; a test says how it differs."""

    def __init__(self, state: str = "failed", code: str | None = None, **more: Any) -> None:
        self.job_id = uuid4()
        over = SENT + timedelta(seconds=12)
        self.job = SimpleNamespace(
            job_id=self.job_id, state=state, error_code=code, error_message="", cancel_requested=False, submission=1,
            created_at=SENT, finished_at=over, retry_of=None, reused_from=None, prompt="reef 0", due_at=None,
            completed_via="poll", **more,
        )  # fmt: skip
        self.submission = SimpleNamespace(
            job_id=self.job_id, number=1, outcome="open", sent_at=SENT, token_hash=hash_token("secret"), task_id=None
        )
        self.events = [SimpleNamespace(type="submitting", data={"submission": 1})]
        self.task: dict[str, Any] | None = {
            "task_id": "one", "callback_url": "http://gateway/callbacks/secret", "faults": {}, "submit_answer": "told",
            "status": "SUCCESS", "status_answers": {}, "callbacks": [], "image_url": PICTURE,
        }  # fmt: skip
        self.refusals: list[dict[str, Any]] = []
        self.images: list[Any] = []
        self.trouble = Trouble()

    @property
    def ledger(self) -> Ledger:
        rows: Any = {self.job_id: self.job}
        s: Any = self.submission
        return Ledger(
            rows,
            {self.job_id: [s]},
            {self.job_id: list(self.events)},
            {},
            {},
            {self.job_id: self.images},
            {},
            {s.token_hash: s},
        )

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return [self.task] if self.task else []

    def refused(self, *faults: str) -> None:
        self.task = None
        self.refusals.append({"at": AT, "callback_url": "http://gateway/callbacks/secret", "faults": faults})

    def told(self) -> list[str]:
        account = {"tasks": self.tasks, "refusals": self.refusals}
        complaints = unexplained_failures(self.ledger, account, self.trouble)
        return [complaint for complaint in complaints if str(self.job_id) in complaint]

    def shares(self) -> list[str]:
        account = {"tasks": self.tasks, "refusals": self.refusals}
        complaints = unexplained_failures(self.ledger, account, self.trouble)
        return [complaint for complaint in complaints if str(self.job_id) not in complaint]


def one(what: Iterator[str]) -> str:
    (complaint,) = what
    return complaint


# --- why jobs failed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "deadline_exceeded",
        "submission_unconfirmed",
        "upstream_unavailable",
        "task_lost",
        "generation_failed",
        "upstream_rejected",
    ],
)
def test_no_job_fails_while_all_is_well(code: str) -> None:
    life = Life(code=code)
    assert life.told() != []


def test_a_task_that_ended_in_time_exceeds_no_deadline() -> None:
    life = Life(code="deadline_exceeded")
    assert life.task is not None
    life.task["faults"] = {"status-404": 3.0}
    life.task["status_answers"] = {"status-404": AT + 2, "SUCCESS": AT + 9}
    assert any("no check after its deadline" in complaint for complaint in life.told())
    life.task["status_answers"] = {"status-404": AT + 9}
    assert life.told() == []


def test_a_submission_whose_answer_was_told_is_not_unconfirmed() -> None:
    life = Life(code="submission_unconfirmed")
    assert life.task is not None
    life.task["faults"] = {"submit-503": None}  # something was wrong, but not this
    assert any("its answer was told" in complaint for complaint in life.told())
    life.task["submit_answer"] = "lost"
    assert life.told() == []


@pytest.mark.parametrize("kind", [Kind.KILLED, Kind.FROZEN, Kind.DATABASE, Kind.UPSTREAM])
def test_what_strikes_amid_a_submit_explains_a_lost_answer(kind: Kind) -> None:
    life = Life(code="submission_unconfirmed")
    life.trouble.windows.append(Window(kind, "it", AT + 1, AT + 3))
    assert life.told() == []
    life.trouble.windows = [Window(Kind.RECEIVER, "it", AT + 1, AT + 3)]
    assert any("its answer was told" in complaint for complaint in life.told())


def test_a_submission_whose_callback_was_taken_is_not_unconfirmed() -> None:
    life = Life(code="submission_unconfirmed")
    assert life.task is not None
    life.task |= {"submit_answer": "lost", "faults": {"answer-lost": None}}
    life.task["callbacks"] = [{"kind": "true", "http_status": 204, "ended_at": AT + 2}]
    assert any("a callback told of it" in complaint for complaint in life.told())
    life.task["callbacks"][0]["ended_at"] = AT + 60  # too late to help
    assert life.told() == []


def test_a_clock_explains_only_where_it_dates_the_rows() -> None:
    life = Life(code="submission_unconfirmed")
    life.trouble.windows.append(Window(Kind.CLOCK, "it", AT + 1, AT + 3))
    assert any("its answer was told" in complaint for complaint in life.told())
    life.trouble.offsets = [(AT - 600, 0.0)]
    assert life.told() == []


def test_a_job_refused_too_seldom_is_not_given_up() -> None:
    life = Life(code="upstream_unavailable")
    life.refused("submit-500")
    life.events += [SimpleNamespace(type="released", data={"submission": 1})] * 2
    assert any("refused only 2 times" in complaint for complaint in life.told())
    life.events.append(life.events[-1])
    assert life.told() == []


def test_what_nobody_refused_is_not_released() -> None:
    life = Life(state="succeeded")
    life.submission.outcome = "released"
    assert "released without a refusal" in one(iter(life.told()))
    life.refused("submit-500")
    assert life.told() == []


def test_most_of_what_nothing_stands_against_succeeds() -> None:
    life = Life(code="submission_unconfirmed")
    life.trouble.windows.append(Window(Kind.KILLED, "it", AT, AT + 3))
    assert life.shares() == ["of 1 jobs that nothing kept from it, only 0 succeeded"]
    assert life.task is not None
    life.task["faults"] = {"submit-503": None}
    assert life.shares() == []


# --- what callers were told ----------------------------------------------------------------------------------------------


def order(job_id: UUID, **more: Any) -> Order:
    return Order(0, "reef 0", None, None, ids=[str(job_id)], **more)


@pytest.mark.parametrize(("status", "state"), [(200, "succeeded"), (202, "failed"), (409, "canceled")])
def test_a_cancel_keeps_its_word(status: int, state: str) -> None:
    life = Life(state=state)
    life.job.cancel_requested = True
    orders = [order(life.job_id, cancel_asked=True, cancel_answered=status)]
    assert f"answered {status}" in one(judge.broken_cancels(orders, life.ledger))


def test_nothing_is_canceled_that_nobody_canceled() -> None:
    life = Life(state="canceled")
    life.job.cancel_requested = True
    assert "nobody asked" in one(judge.broken_cancels([order(life.job_id)], life.ledger))


def test_nothing_is_retried_that_nobody_retried() -> None:
    life = Life(state="succeeded")
    life.job.retry_of = uuid4()
    orders = [order(life.job.retry_of)]
    assert any("is a retry of" in complaint for complaint in judge.lost_jobs(orders, life.ledger))
    orders[0].retry_asked = True
    assert not any("is a retry of" in complaint for complaint in judge.lost_jobs(orders, life.ledger))


def test_a_settled_job_does_not_change() -> None:
    life = Life(state="succeeded")
    shown = {"id": str(life.job_id), "state": "failed", "finished_at": "then", "completed_via": "poll", "error": {"code": "x"}}
    now = shown | {"state": "succeeded", "error": None}
    assert "was shown settled as" in one(judge.changed_ends([shown], [now], life.ledger))
    assert list(judge.changed_ends([now], [now], life.ledger)) == []
    assert "the books say" in one(judge.changed_ends([], [shown], life.ledger))


def test_a_503_needs_a_reason(tmp_path: Path) -> None:
    now = time.time()
    away = Answer("show", Replica("one", 1, {}, tmp_path), 0.0, 1.0, 503, "storage_unavailable", noted_at=now)
    trouble = Trouble()
    assert "nothing was wrong" in one(judge.turned_away_without_need([away], trouble))
    trouble.windows.append(Window(Kind.DATABASE, "it", now - 4, now - 3))
    assert list(judge.turned_away_without_need([away], trouble)) == []
    trouble.calm_since = now - 2
    assert "in the calm" in one(judge.turned_away_without_need([away], trouble))


# --- deliveries, pictures, callbacks -------------------------------------------------------------------------------------


def test_a_callback_is_taken_or_put_off() -> None:
    life = Life()
    assert life.task is not None
    life.task["callbacks"] = [{"http_status": status} for status in (204, 503, None)]
    assert list(judge.broken_callbacks(life.tasks)) == []
    life.task["callbacks"].append({"http_status": 404})
    assert "404" in one(judge.broken_callbacks(life.tasks))


def test_a_job_that_succeeded_has_its_own_tasks_picture(tmp_path: Path) -> None:
    life = Life(state="succeeded")
    assert "has 0 pictures" in one(judge.lost_pictures(life.ledger, life.tasks, tmp_path, lambda _: None))
    life.images = [SimpleNamespace(index=0, source_url="http://upstream/images/two.jpeg", state="stored", sha256="ab" * 32)]
    complaints = list(judge.lost_pictures(life.ledger, life.tasks, tmp_path, lambda _: None))
    assert "not its task's" in complaints[0]


def test_a_picture_is_the_one_that_the_upstream_shows(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"a picture").hexdigest()
    place = tmp_path / sha256[:2] / sha256[2:4] / f"{sha256}.jpg"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a picture")
    life = Life(state="succeeded")
    life.images = [SimpleNamespace(index=0, source_url=PICTURE, state="stored", sha256=sha256)]
    assert list(judge.lost_pictures(life.ledger, life.tasks, tmp_path, lambda _: sha256)) == []
    assert "the upstream shows" in one(judge.lost_pictures(life.ledger, life.tasks, tmp_path, lambda _: "another"))


def test_nothing_waits_for_longer_than_anything_does() -> None:
    life = Life(state="succeeded")
    ledger = life.ledger
    waiting = SimpleNamespace(delivery_id=uuid4(), attempts=1, due_at=SENT + timedelta(seconds=65))
    ledger.deliveries[life.job_id] = [waiting]  # type: ignore[list-item]
    assert list(overlong_waits(ledger, SENT)) == [], "another may have it in hand"
    waiting.due_at = SENT + timedelta(minutes=3)
    assert "waits until" in one(overlong_waits(ledger, SENT))
    waiting.attempts = 2
    assert list(overlong_waits(ledger, SENT)) == [], "the second pause is five minutes"
    picture = SimpleNamespace(job_id=life.job_id, index=0, attempts=1, due_at=SENT + timedelta(minutes=20), created_at=SENT)
    ledger.images[life.job_id] = [picture]  # type: ignore[list-item]
    assert "picture 0" in one(overlong_waits(ledger, SENT))


def test_a_fault_that_never_struck_is_missed() -> None:
    assert "answer-lost" in missed({"faults_struck": {"run": 1}})


# --- the clock -----------------------------------------------------------------------------------------------------------


def test_an_instant_told_by_a_clock_that_was_off_is_read_right() -> None:
    trouble = Trouble(offsets=[(AT + 10, 3600.0), (AT + 20, 0.0)])
    ahead = datetime.fromtimestamp(AT + 15 + 3600, UTC)
    assert trouble.real(ahead) == AT + 15
    assert trouble.real(datetime.fromtimestamp(AT + 25, UTC)) == AT + 25

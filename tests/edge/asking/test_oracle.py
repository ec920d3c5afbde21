import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.oracle import Oracle
from edge.asking.wire_bytes import Traffic
from edge.planning.plan import largest_request
from edge.transfer_set.journal import Journal
from shared.errors import ForeignAnswer, OutputNotAllowed, RunMismatch, Stopped, Unauthorized, Unreachable
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from tests.conftest import LiveServer, Serve
from tests.fakes import HeldTeacher, LinearTeacher

STAGE = "deprivatization"
NOBODY = "http://127.0.0.1:1"


def some_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), np.uint8)


@contextmanager
def an_edge(
    url: str,
    key: str,
    journal_path: Path,
    output: str = LOGITS,
    *,
    batch: int = 256,
    limited: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_answer: Callable[[int], None] = lambda _: None,
    http: httpx.Client | None = None,
) -> Iterator[tuple[Oracle, Journal]]:
    """One life of an edge process: its client, journal and oracle."""
    with Journal(journal_path) as journal, TeacherClient(url, SecretStr(key), http=http, patience=1) as client:
        batch = largest_request(client.usage(), batch) if limited else batch
        yield Oracle(client, journal, output, batch=batch, should_stop=should_stop, on_answer=on_answer), journal


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_logits_are_what_the_teacher_says_in_the_order_of_the_images(
    live_server: LiveServer, journal_path: Path
) -> None:
    key, images = live_server.make_key(), some_images(50)
    with an_edge(live_server.url, key, journal_path, batch=16) as (oracle, journal):
        pairs = oracle.ask(STAGE, images)
        assert (pairs.images == images).all() and (pairs.answers == live_server.teacher.logits(images)).all()
        stored = journal.transfer_set(STAGE)
        assert (stored.images == images).all() and (stored.answers == pairs.answers).all()
    assert live_server.spent(key) == 50 and not oracle.exhausted


@pytest.mark.parametrize(("policy", "output"), [("top1", LABEL), ("probabilities", PROBABILITIES)])
def test_other_outputs_are_asked_for_by_name(
    live_server: LiveServer, journal_path: Path, policy: str, output: str
) -> None:
    key, images = live_server.make_key(policy=policy), some_images(20)
    with an_edge(live_server.url, key, journal_path, output) as (oracle, _):
        answers = oracle.ask(STAGE, images).answers
    classes = live_server.teacher.logits(images).argmax(1)
    if output == LABEL:
        assert answers.dtype == np.int64 and (answers == classes).all()
    else:
        assert answers.dtype == np.float32 and (answers.argmax(1) == classes).all()
        np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)


def test_a_wrong_key_and_a_hidden_output_are_refused_uncharged(live_server: LiveServer, journal_path: Path) -> None:
    key = live_server.make_key(policy="top1")
    with an_edge(live_server.url, "mekd_wrong", journal_path) as (oracle, _), pytest.raises(Unauthorized):
        oracle.ask(STAGE, some_images(1))
    with an_edge(live_server.url, key, journal_path) as (oracle, _), pytest.raises(OutputNotAllowed):
        oracle.ask(STAGE, some_images(1))
    assert live_server.spent(key) == 0


@pytest.mark.parametrize(("per_request", "per_minute"), [(7, 1000), (1000, 28)])
def test_requests_are_no_larger_than_the_server_allows(
    serve: Serve, journal_path: Path, per_request: int, per_minute: int
) -> None:
    server = serve(images_per_request=per_request)
    key, settled = server.make_key(images_per_minute=per_minute), list[int]()
    with an_edge(server.url, key, journal_path, limited=True, on_answer=settled.append) as (oracle, _):
        oracle.ask(STAGE, some_images(25))
    assert sum(settled) == 25 and max(settled) == 7


def test_equal_images_are_paid_once_within_a_call_across_stages_and_across_restarts(
    live_server: LiveServer, journal_path: Path
) -> None:
    key, images = live_server.make_key(), some_images(10)
    doubled = np.concatenate([images, images[::-1], images[:5]])
    with an_edge(live_server.url, key, journal_path, batch=8) as (oracle, _):
        pairs = oracle.ask(STAGE, doubled)
        assert (pairs.images == doubled).all() and (pairs.answers == live_server.teacher.logits(doubled)).all()
    with an_edge(live_server.url, key, journal_path) as (oracle, journal):
        more = np.concatenate([images, some_images(3, seed=1)])
        assert (oracle.ask("distillation", more).answers == live_server.teacher.logits(more)).all()
        assert (oracle.queries(STAGE), oracle.queries("distillation"), journal.unique_images()) == (10, 3, 13)
    assert live_server.spent(key) == 13


def test_the_budget_is_spent_to_the_last_image(live_server: LiveServer, journal_path: Path) -> None:
    key, images = live_server.make_key(budget=100), some_images(130)
    with an_edge(live_server.url, key, journal_path, batch=64) as (oracle, journal):
        pairs = oracle.ask(STAGE, images)
        assert oracle.exhausted and len(pairs) == 100
        assert (pairs.images == images[:100]).all()
        assert (pairs.answers == live_server.teacher.logits(images[:100])).all()
        nothing = oracle.ask("distillation", images[100:])
        assert oracle.exhausted and nothing.images.shape == (0, 1, 8, 8) and nothing.answers.shape == (0, 10)
        assert journal.find("distillation", 0) is None
    assert live_server.spent(key) == 100


def test_when_the_budget_is_gone_known_images_come_back_free_up_to_the_first_unknown_one(
    live_server: LiveServer, journal_path: Path
) -> None:
    key, images = live_server.make_key(name="edge", budget=10), some_images(12)
    with an_edge(live_server.url, key, journal_path, batch=4) as (oracle, _):
        oracle.ask(STAGE, images[:10])
        mixed = images[[0, 1, 2, 10, 3, 11]]
        pairs = oracle.ask("distillation", mixed)
        assert oracle.exhausted and (pairs.images == mixed[:3]).all()
        assert (pairs.answers == live_server.teacher.logits(mixed[:3])).all()
    live_server.ledger.top_up("edge", 2)
    with an_edge(live_server.url, key, journal_path, batch=4) as (oracle, _):
        pairs = oracle.ask("distillation", mixed)
        assert not oracle.exhausted and (pairs.answers == live_server.teacher.logits(mixed)).all()
    assert live_server.spent(key) == 12


def test_an_answer_that_was_lost_is_fetched_again_with_the_same_key_and_charged_once(
    live_server: LiveServer, journal_path: Path
) -> None:
    class ProcessDied(BaseException):
        pass

    class LosesTheSecondAnswer(httpx.HTTPTransport):
        questions = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            self.questions += request.method == "POST"
            if self.questions == 2:
                response.read()
                response.close()
                raise ProcessDied
            return response

    key, images = live_server.make_key(), some_images(30)
    with (
        httpx.Client(transport=LosesTheSecondAnswer()) as http,
        an_edge(live_server.url, key, journal_path, batch=10, http=http) as (oracle, journal),
    ):
        with pytest.raises(ProcessDied):
            oracle.ask(STAGE, images)
        assert journal.unique_images() == 10 and live_server.spent(key) == 20
    asked_before = sum(live_server.teacher.batches)
    with an_edge(live_server.url, key, journal_path, batch=10) as (oracle, journal):
        other_images = some_images(30, seed=1)  # a restart that drew other images: what was paid is what counts
        pairs = oracle.ask(STAGE, other_images)
        assert (pairs.images == np.concatenate([images[:20], other_images[20:]])).all()
        assert (pairs.answers == live_server.teacher.logits(pairs.images)).all()
        assert journal.unique_images() == live_server.spent(key) == 30
    assert sum(live_server.teacher.batches) - asked_before < 20


def test_stored_answers_need_no_server(live_server: LiveServer, journal_path: Path) -> None:
    key, images = live_server.make_key(), some_images(30)
    with an_edge(live_server.url, key, journal_path, batch=10) as (oracle, _):
        paid = oracle.ask(STAGE, images)
    with an_edge(NOBODY, "", journal_path) as (oracle, _):
        stored = oracle.ask(STAGE, images)
        assert (stored.images == paid.images).all() and (stored.answers == paid.answers).all()
        with pytest.raises(Unreachable):
            oracle.ask(STAGE, some_images(1, seed=1))


def test_a_stop_between_requests_loses_nothing_and_the_next_run_goes_on(
    live_server: LiveServer, journal_path: Path
) -> None:
    key, images, settled = live_server.make_key(), some_images(40), list[int]()
    edge = an_edge(
        live_server.url, key, journal_path, batch=10, should_stop=lambda: len(settled) == 2, on_answer=settled.append
    )
    with edge as (oracle, _), pytest.raises(Stopped, match="goes on from here"):
        oracle.ask(STAGE, images)
    assert live_server.spent(key) == 20
    with an_edge(live_server.url, key, journal_path, batch=10, on_answer=settled.append) as (oracle, _):
        assert (oracle.ask(STAGE, images).answers == live_server.teacher.logits(images)).all()
    assert live_server.spent(key) == 40 and settled == [10] * 4


def test_a_journal_of_other_questions_is_refused(live_server: LiveServer, journal_path: Path) -> None:
    key, images = live_server.make_key(), some_images(10)
    with an_edge(live_server.url, key, journal_path) as (oracle, _):
        oracle.ask(STAGE, images)
    for output, asked in ((LOGITS, images[:9]), (LOGITS, images[:, :, :4]), (PROBABILITIES, images)):
        with (
            an_edge(live_server.url, key, journal_path, output) as (oracle, _),
            pytest.raises(RunMismatch, match="belongs to another run"),
        ):
            oracle.ask(STAGE, asked)
    assert live_server.spent(key) == 10


def test_another_teacher_in_the_middle_of_a_run_is_noticed(serve: Serve, journal_path: Path) -> None:
    first = serve()
    second = serve(LinearTeacher(classes=7), ledger_path=first.ledger_path)
    key = first.make_key()
    with an_edge(first.url, key, journal_path) as (oracle, _):
        oracle.ask(STAGE, some_images(5))
    with an_edge(second.url, key, journal_path) as (oracle, _), pytest.raises(ForeignAnswer, match=r"7 classes.* 10"):
        oracle.ask("distillation", some_images(5, seed=1))


def test_bytes_of_a_stage_include_refused_requests(live_server: LiveServer, journal_path: Path) -> None:
    key, images = live_server.make_key(budget=10), some_images(20)
    with an_edge(live_server.url, key, journal_path) as (oracle, journal):
        oracle.ask(STAGE, images)
        up, down = journal.traffic(STAGE).up, journal.traffic(STAGE).down
        assert 40 * 64 < up < 40 * 64 + 3000, "20 images refused, 10 answered, 10 more refused"
        assert 10 * 40 < down < 10 * 40 + 3000
        assert journal.traffic("distillation") == Traffic()


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says(live_server: LiveServer, journal_path: Path) -> None:
    key, waits = live_server.make_key(images_per_minute=10), list[float]()

    def stop_waiting(seconds: float) -> None:
        waits.append(seconds)
        raise Stopped("Ctrl-C")

    with (
        Journal(journal_path) as journal,
        TeacherClient(live_server.url, SecretStr(key), sleep=stop_waiting) as client,
    ):
        with pytest.raises(Stopped):
            Oracle(client, journal, LOGITS, batch=2).ask(STAGE, some_images(20))
        assert 1 <= waits[0] <= 75 and journal.unique_images() == 10 == live_server.spent(key)


def test_the_same_key_asked_twice_at_once_waits_for_the_first_and_gets_its_answer(serve: Serve) -> None:
    teacher = HeldTeacher()
    server = serve(teacher, duplicate_seconds=0.2)
    key, images, replies = server.make_key(), some_images(4), list[NDArray[np.float32]]()

    def ask() -> None:
        with TeacherClient(server.url, SecretStr(key)) as client:
            replies.append(client.ask(images, LOGITS, "one").values)

    first = threading.Thread(target=ask)
    first.start()
    assert teacher.entered.wait(10)
    with TeacherClient(server.url, SecretStr(key), sleep=lambda _: teacher.release.set()) as client:
        second = client.ask(images, LOGITS, "one")
    first.join()
    assert second.replayed and (second.values == replies[0]).all() and server.spent(key) == 4


@given(
    shades=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    budget=st.integers(1, 20),
    batch=st.integers(1, 10),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_each_distinct_image_is_charged_once_and_never_beyond_the_budget(
    live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory, shades: list[int], budget: int, batch: int
) -> None:
    key, path = live_server.make_key(budget=budget), tmp_path_factory.mktemp("run") / "journal.sqlite"
    images = np.repeat(np.array(shades, np.uint8), 64).reshape(-1, 1, 8, 8)
    for _ in range(2):
        with an_edge(live_server.url, key, path, batch=batch) as (oracle, journal):
            pairs = oracle.ask(STAGE, images)
            assert (pairs.images == images[: len(pairs)]).all()
            assert (pairs.answers == live_server.teacher.logits(pairs.images)).all()
            assert oracle.exhausted == (len(pairs) < len(images)) == (len(set(shades)) > budget)
            assert journal.unique_images() == oracle.queries() == live_server.spent(key)
            assert live_server.spent(key) == min(budget, len(set(shades)))


def test_a_place_that_was_kept_lets_the_next_life_go_on_with_the_request_after_it(
    live_server: LiveServer, journal_path: Path
) -> None:
    key, images = live_server.make_key(), some_images(40)
    with an_edge(live_server.url, key, journal_path, batch=5) as (oracle, _):
        oracle.ask(STAGE, images[:20])
        kept = oracle.place(STAGE).state_dict()
        oracle.ask(STAGE, images[20:30])  # asked and stored, and then the process dies without having kept its place
        oracle.ask("distillation", images[:5])
    with an_edge(live_server.url, key, journal_path, batch=8) as (oracle, journal):
        oracle.place(STAGE).load_state_dict(kept)
        again = oracle.ask(STAGE, some_images(10, seed=1))
        assert (again.images == images[20:30]).all() and live_server.spent(key) == 30
        assert (oracle.ask(STAGE, images[30:]).images == images[30:]).all()
        assert (oracle.ask("distillation", some_images(5, seed=1)).images == images[:5]).all()
        assert [len(request.images) for request in journal.answered(STAGE)] == [5] * 6 + [8, 2]
    assert live_server.spent(key) == 40

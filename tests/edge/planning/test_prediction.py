import math
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.link import Link, named_link
from edge.asking.simulated_link import SimulatedLink
from edge.asking.teacher import Reply
from edge.asking.wire_bytes import CountingTransport, counted
from edge.config import Config
from edge.planning.pacing import WINDOW_SECONDS, SlidingWindow
from edge.planning.plan import Plan, make_plan
from edge.planning.prediction import Prediction, Terms, predict, request_sizes
from edge.planning.rehearsal import answer, refusal, rehearse
from edge.planning.step_timing import StepTimes, time_steps
from edge.presets import PRESETS, paper, pool
from edge.rivals import db3kd
from edge.run import run
from edge.training import Watcher
from server.rate_limit import _Window
from shared.errors import Stopped
from shared.protocol import LABEL, LOGITS, PROBABILITIES, ModelMetadata, TensorMetadata, Usage
from tests.conftest import LiveServer, Serve
from tests.edge.small import digits, small_config

SHAPE = (1, 8, 8)
METADATA = ModelMetadata(
    name="teacher",
    platform="mekd",
    inputs=[TensorMetadata(name="images", datatype="UINT8", shape=[-1, *SHAPE])],
    outputs=[
        TensorMetadata(name=LOGITS, datatype="FP32", shape=[-1, 10]),
        TensorMetadata(name=LABEL, datatype="INT64", shape=[-1]),
    ],
)


def usage(images_per_minute: int = 60_000) -> Usage:
    return Usage(
        client="edge",
        budget=10_000,
        spent=0,
        remaining=10_000,
        policy="logits",
        images_per_minute=images_per_minute,
        images_per_request=1024,
    )


def predicted(
    config: Config,
    key: Usage | None = None,
    *,
    metadata: ModelMetadata = METADATA,
    times: StepTimes | None = None,
    **terms: Any,
) -> Prediction:
    """Of a server that is not there."""
    with TeacherClient("http://127.0.0.1:1", SecretStr("k")) as teacher:
        plan = make_plan(config, metadata, key, digits())
        return predict(config, plan, digits(), Terms(teacher, metadata, key, **terms), times)


def images(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (number, *SHAPE), np.uint8)


@pytest.mark.parametrize("output", [LOGITS, PROBABILITIES, LABEL])
@pytest.mark.parametrize(("rows", "images_per_minute"), [(1, 9), (99, 100), (250, 60_000)])
def test_the_bytes_of_a_question_are_known_before_it_is_asked(
    live_server: LiveServer, output: str, rows: int, images_per_minute: int
) -> None:
    key = SecretStr(live_server.make_key(images_per_minute=images_per_minute))
    with TeacherClient(live_server.url, key) as client:
        metadata, left = client.metadata(), client.usage()
        assert left
        prepared = answer(metadata, output, rows, 10, (left, images_per_minute - rows, WINDOW_SECONDS))
        expected = rehearse(client, SHAPE, rows, output, prepared)
        assert live_server.teacher.batches == []
        reply = client.ask(images(rows), output, "0b2f9f2e-5d0a-5a52-9f0e-6b1f3f9f9f9f")
    assert reply.bytes_up == expected.up
    assert 0 <= expected.down - reply.bytes_down <= 1  # the seconds of the minute that are left, one digit or two


def test_the_bytes_of_a_refusal_are_known_too(live_server: LiveServer) -> None:
    key, waits = SecretStr(live_server.make_key(name="edge", images_per_minute=100)), list[float]()

    def stop(seconds: float) -> None:
        waits.append(seconds)
        raise Stopped("Enough.")

    with TeacherClient(live_server.url, key, sleep=stop) as client:
        left = client.usage()
        client.ask(images(60), LOGITS, "a")
        with counted() as traffic, pytest.raises(Stopped):
            client.ask(images(50), LOGITS, "b")
    assert left
    assert traffic.down == len(refusal(left, 50, int(waits[0])))  # less than a second of it is jitter


@given(st.integers(1, 100), st.lists(st.tuples(st.floats(0, 90), st.integers(1, 100)), max_size=12))
def test_the_rate_is_foreseen_as_the_server_counts_it(limit: int, questions: list[tuple[float, int]]) -> None:
    window, now, asked = SlidingWindow(limit), 30.0, dict[int, int]()
    for later, wanted in questions:
        now, rows = now + later, min(wanted, limit)
        while True:
            minute = int(now // WINDOW_SECONDS)
            server = _Window(asked.get(minute - 1, 0), asked.get(minute, 0), WINDOW_SECONDS - now % WINDOW_SECONDS)
            wait = window.admit(rows, now)
            assert (wait == 0) == (math.floor(server.used()) + rows <= limit)
            if wait == 0:
                asked[minute] = asked.get(minute, 0) + rows
                break
            assert wait == max(1, math.ceil(server.wait(rows, limit)))
            now += wait


@given(st.integers(0, 5000), st.integers(1, 300), st.sampled_from([SHAPE, (3, 32, 32), (3, 4096, 4096)]))
def test_sizes_of_requests_sum_up_to_the_queries(queries: int, most: int, shape: tuple[int, int, int]) -> None:
    sizes = list(request_sizes(Plan(LOGITS, {}, most), shape, queries))
    assert sum(sizes) == queries
    assert all(1 <= size <= most for size in sizes)
    assert all(size * math.prod(shape) <= 2**23 or size == 1 for size in sizes)
    assert len(set(sizes[:-1])) <= 1


def test_stages_add_up_to_the_budget_and_to_the_total() -> None:
    prediction = predicted(paper(Config()), usage(), price_per_1000=1.5, link=named_link("3g"))
    step_1, step_2 = prediction.stages.values()
    assert (step_1.queries, step_1.requests, step_2.queries, step_2.requests) == (200, 2, 1800, 8)
    total = prediction.total
    assert (total.queries, total.requests, total.cost, prediction.held_out) == (2000, 10, 3.0, 200)
    for name in ("bytes_up", "bytes_down", "bytes_down_slack", "rate_seconds", "link_seconds"):
        assert getattr(total, name) == getattr(step_1, name) + getattr(step_2, name)
    assert prediction.model_dump()["total"] == total.model_dump()


def test_of_walks_that_only_help_to_make_answers_none_is_held_out() -> None:
    config = PRESETS["db3kd"](small_config(budget=400, response="top1"))
    labelled, *walks = db3kd.sizes(400, len(digits().images), digits().classes)
    assert sum(walks) > 100 and predicted(config, usage()).held_out == round(0.1 * labelled)


def test_a_rate_below_the_budget_takes_minutes_and_sends_requests_twice() -> None:
    config = pool(Config(response="top1"))
    free, limited = predicted(config, usage(10_000)), predicted(config, usage(1000))
    assert (free.total.requests, free.total.refusals, free.total.rate_seconds) == (8, 0, 0)
    # from the middle of a minute: 1,000 at once, then 250 for every 15 s of the next, which is all used up after 60 s
    assert (limited.total.requests, limited.total.refusals) == (8, 4)
    assert limited.total.rate_seconds == pytest.approx(90, abs=3)
    assert free.total.bytes_up is not None and limited.total.bytes_up is not None
    assert limited.total.bytes_up == pytest.approx(free.total.bytes_up * 12 / 8, rel=1e-3)


def test_training_between_the_questions_is_time_in_which_the_rate_recovers() -> None:
    times = StepTimes(early=0, late=1, generation=0, early_student=0, distillation=0, selection=0)
    at_once, apart = (predicted(paper(Config()), usage(400), times=t) for t in (None, times))
    assert apart.total.seconds == pytest.approx(600 + (apart.total.rate_seconds or 0))
    assert (apart.stages["distillation"].rate_seconds or 0) < (at_once.stages["distillation"].rate_seconds or 0)


def test_seconds_are_those_of_every_step_round_and_look() -> None:
    times = StepTimes(early=1, late=100, generation=0.01, early_student=500, distillation=10_000, selection=1_000_000)
    prediction = predicted(small_config(), usage(), times=times)
    step_1, step_2 = prediction.stages.values()
    assert step_1.seconds == pytest.approx(6 * 1 + 6 * 100 + 30 * 0.01)  # rounds at steps 6 and 9 of 12
    assert step_2.seconds == pytest.approx(70 * 0.01 + 100 * 0.01 + 12 * 10_000 + 3 * 1_000_000)
    assert predicted(small_config(), usage()).total.seconds is None
    balanced = predicted(small_config(distillation={"drawn_share": 0.5}), usage(), times=times)
    assert balanced.total.seconds == prediction.total.seconds  # only the answers will tell whether a class is short


def test_seconds_of_a_method_that_chooses_hold_its_early_students_and_what_they_look_at() -> None:
    times = StepTimes(early=0, late=0, generation=0, early_student=500, distillation=0, selection=1_000_000)
    config = small_config(method="am", distillation={"image_weight": 0.0})
    looks = 3 * 1_000_000
    choosing = 3 * 6 * 500 + 5 * 50 * 1_000_000 / 10  # half as many steps; five pairs for each of 50, judged by tens
    assert predicted(config, usage(), times=times).total.seconds == pytest.approx(looks + choosing)


def test_seconds_on_a_link_are_those_of_its_exchanges_and_of_connections_that_were_let_go() -> None:
    link = Link(name="slow", up_bits_per_second=8e3, down_bits_per_second=4e3, round_trip=10)
    times = StepTimes(early=10, late=0, generation=0, early_student=0, distillation=0, selection=0)
    for seconds, handshakes in ((None, 0), (times, 1)):
        prediction = predicted(small_config(), usage(), link=link, times=seconds)
        step_1 = prediction.stages["deprivatization"]
        assert step_1.requests == 2 and step_1.bytes_up and step_1.bytes_down
        expected = step_1.bytes_up / 1e3 + step_1.bytes_down / 500 + (2 + handshakes) * 10
        assert step_1.link_seconds == pytest.approx(expected)
    waited = predicted(small_config(), usage(), link=link, times=times, real_time=True)
    assert waited.total.seconds == pytest.approx(60 + (waited.total.link_seconds or 0))


@pytest.mark.parametrize(
    ("policy", "response", "images_per_minute", "images_per_request"),
    [
        ("logits", "soft", 1_000_000, 1024),
        ("probabilities", "soft", 1_000_000, 7),
        ("top1", "top1", 1_000_000, 1024),
        ("logits", "soft", 100, 1024),  # requests of 25, and never a refusal
    ],
)
def test_a_run_takes_what_was_predicted_to_the_byte(
    serve: Serve, tmp_path: Path, policy: str, response: str, images_per_minute: int, images_per_request: int
) -> None:
    server = serve(images_per_request=images_per_request)
    key = server.make_key(budget=100, policy=policy, images_per_minute=images_per_minute)
    config = small_config(response=response)
    link = Link(name="even", up_bits_per_second=1e7, down_bits_per_second=1e7, round_trip=0.1)
    with (
        httpx.Client(transport=SimulatedLink(CountingTransport(keepalive_expiry=30), link, seed=0)) as http,
        TeacherClient(server.url, SecretStr(key), http=http) as client,
    ):
        results = run(config, client, tmp_path / "run", link=link)
    most = min(images_per_request, images_per_minute // 4)
    for name, took in results["stages"].items():
        expected = results["prediction"]["stages"][name]
        assert expected["queries"] == took["queries"] == took["queries_by_server"]
        assert expected["bytes_up"] == took["bytes_up"]
        assert 0 <= expected["bytes_down"] - took["bytes_down"] <= expected["bytes_down_slack"]
        assert expected["bytes_down_slack"] <= 2 * expected["requests"]
        assert took["link_seconds"] == pytest.approx(expected["link_seconds"], abs=0.001)
        assert expected["refusals"] == 0
    step_1, step_2 = (results["prediction"]["stages"][name]["requests"] for name in results["stages"])
    assert step_1 == (2 * math.ceil(15 / most) if response == "soft" else 0)
    assert step_2 == math.ceil((70 if response == "soft" else 100) / most)
    assert results["prediction"]["held_out"] == 10
    assert results["prediction"]["total"]["seconds"] is None


def test_a_run_that_chooses_its_images_takes_what_was_predicted(live_server: LiveServer, tmp_path: Path) -> None:
    config, key = small_config(distillation={"drawn_share": 0.5}), live_server.make_key(budget=100)
    with TeacherClient(live_server.url, SecretStr(key)) as client:
        results = run(config, client, tmp_path / "run")
    expected, took = results["prediction"]["stages"]["distillation"], results["stages"]["distillation"]
    assert (expected["queries"], expected["requests"]) == (took["queries"], 2)
    assert expected["bytes_up"] == took["bytes_up"]
    assert 0 <= expected["bytes_down"] - took["bytes_down"] <= expected["bytes_down_slack"]


def test_a_run_that_goes_on_reports_what_was_predicted_at_its_start(live_server: LiveServer, tmp_path: Path) -> None:
    key, out = SecretStr(live_server.make_key(budget=100)), tmp_path / "run"
    with TeacherClient(live_server.url, key) as client:
        with pytest.raises(Stopped):
            run(small_config(), client, out, watcher=Watcher(should_stop=lambda: True), timing=True)
        results = run(small_config(), client, out, link=named_link("3g"))
    assert results["prediction"]["link"] is None
    assert results["prediction"]["total"]["seconds"] > 0


class Adapter:
    """A teacher of another API: nothing is known of its bytes."""

    def metadata(self) -> ModelMetadata:
        return METADATA

    def usage(self) -> Usage | None:
        return None

    def ask(self, images: np.ndarray[Any, np.dtype[np.uint8]], output: str, key: str) -> Reply:
        raise AssertionError("a prediction asks nothing")


def test_what_cannot_be_known_is_not_said() -> None:
    foreign = predicted(Config(), None, metadata=METADATA.model_copy(update={"platform": "onnx"}))
    plan = make_plan(Config(), METADATA, None, digits())
    adapted = predict(Config(), plan, digits(), Terms(Adapter(), METADATA, None, named_link("lan")), None)
    for prediction in (foreign, adapted):
        total = prediction.total
        assert (total.queries, total.requests) == (2000, 9)  # 1,600 and 400 by 250
        assert {total.bytes_up, total.bytes_down, total.rate_seconds, total.link_seconds, total.cost} == {None}


def test_steps_are_timed_without_a_question() -> None:
    times = time_steps(small_config(response="top1"), digits(), LABEL, 10)
    assert all(seconds > 0 for seconds in vars(times).values())

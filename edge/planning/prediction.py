"""What a run will take, before anything is paid: queries, bytes and seconds of both stages.

    queries, requests   as planned. Of two equal generated images only one is paid for, so they may become fewer.
    bytes up            exact: every request is made, and measured (`edge.planning.rehearsal`). So are those that the
                        key's rate refuses and that are sent again, as long as its minutes are not cut by training.
    bytes down          at most what is said here, and at least `bytes_down_slack` less: the digits of two numbers in
                        the field RateLimit, and in a refusal of four, depend on the server's clock.
    seconds             steps, as timed on this machine, and waiting for the rate (`edge.planning.pacing`). The
                        server's own work is not in them: finding it out would cost queries.

Bytes are those of `mekd-server`; of others they cannot be known. What breaks on the way, and what others ask with
the same key, is not foreseen. Traffic that asks about no image (metadata and usage) is accounted by a run, and not
predicted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import computed_field

from edge.asking.client import TeacherClient
from edge.asking.exchange import BACK_OFF_FIRST, KEEPALIVE_EXPIRY
from edge.asking.link import Link
from edge.asking.oracle import images_in_request
from edge.asking.teacher import Teacher
from edge.asking.wire_bytes import Traffic
from edge.balancing import early_config
from edge.config import MEKD, OFFICIAL, Config, Section
from edge.deprivatization import confidence_rounds
from edge.distillation import split
from edge.images.local_images import LocalImages
from edge.methods import method_of
from edge.official.deprivatization import asked_at
from edge.official.distillation import batches
from edge.planning.pacing import WINDOW_SECONDS, SlidingWindow
from edge.planning.plan import STAGES, Plan
from edge.planning.rehearsal import answer, refusal, rehearse
from edge.planning.step_timing import StepTimes, time_steps
from edge.rivals.am import CANDIDATES
from edge.transfer_set.journal import Journal
from shared.protocol import PLATFORM, ModelMetadata, Usage

NOTE = "prediction"
LONG_WAIT, REFUSAL_DIGITS = 100, 8
"""Seconds of three digits, and the bytes that a refusal is shorter by if they have one: it holds them four times."""

Legs = Sequence[tuple[float, int]]
"""Seconds of work and then images to ask about, time after time."""


class StagePrediction(Section):
    """What one stage takes, or both; None is what cannot be known."""

    queries: int
    requests: int
    """Answered ones."""
    refusals: int
    """Requests that the key's rate sends away for a while."""
    bytes_up: int | None
    bytes_down: int | None
    bytes_down_slack: int | None
    """Bytes by which `bytes_down` may be too high."""
    rate_seconds: float | None
    """Waiting for the key's rate."""
    link_seconds: float | None
    """On the link, if there is one."""
    seconds: float | None
    """By this machine's clock: training, waiting for the rate and, where the link is waited for, the link."""
    cost: float | None
    """At the given price."""


class Prediction(Section):
    """What a run takes."""

    stages: dict[str, StagePrediction]
    held_out: int
    """Answers, of all queries, that select the student and never train it."""
    link: str | None
    """The link's name."""
    price_per_1000: float | None
    """Of 1,000 queries, in whatever currency."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> StagePrediction:
        """Both stages together."""
        stages = [stage.model_dump() for stage in self.stages.values()]
        columns = {name: [stage[name] for stage in stages] for name in StagePrediction.model_fields}
        return StagePrediction(**{name: None if None in known else sum(known) for name, known in columns.items()})


@dataclass(frozen=True)
class Terms:
    """Who is asked, and on what terms."""

    teacher: Teacher
    metadata: ModelMetadata
    usage: Usage | None
    link: Link | None = None
    real_time: bool = False
    """The link's seconds are waited for."""
    price_per_1000: float | None = None

    @property
    def client(self) -> TeacherClient | None:
        """The teacher, if it is one whose answers are known to the byte."""
        if isinstance(self.teacher, TeacherClient) and self.metadata.platform == PLATFORM:
            return self.teacher
        return None


def predict(config: Config, plan: Plan, local: LocalImages, terms: Terms, times: StepTimes | None) -> Prediction:
    """Predict a run of `config` from its start; nothing is asked.

    Args:
        config: the run's.
        plan: made for it.
        local: the edge's images.
        terms: who is asked, and how.
        times: of the steps on this machine; None leaves the seconds unknown.
    """
    course = _Course(plan, local, terms)
    legs = zip(STAGES, (_step_1(config, plan, times), _step_2(config, plan, local, times)), strict=True)
    return Prediction(
        stages={stage: course.through(stage_legs, timed=times is not None) for stage, stage_legs in legs},
        held_out=held_out(config, local),
        link=terms.link.name if terms.link else None,
        price_per_1000=terms.price_per_1000,
    )


def first_prediction(
    journal: Journal, config: Config, plan: Plan, local: LocalImages, terms: Terms, *, timing: bool
) -> dict[str, Any]:
    """What was predicted when the run began, kept in its journal; where nothing is yet, what is predicted now.

    Args:
        journal: the run's.
        config: the run's.
        plan: made for it.
        local: the edge's images.
        terms: who is asked, and how.
        timing: time some steps for it, a second or two of work.
    """
    if (then := journal.notes().get(NOTE)) is not None:
        return dict(then)
    times = time_steps(config, local, plan.output, held_out(config, local)) if timing else None
    now = predict(config, plan, local, terms, times).model_dump()
    journal.note(NOTE, now)
    return now


def held_out(config: Config, local: LocalImages) -> int:
    """Answers that will select the student."""
    if config.method == OFFICIAL:
        return 0
    method, pairs = method_of(config), config.budget
    if method.learns_first_round:
        pairs = method.rounds(config, config.budget, len(local.images), local.classes)[0]
    return len(split(pairs, config.distillation.held_out, config.seed)[1])


def request_sizes(plan: Plan, image_shape: tuple[int, int, int], queries: int) -> Iterator[int]:
    """Images in every request about `queries` images."""
    most = images_in_request(plan.images_per_request, math.prod(image_shape))
    for start in range(0, queries, most):
        yield min(most, queries - start)


def _step_1(config: Config, plan: Plan, times: StepTimes | None) -> Legs:
    early, late, generation = (times.early, times.late, times.generation) if times else (0.0, 0.0, 0.0)
    if config.method == OFFICIAL:
        return [(late, asked_at(step, config)) for step in range(config.deprivatization.steps)]
    if not config.has_step_1:
        return []
    legs, done, step_seconds = [], 0, early
    for start, queries in confidence_rounds(config.deprivatization, plan.queries[STAGES[0]]):
        legs.append(((start - done) * step_seconds + queries * generation, queries))
        done, step_seconds = start, late
    return [*legs, ((config.deprivatization.steps - done) * step_seconds, 0)]


def _step_2(config: Config, plan: Plan, local: LocalImages, times: StepTimes | None) -> Legs:
    queries, step = plan.queries[STAGES[1]], config.distillation
    if config.method == OFFICIAL:
        return [(times.distillation if times else 0.0, size) for size in batches(config)]
    method = method_of(config)
    first, *later = method.rounds(config, queries, len(local.images), local.classes)
    if times is None:
        return [(0.0, size) for size in (first, *later)]
    grafted = config.budget * times.generation if step.image_weight > 0 else 0.0
    looks = math.ceil(step.steps / step.evaluate_every)
    training = step.steps * times.distillation + looks * times.selection
    return [
        (first * times.generation, first),
        *((_choosing(size, config, local, times), size) for size in later),
        (grafted + training, 0),
    ]


def _choosing(queries: int, config: Config, local: LocalImages, times: StepTimes) -> float:
    """Seconds to find out which `queries` to ask in a later round; a rival's own learning is not foreseen."""
    if config.method == MEKD:  # only the answers will tell whether a class is short, and seldom one is
        return queries * times.generation
    share = method_of(config).early_share
    early = early_config(config, share).distillation.steps * times.early_student if share > 0 else 0.0
    return early + CANDIDATES * queries * (times.generation + times.selection / max(1, held_out(config, local)))


@dataclass
class _Tally:
    """What a stage took so far."""

    requests: int = 0
    refusals: int = 0
    up: int = 0
    down: int = 0
    slack: int = 0
    waited: float = 0.0
    on_link: float = 0.0


class _Course:
    """A run as it will go, request by request."""

    def __init__(self, plan: Plan, local: LocalImages, terms: Terms) -> None:
        self._plan, self._local, self._terms = plan, local, terms
        self._rate = SlidingWindow(terms.usage.images_per_minute) if terms.usage else None
        self._measured: dict[int, Traffic] = {}
        self._asked = 0
        self._now = self._used = WINDOW_SECONDS / 2
        """Seconds: the present, and when the connection was last used."""

    def through(self, legs: Legs, *, timed: bool) -> StagePrediction:
        """Go through a stage."""
        tally, started = _Tally(), self._now
        self._used = self._now  # the run has just looked at the key's usage
        for seconds, queries in legs:
            self._now += seconds
            for rows in request_sizes(self._plan, self._local.image_shape, queries):
                self._ask(rows, tally)
        terms, queries = self._terms, sum(queries for _, queries in legs)
        measured = terms.client is not None
        return StagePrediction(
            queries=queries,
            requests=tally.requests,
            refusals=tally.refusals,
            bytes_up=tally.up if measured else None,
            bytes_down=tally.down if measured else None,
            bytes_down_slack=tally.slack if measured else None,
            rate_seconds=tally.waited if self._rate else None,
            link_seconds=tally.on_link if measured and terms.link else None,
            seconds=self._now - started if timed else None,
            cost=None if terms.price_per_1000 is None else queries * terms.price_per_1000 / 1000,
        )

    def _ask(self, rows: int, tally: _Tally) -> None:
        sent = self._traffic(rows)
        while self._rate and (wait := self._rate.admit(rows, self._now)):
            assert self._terms.usage is not None
            refused = len(refusal(self._terms.usage, rows, LONG_WAIT))
            self._exchange(Traffic(sent.up, refused, sent.handshakes), tally)
            tally.refusals += 1
            tally.slack += REFUSAL_DIGITS
            wait_and_jitter = wait + BACK_OFF_FIRST / 2
            tally.waited += wait_and_jitter
            self._now += wait_and_jitter
        self._exchange(sent, tally)
        tally.requests += 1
        self._asked += rows
        if usage := self._terms.usage:
            least = max(0, usage.images_per_minute - self._asked)
            tally.slack += 1 + len(str(usage.images_per_minute - rows)) - len(str(least))

    def _exchange(self, traffic: Traffic, tally: _Tally) -> None:
        tally.up += traffic.up
        tally.down += traffic.down
        if link := self._terms.link:
            handshakes = traffic.handshakes if self._now - self._used > KEEPALIVE_EXPIRY else 0
            seconds = link.expected_seconds(traffic.up, traffic.down, connections=handshakes)
            tally.on_link += seconds
            if self._terms.real_time:
                self._now += seconds
        self._used = self._now

    def _traffic(self, rows: int) -> Traffic:
        """Of a question about `rows` images, with as many digits in the answer as there can be; empty if unknown."""
        terms = self._terms
        if terms.client is None:
            return Traffic()
        if rows not in self._measured:
            usage, output = terms.usage, self._plan.output
            rate = (usage, usage.images_per_minute - rows, WINDOW_SECONDS) if usage else None
            prepared = answer(terms.metadata, output, rows, self._local.classes, rate)
            self._measured[rows] = rehearse(terms.client, self._local.image_shape, rows, output, prepared)
        return self._measured[rows]

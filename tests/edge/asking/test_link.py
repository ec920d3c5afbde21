import json
import math
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from typer.testing import CliRunner

from edge.asking.client import TeacherClient
from edge.asking.link import LINKS, Link, named_link
from edge.asking.simulated_link import SimulatedLink
from edge.asking.wire_bytes import CountingTransport, Traffic, counted
from edge.cli import app
from edge.run import run
from edge.transfer_set.journal import Journal
from shared.errors import InvalidConfig, Stopped
from shared.protocol import LOGITS
from tests.conftest import LiveServer
from tests.edge.asking.scripted_server import ScriptedServer, http_answer, logits_answer
from tests.edge.small import small_config

EXACT = Link(name="exact", up_bits_per_second=1000, down_bits_per_second=4000, round_trip=0.5)
"""Neither jitter nor loss: seconds can be told by hand."""
FIELDS = "up_bits_per_second = 1000\ndown_bits_per_second = 4000.0\nround_trip = 0.5\npacket_bytes = 100\n"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lossy(**fields: float) -> Link:
    return EXACT.model_copy(update={"loss": 0.2, "packet_bytes": 100} | fields)


def test_without_jitter_and_loss_an_exchange_takes_round_trips_and_bits_over_bandwidth() -> None:
    assert EXACT.drawn_seconds(250, 2000, rng()) == 0.5 + 2 + 4
    assert EXACT.drawn_seconds(250, 2000, rng(), connections=2) == 3 * 0.5 + 2 + 4
    assert EXACT.drawn_seconds(0, 0, rng()) == 0.5
    assert EXACT.expected_seconds(500, 4000, exchanges=2, connections=1) == 3 * 0.5 + 4 + 8
    assert EXACT.expected_seconds(0, 0, exchanges=0) == 0


def test_every_lost_packet_costs_its_transmission_and_one_round_trip() -> None:
    """1000 bytes up are 10 packets of 0.8 s; nothing else takes a multiple of 1.3 s."""
    seconds = [lossy().drawn_seconds(1000, 0, rng(seed)) for seed in range(50)]
    lost = [(taken - 0.5 - 8) / (0.8 + 0.5) for taken in seconds]
    assert lost == pytest.approx([round(number) for number in lost], abs=1e-9)
    assert min(lost) >= 0 and len(set(map(round, lost))) > 3


def test_jitter_only_ever_adds_and_spreads_as_much_as_it_says() -> None:
    jittery = EXACT.model_copy(update={"jitter": 0.1})
    added = np.array([jittery.drawn_seconds(0, 0, rng(seed)) - 0.5 for seed in range(4000)])
    assert added.min() > 0
    assert added.mean() == pytest.approx(0.1, rel=0.1)
    assert added.std() == pytest.approx(0.1, rel=0.1)


links = st.builds(
    Link,
    name=st.just("drawn"),
    up_bits_per_second=st.floats(1e3, 1e9),
    down_bits_per_second=st.floats(1e3, 1e9),
    round_trip=st.floats(0, 3),
    jitter=st.floats(0, 1),
    loss=st.just(0.0) | st.floats(0.05, 0.6),  # fewer losses than that leave a sample that does not know its spread
    packet_bytes=st.integers(20, 1460),
)


@given(link=links, data=st.data())
@settings(max_examples=40)
def test_expected_seconds_are_the_mean_of_the_drawn_ones(link: Link, data: st.DataObject) -> None:
    up, down = data.draw(st.integers(0, 20_000)), data.draw(st.integers(0, 20_000))
    exchanges, connections = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    draws, generator = 1000, rng(0)
    sums = np.array(
        [
            sum(
                link.drawn_seconds(up, down, generator, connections=connections if exchange == 0 else 0)
                for exchange in range(exchanges)
            )
            for _ in range(draws)
        ]
    )
    expected = link.expected_seconds(exchanges * up, exchanges * down, exchanges=exchanges, connections=connections)
    tolerance = 6 * sums.std() / math.sqrt(draws) + 1e-9 * expected
    assert sums.mean() == pytest.approx(expected, abs=tolerance)


def test_each_named_link_is_slower_than_the_one_before() -> None:
    named = [named_link(name) for name in ("lan", "wifi", "4g", "3g", "lora")]
    seconds = [link.expected_seconds(20_000, 20_000) for link in named]
    assert seconds == sorted(seconds) and named == list(LINKS.values())


def test_a_link_can_be_described_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "buoy.toml"
    file.write_text(FIELDS)
    link = named_link(str(file))
    assert link == EXACT.model_copy(update={"name": "buoy", "packet_bytes": 100})
    file.write_text('name = "satellite"\n' + FIELDS)
    assert named_link(str(file)).name == "satellite"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FIELDS + "loss = 1.0", "'loss'.*less than 1"),
        (FIELDS + "jitter = -0.1", "'jitter'"),
        (FIELDS + "latency = 1", "'latency'.*Extra"),
        (FIELDS.replace("round_trip = 0.5", ""), "'round_trip'.*required"),
        (FIELDS.replace("1000", "0"), "'up_bits_per_second'"),
        (FIELDS.replace("4000.0", "inf"), "'down_bits_per_second'"),
        ("not TOML at all", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field_that_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "buoy.toml"
    file.write_text(content)
    with pytest.raises(InvalidConfig, match=said):
        named_link(str(file))


def test_an_unknown_link_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    for name in ("5g", str(tmp_path)):
        with pytest.raises(
            InvalidConfig, match="lan, wifi, 4g, 3g, lora, or name a TOML file with the fields name, up"
        ):
            named_link(name)


def behind(
    link: Link, seed: int = 0, *, sleep: Callable[[float], None] | None = None, keepalive_expiry: float = 30
) -> httpx.Client:
    transport = CountingTransport(keepalive_expiry=keepalive_expiry)
    return httpx.Client(transport=SimulatedLink(transport, link, seed, sleep=sleep))


def by_hand(server: ScriptedServer, *, exchanges: int, connections: int) -> float:
    """What all that a server saw took over `EXACT`."""
    return (exchanges + connections) * 0.5 + 8 * server.received / 1000 + 8 * server.sent / 4000


def test_a_kept_connection_is_paid_with_one_round_trip_once() -> None:
    with (
        ScriptedServer(http_answer("200 OK", b"one"), http_answer("200 OK", b"two")) as server,
        behind(EXACT) as http,
        counted() as traffic,
    ):
        assert [http.post(server.url, content=b"12").content for _ in range(2)] == [b"one", b"two"]
    assert traffic.handshakes == 1
    assert traffic.link_seconds == pytest.approx(by_hand(server, exchanges=2, connections=1))


def test_refused_and_broken_attempts_cross_the_link_too() -> None:
    answers = [http_answer("503 Busy", b"{}"), logits_answer(2)[:-10], b"", logits_answer(2)]
    with (
        ScriptedServer(*answers) as server,
        behind(EXACT) as http,
        TeacherClient(server.url, SecretStr("k"), http=http, sleep=lambda _: None) as client,
        counted() as traffic,
    ):
        client.ask(np.zeros((2, 3, 8, 8), np.uint8), LOGITS, "a")
    assert (traffic.up, traffic.down, traffic.handshakes) == (server.received, server.sent, 3)
    assert traffic.link_seconds == pytest.approx(by_hand(server, exchanges=4, connections=3))


def test_nobody_answering_takes_a_round_trip() -> None:
    with behind(EXACT) as http, counted() as traffic, pytest.raises(httpx.ConnectError):
        http.get("http://127.0.0.1:1")
    assert traffic == Traffic(link_seconds=0.5)


def test_in_real_time_each_exchange_is_waited_for_as_long_as_it_is_accounted() -> None:
    sleeps: list[float] = []
    with (
        ScriptedServer(*[http_answer("200 OK")] * 3) as server,
        behind(lossy(jitter=0.3), sleep=sleeps.append) as http,
    ):
        accounted = []
        for _ in range(3):
            with counted() as traffic:
                http.get(server.url)
            accounted.append(traffic.link_seconds)
    assert sleeps == accounted and len(set(sleeps)) == 3  # equal exchanges draw anew


def test_waiting_for_a_link_can_be_stopped_and_what_crossed_it_stays_accounted() -> None:
    def stop(seconds: float) -> None:
        raise Stopped(f"after {seconds}")

    with (
        ScriptedServer(http_answer("200 OK")) as server,
        behind(EXACT, sleep=stop) as http,
        counted() as traffic,
        pytest.raises(Stopped),
    ):
        http.get(server.url)
    assert traffic.link_seconds == pytest.approx(by_hand(server, exchanges=1, connections=1))


def test_an_answer_comes_through_as_it_was_sent() -> None:
    answer = http_answer("418 Teapot", b"{}", "Content-Type: application/json", "X-Twice: a", "X-Twice: b")
    with ScriptedServer(answer) as server, behind(EXACT) as http:
        response = http.get(server.url)
    assert (response.status_code, response.reason_phrase, response.content) == (418, "Teapot", b"{}")
    assert response.headers.get_list("X-Twice") == ["a", "b"]


def taken(server: LiveServer, out: Path, seed: int, link: Link = LINKS["3g"]) -> list[float]:
    """Seconds on the link by stage, and those of bookkeeping."""
    config = small_config(seed=seed)
    with (
        behind(link, seed, keepalive_expiry=0) as http,  # how long a kept one lasts depends on the machine's speed
        TeacherClient(server.url, SecretStr(server.make_key(name=out.name, budget=100)), http=http) as client,
    ):
        results = run(config, client, out, link=link)
    assert results["link"] == link.model_dump()
    with Journal(out / "transfer_set.sqlite") as journal:
        total = journal.traffic().link_seconds
    parts = (*results["stages"].values(), results["bookkeeping"])
    assert sum(part["link_seconds"] for part in parts) == pytest.approx(total, abs=0.01)
    return [part["link_seconds"] for part in parts]


def test_a_run_accounts_its_seconds_by_stage_and_the_same_seed_takes_the_same_ones(
    live_server: LiveServer, tmp_path: Path
) -> None:
    first, same, other = (taken(live_server, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert min(first) > LINKS["3g"].round_trip
    nearly_same = pytest.approx(same, abs=0.005)  # a header tells the seconds left of the minute: a byte or two
    assert first == nearly_same and other != nearly_same


TINY = "budget = 100\n[deprivatization]\nsteps = 4\nbatch = 8\nwidth = 8\n[distillation]\nsteps = 4\nbatch = 8\n"


def test_the_commands_show_the_seconds_on_the_link(live_server: LiveServer, tmp_path: Path) -> None:
    tiny, out = tmp_path / "tiny.toml", tmp_path / "run"
    tiny.write_text(TINY)

    def invoke(command: str, *flags: object) -> str:
        key = live_server.make_key(budget=400)
        environment = {"MEKD_API_KEY": key, "MEKD_SERVER_URL": live_server.url, "COLUMNS": "200"}
        result = CliRunner().invoke(app, [command, *map(str, flags)], env=environment, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stderr

    assert "seconds on the link lora " in invoke("distill", "--out", out, "--config", tiny, "--link", "lora")
    assert "seconds on the link 4g, evaluation" in invoke("evaluate", "--run", out, "--link", "4g")
    results = json.loads((out / "results.json").read_text())
    assert (results["link"]["name"], results["evaluation"]["link"]["name"]) == ("lora", "4g")
    assert results["stages"]["distillation"]["link_seconds"] > 10 > results["evaluation"]["link_seconds"] > 0


def test_real_time_without_a_link_and_an_unknown_link_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    flags = ["distill", "--server", "http://127.0.0.1:1", "--out", str(tmp_path / "run")]
    for wrong, said in ((["--real-time"], "Add --link"), (["--link", "5g"], "no link '5g'")):
        with pytest.raises(InvalidConfig, match=said):
            CliRunner().invoke(app, flags + wrong, catch_exceptions=False)

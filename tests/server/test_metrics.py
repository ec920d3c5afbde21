import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.auth import key_hash
from server.metrics import Metrics, shown
from shared.errors import InvalidConfig
from tests.conftest import LiveServer
from tests.server.asking import INFER, ask, get, post, some_images

INFER_ROUTE = "/v2/models/{model}/infer"


def scraped(url: str) -> tuple[str, dict[tuple[str, ...], float]]:
    """The text, and every value by name and labels' values."""
    text = httpx.get(url).text
    families = text_string_to_metric_families(text)
    return text, {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def metrics_of(server: LiveServer) -> tuple[str, dict[tuple[str, ...], float]]:
    with shown(server.metrics, "127.0.0.1", 0) as url:
        return scraped(url)


def test_what_happened_is_counted(live_server: LiveServer) -> None:
    live_server.metrics.watch_budgets(live_server.ledger.clients)
    key = live_server.make_key(name="edge-1", budget=10)
    ask(live_server, key, some_images(7), idempotency_key="k")
    ask(live_server, key, some_images(7), idempotency_key="k")
    ask(live_server, key, some_images(4))
    get(live_server, "/v1/results/k", key)
    get(live_server, "/v1/usage")
    get(live_server, "/nowhere/at/all")
    _, values = metrics_of(live_server)
    assert values["mekd_images_total",] == 7
    assert values["mekd_replays_total",] == 2
    assert values["mekd_requests_total", INFER_ROUTE, "200"] == 2
    assert values["mekd_requests_total", INFER_ROUTE, "402"] == 1
    assert values["mekd_requests_total", "/v1/results/{key:path}", "200"] == 1
    assert values["mekd_requests_total", "none", "404"] == 1
    assert values["mekd_rejections_total", "budget-exhausted"] == 1
    assert values["mekd_rejections_total", "unauthorized"] == 1
    assert values["mekd_budget_remaining_images", "edge-1"] == 3
    assert (values["mekd_batch_images_count",], values["mekd_batch_images_sum",]) == (1, 8)
    assert values["mekd_inference_seconds_count",] == values["mekd_commit_seconds_count",] == 1
    assert [values[f"mekd_{name}",] for name in ("queue_images", "queue_bytes", "in_flight_requests")] == [0, 0, 0]


def test_no_client_can_make_the_metrics_grow_or_tell(live_server: LiveServer) -> None:
    live_server.metrics.watch_budgets(live_server.ledger.clients)
    key, images = live_server.make_key(name="edge-1"), some_images(3)
    ask(live_server, key, images, idempotency_key="my-own-name")
    before, _ = metrics_of(live_server)
    for number in range(20):
        get(live_server, f"/invented/{number}", key)
        get(live_server, f"/v1/results/{number}", key)
        get(live_server, f"/v2/models/{number}", key)
        post(live_server, f"mekd_{number}", b"", {"Idempotency-Key": f"name-{number}"})
        httpx.request(f"METHOD{number}", live_server.url + INFER)
    text, values = metrics_of(live_server)
    assert len(text.splitlines()) - len(before.splitlines()) <= 20
    assert not any(part in text for part in (key, key_hash(key).hex(), "my-own-name", "invented", "name-"))
    assert [labels for labels in values if labels[0] == "mekd_images_total"] == [("mekd_images_total",)]


def test_a_revoked_key_is_watched_no_longer(live_server: LiveServer) -> None:
    live_server.metrics.watch_budgets(live_server.ledger.clients)
    live_server.revoke(live_server.make_key(name="edge-1"))
    assert ("mekd_budget_remaining_images", "edge-1") not in metrics_of(live_server)[1]


def test_metrics_are_not_on_the_port_of_the_api(live_server: LiveServer) -> None:
    assert get(live_server, "/metrics", live_server.make_key()).status_code == 404


def test_a_taken_port_is_said() -> None:
    with shown(Metrics(), "127.0.0.1", 0) as url:
        port = httpx.URL(url).port
        assert port
        with (
            pytest.raises(InvalidConfig, match=f"127.0.0.1 port {port} .* another metrics_port"),
            shown(Metrics(), "127.0.0.1", port),
        ):
            pass

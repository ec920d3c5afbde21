"""What Prometheus may see, on a port of its own: counts, sizes and seconds. Never a key, an image or an answer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from server.ledger.protocol import Client
from shared.errors import InvalidConfig

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
IMAGES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The metrics of one server process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter("mekd_requests", "Requests by route and status.", ["route", "status"])
        self.rejections = counter("mekd_rejections", "Refused requests by error code.", ["reason"])
        self.images = counter("mekd_images", "Images that were answered and charged.")
        self.replays = counter("mekd_replays", "Answers that had been paid for before.")
        self.queue_images = gauge("mekd_queue_images", "Images held until they are answered.")
        self.queue_bytes = gauge("mekd_queue_bytes", "Bytes of images held until they are answered.")
        self.in_flight = gauge("mekd_in_flight_requests", "Requests accepted and not answered yet.")
        self.batch = histogram("mekd_batch_images", "Images in one pass of the model.", buckets=IMAGES)
        self.inference = histogram("mekd_inference_seconds", "One pass of the model.", buckets=SECONDS)
        self.commit = histogram("mekd_commit_seconds", "Charge and store one answer.", buckets=SECONDS)

    def watch_budgets(self, clients: Callable[[], list[Client]]) -> None:
        """Show what every key has left, read by `clients` whenever Prometheus asks."""
        self.registry.register(_Budgets(clients))


class _Budgets(Collector):
    def __init__(self, clients: Callable[[], list[Client]]) -> None:
        self._clients = clients

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [self._family()]  # so that registering does not read the ledger

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = self._family()
        for client in self._clients():
            if client.revoked is None:
                family.add_metric([client.account.name], client.remaining)
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("mekd_budget_remaining_images", "Images that a key can still pay.", None, ["client"])


@contextmanager
def shown(metrics: Metrics, host: str, port: int) -> Iterator[str]:
    """The URL under which `metrics` are shown while entered; port 0 takes a free one.

    Raises:
        InvalidConfig: the address cannot be had.
    """
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise InvalidConfig(
            f"Cannot show metrics on {host} port {port} ({error.strerror}). Choose another metrics_port."
        ) from None
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

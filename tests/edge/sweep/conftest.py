"""Both engines, each with two workers: child processes, and a Ray cluster that each test process starts once."""

from collections.abc import Callable, Iterator

import pytest

from edge.sweep.engine import Engine
from edge.sweep.local import LocalEngine
from edge.sweep.on_ray import RayEngine

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster with two CPUs, to which this process is connected."""
    import ray

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_worker_niceness", "0")  # or a busy machine starts its workers in ten seconds
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> MakeEngine:
    """Makes engines with the options given."""
    if request.param == "local":
        return lambda **options: LocalEngine(2, 1, **options)
    request.getfixturevalue("cluster")
    return lambda **options: RayEngine(None, 1, **options)

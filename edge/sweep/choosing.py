"""The engine that flags name."""

from edge.sweep.engine import Engine
from edge.sweep.local import LocalEngine
from shared import compute
from shared.errors import InvalidConfig


def choose_engine(name: str, workers: int | None, address: str | None) -> tuple[Engine, int]:
    """The engine, and how many tasks it runs at once, as far as is known.

    Raises:
        InvalidConfig: flags that this engine has no use for.
    """
    if name == "ray":
        if workers is not None:
            raise InvalidConfig("--workers is for the local engine; a Ray cluster runs as many as it has cores for.")
        from edge.sweep.on_ray import RayEngine  # only who asks for it needs Ray

        return RayEngine(address), compute.usable_cores()
    if address is not None:
        raise InvalidConfig("--address is that of a Ray cluster. Add --engine ray.")
    engine = LocalEngine(workers)
    return engine, engine.workers

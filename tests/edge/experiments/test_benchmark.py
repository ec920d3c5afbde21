"""Cells of a benchmark against the real server."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from edge.experiments.benchmark import Bench, Cell
from edge.run_folder import RunFolder
from edge.stopping import StopRequest
from shared.protocol import LABEL, LOGITS
from tests.conftest import LiveServer, running
from tests.edge.small import small_config
from tests.fakes import LinearTeacher


class Cloud:
    """A live server whose operator hands out keys, and remembers for how much."""

    def __init__(self, server: LiveServer) -> None:
        self.url, self._server = server.url, server
        self.sold: dict[str, tuple[int, str]] = {}
        self._keys: dict[str, SecretStr] = {}

    def create_key(self, name: str, budget: int, policy: str = "logits") -> SecretStr:
        if name not in self._keys:
            self.sold[name] = budget, policy
            self._keys[name] = SecretStr(self._server.make_key(name=name, budget=budget, policy=policy))
        return self._keys[name]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with running(LinearTeacher(), folder / "ledger.sqlite") as server:
        config = small_config(distillation={"steps": 6}, deprivatization={"steps": 6})
        yield Bench(config, None, Cloud(server), folder / "runs", StopRequest(), most=60)


def test_variants_with_the_same_questions_learn_from_one_pool(bench: Bench) -> None:
    kl = bench.student(Cell("kl", "soft", 40, 0))
    top1 = bench.student(Cell("consistency", "top1", 60, 0))
    assert isinstance(bench.cloud, Cloud) and set(bench.cloud.sold) == {"pool-soft-60-0"}
    assert (kl["output"], kl["pool"]["pairs"], top1["output"], top1["pool"]["pairs"]) == (LOGITS, 40, LABEL, 60)
    assert top1["config"]["distillation"]["consistency_weight"] == 1
    assert top1["config"]["distillation"]["image_weight"] == 0 == kl["config"]["distillation"]["image_weight"]
    assert 0 <= top1["evaluation"]["student_accuracy"] <= 1
    before = RunFolder(bench.out / "kl-soft-40-0").student.stat()
    assert bench.student(Cell("kl", "soft", 40, 0)) == kl
    assert RunFolder(bench.out / "kl-soft-40-0").student.stat() == before  # found, not made again


@pytest.mark.parametrize("variant", ["official", "kd", "paper"])
def test_the_others_ask_for_themselves(bench: Bench, variant: str) -> None:
    results = bench.student(Cell(variant, "top1", 40, 1))
    assert isinstance(bench.cloud, Cloud)
    assert bench.cloud.sold[f"{variant}-top1-40-1"] == (40, "top1")
    assert results["server"]["spent"] == 40 == sum(stage["queries"] for stage in results["stages"].values())


def test_some_ask_for_themselves_about_images_of_the_same_generator(bench: Bench) -> None:
    results = bench.student(Cell("lq", "soft", 40, 0))
    assert isinstance(bench.cloud, Cloud) and bench.cloud.sold["lq-soft-40-0"] == (40, "logits")
    assert [stage["queries"] for stage in results["stages"].values()] == [0, 40]
    ours, pools = (RunFolder(bench.out / name).generator.read_bytes() for name in ("lq-soft-40-0", "pool-0"))
    assert ours == pools and bench.student(Cell("lq", "soft", 40, 0)) == results

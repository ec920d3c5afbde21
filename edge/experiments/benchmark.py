"""Variants of the method at the same seeds: one pool of answers per seed, and students that learn from it.

    python -m edge.experiments.benchmark --data mnist --data-root data --teacher data/mnist.safetensors \
        --budget 1000 --budget 10000 --seed 0 --out runs/mnist --rows runs/mnist.jsonl

Each seed asks once, for the largest budget, soft answers, behind a real server with a key of its own. The variants
that ask the same questions are replays: of a prefix of that pool, of its classes alone, with other weights. Their
queries are those of their budget, although they were paid only once. The others ask for themselves; some about images
of the same generator, which has learnt without a query. All students are
measured on the labelled test images, and nothing is chosen there.

A row per student is added to the file of rows, and one that is there is not made again: Ctrl-C stops, the same
command goes on. `python -m edge.experiments.paired` makes a table of the rows.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from pydantic import SecretStr
from rich.console import Console

from edge.asking.client import TeacherClient
from edge.config import RECIPES, Config, merge, parse, read_toml
from edge.evaluation import evaluate
from edge.experiments.local_cloud import LocalCloud
from edge.learning import surroundings
from edge.presets import PRESETS, Preset, lq, official, paper, pool
from edge.replay import changed, open_source, replay
from edge.run import run
from edge.run_folder import RunFolder
from edge.stopping import StopRequest, stop_on_signal
from edge.training import Watcher
from shared import checkpoints, command_line, compute

console = Console(stderr=True)


def image_only(base: Config) -> Config:
    """The paper's image term without the KL term."""
    return parse(merge(pool(base).model_dump(), {"distillation": {"image_weight": 0.01, "kl_weight": 0.0}}))


def both(base: Config) -> Config:
    """The image term beside the KL term."""
    return parse(merge(pool(base).model_dump(), {"distillation": {"image_weight": 0.01}}))


def consistency(base: Config) -> Config:
    """KL and the consistency term: of the additions of `lq` this one alone."""
    return parse(merge(lq(base).model_dump(), {"distillation": {"drawn_share": 1.0}}))


def balance(base: Config) -> Config:
    """KL on a balanced pool: of the additions of `lq` this one alone."""
    return parse(merge(lq(base).model_dump(), {"distillation": {"consistency_weight": 0.0}}))


REPLAYED: dict[str, Preset] = {"kl": pool, "image": image_only, "both": both, "consistency": consistency}
"""They ask the same questions: the pool's."""
SHARING: dict[str, Preset] = {"lq": lq, "balance": balance}
"""They have questions of their own, about images of the same generator, which learnt without a question."""
ASKING: dict[str, Preset] = {"paper": paper, "official": official, "kd": PRESETS["kd"]}
"""They have nothing in common with the others."""
VARIANTS = REPLAYED | SHARING | ASKING


class Cloud(Protocol):
    """Where the teacher is, and its operator."""

    url: str

    def create_key(self, name: str, budget: int, policy: str = "logits") -> SecretStr:
        """An API key."""


@dataclass(frozen=True)
class Cell:
    """One student to be made."""

    variant: str
    response: str
    queries: int
    seed: int

    def __str__(self) -> str:
        return f"{self.variant}-{self.response}-{self.queries}-{self.seed}"


@dataclass(frozen=True)
class Bench:
    """Where students are made and measured."""

    base: Config
    data_root: Path | None
    cloud: Cloud
    out: Path
    stop: StopRequest
    most: int
    """Queries of a pool."""

    def student(self, cell: Cell) -> dict[str, Any]:
        """Make the student of a cell, or find it there, and measure it; what came out."""
        folder, watcher = self.out / str(cell), Watcher(should_stop=self.stop)
        if cell.variant in REPLAYED:
            wanted = VARIANTS[cell.variant](self.base).model_dump()["distillation"]
            flags = {"response": cell.response, "budget": cell.queries, "distillation": wanted}
            source, config = changed(open_source(self._pool(cell.seed)), None, flags)
            replay(source, config, folder, watcher, self.data_root)
        else:
            self._run(VARIANTS[cell.variant], cell, folder)
        evaluate(RunFolder(folder), None, self.data_root, watcher)
        return RunFolder(folder).results()

    def _pool(self, seed: int) -> Path:
        """The folder of the run that asks for all replays of a seed; its own student is the `kl` of all answers."""
        folder = self.out / f"pool-{seed}"
        self._run(pool, Cell("pool", "soft", self.most, seed), folder)
        return folder

    def _run(self, preset: Preset, cell: Cell, folder: Path) -> None:
        asked = {"seed": cell.seed, "budget": cell.queries, "response": cell.response}
        config = parse(merge(preset(self.base).model_dump(), asked))
        if cell.variant in SHARING and not RunFolder(folder).generator.exists():
            generator = RunFolder(self._pool(cell.seed)).generator.read_bytes()
            RunFolder(folder).claim(config)
            checkpoints.write_atomically(RunFolder(folder).generator, generator)
        with self._teacher(cell) as teacher:
            run(config, teacher, folder, self.data_root, Watcher(should_stop=self.stop))

    @contextmanager
    def _teacher(self, cell: Cell) -> Iterator[TeacherClient]:
        policy = "logits" if cell.response == "soft" else "top1"
        key = self.cloud.create_key(str(cell), cell.queries, policy)
        with TeacherClient(self.cloud.url, key, sleep=self.stop.sleep) as teacher:
            yield teacher


def benchmark(
    *,
    data: Annotated[str, typer.Option(help="Dataset of the edge and of the test.")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder of datasets that live in files.")] = None,
    teacher: Annotated[Path, typer.Option(help="Checkpoint of the teacher.")],
    variant: Annotated[list[str], typer.Option(help=f"Of {', '.join(VARIANTS)}.")] = ["kl", "lq"],  # noqa: B006
    budget: Annotated[list[int], typer.Option(help="Queries of a student.")] = [1000],  # noqa: B006
    response: Annotated[list[str], typer.Option(help="soft, top1.")] = ["soft", "top1"],  # noqa: B006
    seed: Annotated[list[int], typer.Option(help="Decides every random draw.")] = [0],  # noqa: B006
    pool_size: Annotated[
        int | None, typer.Option(help="Queries of a seed's pool; by default the largest budget.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file over the dataset's recipe, below the variant.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")],
    rows: Annotated[Path, typer.Option(help="File of JSON lines, a student each.")],
) -> None:
    """Make the rows that are not there yet."""
    compute.use_threads()
    recipe = merge(RECIPES.get(data, Config)().model_dump(), {"dataset": data})
    base = parse(merge(recipe, read_toml(config) if config else {}))
    card, _ = checkpoints.load(teacher, "teacher")
    cells = [Cell(v, r, b, s) for s in seed for b in budget for r in response for v in variant]
    with stop_on_signal() as stop, LocalCloud(teacher, out / "ledger.sqlite", threads=1) as cloud:
        bench = Bench(base, data_root, cloud, out, stop, pool_size or max(budget))
        for number, cell in enumerate(cells, 1):
            known = rows.read_text().splitlines() if rows.exists() else []
            if any(row.items() >= vars(cell).items() for row in map(json.loads, known)):
                continue
            results = bench.student(cell)
            row = vars(cell) | {
                "data": data,
                "accuracy": results["evaluation"]["student_accuracy"],
                "teacher_accuracy": card.facts["test_accuracy"],
                "test_images": results["evaluation"]["test_images"],
                "seconds": round(sum(stage["seconds"] for stage in results["stages"].values()), 1),
                "pool": results["pool"],
                "config": results["config"],
            }
            rows.parent.mkdir(parents=True, exist_ok=True)
            with rows.open("a") as file:
                file.write(json.dumps(row | surroundings()) + "\n")
            console.print(f"{number} of {len(cells)}: {cell} {row['accuracy']:.2%}", soft_wrap=True)


if __name__ == "__main__":
    command_line.run(lambda: typer.run(benchmark))

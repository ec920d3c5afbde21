"""Step 2 once more, from stored pairs: no server, no key and no query.

The device's images are needed only where the config has a consistency term.

A replay of a run with nothing changed gives the same student, on the CPU bit for bit. With another seed, student,
weight or prefix of the budget it tells what that would have given for the same answers.

    source = open_source(path)                                   a run folder or a transfer file
    source, config = changed(source, None, {"budget": 500})      what 500 queries would have bought
    replay(source, config, out)

    changed(source, None, {"method": "dkd"})                     another method, which asks the same questions
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.account import seconds, timed
from edge.config import FOLDER, Config, merge, parse, read_toml, recipe_of
from edge.distillation import STAGE
from edge.gan import Generator
from edge.images.local_images import private_images
from edge.learning import FEWEST_PAIRS, step_2, what_was_learnt
from edge.methods import METHODS, check_response, method_of
from edge.run_folder import Replayed, RunFolder, load_generator
from edge.tensorboard import EventFiles
from edge.training import Watcher
from edge.transfer_set.journal import Images, Journal
from edge.transfer_set.run_pairs import import_pairs, read_pairs
from edge.transfer_set.stored_pairs import StoredPairs
from shared import architectures
from shared.augmentation import Augmentation
from shared.errors import InvalidConfig, RunMismatch, UnknownDataset
from shared.protocol import LABEL
from shared.whole_files import write_atomically

OURS = {"response", "budget", "student", "seed", "shift", "flip", "distillation"}
"""Fields of the config that a replay may change; the others tell how the pairs came about. The method may become one
that asks the same questions, and any where a file does not tell who asked."""


@dataclass(frozen=True)
class Source:
    """What a replay learns from."""

    name: str
    """Run folder or transfer file, for people."""
    pairs: StoredPairs
    config: Config
    """With nothing changed."""
    generator: Path | None
    """File of the frozen generator, where there is one."""
    asked_by_known_method: bool = True
    """Whether `config` tells the method that asked; a transfer file does not."""

    def first(self, budget: int) -> "Source":
        """What a smaller budget would have bought: the first pairs in the order of asking.

        Raises:
            InvalidConfig: there are not as many.
        """
        return replace(self, pairs=self.pairs.first(budget))


def open_source(path: Path, generator: Path | None = None) -> Source:
    """The pairs of a run folder or a transfer file, with the run's config and generator, or the `generator` given.

    Raises:
        RunMismatch: a folder without answers.
        InvalidCheckpoint: not readable as either.
    """
    pairs, folder = read_pairs(path), RunFolder(path)
    if generator is None and folder.generator.exists():
        generator = folder.generator
    if folder.config_file.exists():
        return Source(str(path), pairs, folder.config(), generator)
    response = "top1" if pairs.kind.output == LABEL else "soft"
    known = {"dataset": pairs.kind.dataset, "response": response, "budget": len(pairs)}
    config = parse(merge(recipe_of(pairs.kind.dataset).model_dump(), known))
    return Source(str(path), pairs, config, generator, asked_by_known_method=False)


def changed(source: Source, file: Path | None, flags: dict[str, Any]) -> tuple[Source, Config]:
    """The source's config, changed by a TOML file, changed by flags; and the source as these would have bought it.

    A smaller budget would have bought the first pairs, `response = "top1"` the classes of soft answers.

    Raises:
        InvalidConfig: unreadable file, unknown name, a value out of range, a field that step 2 does not know, or a
            budget above what is stored, or soft answers where only classes are stored.
    """
    before, changes = source.config.model_dump(), merge(read_toml(file) if file else {}, flags)
    config = parse(merge(before, changes))
    asks_the_same = method_of(config).questions == method_of(source.config).questions
    ours = OURS | ({"method"} if asks_the_same or not source.asked_by_known_method else set())
    foreign = [name for name, value in config.model_dump().items() if name not in ours and value != before[name]]
    if foreign == ["method"]:
        raise InvalidConfig(
            f"Method '{config.method}' does not ask what {source.name} asked, by method '{before['method']}'. A "
            f"replay can be by {' or '.join(_with_the_same_questions(source.config))}."
        )
    if foreign:
        raise InvalidConfig(
            f"A replay is step 2 alone; '{foreign[0]}' stays as it was for {source.name}. Leave it out of the config."
        )
    check_response(config)
    if "budget" in changes:
        asked = config.budget <= source.config.budget  # then fewer pairs are all: equal images are paid for once
        source = source.first(min(config.budget, len(source.pairs)) if asked else config.budget)
    if config.response == "top1":
        return replace(source, pairs=source.pairs.top1()), config
    if source.pairs.kind.output == LABEL:
        raise InvalidConfig(f"{source.name} holds classes alone, and soft answers cannot be made of them.")
    return source, config


def replay(
    source: Source, config: Config, out: Path, watcher: Watcher | None = None, data_root: Path | None = None
) -> dict[str, Any]:
    """Distil the pairs of `source` into a student in the folder `out`; returns what `results.json` holds.

    The folder holds what a run's folder holds, the pairs included. A finished replay is not touched. `data_root` is
    the folder of the datasets that live in files, or of the device's own images.

    Raises:
        MekdError: whatever was wrong; the same call goes on from there.
    """
    watcher, folder, pairs = watcher or Watcher(), RunFolder(out), source.pairs
    if not method_of(config).replayed:
        raise InvalidConfig(
            f"The method of {source.name}, '{config.method}', makes use of the answers while it asks, so there is "
            f"nothing to replay. Another student can learn from its pairs: mekd-edge export --run {source.name} --to "
            f"FILE, then mekd-edge replay --from FILE --generator {source.generator or 'FILE'} --out FOLDER."
        )
    generator = _checked_generator(source, config)
    augmentation = _augmentation(source, config)
    student = architectures.build(config.student, channels=pairs.kind.image_shape[0], classes=pairs.kind.classes)
    architectures.check_size(student, config.student, pairs.kind.image_shape)
    if len(pairs) < FEWEST_PAIRS:
        raise InvalidConfig(f"{len(pairs)} stored pair is too few to learn from; use {FEWEST_PAIRS} or more.")
    content = source.generator.read_bytes() if source.generator else None
    replayed = Replayed(source.name, pairs.digest(), len(pairs), sha256(content).hexdigest() if content else None)
    folder.check(config, replayed)
    if folder.finished():
        return folder.results()
    if folder.journal.exists() and not folder.config_file.exists():
        raise RunMismatch(f"{out} holds imported pairs, and a replay brings its own. Choose another --out.")
    private = _private(source, config, data_root, watcher)
    folder.claim(config, replayed)
    if content is not None:
        write_atomically(folder.generator, content)
    import_pairs(pairs, folder, source.name)
    with Journal(folder.journal) as journal, EventFiles(folder.tensorboard) as event_files:
        with timed(journal, STAGE):
            student = step_2(
                folder,
                pairs.kind,
                pairs.transfer_set(),
                generator,
                config,
                augmentation,
                private,
                watcher.and_(event_files.watcher()),
            )
        took = seconds(journal, STAGE)
    results = {
        "replayed_from": replayed.document(),
        "link": None,
        "stages": _stages(pairs, took),
        "server": None,
        "bookkeeping": _nothing_sent(),
    } | what_was_learnt(pairs, generator, student, config)
    folder.keep_results(results)
    return results


def _with_the_same_questions(config: Config) -> list[str]:
    questions = method_of(config).questions
    return [f"'{name}'" for name, method in METHODS.items() if method.questions == questions]


def _checked_generator(source: Source, config: Config) -> Generator | None:
    if source.generator is None:
        if config.distillation.image_weight > 0:
            raise InvalidConfig(
                f"{source.name} has no generator, which the image term needs. Name one with --generator FILE (a run "
                "folder's generator.safetensors), or switch the term off with --image-weight 0."
            )
        return None
    card, generator = load_generator(source.generator)
    kind = source.pairs.kind
    if (card.image_shape, card.classes) != (kind.image_shape, kind.classes):
        raise InvalidConfig(
            f"{source.generator} makes images {list(card.image_shape)} of {card.classes} classes, the pairs of "
            f"{source.name} are {list(kind.image_shape)} of {kind.classes}. Choose the generator of their run."
        )
    return generator


def _private(source: Source, config: Config, data_root: Path | None, watcher: Watcher) -> Images | None:
    if config.distillation.consistency_weight == 0:
        return None
    if config.dataset == FOLDER and data_root is None:
        raise UnknownDataset(
            "The consistency term learns from the device's images. Name their folder with --data FOLDER, or switch "
            "the term off with --consistency-weight 0."
        )
    journal = RunFolder(Path(source.name)).journal
    return private_images(config, data_root, source.pairs.kind.image_shape, journal, watcher)


def _augmentation(source: Source, config: Config) -> Augmentation:
    kind = source.pairs.kind
    if kind.shift is None and config.shift is None:
        raise InvalidConfig(
            f"{source.name} does not say by how many pixels its images may be moved. Give a --config that does, for "
            "instance with the line 'shift = 1'."
        )
    return Augmentation(kind.shift or 0, kind.flip).overridden(config.shift, config.flip)


def _stages(pairs: StoredPairs, took: float) -> dict[str, dict[str, Any]]:
    """By stage what its pairs had cost, and that nothing was paid or sent for them now."""
    queries = pairs.queries()
    queries.setdefault(STAGE, 0)
    return {
        stage: {"queries_planned": count, "queries": count, "queries_by_server": None}
        | _nothing_sent()
        | {"seconds": round(took, 2) if stage == STAGE else 0.0}
        for stage, count in queries.items()
    }


def _nothing_sent() -> dict[str, Any]:
    return {"bytes_up": 0, "bytes_down": 0, "link_seconds": 0.0}

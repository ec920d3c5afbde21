"""The methods that can be compared: what each sends, which answers it can use, how it asks, and what it learns from.

| method | what is sent | answers | in a true black box |
|---|---|---|---|
| `mekd`, `mekd-official` | synthetic images | all | yes |
| `noise` | random pixels | all | yes |
| `dafl-proxy` | synthetic images | all | only with the student in the teacher's place, hence the name |
| `kd`, `kn` | real images | all | yes |
| `ml`, `al`, `dkd` | real images | soft | yes |
| `am` | real images and mixtures of them | all | yes |
| `augmented` | changed copies of real images | all | yes |
| `db3kd` | real images and points between them | top-1 | yes, with far fewer questions than it is made for |

Methods with the same questions learn from the same answers: what one of them paid for serves the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edge import answer_terms, balancing, distillation
from edge.answer_terms import MakeTerm
from edge.asker import Asker
from edge.config import FOLDER, MEKD, OFFICIAL, Config
from edge.images.local_images import LocalImages
from edge.rivals import al, am, augmented, dafl_proxy, db3kd, dkd, kd, kn, ml, noise
from edge.sends import Sends
from edge.transfer_set.journal import TransferSet
from shared.errors import InvalidConfig

SOFT, TOP1 = "soft", "top1"


@dataclass(frozen=True)
class Method:
    """One method, beside its settings."""

    sends: Sends
    questions: str
    """What its questions are called; methods with equal ones ask the same, at the same seed."""
    fill_pool: Callable[[Asker], TransferSet | None]
    """Asks; returns what the student is to learn from where that is not the answers themselves."""
    rounds: Callable[[Config, int, int, int], list[int]]
    """Config, queries of the pool, private images and classes -> questions by round."""
    early_share: float = 0.0
    """Share of the student's steps that an early one takes before each round but the first; 0 where there is none."""
    answer_term: MakeTerm = answer_terms.answer_term
    responses: tuple[str, ...] = (SOFT, TOP1)
    why: str = ""
    """Why other responses are refused."""
    most: Callable[[int], int] | None = None
    """Private images -> questions that can be made of them, where they may run out."""
    changes_images: bool = False
    """Whether it asks about changed images, so that its questions depend on how they may be changed."""
    learns_first_round: bool = False
    """Whether the student learns answers to the first round alone, and the others only help to make them."""
    replayed: bool = True
    """Whether other weights, students or prefixes of the budget can learn from its stored answers alone."""


def _in_one(config: Config, queries: int, images: int, classes: int) -> list[int]:
    return [queries]


def _mekd_pool(asker: Asker) -> None:
    assert asker.generator is not None, "step 1 made it"
    if asker.config.distillation.drawn_share == 1:
        distillation.fill_pool(asker.generator, asker.pay, asker.queries, asker.config)
    else:
        balancing.fill_balanced_pool(asker.generator, asker.pay, asker.queries, asker.config, asker.learn)


def _mekd_rounds(config: Config, queries: int, images: int, classes: int) -> list[int]:
    drawn = balancing.drawn_queries(queries, config)
    return [drawn, queries - drawn] if drawn < queries else [queries]


def _asks_at_every_step(asker: Asker) -> None:
    raise AssertionError("the released method asks while it learns")


NO_LOGITS = "a class alone tells no logits to learn"
PRIVATE = "private images"


def _on_private_images(
    term: MakeTerm = answer_terms.answer_term, responses: tuple[str, ...] = (SOFT, TOP1), why: str = ""
) -> Method:
    """A method that differs from KD in what it learns from the answers."""
    return Method(
        Sends.REAL, PRIVATE, kd.fill_pool, _in_one, answer_term=term, responses=responses, why=why, most=kd.most
    )


METHODS = {
    MEKD: Method(Sends.SYNTHETIC, MEKD, _mekd_pool, _mekd_rounds, early_share=balancing.EARLY_SHARE),
    OFFICIAL: Method(Sends.SYNTHETIC, OFFICIAL, _asks_at_every_step, _in_one, replayed=False),
    "kd": _on_private_images(),
    "ml": _on_private_images(ml.answer_term, (SOFT,), NO_LOGITS),
    "al": _on_private_images(al.answer_term, (SOFT,), NO_LOGITS),
    "dkd": _on_private_images(
        dkd.answer_term, (SOFT,), "a class alone tells nothing of the other classes, whose part is what it weighs"
    ),
    "kn": _on_private_images(kn.answer_term),
    "am": Method(
        Sends.REAL,
        "am",
        am.fill_pool,
        lambda config, queries, images, classes: am.sizes(queries, images),
        early_share=am.EARLY_SHARE,
        most=am.most,
    ),
    "dafl-proxy": Method(
        Sends.SYNTHETIC,
        "dafl-proxy",
        dafl_proxy.fill_pool,
        lambda config, queries, images, classes: dafl_proxy.sizes(queries),
        early_share=dafl_proxy.EARLY_SHARE,
    ),
    "db3kd": Method(
        Sends.REAL,
        "db3kd",
        db3kd.fill_pool,
        lambda config, queries, images, classes: db3kd.sizes(queries, images, classes),
        responses=(TOP1,),
        why="it makes its soft labels of classes, and soft answers tell more than they do",
        learns_first_round=True,
        replayed=False,
    ),
    "noise": Method(Sends.NOISE, "noise", noise.fill_pool, _in_one),
    "augmented": Method(Sends.REAL, "augmented", augmented.fill_pool, _in_one, changes_images=True),
}


def method_of(config: Config) -> Method:
    """The config's."""
    return METHODS[config.method]


def check_response(config: Config) -> None:
    """Refuse answers that the method can make nothing of.

    Raises:
        InvalidConfig: says why.
    """
    method = method_of(config)
    if config.response not in method.responses:
        raise InvalidConfig(
            f"Method '{config.method}' cannot learn from --response {config.response}: {method.why}. Use --response "
            f"{' or '.join(method.responses)}, or another method."
        )


def check_consent(config: Config, *, granted: bool) -> None:
    """Refuse to send a folder's images, unless whoever they belong to has said that they may leave the device.

    Raises:
        InvalidConfig: names the flag.
    """
    if method_of(config).sends is Sends.REAL and config.dataset == FOLDER and not granted:
        raise InvalidConfig(
            f"Method '{config.method}' sends the folder's images to the server. If they may leave this device, add "
            "--send-private-images; otherwise choose a method that sends generated ones, for instance --preset lq."
        )


def check_images(config: Config, local: LocalImages) -> None:
    """Refuse more questions than can be made of the private images.

    Raises:
        InvalidConfig: names both numbers.
    """
    questions = method_of(config).most
    if questions is not None and config.budget > (most := questions(len(local.images))):
        raise InvalidConfig(
            f"Of {len(local.images):,} private images method '{config.method}' can make {most:,} questions, each of "
            f"them once, and {config.budget:,} are planned. Use --budget {most} or less."
        )

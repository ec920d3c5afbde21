"""How a method fills its pool: it chooses images, asks about them, and may learn from the answers before it goes on.

Shapes: N pairs, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from edge.config import Config
from edge.deprivatization import Ask
from edge.distillation import STAGE
from edge.gan import Generator
from edge.images.local_images import LocalImages
from edge.training import Watcher
from edge.transfer_set.journal import Images, TransferSet


@dataclass(frozen=True)
class Asker:
    """What a method has at hand to choose its questions and to ask them.

    A run that is started again asks the same questions in the same order; what was answered comes from the journal.
    """

    local: LocalImages
    """The device's images."""
    generator: Generator | None
    """Step 1's, where the method has a step 1."""
    queries: int
    """Of the pool, at most."""
    config: Config
    """The run's."""
    pay: Ask
    """Pays for answers; `ask` is the way to it."""
    watcher: Watcher
    """Told of every step of what learns meanwhile, may ask for a stop."""
    learn: Callable[[TransferSet], nn.Module]
    """Makes an early student of the answers so far, from these alone and in `Method.early_share` of the steps."""

    def ask(self, images: Images) -> TransferSet:
        """Answers to `images` uint8 [N, C, H, W], in their order; fewer where the key's budget ends."""
        return self.pay(STAGE, images)

    def in_rounds(self, sizes: list[int], choose: Callable[[int, TransferSet | None], Images]) -> None:
        """Ask `sizes[0]` questions, then `sizes[1]`, and so on.

        Args:
            sizes: questions by round.
            choose: number of the round, and the answers of the rounds before it -> images, as many as the round's
                size; of the first round there are no answers.
        """
        pairs: TransferSet | None = None
        for number, size in enumerate(sizes):
            answered = self.ask(choose(number, pairs)[:size])
            pairs = answered if pairs is None else joined(pairs, answered)
            if len(answered) < size:  # the key's budget was spent elsewhere meanwhile
                return


def joined(first: TransferSet, second: TransferSet) -> TransferSet:
    """Both sets one after the other; they must be of the same output."""
    return TransferSet(
        np.concatenate([first.images, second.images]),
        np.concatenate([np.asarray(first.answers), np.asarray(second.answers)]),
        first.output,
    )


def evenly(queries: int, rounds: int) -> list[int]:
    """Sizes of at most so many rounds, as equal as can be, none of them empty."""
    sizes = [len(part) for part in np.array_split(np.arange(queries), rounds)]
    return [size for size in sizes if size]

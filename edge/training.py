"""A training loop that can be stopped between two steps and resumed there, without knowing what it trains."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

from shared import training_state
from shared.errors import Stopped
from shared.protocol import Usage
from shared.training_state import Progress, Stateful

P = ParamSpec("P")

Curves = dict[str, list[tuple[int, float]]]
"""By name, (step, value) pairs."""

SAVE_EVERY_SECONDS = 15.0


@dataclass
class Watcher:
    """Who looks on: may ask for a stop, and is told of every step and answer."""

    should_stop: Callable[[], bool] = lambda: False
    """Looked at between steps and before every request."""
    on_step: Callable[[str, int, int, Mapping[str, float]], None] = lambda stage, done, total, values: None
    """Stage, steps done, steps in all, what was measured."""
    on_answer: Callable[[int], None] = lambda images: None
    """Images paid for just now."""
    on_key: Callable[[Usage | None, int], None] = lambda usage, paid: None
    """Before the first question: the key's state, None without a meter; images of this run paid for already."""
    on_start: Callable[[str, Curves], None] = lambda stage, curves: None
    """Stage that begins or goes on, and its curves so far."""
    on_read: Callable[[int, int], None] = lambda read, total: None
    """Image files read, and in all."""
    on_remark: Callable[[str], None] = lambda text: None
    """What a person should know, one line."""

    def and_(self, other: "Watcher") -> "Watcher":
        """Both of them."""
        return Watcher(
            should_stop=lambda: self.should_stop() or other.should_stop(),
            on_step=_both(self.on_step, other.on_step),
            on_answer=_both(self.on_answer, other.on_answer),
            on_key=_both(self.on_key, other.on_key),
            on_start=_both(self.on_start, other.on_start),
            on_read=_both(self.on_read, other.on_read),
            on_remark=_both(self.on_remark, other.on_remark),
        )


def _both(first: Callable[P, None], second: Callable[P, None]) -> Callable[P, None]:
    def both(*args: P.args, **kwargs: P.kwargs) -> None:
        first(*args, **kwargs)
        second(*args, **kwargs)

    return both


@dataclass
class Training:
    """Steps of one stage; `parts` hold all state that the steps change.

    Steps draw their randomness by address (`shared.seeding`), so a resumed run repeats an undisturbed one.
    """

    stage: str
    parts: Mapping[str, Stateful]
    path: Path | None
    """Where the state is kept between two starts; None keeps it nowhere."""
    watcher: Watcher = field(default_factory=Watcher)
    curves: Curves = field(default_factory=dict)

    def run(self, steps: int, step: Callable[[int], Mapping[str, float]]) -> Curves:
        """Do what is left of `steps` calls of `step`, which returns values for the curves.

        Raises:
            Stopped: between two steps, the state saved.
            InvalidCheckpoint: the kept state cannot be read.
        """
        done, curves = training_state.restore(self.path, self.stage, self.parts)
        self.curves.update(curves)
        saved = time.monotonic()
        self.watcher.on_start(self.stage, self.curves)
        while done < steps:
            if self.watcher.should_stop():
                self._save(done)
                raise Stopped(
                    f"Stopped in {self.stage} at step {done} of {steps}. The same command goes on from there."
                )
            values = step(done)
            done += 1
            for name, value in values.items():
                self.curves.setdefault(name, []).append((done, value))
            self.watcher.on_step(self.stage, done, steps, values)
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                self._save(done)
                saved = time.monotonic()
        return self.curves

    def _save(self, done: int) -> None:
        if self.path:
            training_state.save(self.path, self.stage, self.parts, Progress(done, self.curves))

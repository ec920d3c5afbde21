"""One journal, one teacher: how a model was asked is written down, and answers of another are not mixed in."""

from edge.asking.served_model import TOLD
from edge.transfer_set.journal import Journal
from shared.errors import RunMismatch
from shared.protocol import ModelMetadata

NOTE = "teacher"


def check_same_teacher(metadata: ModelMetadata, journal: Journal) -> None:
    """Write down the model's name and what was told of it at the first start; refuse others later.

    Raises:
        RunMismatch: says how the model was asked then, and how now.
    """
    now = {"--model": metadata.name} | metadata.parameters.get(TOLD, {})
    then = journal.notes().get(NOTE)
    if then is None:
        journal.note(NOTE, now)
    elif then != now:
        raise RunMismatch(
            f"The answers stored here come from a teacher asked with {_flags(then)}; now it is {_flags(now)}. "
            "Give the same flags again; another teacher needs a run of its own."
        )


def _flags(told: dict[str, str]) -> str:
    return " ".join(f"{flag} {value}" for flag, value in told.items())

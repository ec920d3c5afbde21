"""One journal, one teacher: which model was asked, and how, is written down; answers of another are not mixed in."""

from edge.asking.served_model import TOLD
from edge.transfer_set.journal import Journal
from shared.errors import RunMismatch
from shared.protocol import ModelMetadata

NOTE = "teacher"
VERSIONS = "teacher.versions"


def latest_version(metadata: ModelMetadata) -> str | None:
    """The version that is asked, where the server tells one."""
    return metadata.versions[-1] if metadata.versions else None


def identity(metadata: ModelMetadata) -> str:
    """The model's name, with its version where the server tells one: what a result is a result of."""
    version = latest_version(metadata)
    return metadata.name if version is None else f"{metadata.name}@{version}"


def check_same_teacher(metadata: ModelMetadata, journal: Journal) -> None:
    """Write down the model's name, its versions and what was told of it at the first start; refuse others later.

    Raises:
        RunMismatch: says how the model was asked then, and how now.
    """
    _check_asked_alike(metadata, journal)
    notes, versions = journal.notes(), metadata.versions or []
    if VERSIONS not in notes:
        journal.note(VERSIONS, versions)
    elif notes[VERSIONS] != versions:
        raise RunMismatch(
            f"The answers stored here come from version {_listed(notes[VERSIONS])} of the model '{metadata.name}', "
            f"and the server now has version {_listed(versions)}. Another teacher needs a run of its own: give "
            "another folder, or have the earlier one served."
        )


def _check_asked_alike(metadata: ModelMetadata, journal: Journal) -> None:
    now = {"--model": metadata.name} | metadata.parameters.get(TOLD, {})
    then = journal.notes().get(NOTE)
    if then is None:
        journal.note(NOTE, now)
    elif then != now:
        raise RunMismatch(
            f"The answers stored here come from a teacher asked with {_flags(then)}; now it is {_flags(now)}. "
            "Give the same flags again; another teacher needs a run of its own."
        )


def _listed(versions: list[str]) -> str:
    return ", ".join(versions) or "unknown"


def _flags(told: dict[str, str]) -> str:
    return " ".join(f"{flag} {value}" for flag, value in told.items())

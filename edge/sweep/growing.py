"""A grid that has grown: a run goes on from what another one, with a smaller budget, has asked and paid for.

The two ask the same questions in the same order, so the smaller one's journal is what the larger one's would be if it
had been stopped there.
"""

from edge.asking.wire_bytes import Traffic
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal
from edge.transfer_set.run_pairs import note_kind, run_pairs

INHERITED = "inherited"
"""Note of the number of queries that the smaller run paid for."""


def go_on_from(smaller: RunFolder, folder: RunFolder) -> None:
    """Put the answers of the finished run `smaller`, and the bytes that they took, into the journal of `folder`.

    What is broken off is completed by the same call; a run that has begun is left as it is.
    """
    if folder.config_file.exists():
        return
    kind = run_pairs(smaller).kind
    with Journal(smaller.journal) as theirs, Journal(folder.journal) as ours:
        if INHERITED in ours.notes():
            return
        note_kind(ours, kind)
        for request in theirs.answered():
            assert request.answers is not None, "it is answered"
            stored = ours.find(request.stage, request.step)
            if stored is None:
                stored = ours.add(request.stage, request.step, request.output, request.images, request.sent)
            if stored.answers is None:
                traffic = theirs.traffic(request.stage) if request.step == 0 else Traffic()
                ours.answer(stored, request.answers, traffic)
        ours.note(INHERITED, theirs.queries())


def inherited(folder: RunFolder) -> int:
    """Queries of the folder's run that a smaller one paid for."""
    if not folder.journal.exists():
        return 0
    with Journal(folder.journal) as journal:
        return int(journal.notes().get(INHERITED, 0))

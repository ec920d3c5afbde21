"""Images and the answers that were paid for: the journal that a run writes, and files of pairs to share."""

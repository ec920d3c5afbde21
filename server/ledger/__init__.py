"""The budget ledger: who may spend how much, what was spent, and every answer that was paid for."""

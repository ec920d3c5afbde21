"""Commands that make the published numbers, and the log of what was learnt."""

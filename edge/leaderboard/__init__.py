"""Many methods at many budgets side by side: what they cost, what they reach, and what left the device for it."""

"""Time that passes only when somebody sleeps."""


class Time:
    """A clock and a sleep that belong together; `slept` is every wait in seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def clock(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

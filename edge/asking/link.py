"""How long an exchange takes on a link that is not there: bandwidth, round trip, jitter and loss as arithmetic.

One exchange carries `up` and `down` bytes and takes, in seconds,

    T = sum over both directions of 8 size/bandwidth (1 + again/packets)  +  sum of R delays

    packets = ceil(size/packet_bytes)
    again   ~ NegativeBinomial(packets, 1 - loss)           packets sent once more; their mean: packets loss/(1-loss)
    R       = 1 + connections + again up + again down       round trips: the question's, handshakes, what was lost
    delay   = round_trip + Exponential(mean jitter)         so that the sum over R is R round_trip + Gamma(R, jitter)

A lost packet costs its transmission (that of the direction's average packet) and one round trip until it is missed.
Ignored: TCP's slow start and congestion control (short exchanges are too fast here), headers below HTTP (40 bytes in
1,500; TLS 29 in 16 KiB), lost acknowledgements, and that several losses may be repaired in one round trip (losses
are too slow here).
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from edge.config import Section, checked, read_toml
from shared.errors import InvalidConfig

if TYPE_CHECKING:
    import numpy as np  # the names of links have to come at once


class Link(Section):
    """A link between edge and cloud."""

    name: str
    """For people."""
    up_bits_per_second: float = Field(gt=0)
    """From edge to cloud."""
    down_bits_per_second: float = Field(gt=0)
    """From cloud to edge."""
    round_trip: float = Field(ge=0)
    """Seconds of an empty question and its answer when nobody else uses the link."""
    jitter: float = Field(default=0.0, ge=0)
    """Seconds added to a round trip: their mean, and their standard deviation."""
    loss: float = Field(default=0.0, ge=0, lt=1)
    """Share of the packets that do not arrive."""
    packet_bytes: int = Field(default=1460, ge=1)
    """Most payload of one packet."""

    def expected_seconds(self, up: int, down: int, *, exchanges: int = 1, connections: int = 0) -> float:
        """The mean of `drawn_seconds`, for several exchanges of equal size together.

        Args:
            up: bytes that all exchanges together send.
            down: bytes that all exchanges together receive.
            exchanges: questions with their answers.
            connections: handshakes that they begin with, in all.
        """
        seconds, round_trips = 0.0, float(exchanges + connections)
        for size, bits_per_second in ((up, self.up_bits_per_second), (down, self.down_bits_per_second)):
            packets = exchanges * math.ceil(size / max(1, exchanges) / self.packet_bytes)
            seconds += 8 * size / bits_per_second / (1 - self.loss)
            round_trips += packets * self.loss / (1 - self.loss)
        return seconds + round_trips * (self.round_trip + self.jitter)

    def drawn_seconds(self, up: int, down: int, rng: "np.random.Generator", *, connections: int = 0) -> float:
        """What one exchange takes.

        Args:
            up: bytes sent.
            down: bytes received.
            rng: decides jitter and losses.
            connections: handshakes before it, of a round trip each: one for TCP, another one for TLS.
        """
        seconds, round_trips = 0.0, 1 + connections
        for size, bits_per_second in ((up, self.up_bits_per_second), (down, self.down_bits_per_second)):
            if packets := math.ceil(size / self.packet_bytes):
                again = int(rng.negative_binomial(packets, 1 - self.loss))
                seconds += 8 * size / bits_per_second * (1 + again / packets)
                round_trips += again
        return seconds + round_trips * self.round_trip + float(rng.gamma(round_trips, self.jitter))


LINKS = {
    link.name: link
    for link in (
        # Gigabit Ethernet through a switch or two, and Wi-Fi 5 in the next room: typical values.
        Link(name="lan", up_bits_per_second=1e9, down_bits_per_second=1e9, round_trip=0.0003, jitter=0.00005),
        Link(
            name="wifi", up_bits_per_second=5e7, down_bits_per_second=1e8, round_trip=0.004, jitter=0.003, loss=0.002
        ),
        # WebPageTest's profiles "LTE" (12/12 Mbit/s, 70 ms) and "3G" (1.6 Mbit/s, 768 kbit/s, 300 ms), which know
        # neither jitter nor loss: those are typical values.
        Link(
            name="4g", up_bits_per_second=1.2e7, down_bits_per_second=1.2e7, round_trip=0.07, jitter=0.02, loss=0.005
        ),
        Link(
            name="3g", up_bits_per_second=7.68e5, down_bits_per_second=1.6e6, round_trip=0.3, jitter=0.06, loss=0.01
        ),
        # LoRaWAN Regional Parameters, EU868, DR5 (SF7, 125 kHz): 5,470 bit/s, 222 bytes of payload, answered after
        # RECEIVE_DELAY1 of 1 s; jitter and loss are typical. The duty cycle of 1 %, which is law in EU868, is not in
        # here: a file with a hundredth of the bandwidth has it.
        Link(
            name="lora",
            up_bits_per_second=5470,
            down_bits_per_second=5470,
            round_trip=1.0,
            jitter=0.1,
            loss=0.05,
            packet_bytes=222,
        ),
    )
}


def named_link(text: str) -> Link:
    """One of `LINKS`, or the link in the TOML file `text`, which is named after its file unless it says a name.

    Raises:
        InvalidConfig: neither of both, or a field of the file is wrong.
    """
    if text in LINKS:
        return LINKS[text]
    file = Path(text)
    if not file.is_file():
        raise InvalidConfig(
            f"There is no link '{text}'. Choose {', '.join(LINKS)}, or name a TOML file with the fields "
            f"{', '.join(Link.model_fields)}."
        )
    return checked(Link, {"name": file.stem} | read_toml(file), f"Link {file}, field")

"""What a person tells of a served model where its server does not: `--model`, `--teacher-output`, `--pixel-range`.

A server's metadata name tensors, datatypes and shapes. Whether `fc7` holds logits or probabilities, and whether FP32
pixels go from 0 to 1 or from -1 to 1, they do not say, and a wrong guess would be paid for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidConfig
from shared.protocol import IMAGES, LABEL, LOGITS, OUTPUT_DATATYPE, PROBABILITIES, TensorMetadata

MEANINGS = (LOGITS, PROBABILITIES, LABEL)

TOLD = "told"
"""Name of the parameter under which metadata in our words hold what a person told of the model."""


@dataclass(frozen=True)
class ServedModel:
    """A model by its name on the server, and what is known of it besides."""

    name: str = "teacher"
    output: tuple[str, str] | None = None
    """The server's name of an output and what it means: `logits`, `probabilities` or `label`."""
    pixel_range: tuple[float, float] | None = None
    """What pixels 0 and 255 are to a model that takes real numbers."""

    @classmethod
    def told(cls, name: str, output: str | None, pixel_range: str | None) -> Self:
        """From flags as they were typed: `NAME`, `NAME=MEANING`, `LOW,HIGH`.

        Raises:
            InvalidConfig: names the flag that cannot be understood.
        """
        return cls(name, _output(output) if output else None, _pixel_range(pixel_range) if pixel_range else None)

    def flags(self) -> dict[str, str]:
        """The flags besides `--model`, by name, as they can be typed again; those that were given."""
        given = {}
        if self.output:
            given["--teacher-output"] = "=".join(self.output)
        if self.pixel_range:
            given["--pixel-range"] = ",".join(f"{end:g}" for end in self.pixel_range)
        return given

    def meanings(self, outputs: Sequence[str]) -> dict[str, str]:
        """By meaning, the server's name of each of its `outputs` that we understand; only the one told, if one was.

        Raises:
            InvalidConfig: there is none.
        """
        offered = ", ".join(outputs) or "no output"
        if self.output is not None:
            name, meaning = self.output
            if name not in outputs:
                raise InvalidConfig(
                    f"--teacher-output names '{name}', the model '{self.name}' offers {offered}. Name one of them."
                )
            return {meaning: name}
        known = {name: name for name in outputs if name in MEANINGS}
        if not known:
            raise InvalidConfig(
                f"The model '{self.name}' offers {offered}; {LOGITS}, {PROBABILITIES} or {LABEL} is needed. "
                f"Say which it is, for instance --teacher-output {next(iter(outputs), 'NAME')}={LOGITS}."
            )
        return known

    def pixels(self, images: NDArray[np.uint8], *, real: bool) -> NDArray[Any]:
        """`images` uint8 as the model takes them: as they are, or `real`: float32 in `pixel_range`."""
        if not real:
            return images
        low, high = self.checked_range(real=True)
        return np.asarray(low + images / 255 * (high - low), np.float32)

    def checked_range(self, *, real: bool) -> tuple[float, float]:
        """What pixels 0 and 255 become, where the model takes `real` numbers or, else, pixels as they are.

        Raises:
            InvalidConfig: `--pixel-range` is missing where it is needed, or given where pixels stay as they are.
        """
        if real and self.pixel_range is None:
            raise InvalidConfig(
                f"The model '{self.name}' takes real numbers. Say what pixels from 0 to 255 are to it, for instance "
                "--pixel-range 0,1 or --pixel-range -1,1."
            )
        if not real and self.pixel_range is not None:
            raise InvalidConfig(f"The model '{self.name}' takes pixels from 0 to 255. Leave --pixel-range out.")
        return self.pixel_range or (0.0, 255.0)


def our_input(channels: int, height: int, width: int) -> TensorMetadata:
    """The input of a model that takes such images; -1 stands for any size."""
    return TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, channels, height, width])


def our_output(meaning: str, shape: Sequence[int]) -> TensorMetadata:
    """The output that means `meaning`, from the server's `shape` with or without a batch axis."""
    ours = [-1] if meaning == LABEL else [-1, *shape[-1:]]
    return TensorMetadata(name=meaning, datatype=OUTPUT_DATATYPE[meaning], shape=ours)


def _output(told: str) -> tuple[str, str]:
    name, _, meaning = told.rpartition("=")
    if not name or meaning not in MEANINGS:
        raise InvalidConfig(
            f"--teacher-output is '{told}'. Write NAME={LOGITS}, NAME={PROBABILITIES} or NAME={LABEL}."
        )
    return name, meaning


def _pixel_range(told: str) -> tuple[float, float]:
    try:
        low, high = map(float, told.split(","))
    except ValueError:
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise InvalidConfig(f"--pixel-range is '{told}'. Write the smaller number first, like 0,1 or -1,1.")
    return low, high

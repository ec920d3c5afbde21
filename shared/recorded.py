"""A model's passes at the speed of the device at hand.

A small network takes a GPU less time than Python takes to ask for its layers one by one. On CUDA the passes are
therefore recorded as CUDA graphs (`torch.cuda.make_graphed_callables`) and replayed, in bfloat16. On a CPU a call is
a call of the model.
"""

from collections.abc import Callable

import torch
from torch import nn


class Recorded:
    """Calls `model`, whose parameters may change in place between two calls, and nothing else of it.

    Inputs need gradients always or never.

    What it returned is overwritten by the next call, so that a step which needs a model's output twice needs two of
    these. Where inputs of one shape follow those of another, both are kept.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._replayed: dict[torch.Size, Callable[[torch.Tensor], torch.Tensor]] = {}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The model's output, as float32."""
        if x.device.type != "cuda":
            output: torch.Tensor = self.model(x)
            return output
        if x.shape not in self._replayed:
            self._replayed[x.shape] = self._record(x)
        output = self._replayed[x.shape](x)
        return output.float()

    def _record(self, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        sample = x.detach().clone().requires_grad_(x.requires_grad)
        kept = [buffer.clone() for buffer in self.model.buffers()]
        around = nn.Sequential(self.model)  # the model itself stays what it is, for inputs of other shapes
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            replayed: Callable[..., torch.Tensor] = torch.cuda.make_graphed_callables(around, (sample,))  # type: ignore[assignment]
        with torch.no_grad():  # to record runs the model a few times, which batch norms must not learn from
            for buffer, before in zip(self.model.buffers(), kept, strict=True):
                buffer.copy_(before)
        return replayed

"""On a GPU: what recorded passes compute against passes asked for layer by layer, and how much faster they are.

    python -m tests.benchmarks.recorded_passes

Prints relative differences of outputs and gradients, and the seconds of both as a ratio; ends with 1 where a
difference is more than bfloat16 explains.
"""

import copy
import time
from collections.abc import Callable

import torch
import typer
from torch import nn

from edge.gan import Discriminator
from shared import architectures
from shared.recorded import Recorded

BATCH, STEPS, TOLERANCE = 64, 200, 0.02


def main() -> None:
    """Compare students and a discriminator."""
    if not torch.cuda.is_available():
        typer.echo("There is no GPU here.")
        raise typer.Exit(2)
    models = {name: architectures.build(name, channels=3, classes=10) for name in ("resnet20", "mobilenetv2")}
    differences = [
        compared(name, model) for name, model in {**models, "discriminator": Discriminator((3, 32, 32))}.items()
    ]
    raise typer.Exit(int(max(differences) > TOLERANCE))


def compared(name: str, model: nn.Module) -> float:
    """The largest relative difference."""
    torch.manual_seed(0)
    recorded = model.to("cuda")
    plain = copy.deepcopy(recorded)
    passes = Recorded(recorded)

    def eager(x_BCHW: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            output: torch.Tensor = plain(x_BCHW)
        return output.float()

    worst = 0.0
    for _ in range(3):
        x_BCHW = torch.randn(BATCH, 3, 32, 32, device="cuda")
        ours, theirs = stepped(recorded, passes, x_BCHW), stepped(plain, eager, x_BCHW)
        worst = max(worst, float((ours - theirs).norm() / theirs.norm()))
    ratio = seconds(plain, eager) / seconds(recorded, passes)
    typer.echo(f"{name}: relative difference {worst:.1e}, {ratio:.1f} times as fast")
    return worst


def stepped(model: nn.Module, passes: Callable[[torch.Tensor], torch.Tensor], x_BCHW: torch.Tensor) -> torch.Tensor:
    """Output and gradients of one step, as one vector."""
    model.zero_grad()
    output = passes(x_BCHW)
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat([output.detach().flatten(), *gradients])


def seconds(model: nn.Module, passes: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Of `STEPS` steps."""
    x_BCHW = torch.randn(BATCH, 3, 32, 32, device="cuda")
    stepped(model, passes, x_BCHW)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(STEPS):
        stepped(model, passes, x_BCHW)
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    typer.run(main)

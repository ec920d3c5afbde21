import torch
from torch import nn

from shared.recorded import Recorded


def test_on_a_cpu_a_call_is_one_of_the_model_as_it_is_then() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    passes, x = Recorded(model), torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # type: ignore[operator]
    output = passes(x)
    assert int(model[1].num_batches_tracked) == 1  # type: ignore[arg-type]
    assert torch.equal(output, model(x))
    output.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())

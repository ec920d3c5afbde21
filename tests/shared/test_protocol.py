import pytest

from shared.errors import ForeignAnswer
from shared.protocol import ModelMetadata, TensorMetadata


@pytest.mark.parametrize(
    ("offered", "richest"), [(["label", "logits"], "logits"), (["label", "probabilities"], "probabilities")]
)
def test_the_richest_output_is_found_in_any_order(offered: list[str], richest: str) -> None:
    outputs = [TensorMetadata(name=name, datatype="FP32", shape=[-1, 10]) for name in offered]
    assert ModelMetadata(name="m", inputs=[], outputs=outputs).richest_output() == richest


def test_a_model_without_an_output_of_ours_is_named_with_what_it_offers() -> None:
    outputs = [TensorMetadata(name="boxes", datatype="FP32", shape=[-1, 4])]
    with pytest.raises(ForeignAnswer, match="model 'm' offers boxes"):
        ModelMetadata(name="m", inputs=[], outputs=outputs).richest_output()

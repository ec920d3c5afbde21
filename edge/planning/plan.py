"""What a run is going to ask, checked before anything is paid.

Every refusal that can be told beforehand is told here.
"""

from dataclasses import dataclass

from edge import deprivatization, distillation
from edge.config import Config
from edge.images.local_images import LocalImages
from edge.methods import check_images, check_response
from shared import architectures
from shared.errors import BudgetTooSmall, InvalidConfig, OutputNotAllowed
from shared.protocol import IMAGES, LABEL, LOGITS, PROBABILITIES, ModelMetadata, Usage

STAGES = (deprivatization.STAGE, distillation.STAGE)
UNMETERED = (
    "The server has no meter: whether the key can pay for {queries} queries cannot be checked. The run keeps to its "
    "budget by its own count, but an answer that is lost on the way is asked for again, and may be charged twice."
)


@dataclass(frozen=True)
class Plan:
    """Queries by stage, the output that is asked for, and the size of a request."""

    output: str
    queries: dict[str, int]
    """By stage, in the order of asking."""
    images_per_request: int


def make_plan(config: Config, metadata: ModelMetadata, usage: Usage | None, local: LocalImages) -> Plan:
    """Plan a run.

    Raises:
        InvalidConfig: the teacher takes other images or knows other classes, there is no such student or it needs
            larger images, or the method cannot use such responses or has too few images.
        OutputNotAllowed: the key does not show what `config.response` needs.
    """
    # An unknown name, or one for larger images, has to be told now, not when everything is paid.
    student = architectures.build(config.student, channels=local.image_shape[0], classes=local.classes)
    architectures.check_size(student, config.student, local.image_shape)
    check_response(config)
    check_images(config, local)
    return Plan(
        output=choose_output(metadata, config, local),
        queries=dict(zip(STAGES, (config.im_queries, config.budget - config.im_queries), strict=True)),
        images_per_request=largest_request(usage, config.request),
    )


def largest_request(usage: Usage | None, wanted: int) -> int:
    """Images per request that the server's limits allow.

    A request of a whole minute's images would wait until the server's sliding window is empty.
    """
    if usage is None:
        return wanted
    return max(1, min(wanted, usage.images_per_request, usage.images_per_minute // 4))


def choose_output(metadata: ModelMetadata, config: Config, local: LocalImages) -> str:
    """The output to ask for; checks on the way that the teacher fits the edge's images.

    Raises:
        InvalidConfig: the teacher takes other images or knows other classes.
        OutputNotAllowed: the key does not show what `config.response` needs.
    """
    taken = next((tensor.shape[1:] for tensor in metadata.inputs if tensor.name == IMAGES), [])
    fitting = [size if told < 1 else told for size, told in zip(local.image_shape, taken, strict=False)]
    if fitting != list(local.image_shape):  # a size that the teacher tells as -1 may be any
        raise InvalidConfig(
            f"Images of '{local.name}' are {list(local.image_shape)}, the teacher '{metadata.name}' takes "
            f"{taken or 'no images'}. Choose the dataset that the teacher was made for."
        )
    outputs = {tensor.name: tensor.shape[-1] for tensor in metadata.outputs}
    wanted = (LABEL,) if config.response == "top1" else (LOGITS, PROBABILITIES)
    allowed = [name for name in wanted if name in outputs]
    if not allowed:
        raise OutputNotAllowed(
            f"--response {config.response} needs {' or '.join(wanted)}, but this key sees only "
            f"{', '.join(outputs) or 'nothing'}. Use --response top1, or ask the operator for another policy."
        )
    classes = metadata.classes()
    if classes is not None and classes != local.classes:
        raise InvalidConfig(f"'{local.name}' has {local.classes} classes, the teacher '{metadata.name}' {classes}.")
    return allowed[0]


def check_budget(config: Config, usage: Usage | None, asked: int, *, started: bool) -> None:
    """Refuse a run that the key cannot pay; what was asked already, answered or not, is not needed again.

    Args:
        config: the run's.
        usage: what the key has left.
        asked: images in the run's journal.
        started: the run's folder is there.

    Raises:
        BudgetTooSmall: says what is needed and what is left.
    """
    needed = config.budget - asked
    if usage and needed > usage.remaining:
        way_out = f"Use --budget {usage.remaining} or less, or have"
        if started:  # another --budget would be another run's
            way_out = "The same command goes on once you have"
        raise BudgetTooSmall(
            f"The run needs {needed} queries, key '{usage.client}' has {usage.remaining} of {usage.budget} left. "
            f"{way_out} the key's budget raised."
        )

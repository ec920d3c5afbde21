"""Trains a teacher on the cloud's labelled part of a dataset: plain supervised learning, as a service's owner would.

SGD with Nesterov momentum, one cycle of the learning rate, and shifts and flips that keep an image's class; every
second batch of photographs, at random, is mixed by CutMix (Yun et al., ICCV 2019). Nothing is selected on the test
images; they are only reported. Some tens of seconds for digits on two CPU cores. The same
seed gives the same weights on the same CPU with the same number of threads, also where the training was interrupted
and went on. On CUDA it multiplies in bfloat16, and repeats itself only nearly.

Shapes: N images of the split, B images of a batch, C channels, H height, W width, K classes.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from server.teacher_recipe import MOMENTUM, peak_learning_rate, recipe_of
from shared import architectures, compute, metrics, pixels, training_state
from shared.datasets import Dataset, Labelled
from shared.errors import Stopped
from shared.recorded import Recorded
from shared.seeding import rng, seed_initial_weights
from shared.training_state import Progress, Stateful

EVALUATION_BATCH = 512
SAVE_EVERY_SECONDS = 30.0


def steps_of(dataset: Dataset, epochs: int) -> int:
    """Batches of a whole training."""
    return epochs * max(1, len(dataset.cloud.images) // recipe_of(dataset).batch)


def train(
    dataset: Dataset,
    architecture: str,
    *,
    epochs: int,
    seed: int,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
    state: Path | None = None,
    save_every: float = SAVE_EVERY_SECONDS,
) -> torch.nn.Module:
    """A teacher for `dataset`.

    Args:
        dataset: only its cloud's part is looked at.
        architecture: a name that `shared.architectures` knows.
        epochs: how often each image is shown.
        seed: decides weights, order, shifts and flips.
        on_step: gets the number of batches done, and the training loss of the last one (nats).
        state: file that keeps what is needed to go on; whoever has stored the teacher deletes it. None keeps nothing.
        save_every: seconds between two writings of it.

    Raises:
        InvalidConfig: no such architecture, or the images are too small for it.
        RunMismatch: `state` is another training's.
        Stopped: Ctrl-C.
    """
    device = compute.device()
    seed_initial_weights(seed, "teacher")
    model = architectures.build(architecture, channels=dataset.image_shape[0], classes=dataset.classes)
    architectures.check_size(model, architecture, dataset.image_shape)
    form = torch.channels_last  # on a CPU a ResNet-32 learns a third faster in it, with CUDA more than that
    model.to(device, memory_format=form)  # type: ignore[call-overload]
    images_NCHW = torch.from_numpy(dataset.cloud.images)
    labels_N = torch.from_numpy(dataset.cloud.labels)
    recipe, batches, mixed = recipe_of(dataset), steps_of(dataset, 1), mixing(dataset)
    rate = peak_learning_rate(architecture)
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=MOMENTUM, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    training = f"{architecture} on {dataset.name}, {epochs} epochs, seed {seed}"
    done, saved = training_state.restore(state, training, parts).done, time.monotonic()
    model.train()
    passes = Recorded(model)
    try:
        for epoch in range(done // batches, epochs):
            random = rng(seed, "teacher", epoch)
            order_N = torch.randperm(len(images_NCHW), generator=random)[: batches * recipe.batch]
            for step, index_B in enumerate(order_N.chunk(batches), epoch * batches):
                x_BCHW = pixels.to_float(images_NCHW[index_B].to(device))  # as bytes: a quarter of the way
                x_BCHW = dataset.augmentation(x_BCHW, random)  # also draws what was drawn before `done`
                if step < done:
                    continue
                torch.manual_seed(rng(seed, "teacher dropout", step).initial_seed())  # and what is mixed
                x_BCHW, label_B = mixed(x_BCHW, labels_N[index_B].to(device))
                logits_BK = passes(x_BCHW.contiguous(memory_format=form))
                loss = F.cross_entropy(logits_BK, label_B)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                done += 1
                if state and time.monotonic() - saved >= save_every:
                    training_state.save(state, training, parts, Progress(done, {}))
                    saved = time.monotonic()
                on_step(done, loss.item())
    except KeyboardInterrupt:
        kept = (
            f"The same command goes on from {state}, at most {save_every:.0f} s back."
            if state
            else "Nothing is kept."
        )
        raise Stopped(f"Stopped after {done} of {epochs * batches} batches. {kept}") from None
    return model.eval()


Mixing = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Images [B, C, H, W] and classes [B] -> images, and classes [B] or what share each has of an image [B, K]."""


def mixing(dataset: Dataset) -> Mixing:
    """What becomes of a batch: the recipe's share of them, as torch's global generator has it, is mixed."""
    share = recipe_of(dataset).mixed_share
    if share == 0:
        return lambda images_BCHW, label_B: (images_BCHW, label_B)
    from shared.vision import transforms  # takes a second, which digits do without

    cut_mix: Mixing = transforms.RandomApply([transforms.CutMix(num_classes=dataset.classes)], share)
    return cut_mix


@torch.inference_mode()
def test_accuracy(model: torch.nn.Module, test: Labelled) -> float:
    """Share of the test images that `model` gets right, in [0, 1]."""
    device = compute.device()
    batches = torch.split(torch.from_numpy(test.images), EVALUATION_BATCH)
    logits_NK = torch.cat([model(pixels.to_float(x_BCHW).to(device)).cpu() for x_BCHW in batches])
    return metrics.accuracy(logits_NK, torch.from_numpy(test.labels))

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

from shared import architectures, compute, metrics, pixels, training_state
from shared.datasets import Dataset, Labelled
from shared.errors import Stopped
from shared.recorded import Recorded
from shared.seeding import rng, seed_initial_weights
from shared.training_state import Progress, Stateful

# Chosen for digits on a held-out quarter of the cloud's part, three seeds each.
BATCH = 64
PEAK_LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 2e-3
IMAGES_SEEN = 36_000
FEWEST_EPOCHS, MOST_EPOCHS = 3, 40

# Decay as benchmarks of distillation have it on CIFAR (Tian et al., ICLR 2020); CutMix and how long it takes, as
# CutMix's paper has them there; batches that a GPU takes little longer over than over 64.
PHOTOGRAPHS = ("cifar10", "cifar100", "tiny-imagenet", "imagenet")
PHOTOGRAPHS_BATCH = 256
PHOTOGRAPHS_WEIGHT_DECAY = 5e-4
PHOTOGRAPHS_EPOCHS = 300
MIXED_SHARE = 0.5
"""Of the batches of photographs: the probability that CutMix mixes one."""

# Tian et al. give these two a fifth of the others' rate. Digits, on a held-out quarter of the cloud's part, 8 epochs,
# mean of three seeds: mobilenetv2 25 % against 18 %, shufflenetv1 63 % against 35 %. mobilenetv1 is not among them:
# 34 % against 53 %.
LIGHT = ("mobilenetv2", "shufflenetv1")
LIGHT_LEARNING_RATE = 0.02

EVALUATION_BATCH = 512
SAVE_EVERY_SECONDS = 30.0


def default_epochs(dataset: Dataset) -> int:
    """As many as show the model about `IMAGES_SEEN` images, within bounds; photographs need far more."""
    if dataset.name in PHOTOGRAPHS:
        return PHOTOGRAPHS_EPOCHS
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, IMAGES_SEEN // len(dataset.cloud.images)))


def steps_of(dataset: Dataset, epochs: int) -> int:
    """Batches of a whole training."""
    return epochs * _batches(dataset)


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
    size, batches = _batch(dataset), _batches(dataset)
    mixed = mixing(dataset)
    decay = PHOTOGRAPHS_WEIGHT_DECAY if dataset.name in PHOTOGRAPHS else WEIGHT_DECAY
    rate = LIGHT_LEARNING_RATE if architecture in LIGHT else PEAK_LEARNING_RATE
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=MOMENTUM, weight_decay=decay, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    training = f"{architecture} on {dataset.name}, {epochs} epochs, seed {seed}"
    done, saved = training_state.restore(state, training, parts).done, time.monotonic()
    model.train()
    passes = Recorded(model)
    try:
        for epoch in range(done // batches, epochs):
            random = rng(seed, "teacher", epoch)
            order_N = torch.randperm(len(images_NCHW), generator=random)[: batches * size]
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
    """What becomes of a batch: of photographs every second one, as torch's global generator has it, is mixed."""
    if dataset.name not in PHOTOGRAPHS:
        return lambda images_BCHW, label_B: (images_BCHW, label_B)
    from shared.vision import transforms  # takes a second, which digits do without

    cut_mix: Mixing = transforms.RandomApply([transforms.CutMix(num_classes=dataset.classes)], MIXED_SHARE)
    return cut_mix


@torch.inference_mode()
def test_accuracy(model: torch.nn.Module, test: Labelled) -> float:
    """Share of the test images that `model` gets right, in [0, 1]."""
    device = compute.device()
    batches = torch.split(torch.from_numpy(test.images), EVALUATION_BATCH)
    logits_NK = torch.cat([model(pixels.to_float(x_BCHW).to(device)).cpu() for x_BCHW in batches])
    return metrics.accuracy(logits_NK, torch.from_numpy(test.labels))


def _batch(dataset: Dataset) -> int:
    return PHOTOGRAPHS_BATCH if dataset.name in PHOTOGRAPHS else BATCH


def _batches(dataset: Dataset) -> int:
    return max(1, len(dataset.cloud.images) // _batch(dataset))

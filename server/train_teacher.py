"""Trains a teacher on the cloud's labelled part of a dataset: plain supervised learning, as a service's owner would.

SGD with Nesterov momentum, one cycle of the learning rate, and shifts that keep an image's class. Nothing is
selected on the test images; they are only reported. Some tens of seconds for digits on two CPU cores. The same seed
gives the same weights on the same machine with the same number of threads.

Shapes: N images of the split, B images of a batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from shared import architectures, compute, metrics, pixels
from shared.datasets import Dataset, Labelled
from shared.seeding import rng, seed_initial_weights

# Chosen for digits on a held-out quarter of the cloud's part, three seeds each; not tuned for other datasets.
BATCH = 64
PEAK_LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 2e-3
IMAGES_SEEN = 36_000
FEWEST_EPOCHS, MOST_EPOCHS = 3, 40
EVALUATION_BATCH = 512


def default_epochs(dataset: Dataset) -> int:
    """As many as show the model about `IMAGES_SEEN` images, within bounds."""
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, IMAGES_SEEN // len(dataset.cloud.images)))


def train(
    dataset: Dataset, architecture: str, *, epochs: int, seed: int, on_epoch: Callable[[float], None]
) -> torch.nn.Module:
    """A teacher for `dataset`; `on_epoch` gets the mean training loss (nats) after each epoch."""
    device = compute.device()
    seed_initial_weights(seed, "teacher")
    model = architectures.build(architecture, channels=dataset.image_shape[0], classes=dataset.classes).to(device)
    images_NCHW = pixels.from_array(dataset.cloud.images)
    labels_N = torch.from_numpy(dataset.cloud.labels)
    batches = max(1, len(images_NCHW) // BATCH)
    optimizer = torch.optim.SGD(
        model.parameters(), PEAK_LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=epochs * batches)
    model.train()
    for epoch in range(epochs):
        random = rng(seed, "teacher", epoch)
        total = 0.0
        for index_B in torch.randperm(len(images_NCHW), generator=random)[: batches * BATCH].chunk(batches):
            x_BCHW = pixels.shift(images_NCHW[index_B], dataset.shift, random).to(device)
            loss = F.cross_entropy(model(x_BCHW), labels_N[index_B].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        on_epoch(total / batches)
    return model.eval()


@torch.inference_mode()
def test_accuracy(model: torch.nn.Module, test: Labelled) -> float:
    """Share of the test images that `model` gets right, in [0, 1]."""
    device = compute.device()
    batches = torch.split(pixels.from_array(test.images), EVALUATION_BATCH)
    logits_NK = torch.cat([model(x_BCHW.to(device)).cpu() for x_BCHW in batches])
    return metrics.accuracy(logits_NK, torch.from_numpy(test.labels))

import subprocess
import sys

import torch

from shared import vision

TRY = "try:\n import torchvision\nexcept RuntimeError as error:\n print('torchvision::nms' in str(error))"


def test_operators_are_declared_only_where_torchvision_cannot_load_its_own() -> None:
    alone = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, check=True, timeout=120)
    assert alone.stdout in ("", "True\n")
    assert bool(vision._KEEP_ALIVE) == (alone.stdout == "True\n")


def test_what_the_product_uses_works() -> None:
    moved = vision.transforms.functional.affine(
        torch.eye(4)[None], angle=0, translate=[1, 0], scale=1, shear=[0.0, 0.0]
    )
    assert moved[0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert callable(vision.datasets.MNIST) and vision.torchvision.__version__

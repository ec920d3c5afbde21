"""The only import of torchvision in the product.

torchvision's wheels carry a compiled library that loads only beside the torch build that it was made for; beside
another build, `import torchvision` stops at `operator torchvision::nms does not exist`. Everything the product
uses (datasets, transforms, models) is pure Python, so where that library is missing the two operators are declared
first. An installation whose library loads is left untouched.
"""

import importlib
from types import ModuleType
from typing import Any

import torch

_KEEP_ALIVE: list[Any] = []  # the declarations last as long as their Library object


def _declare_operators() -> None:
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEEP_ALIVE.append(library)


def _import_torchvision() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _declare_operators()
    return importlib.import_module("torchvision")


torchvision = _import_torchvision()
datasets: Any = importlib.import_module("torchvision.datasets")
models: Any = importlib.import_module("torchvision.models")
transforms: Any = importlib.import_module("torchvision.transforms.v2")

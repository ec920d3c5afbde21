"""What the shell offers when a person presses Tab; quick, so nothing of torch is imported."""

from pathlib import Path

from edge.asking.link import LINKS
from edge.presets import PRESETS

DATASETS = (
    *("digits", "mnist", "synthetic-digits", "synthetic-digits-grey", "svhn", "cifar10", "cifar100"),
    *("tiny-imagenet", "imagenet"),
)
"""`shared.datasets.LOADERS`, which would bring torch."""
STUDENTS = (
    *("resnet8", "resnet20", "resnet32", "resnet56", "resnet110", "vgg11", "vgg13", "vgg16", "vgg19"),
    *("mobilenetv1", "mobilenetv2", "shufflenetv1", "shufflenetv2"),
)
"""`shared.architectures.NAMES`, which would bring torch."""


def students(typed: str) -> list[str]:
    """Architectures whose name begins as typed."""
    return [name for name in STUDENTS if name.startswith(typed)]


def presets(typed: str) -> list[str]:
    """Presets whose name begins as typed."""
    return [name for name in PRESETS if name.startswith(typed)]


def run_folders(typed: str) -> list[str]:
    """Run folders whose path begins as typed, and those one folder down."""
    below = [folder for path in _begins(typed) if path.is_dir() for folder in (path, *sorted(path.iterdir()))]
    return [str(folder) for folder in below if (folder / "config.json").exists()]


def row_files(typed: str) -> list[str]:
    """Files that may hold rows of a sweep, and folders."""
    return [str(path) for path in _begins(typed) if path.is_dir() or path.suffix in (".jsonl", ".parquet")]


def datasets(typed: str) -> list[str]:
    """Names of datasets, and folders."""
    folders = [str(path) for path in _begins(typed) if path.is_dir()]
    return [name for name in DATASETS if name.startswith(typed)] + folders


def links(typed: str) -> list[str]:
    """Names of links, and TOML files."""
    return [name for name in LINKS if name.startswith(typed)] + [
        str(p) for p in _begins(typed) if p.suffix == ".toml"
    ]


def _begins(typed: str) -> list[Path]:
    """Files and folders whose path begins as typed."""
    folder, slash, name = typed.rpartition("/")
    within = Path(folder + slash)
    return sorted(path for path in within.iterdir() if path.name.startswith(name)) if within.is_dir() else []

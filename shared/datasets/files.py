"""Where datasets that live in files are kept, how an archive is fetched, and what is said when they are not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.errors import UnknownDataset

DEFAULT_ROOT = Path("data")

BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError)
"""What torchvision, numpy, scipy and Pillow raise for files that are missing or broken."""


@contextmanager
def read_from(folder: Path, what: str, files: str, *, download: bool = False) -> Iterator[None]:
    """Turn whatever goes wrong while reading into one message with a way out.

    Args:
        folder: where the files have to be.
        what: the dataset, as people call it.
        files: the files that have to be there, to follow "Put".
        download: whether a download was tried where they are missing.

    Raises:
        UnknownDataset: instead of everything in `BROKEN`.
    """
    try:
        yield
    except BROKEN as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        downloaded = " nor downloaded to it" if download else ""
        raise UnknownDataset(
            f"{what} cannot be read from {folder}{downloaded} ({reason.rstrip(':.')}). "
            f"Put {files} there, or point --data-root at a folder that has them."
        ) from None


def fetch_archive(folder: Path, url: str, md5: str) -> None:
    """Download and unpack `folder` unless it is there: all of it or nothing. The archive holds this folder alone.

    Raises:
        OSError, RuntimeError: it cannot be had, or its checksum is another one.
    """
    if folder.is_dir():
        return
    from shared.vision import datasets

    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as unpacked:
        datasets.utils.download_and_extract_archive(url, unpacked, md5=md5, remove_finished=True)
        if not folder.is_dir():  # another process may have been first
            (Path(unpacked) / folder.name).rename(folder)

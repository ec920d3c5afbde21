"""100,000 malformed bodies against a real server process: no 5xx, memory bounded, the next good request served.

    python -m tests.benchmarks.fuzz_bodies --bodies 100000 --seed 0

Every body is a good question with something done to it: bits flipped, cut, grown, its header length, shape, datatype
or size told wrong, JSON nested or numbers huge, or noise from the first byte on. A body that is still good by chance
is answered 200, which is fine, and not counted as malformed. Prints the statuses and the server's peak of resident
memory, before and after.
"""

import json
import os
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import httpx
import typer

from server.auth import key_hash, new_key
from server.ledger import open_ledger
from server.ledger.protocol import Account
from shared import architectures, checkpoints
from shared.codec import encode_request
from shared.protocol import HEADER_LENGTH
from tests.server.asking import INFER, some_images
from tests.server.processes import served

GROWN_MIB = 64
"""Memory that may be taken during the run: bodies in flight and what the allocator keeps, not one byte a body."""
THREADS = 4

Body = tuple[bytes, str | None]
Draw = random.Random


def flipped(draw: Draw, body: bytes, length: int) -> Body:
    mutable = bytearray(body)
    for _ in range(draw.randint(1, 8)):
        mutable[draw.randrange(length if draw.random() < 0.8 else len(body))] ^= 1 << draw.randrange(8)
    return bytes(mutable), str(length)


def cut(draw: Draw, body: bytes, length: int) -> Body:
    return body[: draw.randrange(len(body))], str(length)


def grown(draw: Draw, body: bytes, length: int) -> Body:
    at = draw.randrange(len(body))
    return body[:at] + draw.randbytes(draw.randint(1, 5000)) + body[at:], str(length)


def length_told_wrong(draw: Draw, body: bytes, length: int) -> Body:
    numbers = ["", "-1", "0", "1e3", "٣", "9" * 5000, str(2**63), "5 5", "0x10", str(draw.randrange(2 * len(body)))]
    return body, draw.choice([*numbers, None, str(length + draw.randint(-3, 3))])


def header_told_wrong(draw: Draw, body: bytes, length: int) -> Body:
    header = json.loads(body[:length])
    place = draw.choice([header, header["inputs"][0], header["inputs"][0]["parameters"], header["outputs"][0]])
    name = draw.choice([*place, "data", "shape", "parameters", "binary_data_size"])
    place[name] = strange_value(draw)
    text = json.dumps(header).encode()
    return text + body[length:], str(len(text))


def strange_value(draw: Draw) -> object:
    number = draw.choice([0, -1, 2**31, 2**53, 10**400, 1e308, float("nan"), float("inf"), 0.5])
    return draw.choice(
        [
            *(number, None, True, "", "\x00", "ÿ" * 300, "UINT8", "BYTES", "FP64", [], {}, [[]]),
            *([number] * 4, [2, 1, 8, 8, 1], [2**31 - 1] * 4, [1, 1, 8, 8], [0, 1, 8, 8], [[1], [2, 3]]),
            *([draw.randint(-5, 300) for _ in range(draw.randint(1, 200))], {"name": "images"}),
        ]
    )


def nested(draw: Draw, body: bytes, length: int) -> Body:
    depth, (opening, closing) = draw.choice([5, 100, 5000]), draw.choice([("[", "]"), ('{"a":', "}")])
    value = opening * depth + "0" + closing * draw.choice([depth, 0])
    text = body[:length].replace(b'"shape":', b'"data":' + value.encode() + b',"shape":')
    return text + body[length:], draw.choice([str(len(text)), None])


def noise(draw: Draw, body: bytes, length: int) -> Body:
    return draw.randbytes(draw.randint(0, 3000)), draw.choice([None, str(draw.randrange(3000))])


DEEDS: list[Callable[[Draw, bytes, int], Body]] = [
    *(flipped, cut, grown, length_told_wrong, header_told_wrong, header_told_wrong, nested, noise)
]


def peak_mib(process: subprocess.Popen[str]) -> float:
    """The most memory that was ever resident, in MiB (Linux)."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert match
    return int(match[1]) / 1024


def prepare(folder: Path, *names: str) -> tuple[list[str | Path], list[str]]:
    """Flags of a server with a small teacher, and keys of these `names`."""
    teacher, ledger, keys = folder / "teacher.safetensors", folder / "ledger.sqlite", [new_key() for _ in names]
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(teacher, architectures.build("resnet8", channels=1, classes=10), card)
    with open_ledger(str(ledger)) as opened:
        for name, key in zip(names, keys, strict=True):
            opened.create(Account(name, 10**9, "logits", 10**9), key_hash(key))
    return ["--teacher", teacher, "--ledger", ledger, "--threads", "1"], keys


def main(
    bodies: Annotated[int, typer.Option(help="How many malformed ones to send.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of what is done to them.")] = 0,
) -> None:
    """Send malformed bodies and say what came of it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    good = encode_request(some_images(2), "logits")
    assert good.header_length
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as log:
        flags, (key,) = prepare(Path(folder), "fuzz")
        with served(*flags, stderr=log) as (process, url), httpx.Client() as http:
            bearer = {"Authorization": f"Bearer {key}"}

            def ask(body: bytes, header_length: str | None) -> int:
                length = {} if header_length is None else {HEADER_LENGTH: header_length}
                headers = httpx.Headers({**bearer, **length}, encoding="utf-8")
                return http.post(url + INFER, content=body, headers=headers, timeout=30).status_code

            def fuzz(thread: int) -> Counter[tuple[str, int]]:
                draw, found = random.Random(f"{seed} {thread}"), Counter[tuple[str, int]]()
                malformed = 0
                while malformed < -(-bodies // THREADS):
                    deed = draw.choice(DEEDS)
                    status = ask(*deed(draw, good.body, good.header_length or 0))
                    malformed += status != httpx.codes.OK
                    found[deed.__name__, status] += 1
                return found

            assert {ask(good.body, str(good.header_length)) for _ in range(500)} == {200}
            before, started = peak_mib(process), time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                found = sum(pool.map(fuzz, range(THREADS)), Counter())
            seconds, after = time.perf_counter() - started, peak_mib(process)
            assert ask(good.body, str(good.header_length)) == 200, "the next good request is not served"
    for (deed, status), count in sorted(found.items()):
        typer.echo(f"{deed:20} {status}  {count}")
    malformed = sum(count for (_, status), count in found.items() if status != httpx.codes.OK)
    typer.echo(
        f"{malformed} malformed bodies of {found.total()}, seed {seed}, {seconds:.0f} s; "
        f"peak RSS {before:.0f} MiB before, {after:.0f} after"
    )
    assert not any(status >= 500 for _, status in found)
    assert after - before < GROWN_MIB


if __name__ == "__main__":
    typer.run(main)

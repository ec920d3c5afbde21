"""Rows of a sweep as tests need them: complete, and different only in what a test names."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.leaderboard.rows import Row


def document(**changes: Any) -> dict[str, Any]:
    """A row as a sweep writes it."""
    row: dict[str, Any] = {
        "method": "lq",
        "track": "A",
        "dataset": "digits",
        "teacher": "resnet20",
        "student": "resnet8",
        "response": "soft",
        "budget": 100,
        "seed": 0,
        "status": "ok",
        "error": None,
        "queries_by_stage": {"distillation": 100},
        "paid": 0,
        "bytes_up": 7000,
        "bytes_down": 3000,
        "link_seconds": None,
        "seconds": 12.5,
        "accuracy": 0.9,
        "fidelity": 0.91,
        "kl_nats": 0.25,
        "calibration_error": 0.04,
        "teacher_accuracy": 0.98,
        "test_images": 400,
        "sends": "synthetic",
        "config": {"budget": 100},
        "software": {"torch": "2.13.0", "commit": "abc1234"},
        "hardware": {"machine": "x86_64"},
    }
    return row | {"queries": changes.get("budget", 100)} | changes


def row(**changes: Any) -> Row:
    return Row.model_validate(document(**changes))


def written(path: Path, documents: Iterable[dict[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


def sweep() -> list[dict[str, Any]]:
    """Three methods, two responses, two budgets, three seeds; one run failed."""
    heights = {"lq": 0.8, "kd": 0.9, "noise": 0.3}
    sends = {"lq": "synthetic", "kd": "real", "noise": "noise"}
    rows = [
        document(
            method=method,
            response=response,
            budget=budget,
            seed=seed,
            sends=sends[method],
            paid=budget if seed == 0 else 0,
            bytes_up=70 * budget,
            accuracy=heights[method] + (budget == 1000) * 0.05 + seed * 0.01,
            fidelity=heights[method] + seed * 0.01,
        )
        for method in heights
        for response in ("soft", "top1")
        for budget in (100, 1000)
        for seed in range(3)
    ]
    failed = {"status": "failed", "error": "the loss is no number", "accuracy": None, "fidelity": None}
    return [
        one | failed if (one["method"], one["budget"], one["seed"]) == ("noise", 1000, 2) else one for one in rows
    ]

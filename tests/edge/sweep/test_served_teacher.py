"""A sweep that serves its teacher itself: every run has a key of its own, with exactly its budget."""

from pathlib import Path

from edge.sweep.results import Rows
from server.ledger.sqlite import SqliteLedger
from server.torch_teacher import load_teacher
from shared import architectures, checkpoints
from tests.edge.sweep.small_sweep import TEST_IMAGES, settings_of
from tests.end_to_end.edge_process import EdgeProcess


def test_runs_pay_from_keys_of_their_own_and_the_test_images_from_another(tmp_path: Path) -> None:
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoint, out, file = tmp_path / "teacher.safetensors", tmp_path / "out", tmp_path / "sweep.toml"
    checkpoints.save(checkpoint, architectures.build("resnet8", channels=1, classes=10), card)
    file.write_text(
        f"methods = ['kd', 'noise']\nresponses = ['top1']\nbudgets = [40]\n{settings_of()}\n"
        f"[teachers]\ndigits = '{checkpoint}'\n"
    )
    flags = ("sweep", "--config", file, "--out", out, "--workers", "1")
    process = EdgeProcess(*flags, key="", said=tmp_path / "said")
    assert process.exit_code() == 0 and "0 queries are paid and at most 80 left to pay" in process.said()
    rows = Rows(out).read()
    assert {row["teacher"] for row in rows.values()} == {f"teacher@{load_teacher(checkpoint).version}"}
    assert all(row["status"] == "ok" and row["paid"] == 40 and row["fidelity"] is not None for row in rows.values())
    with SqliteLedger(out / "digits" / "ledger.sqlite") as ledger:
        keys = {c.account.name: (c.account.budget, c.spent, c.account.policy) for c in ledger.clients()}
    run = "digits_resnet8_{}-top1-40-0"
    assert keys == {
        run.format("kd"): (40, 40, "top1"),
        run.format("noise"): (40, 40, "top1"),
        "evaluation": (TEST_IMAGES, TEST_IMAGES, "logits"),
    }

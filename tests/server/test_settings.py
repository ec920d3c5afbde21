from pathlib import Path

import pytest

from server.settings import Settings, load_settings
from shared.errors import InvalidConfig


def test_flags_go_before_the_environment_and_the_environment_before_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEKD_SERVER_PORT", "9000")
    monkeypatch.setenv("MEKD_SERVER_TEACHER", "from/environment")
    settings = load_settings(port=9001, teacher=None, host=None)
    assert (settings.port, settings.teacher, settings.host) == (9001, Path("from/environment"), "127.0.0.1")


def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEKD_SERVER_MODEL_BATCH", "many")
    with pytest.raises(InvalidConfig, match="model_batch: Input should be a valid integer"):
        load_settings()


def test_a_queue_that_could_never_take_the_largest_request_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="queue_images 10 is less than images_per_request 1024"):
        load_settings(queue_images=10)


def test_a_queue_of_fewer_bytes_than_a_body_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="queue_bytes 10 is less than body_bytes 16777216"):
        load_settings(queue_bytes=10)


def test_the_default_is_reachable_from_this_machine_only() -> None:
    assert Settings().host == "127.0.0.1"


def test_every_setting_is_explained() -> None:
    source = Path(__file__).parents[2].joinpath("server", "settings.py").read_text()
    for name in Settings.model_fields:
        after = source.split(f"\n    {name}: ")[1].splitlines()[1]
        assert after.strip().startswith('"""'), name

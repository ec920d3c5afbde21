"""What the server can be told, each by an environment variable `MEKD_SERVER_*`, the usual ones also by a flag."""

from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import InvalidConfig


class Settings(BaseSettings):
    """Settings of one server process."""

    model_config = SettingsConfigDict(env_prefix="MEKD_SERVER_", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    teacher: Path = Path("data/teacher.safetensors")
    """Checkpoint of the teacher, as `mekd-server train` writes it."""
    ledger: SecretStr = SecretStr("sqlite:///data/ledger.sqlite")
    """Where keys, budgets and paid answers are kept: `sqlite:///PATH`, a plain path, or `postgresql://...`."""
    model: str = Field(default="teacher", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the model in URLs."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the model; by default all that this process is granted."""
    model_batch: int = Field(default=128, ge=8, le=4096)
    """Images in one pass of the model: small requests are joined up to it, large ones split by it."""
    images_per_request: int = Field(default=1024, ge=1)
    """Images that one request may carry."""
    body_bytes: int = Field(default=16 * 2**20, ge=1)
    """Bytes that one request's body may have."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Time in which a request's body has to arrive."""
    queue_images: int = Field(default=8192, ge=1)
    """Images that may be held until they are answered; beyond it requests are sent away with 503."""
    queue_bytes: int = Field(default=256 * 2**20, ge=1)
    """Bytes of images that may be held until they are answered; beyond it requests are sent away with 503."""
    in_flight_per_key: int = Field(default=4, ge=1)
    """Requests that one key may have in flight; beyond it they are sent away with 429, before their body is read."""
    duplicate_seconds: float = Field(default=20.0, gt=0)
    """Time that a request waits for another with its idempotency key to be answered; then 409."""
    rate_limits: SecretStr = SecretStr("memory://")
    """Where images per minute are counted: `memory://`, or `redis://[:PASSWORD@]HOST:PORT` that replicas share."""
    noise_secret: SecretStr = Field(default_factory=lambda: SecretStr(token_hex(32)), min_length=16)
    """Decides the noise of noisy policies; by default drawn at each start. Replicas need the same one."""
    log_format: Literal["json", "text"] = "json"
    """Form of the log on stderr, one line per request: `json` for machines, `text` for people."""
    metrics_host: str = "127.0.0.1"
    """Address on which metrics are shown."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the metrics for Prometheus, which needs no key; not open by default, 0 takes a free one."""
    openapi: bool = False
    """Serve the API's description at `/openapi.json`, to anybody."""
    keep_alive_seconds: int = Field(default=75, ge=1)
    """Time for which an idle connection is kept; clients that train between two questions need more than a moment."""
    drain_seconds: int = Field(default=30, ge=1)
    """Time that requests in flight are given to finish after SIGTERM."""

    @model_validator(mode="after")
    def _largest_request_fits_into_the_queue(self) -> Self:
        if self.queue_images < self.images_per_request:
            raise ValueError(
                f"queue_images {self.queue_images} is less than images_per_request {self.images_per_request}: "
                "the largest request could never be taken"
            )
        if self.queue_bytes < self.body_bytes:
            raise ValueError(
                f"queue_bytes {self.queue_bytes} is less than body_bytes {self.body_bytes}: "
                "the largest request could never be taken"
            )
        return self


def load_settings(**flags: Any) -> Settings:
    """Settings from the environment, with every flag that is not None over them.

    Raises:
        InvalidConfig: names the first setting that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "settings"
        raise InvalidConfig(f"{place}: {problem['msg']}.") from None

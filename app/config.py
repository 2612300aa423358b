"""Settings, from the environment or `.env`; every name is prefixed `GATEWAY_`. Source: the public contract, "Settings"."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError
from app.lifecycle.gate import GatePolicy
from app.lifecycle.policy import Policy

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("write a duration like 15s, 10m or 2h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _web_address(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise ValueError("write an address like https://gateway.example.com")
    return value.rstrip("/") if value else None


def _key_shape(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(r"[\x21-\x7e]{16,200}", value.get_secret_value()):
        raise ValueError("use 16 to 200 visible ASCII characters")
    return value


def _upstream_key_shape(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(r"[\x21-\x7e]{1,500}", value.get_secret_value()):
        raise ValueError("use 1 to 500 visible ASCII characters")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class Settings(BaseSettings):
    """All settings. Raise nothing from here: use `load`, which says in one line what is wrong."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: str = Field("sqlite:///./data/gateway.db", description="Also `postgresql://…` and `postgres://…`.")
    auto_migrate: bool | None = Field(
        None, description="Upgrade the schema at start. Default: true on SQLite, false on PostgreSQL."
    )
    upstream_base_url: WebAddress = Field("https://qwen-image-2512.org", description="Where the upstream is.")
    upstream_api_key: Annotated[SecretStr | None, AfterValidator(_upstream_key_shape)] = Field(
        None, description="Required by `serve` and `worker`; sent as `Authorization: Bearer …`."
    )
    public_base_url: WebAddress | None = Field(
        None,
        description="Where the upstream reaches us. Unset: no `callback_url` is sent, the first check comes after `POLL_MIN`, "
        "and an unconfirmed job fails after its lease.",
    )
    bootstrap_admin_key: Annotated[SecretStr | None, AfterValidator(_key_shape)] = Field(
        None,
        description="An admin API key that exists from the start; changing it adds a key and revokes none. On SQLite without "
        "it, the first `serve` makes one and prints it once.",
    )
    upstream_max_in_flight: int = Field(
        100, ge=1, le=100_000, description="Submissions open upstream at once, over all replicas."
    )
    upstream_submit_rate: float = Field(10, gt=0, le=10_000, description="Submits a second, over all replicas.")
    upstream_status_rate: float = Field(20, gt=0, le=10_000, description="Checks a second, over all replicas.")
    callback_grace: Duration = Field(
        timedelta(seconds=15),
        description="How long the first check waits while callbacks are healthy; adapts to what is observed.",
    )
    poll_min: Duration = Field(timedelta(seconds=5), description="Shortest interval between two checks of a task.")
    poll_max: Duration = Field(timedelta(seconds=60), description="Longest interval between two checks of a task.")
    queue_deadline: Duration = Field(timedelta(hours=24), description="From accept to the first send, then `failed`.")
    submit_attempts: int = Field(10, ge=1, le=1000, description="Sends of one job, each but the last proven not accepted.")
    unconfirmed_wait: Duration = Field(timedelta(minutes=15), description="How long an unconfirmed job waits for its callback.")
    job_deadline: Duration = Field(
        timedelta(minutes=30), description="From the send: then one last check, which must be answered."
    )
    hard_deadline: Duration = Field(
        timedelta(hours=24), description="From the send: then the job fails and its books close, answered or not."
    )
    log_format: Literal["json", "console"] | None = Field(None, description="Default: `json`; `console` on a terminal.")

    def policy(self) -> Policy:
        return Policy(
            queue_deadline=self.queue_deadline,
            submit_attempts=self.submit_attempts,
            unconfirmed_wait=self.unconfirmed_wait,
            job_deadline=self.job_deadline,
            hard_deadline=self.hard_deadline,
            callback_grace=self.callback_grace if self.public_base_url else self.poll_min,
            poll_min=self.poll_min,
            poll_max=max(self.poll_min, self.poll_max),
            callbacks_expected=self.public_base_url is not None,
        )

    def gate_policy(self) -> GatePolicy:
        return GatePolicy(
            max_in_flight=self.upstream_max_in_flight,
            submit_rate=self.upstream_submit_rate,
            status_rate=self.upstream_status_rate,
        )


def load() -> Settings:
    """The settings as the environment has them.

    Raises:
        SettingsError: one is bad; the message names it and never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "GATEWAY_" + "_".join(str(part) for part in first["loc"][:1]).upper()
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None

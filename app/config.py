"""Settings, from the environment or `.env`; every name is prefixed `GATEWAY_`. Source: the public contract, "Settings"."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError
from app.lifecycle.gate import GatePolicy
from app.lifecycle.policy import Policy
from app.vault import Vault

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("write a duration like 15s, 10m or 2h")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError("write a duration of at most 366d") from None


def _web_address(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise ValueError("write an address like https://gateway.example.com")
    if value is not None and not _is_plain(value):
        raise ValueError("write an address without user and password, and with a port from 1 to 65535")
    return value.rstrip("/") if value else None


def _is_plain(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def _visible_ascii(least: int, most: int) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(rf"[\x21-\x7e]{{{least},{most}}}", value.get_secret_value()):
            raise ValueError(f"use {least} to {most} visible ASCII characters")
        return value

    return AfterValidator(check)


def _secret_key_shape(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        Vault.from_setting(value.get_secret_value())
    return value


def _image_store_shape(value: str) -> str:
    if not re.fullmatch(r"off|memory://|file://\S+|s3://\S+", value):
        raise ValueError("write file://./folder, s3://bucket/prefix or off")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0), le=timedelta(days=366))]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class Settings(BaseSettings):
    """All settings. Made by `load`, which says in one line what is wrong."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    database_url: str = Field("sqlite:///./data/gateway.db", description="Also `postgresql://…` and `postgres://…`.")
    auto_migrate: bool | None = Field(
        None, description="Upgrade the schema at start. Default: true on SQLite, false on PostgreSQL."
    )
    upstream_base_url: WebAddress = Field("https://qwen-image-2512.org", description="Where the upstream is.")
    upstream_api_key: Annotated[SecretStr | None, _visible_ascii(1, 500)] = Field(
        None, description="Required by `serve` and `worker`; sent as `Authorization: Bearer …`."
    )
    public_base_url: WebAddress | None = Field(
        None,
        description="Where the upstream reaches us. Unset: no `callback_url` is sent, the first check comes after `POLL_MIN`, "
        "and an unconfirmed job fails after its lease.",
    )
    secret_key: Annotated[SecretStr | None, AfterValidator(_secret_key_shape)] = Field(
        None,
        description="Encrypts delivery secrets at rest, and signs. A comma-separated list: the first is current, the "
        "others still open what they encrypted. Required on PostgreSQL; on SQLite one is made beside the database.",
    )
    bootstrap_admin_key: Annotated[SecretStr | None, _visible_ascii(16, 200)] = Field(
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
    poll_min: Duration = Field(
        timedelta(seconds=5),
        description="The first interval between two checks of a task; doubles from there. Right after a callback they come "
        "closer.",
    )
    poll_max: Duration = Field(timedelta(seconds=60), description="What that interval grows to.")
    queue_deadline: Duration = Field(
        timedelta(hours=24), description="From accept: what is still or again queued then is `failed`."
    )
    submit_attempts: int = Field(10, ge=1, le=1000, description="Sends of one job, each but the last proven not accepted.")
    unconfirmed_wait: Duration = Field(timedelta(minutes=15), description="How long an unconfirmed job waits for its callback.")
    job_deadline: Duration = Field(
        timedelta(minutes=30), description="From the send: then one last check, which must be answered."
    )
    hard_deadline: Duration = Field(
        timedelta(hours=24), description="From the send: then the job fails and its books close, answered or not."
    )
    delivery_allow: str | None = Field(
        None, description="Hosts and networks (CIDR), comma-separated, that deliveries may reach although they are not public."
    )
    image_store_url: Annotated[str, AfterValidator(_image_store_shape)] = Field(
        "file://./data/images",
        description="Where pictures are kept: a folder, or `s3://bucket/prefix`; `off` keeps only the upstream's addresses.",
    )
    image_allow: str | None = Field(
        None, description="Hosts and networks (CIDR), comma-separated, that pictures may come from although not public."
    )
    retention_days: int = Field(
        90, ge=0, le=36_500, description="Settled jobs older than this are pruned, with all that hangs on them; 0 keeps all."
    )
    metrics_open: bool = Field(
        False, description="Whether `/metrics` answers without a key. It names tenants; keep it off the public address."
    )
    log_format: Literal["json", "console"] | None = Field(None, description="Default: `json`; `console` on a terminal.")

    @model_validator(mode="after")
    def _in_order(self) -> Settings:
        if self.poll_max < self.poll_min:
            raise ValueError("GATEWAY_POLL_MAX must not be shorter than GATEWAY_POLL_MIN")
        if self.hard_deadline < self.job_deadline:
            raise ValueError("GATEWAY_HARD_DEADLINE must not be shorter than GATEWAY_JOB_DEADLINE")
        return self

    def policy(self) -> Policy:
        return Policy(
            queue_deadline=self.queue_deadline,
            submit_attempts=self.submit_attempts,
            unconfirmed_wait=self.unconfirmed_wait,
            job_deadline=self.job_deadline,
            hard_deadline=self.hard_deadline,
            callback_grace=self.callback_grace if self.public_base_url else self.poll_min,
            poll_min=self.poll_min,
            poll_max=self.poll_max,
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
        message = first["msg"].removeprefix("Value error, ")
        name = "".join(f"GATEWAY_{part}: ".upper() for part in first["loc"][:1])
        raise SettingsError(name + message) from None
    except (OSError, UnicodeDecodeError):
        raise SettingsError(".env cannot be read as UTF-8 text") from None


def unknown_names() -> list[str]:
    """Variables of the environment and of `.env` that look like settings and are none: no slip of the pen goes unseen."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_URL", "GATEWAY_API_KEY"}
    given = {*os.environ, *dotenv_values(".env")}
    return sorted(name for name in given if name.upper().startswith("GATEWAY_") and name.upper() not in known)

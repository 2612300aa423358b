"""Are the settings all that a gateway needs to start?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.config import Settings
from app.doctor.finding import Finding, ok, warning, wrong
from app.errors import SettingsError
from app.exits import USAGE
from app.outbound.allow import AllowList
from app.storage.database import database_url
from app.vault import Vault, key_beside

CHECK = "settings"


def look_at_settings(settings: Settings, unknown_names: Sequence[str]) -> Finding:
    """
    Args:
        unknown_names: variables of the environment that look like settings and are none.
    """
    if problem := _first_problem(settings):
        return bad_settings(problem)
    if unknown_names:
        names = ", ".join(unknown_names)
        return warning(CHECK, f"valid, but no settings of this version: {names}", "correct these names, or take them away")
    return ok(CHECK, "valid")


def bad_settings(error: object) -> Finding:
    return wrong(CHECK, str(error), "correct it in the environment or .env; README.md lists the settings", USAGE)


def vault_of(settings: Settings) -> Vault | None:
    """What opens the stored secrets; None where there is no key yet, since the first `gateway serve` makes it. Makes none.

    Raises:
        SettingsError: the file beside the database cannot be used.
    """
    if settings.secret_key is not None:
        return Vault.from_setting(settings.secret_key.get_secret_value())
    path = Path(database_url(settings.database_url).database or "")
    return Vault.from_setting(key_beside(path)) if path.with_name(path.name + ".key").exists() else None


def _first_problem(settings: Settings) -> str | None:
    try:
        is_sqlite = database_url(settings.database_url).get_backend_name() == "sqlite"
    except SettingsError as error:
        return str(error)
    if settings.upstream_api_key is None:
        return "GATEWAY_UPSTREAM_API_KEY is not set: the key of the upstream account"
    if settings.secret_key is None and not is_sqlite:
        return "GATEWAY_SECRET_KEY is not set, and PostgreSQL needs it (openssl rand -base64 32)"
    for name, text in (("GATEWAY_DELIVERY_ALLOW", settings.delivery_allow), ("GATEWAY_IMAGE_ALLOW", settings.image_allow)):
        try:
            AllowList.parse(text or "")
        except ValueError as error:
            return f"{name}: {error}"
    return None

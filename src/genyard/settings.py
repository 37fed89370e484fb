"""Every setting of genyard: the environment and `genyard.toml`, read once, frozen, secrets masked.

The plans' environment names work as they are. `genyard.toml` (in the working folder, or named by
`GENYARD_CONFIG`) says more: several endpoints of a kind, prices, limits. Where both speak of the same thing,
the environment wins. No other module reads `os.environ`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from genyard.errors import Code, GenyardError
from genyard.media import MediaLimits

ProviderKind = Literal["preview", "comfyui"]

#: What `IMAGE_GENERATION_PROVIDER` may say, and the settings that each needs.
PROVIDER_NEEDS: Mapping[str, tuple[str, ...]] = {
    "preview": (),
    "comfyui": ("COMFYUI_ENDPOINT",),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Timeouts(_Frozen):
    """Seconds. Generation time counts from the start of execution: waiting in a queue and cold starts do not."""

    connect: float = Field(default=10.0, gt=0)
    image: float = Field(default=200.0, gt=0)
    video: float = Field(default=400.0, gt=0)
    download: float = Field(default=60.0, gt=0)
    poll: float = Field(default=3.0, gt=0)


class EndpointSettings(_Frozen):
    """One place. `files` renames model files: template's name → the name on that server."""

    kind: ProviderKind
    url: str = ""
    api_key: SecretStr | None = None
    concurrency: int = Field(default=4, ge=1, le=1000)
    files: dict[str, str] = Field(default_factory=dict)
    timeouts: Timeouts = Timeouts()


class StorageSettings(_Frozen):
    """A folder below the data folder unless a bucket is named."""

    bucket: str = ""
    endpoint: str = ""
    region: str = "auto"
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None


class ServerSettings(_Frozen):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str = ""
    link_seconds: int = Field(default=3600, ge=60)


class Settings(_Frozen):
    """What `load_settings` returns; nothing changes after start."""

    provider: str = "preview"
    data: Path
    database_url: SecretStr | None = None
    endpoints: dict[str, EndpointSettings]
    storage: StorageSettings = StorageSettings()
    server: ServerSettings = ServerSettings()
    limits: MediaLimits = MediaLimits()
    stage_concurrency: int = Field(default=200, ge=1)
    log_level: str = "warning"
    log_json: bool = False

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, provider: str) -> str:
        if provider not in PROVIDER_NEEDS:
            raise ValueError(f"{provider!r} is not one of {', '.join(PROVIDER_NEEDS)}")
        return provider

    @model_validator(mode="after")
    def _has_preview(self) -> Settings:
        if "preview" not in self.endpoints:
            raise ValueError("the endpoint named 'preview' cannot be removed")
        return self


def load_settings(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """The settings in force. `settings.invalid` names the variable or the key that is wrong."""
    env = dict(os.environ if environ is None else environ)  # noqa: TID251 (this is the one place)
    table = _read_toml(env, folder or Path.cwd())
    table.setdefault("data", env.get("GENYARD_DATA") or str(_default_data(env)))
    _apply(table, env)
    try:
        return Settings.model_validate(table)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        name = _VARIABLE_OF.get(path, f"genyard.toml: {path}")
        message = str(first["msg"]).removeprefix("Value error, ")
        raise GenyardError(Code.settings_invalid, f"{name}: {message}", field=name) from wrong


#: Environment name → path in the table. The plans' names first, genyard's own after them.
_ENVIRONMENT: Mapping[str, str] = {
    "IMAGE_GENERATION_PROVIDER": "provider",
    "DATABASE_URL": "database_url",
    "COMFYUI_API_KEY": "endpoints.comfyui.api_key",
    "COMFYUI_POLL_INTERVAL": "endpoints.comfyui.timeouts.poll",
    "R2_BUCKET": "storage.bucket",
    "R2_BUCKET_NAME": "storage.bucket",
    "R2_ENDPOINT": "storage.endpoint",
    "R2_ACCESS_KEY_ID": "storage.access_key_id",
    "R2_SECRET_ACCESS_KEY": "storage.secret_access_key",
    "S3_BUCKET": "storage.bucket",
    "S3_ENDPOINT": "storage.endpoint",
    "S3_REGION": "storage.region",
    "AWS_ACCESS_KEY_ID": "storage.access_key_id",
    "AWS_SECRET_ACCESS_KEY": "storage.secret_access_key",
    "GENYARD_HOST": "server.host",
    "GENYARD_PORT": "server.port",
    "GENYARD_PUBLIC_URL": "server.public_url",
    "GENYARD_LOG_LEVEL": "log_level",
    "GENYARD_LOG_JSON": "log_json",
}
_VARIABLE_OF = {path: name for name, path in reversed(list(_ENVIRONMENT.items()))}


def _read_toml(env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    named = env.get("GENYARD_CONFIG")
    path = Path(named) if named else folder / "genyard.toml"
    if not named and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as wrong:
        raise GenyardError(Code.settings_invalid, f"{path}: {wrong}", field="GENYARD_CONFIG") from wrong


def _apply(table: dict[str, Any], env: Mapping[str, str]) -> None:
    endpoints = table.setdefault("endpoints", {})
    endpoints.setdefault("preview", {"kind": "preview", "concurrency": 2})
    if url := _comfyui_url(env):
        endpoints.setdefault("comfyui", {"kind": "comfyui"})["url"] = url
    for name, path in _ENVIRONMENT.items():
        value = env.get(name)
        if value and not (path.startswith("endpoints.comfyui") and "comfyui" not in endpoints):
            _put(table, path, value)
    if (seconds := env.get("COMFYUI_TIMEOUT")) and "comfyui" in endpoints:
        _put(table, "endpoints.comfyui.timeouts.image", seconds)
        _put(table, "endpoints.comfyui.timeouts.video", seconds)


def _put(table: dict[str, Any], path: str, value: str) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[leaf] = value


def _comfyui_url(env: Mapping[str, str]) -> str:
    """The direct server of the plans: COMFYUI_ENDPOINT, or COMFYUI_API_URL with COMFYUI_API_PORT."""
    url = (env.get("COMFYUI_ENDPOINT") or env.get("COMFYUI_API_URL") or "").strip().rstrip("/")
    if not url:
        return ""
    if "://" not in url:
        url = f"http://{url}"
    port = env.get("COMFYUI_API_PORT")
    authority = url.split("://", 1)[1].split("/", 1)[0]
    if port and not env.get("COMFYUI_ENDPOINT") and ":" not in authority:
        url = url.replace(authority, f"{authority}:{port}", 1)
    return url


def _default_data(env: Mapping[str, str]) -> Path:
    """Root keeps its data under /var/lib, because PostgreSQL refuses to run as root and must reach it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/genyard")
    base = env.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "genyard"

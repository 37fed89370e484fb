"""Every setting of genyard: the environment and `genyard.toml`, read once, frozen, secrets masked.

The plans' environment names work as they are (`environment`), from a `.env` file in the working folder too.
`genyard.toml` (in the working folder, or named by `GENYARD_CONFIG`) says more: several endpoints of a kind, prices,
limits, routes. Where both speak of the same thing, the environment wins. No other module reads `os.environ`.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from genyard.errors import Code, GenyardError
from genyard.media import MediaLimits
from genyard.settings.asking import PolicySettings, WebhookSettings
from genyard.settings.environment import FIELDS, PROVIDER_NEEDS, apply
from genyard.settings.fields import Frozen
from genyard.settings.keeping import AlertSettings, RetentionSettings
from genyard.settings.money import Budget, BudgetSettings, CreditSettings, Dollars, PriceRow
from genyard.settings.routes import RouteSettings
from genyard.settings.turns import DEFAULT_TIER, QueueSettings, TierSettings

__all__ = [
    "DEFAULT_TIER",
    "PROVIDER_NEEDS",
    "AlertSettings",
    "Budget",
    "BudgetSettings",
    "CreditSettings",
    "EndpointSettings",
    "PolicySettings",
    "PriceRow",
    "QueueSettings",
    "RetentionSettings",
    "RouteSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TierSettings",
    "Timeouts",
    "WebhookSettings",
    "load_settings",
]

ProviderKind = Literal["preview", "comfyui", "runpod", "scenario", "replicate"]

#: What a paid endpoint may spend in a day (UTC) unless its settings say otherwise: low, so that a mistake is cheap.
DAILY_CAP_USD = 5.0

#: Seconds and starts, for a ComfyUI server.
_AFFINITY = (30.0, 8)

#: What is said where pydantic speaks of Python.
_NO_TABLE = dict.fromkeys(("dict_type", "model_type", "dataclass_type"), "must be a table")


def _web_address(text: str) -> str:
    """Never repeated in the message: it may carry a password."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if text and (not sound or any(one.isspace() or not one.isprintable() for one in text)):
        raise ValueError("this is not an address such as https://host:8188")
    return text.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(lambda level: level.lower() if isinstance(level, str) else level),
]


class Timeouts(Frozen):
    """Seconds. Generation time counts from the start of execution: waiting in a queue and cold starts do not; `queue`
    is how long a place may take before it starts."""

    connect: float = Field(default=10.0, gt=0)
    image: float = Field(default=200.0, gt=0)
    video: float = Field(default=400.0, gt=0)
    queue: float = Field(default=1800.0, gt=0)
    download: float = Field(default=60.0, gt=0)
    poll: float = Field(default=3.0, gt=0)


class EndpointSettings(Frozen):
    """One place.

    protocol          RunPod: `comfyui` for worker-comfyui, `model` for an endpoint of one model
    legacy            Scenario: the old `/generate/txt2img` … routes
    endpoint_id       RunPod's id of the endpoint
    models            which of the models that this kind of place knows are there; empty: all
    operations        which operations it is to serve; empty: all that its models can
    concurrency       how many submissions may be open there at once
    starts_per_minute how many may start there in any minute
    affinity_seconds  how long work for the model that is loaded there may come before somebody else's turn …
    affinity_starts   … and how often, before the model is changed. Of use where one machine loads large models
    calls_per_second  how often its state may be asked for, over all jobs; None: what is usual for its kind
    files             renames model files: template's name → the name on that server
    model_files       ComfyUI on RunPod: the model files of the image, by which a template is chosen
    daily_cap_usd     what it may spend in a day (UTC); paid places have a low one by default
    monthly_cap_usd   what it may spend in a month (UTC); none by default
    assumed_usd       what one submission is taken to cost while nobody knows, against the cap
    usd_per_second    of a run: what the GPU behind it costs
    usd_per_unit      Scenario: what a creative unit costs
    """

    kind: ProviderKind
    protocol: Literal["comfyui", "model"] = "model"
    legacy: bool = False
    url: WebAddress = ""
    endpoint_id: str = ""
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    concurrency: int = Field(default=4, ge=1, le=10_000)
    starts_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    affinity_seconds: float | None = Field(default=None, ge=0, le=3600)
    affinity_starts: int | None = Field(default=None, ge=0, le=1000)
    calls_per_second: float | None = Field(default=None, gt=0)
    files: dict[str, str] = Field(default_factory=dict)
    model_files: tuple[str, ...] = ()
    timeouts: Timeouts = Timeouts()
    daily_cap_usd: float = Field(default=DAILY_CAP_USD, ge=0)
    monthly_cap_usd: Dollars | None = None
    assumed_usd: float = Field(default=0.10, ge=0)
    usd_per_second: float | None = Field(default=None, ge=0)
    usd_per_unit: float | None = Field(default=None, ge=0)

    @property
    def affinity(self) -> tuple[float, int]:
        """Seconds and starts: by default for a ComfyUI server alone, which has one set of models in memory."""
        seconds, starts = _AFFINITY if self.kind == "comfyui" else (0.0, 0)
        return (
            seconds if self.affinity_seconds is None else self.affinity_seconds,
            starts if self.affinity_starts is None else self.affinity_starts,
        )

    @property
    def source(self) -> str:
        """Which server it is, as a digest: an address may carry a password."""
        told = (self.kind, self.protocol, str(self.legacy), self.url, self.endpoint_id)
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    @property
    def missing(self) -> tuple[str, ...]:
        """Environment names without which it cannot be used."""
        needed = [field for field in FIELDS.get(self.kind, {}) if field in ("api_key", "api_secret")]
        if self.kind == "comfyui":
            return () if self.url else ("COMFYUI_ENDPOINT",)
        return tuple(FIELDS[self.kind][field] for field in needed if getattr(self, field) is None)


class StorageSettings(Frozen):
    """A folder below the data folder unless a bucket is named."""

    bucket: str = ""
    endpoint: WebAddress = ""
    region: str = "auto"
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None


class ServerSettings(Frozen):
    """`disconnect_seconds`: for how long nobody may watch a job whose `on_disconnect` is cancel."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: WebAddress = ""
    link_seconds: int = Field(default=3600, ge=60)
    disconnect_seconds: float = Field(default=15.0, ge=1, le=3600)


class Settings(Frozen):
    """What `load_settings` returns; nothing changes after start."""

    provider: str = "preview"
    data: Path
    database_url: SecretStr | None = None
    endpoints: dict[str, EndpointSettings]
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    bindings: Path | None = None
    storage: StorageSettings = StorageSettings()
    server: ServerSettings = ServerSettings()
    limits: MediaLimits = MediaLimits()
    credits: CreditSettings = CreditSettings()
    budgets: BudgetSettings = BudgetSettings()
    tiers: dict[str, TierSettings] = Field(default_factory=dict)
    queue: QueueSettings = QueueSettings()
    webhooks: WebhookSettings = WebhookSettings()
    before_submit: PolicySettings = PolicySettings()
    retention: RetentionSettings = RetentionSettings()
    alerts: AlertSettings = AlertSettings()
    stage_concurrency: int = Field(default=200, ge=1)
    log_level: LogLevel = "warning"
    log_json: bool = False

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, provider: str) -> str:
        if provider not in PROVIDER_NEEDS:
            raise ValueError(f"{provider!r} is not one of {', '.join(PROVIDER_NEEDS)}")
        return provider

    @field_validator("endpoints")
    @classmethod
    def _words_keep_their_meaning(cls, endpoints: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
        """Routes and requests name endpoints and kinds of places alike: one word cannot mean two things."""
        for name, one in endpoints.items():
            serverless = name == "comfyui" and one.kind == "runpod" and one.protocol == "comfyui"
            if name in PROVIDER_NEEDS and one.kind != name and not serverless:
                raise ValueError(
                    f"{name} means every place of that kind; give this one of kind {one.kind} another name"
                )
        return endpoints

    @field_validator("routes")
    @classmethod
    def _known_targets(
        cls, routes: dict[str, RouteSettings], info: ValidationInfo
    ) -> dict[str, RouteSettings]:
        known = [*PROVIDER_NEEDS, *info.data.get("endpoints", ())]
        for operation, route in routes.items():
            if route.to and route.to not in known:
                raise ValueError(f"{operation} = {route.to!r}: take one of {', '.join(dict.fromkeys(known))}")
        return routes

    @property
    def targets(self) -> dict[str, str]:
        """Operation → where it goes in place of `provider`."""
        return {operation: route.to for operation, route in self.routes.items() if route.to}


def load_settings(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """The settings in force. `settings.invalid` names the variable or the key that is wrong."""
    folder = folder or Path.cwd()
    given = dict(os.environ if environ is None else environ)  # noqa: TID251 (this is the one place)
    env = {**_read_env_file(folder / ".env"), **given}
    table = _read_toml(env, folder)
    if env.get("GENYARD_DATA") or "data" not in table:
        table["data"] = env.get("GENYARD_DATA") or str(_default_data(env))
    said = apply(table, env)
    if env.get("GENYARD_DATA"):
        said["data"] = "GENYARD_DATA"
    try:
        return Settings.model_validate(table)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        name = said.get(path, f"genyard.toml: {path}")
        message = _NO_TABLE.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
        raise GenyardError(Code.settings_invalid, f"{name}: {message}", field=name) from wrong


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}


def _read_toml(env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    named = env.get("GENYARD_CONFIG")
    path = Path(named) if named else folder / "genyard.toml"
    if not named and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as wrong:
        raise GenyardError(Code.settings_invalid, f"{path}: {wrong}", field="GENYARD_CONFIG") from wrong


def _default_data(env: Mapping[str, str]) -> Path:
    """Root keeps its data under /var/lib, because PostgreSQL refuses to run as root and must reach it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/genyard")
    base = env.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "genyard"

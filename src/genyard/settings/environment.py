"""Environment names → the table that `genyard.toml` also fills. Data first: a new name is a new row.

The plans' names work as they are. Where both the environment and the file speak of the same thing, the environment
wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

Table = dict[str, Any]

RUNPOD_HOST: Final = "api.runpod.ai"

#: Environment name → path in the table. The plans' names first, genyard's own after them.
VARIABLES: Final[Mapping[str, str]] = {
    "IMAGE_GENERATION_PROVIDER": "provider",
    "DATABASE_URL": "database_url",
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
    "GENYARD_BINDINGS": "bindings",
    "GENYARD_HOST": "server.host",
    "GENYARD_PORT": "server.port",
    "GENYARD_PUBLIC_URL": "server.public_url",
    "GENYARD_LOG_LEVEL": "log_level",
    "GENYARD_LOG_JSON": "log_json",
}

#: The variable that names an endpoint → the endpoint's name and what is known of it.
ENDPOINTS: Final[Mapping[str, tuple[str, Table]]] = {
    "RUNPOD_FLUX_ENDPOINT_ID": ("runpod-flux", {"kind": "runpod", "models": ["flux.1-dev"]}),
    "RUNPOD_SDXL_ENDPOINT_ID": ("runpod-sdxl", {"kind": "runpod", "models": ["sdxl"]}),
    "RUNPOD_BG_REMOVAL_ENDPOINT_ID": (
        "runpod-bg-removal",
        {"kind": "runpod", "operations": ["remove_background"]},
    ),
    "RUNPOD_ENDPOINT_ID": ("runpod-comfyui", {"kind": "runpod", "protocol": "comfyui"}),
    "RUNPOD_COMFYUI_ENDPOINT_ID": ("runpod-comfyui", {"kind": "runpod", "protocol": "comfyui"}),
}

#: kind → field of its endpoints → environment name.
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "comfyui": {"api_key": "COMFYUI_API_KEY"},
    "runpod": {"api_key": "RUNPOD_API_KEY", "url": "RUNPOD_BASE_URL"},
    "scenario": {
        "api_key": "SCENARIO_API_KEY",
        "api_secret": "SCENARIO_SECRET_API_KEY",
        "url": "SCENARIO_BASE_URL",
    },
    "replicate": {
        "api_key": "REPLICATE_API_TOKEN",
        "url": "REPLICATE_BASE_URL",
        "webhook_secret": "REPLICATE_WEBHOOK_SECRET",
    },
}

#: What `IMAGE_GENERATION_PROVIDER` and a route may say → what configures it, for people.
PROVIDER_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "preview": (),
    "comfyui": ("COMFYUI_ENDPOINT (or RUNPOD_COMFYUI_ENDPOINT_ID with RUNPOD_API_KEY)",),
    "runpod": (
        "RUNPOD_API_KEY",
        "RUNPOD_FLUX_ENDPOINT_ID, RUNPOD_SDXL_ENDPOINT_ID, RUNPOD_BG_REMOVAL_ENDPOINT_ID or "
        "RUNPOD_COMFYUI_ENDPOINT_ID",
    ),
    "scenario": ("SCENARIO_API_KEY", "SCENARIO_SECRET_API_KEY"),
    "replicate": ("REPLICATE_API_TOKEN",),
}


def apply(table: Table, env: Mapping[str, str]) -> None:
    """Writes what the environment says into the table of the file."""
    endpoints = table.setdefault("endpoints", {})
    endpoints.setdefault("preview", {"kind": "preview", "concurrency": 2})
    if url := _comfyui_url(env):
        endpoints["comfyui"] = {**endpoints.get("comfyui", {}), **_comfyui(url)}
    for variable, (name, known) in ENDPOINTS.items():
        if endpoint_id := env.get(variable):
            endpoints[name] = {**endpoints.get(name, {}), **known, "endpoint_id": endpoint_id.strip()}
    if env.get("SCENARIO_API_KEY") or env.get("SCENARIO_SECRET_API_KEY"):
        endpoints.setdefault("scenario", {"kind": "scenario"})
    if env.get("REPLICATE_API_TOKEN"):
        endpoints.setdefault("replicate", {"kind": "replicate"})
    for endpoint in endpoints.values():
        if isinstance(endpoint, dict):
            _complete(endpoint, env)
    for variable, path in VARIABLES.items():
        if value := env.get(variable):
            _put(table, path, value)


def variable_of(path: str, table: Mapping[str, Any]) -> str:
    """The environment name that a person would change for this part of the settings, else the file's key."""
    for variable, known in reversed(list(VARIABLES.items())):
        if known == path:
            return variable
    parts = path.split(".")
    if parts[0] == "endpoints" and len(parts) > 2:
        kind = table.get("endpoints", {}).get(parts[1], {}).get("kind", "")
        if parts[2] in FIELDS.get(kind, {}):
            return FIELDS[kind][parts[2]]
        if parts[1:] == ["comfyui", "timeouts", "poll"]:
            return "COMFYUI_POLL_INTERVAL"
        if parts[1] == "comfyui" and parts[2:] in (["timeouts", "image"], ["timeouts", "video"]):
            return "COMFYUI_TIMEOUT"
    return f"genyard.toml: {path}"


def _complete(endpoint: Table, env: Mapping[str, str]) -> None:
    """Keys and addresses that all endpoints of a kind share; the file's own come first for a named endpoint."""
    kind = endpoint.get("kind", "")
    for field, variable in FIELDS.get(kind, {}).items():
        if value := env.get(variable):
            endpoint.setdefault(field, value)
    if kind != "comfyui" and endpoint.get("protocol") != "comfyui":
        return
    timeouts = endpoint.setdefault("timeouts", {})
    if seconds := env.get("COMFYUI_TIMEOUT"):
        timeouts.update(image=seconds, video=seconds)
    if seconds := env.get("COMFYUI_POLL_INTERVAL"):
        timeouts["poll"] = seconds


def _comfyui_url(env: Mapping[str, str]) -> str:
    """The server of the plans: COMFYUI_ENDPOINT, or COMFYUI_API_URL with COMFYUI_API_PORT."""
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


def _comfyui(url: str) -> Table:
    """A server of one's own, or, by RunPod's job API, ComfyUI on RunPod Serverless."""
    parts = urlsplit(url)
    path = [part for part in parts.path.split("/") if part]
    if parts.hostname == RUNPOD_HOST and len(path) >= 2 and path[0] == "v2":
        base = f"{parts.scheme}://{parts.netloc}/v2"
        return {"kind": "runpod", "protocol": "comfyui", "endpoint_id": path[1], "url": base}
    return {"kind": "comfyui", "url": url}


def _put(table: Table, path: str, value: str) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[leaf] = value

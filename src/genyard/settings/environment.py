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


def apply(table: Table, env: Mapping[str, str]) -> dict[str, str]:
    """Writes what the environment says into the table of the file. → path in the table → the variable that said it.

    What is no table where one belongs is left as it is: validation names it.
    """
    said: dict[str, str] = {}
    endpoints = table.setdefault("endpoints", {})
    if isinstance(endpoints, dict):
        _name_endpoints(endpoints, env, said)
        for name, endpoint in endpoints.items():
            if isinstance(endpoint, dict):
                _complete(name, endpoint, env, said)
    for variable, path in VARIABLES.items():
        if value := env.get(variable):
            _put(table, path, value, variable, said)
    return said


def _name_endpoints(endpoints: Table, env: Mapping[str, str], said: dict[str, str]) -> None:
    endpoints.setdefault("preview", {"kind": "preview", "concurrency": 2})
    url, variable = _comfyui_url(env)
    if url:
        _put_all(endpoints, "comfyui", _comfyui(url), variable, said)
    for variable, (name, known) in ENDPOINTS.items():
        if endpoint_id := env.get(variable):
            _put_all(endpoints, name, {**known, "endpoint_id": endpoint_id.strip()}, variable, said)
    if env.get("SCENARIO_API_KEY") or env.get("SCENARIO_SECRET_API_KEY"):
        endpoints.setdefault("scenario", {"kind": "scenario"})
    if env.get("REPLICATE_API_TOKEN"):
        endpoints.setdefault("replicate", {"kind": "replicate"})


def _complete(name: str, endpoint: Table, env: Mapping[str, str], said: dict[str, str]) -> None:
    """Keys and addresses that all endpoints of a kind share; the file's own come first for a named endpoint."""
    kind = endpoint.get("kind")
    for field, variable in FIELDS.get(kind if isinstance(kind, str) else "", {}).items():
        if (value := env.get(variable)) and field not in endpoint:
            endpoint[field] = value
            said[f"endpoints.{name}.{field}"] = variable
    if kind != "comfyui" and endpoint.get("protocol") != "comfyui":
        return
    for field, variable in (
        ("image", "COMFYUI_TIMEOUT"),
        ("video", "COMFYUI_TIMEOUT"),
        ("poll", "COMFYUI_POLL_INTERVAL"),
    ):
        if value := env.get(variable):
            _put(endpoint, f"timeouts.{field}", value, variable, said, f"endpoints.{name}.")


def _comfyui_url(env: Mapping[str, str]) -> tuple[str, str]:
    """The server of the plans and the variable that says it: COMFYUI_ENDPOINT, or COMFYUI_API_URL with
    COMFYUI_API_PORT."""
    variable = "COMFYUI_ENDPOINT" if env.get("COMFYUI_ENDPOINT") else "COMFYUI_API_URL"
    url = env.get(variable, "").strip().rstrip("/")
    if not url:
        return "", variable
    if "://" not in url:
        url = f"http://{url}"
    port = env.get("COMFYUI_API_PORT")
    authority = url.split("://", 1)[1].split("/", 1)[0]
    if port and variable == "COMFYUI_API_URL" and ":" not in authority:
        url = url.replace(authority, f"{authority}:{port}", 1)
        variable = variable if port.isdecimal() else "COMFYUI_API_PORT"
    return url, variable


def _comfyui(url: str) -> Table:
    """A server of one's own, or, by RunPod's job API, ComfyUI on RunPod Serverless."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # refused by name when it is validated
        return {"kind": "comfyui", "url": url}
    path = [part for part in parts.path.split("/") if part]
    if host == RUNPOD_HOST and len(path) >= 2 and path[0] == "v2":
        base = f"{parts.scheme}://{parts.netloc}/v2"
        return {"kind": "runpod", "protocol": "comfyui", "endpoint_id": path[1], "url": base}
    return {"kind": "comfyui", "url": url}


def _put_all(endpoints: Table, name: str, values: Table, variable: str, said: dict[str, str]) -> None:
    for field, value in values.items():
        _put(endpoints, f"{name}.{field}", value, variable, said, "endpoints.")


def _put(table: Table, path: str, value: Any, variable: str, said: dict[str, str], before: str = "") -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            return
    table[leaf] = value
    said[before + path] = variable

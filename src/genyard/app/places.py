"""From the settings of an endpoint to a place with its provider. The only module that names concrete providers.

What is done with the places is `genyard.studio`'s; which classes there are, nobody else needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from genyard.catalog import Catalog, load_catalog
from genyard.catalog.pricing import Rates
from genyard.providers import Provider
from genyard.providers._http import Timeouts
from genyard.routing import Endpoint
from genyard.settings import EndpointSettings, Settings
from genyard.studio.places import Place

MakeProvider = Callable[[EndpointSettings, Settings], Provider]


def _comfyui(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.comfyui import ComfyUIProvider, Limits

    seconds = endpoint.timeouts
    return ComfyUIProvider(
        url=endpoint.url,
        key=_secret(endpoint.api_key),
        timeouts=_timeouts(endpoint),
        limits=Limits(image=seconds.image, video=seconds.video, poll=seconds.poll),
        renamed=endpoint.files,
        catalog=load_catalog(settings.bindings),
    )


def _preview(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.preview import PreviewProvider

    return PreviewProvider(at_once=endpoint.concurrency, limits=settings.limits)


def _runpod(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.runpod import RunPodProvider

    return RunPodProvider(
        endpoint_id=endpoint.endpoint_id,
        protocol=endpoint.protocol,
        key=_secret(endpoint.api_key) or "",
        base_url=endpoint.url or "https://api.runpod.ai/v2",
        renamed=endpoint.files,
        declared_files=endpoint.model_files,
        **_remote(endpoint, settings),
    )


def _scenario(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.scenario import ScenarioProvider

    return ScenarioProvider(
        key=_secret(endpoint.api_key) or "",
        secret=_secret(endpoint.api_secret) or "",
        legacy=endpoint.legacy,
        base_url=endpoint.url or "https://api.cloud.scenario.com/v1",
        **_remote(endpoint, settings),
    )


def _replicate(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.replicate import ReplicateProvider

    return ReplicateProvider(
        key=_secret(endpoint.api_key) or "",
        base_url=endpoint.url or "https://api.replicate.com/v1",
        webhook_secret=_secret(endpoint.webhook_secret),
        **_remote(endpoint, settings),
    )


#: Far below what the places allow: they allow it to all programs of an account together.
_CALLS_PER_SECOND: Mapping[str, float] = {"runpod": 20.0, "scenario": 5.0, "replicate": 10.0}


def _remote(endpoint: EndpointSettings, settings: Settings) -> dict[str, Any]:
    """What all places with a polled job API share."""
    from genyard.outbound import Outbound
    from genyard.providers._polling import Limits

    seconds = endpoint.timeouts
    trusted = [url for url in (endpoint.url, settings.storage.endpoint) if url]
    return {
        "timeouts": _timeouts(endpoint),
        "limits": Limits(image=seconds.image, video=seconds.video, queue=seconds.queue, poll=seconds.poll),
        "outbound": Outbound(trusted=trusted, connect=seconds.connect, silence=seconds.download),
        "rates": _rates(endpoint),
        "catalog": load_catalog(settings.bindings),
        "calls_per_second": endpoint.calls_per_second or _CALLS_PER_SECOND[endpoint.kind],
    }


def _timeouts(endpoint: EndpointSettings) -> Timeouts:
    return Timeouts(connect=endpoint.timeouts.connect, download=endpoint.timeouts.download)


def _rates(endpoint: EndpointSettings) -> Rates:
    return Rates(usd_per_second=endpoint.usd_per_second, usd_per_unit=endpoint.usd_per_unit)


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


#: kind → how an endpoint of it is made. A new kind of place is one more row.
PROVIDERS: Mapping[str, MakeProvider] = {
    "comfyui": _comfyui,
    "preview": _preview,
    "runpod": _runpod,
    "scenario": _scenario,
    "replicate": _replicate,
}


def make_place(name: str, endpoint: EndpointSettings, provider: Provider, catalog: Catalog) -> Place:
    bindings, models = _bindings(endpoint, catalog)
    return Place(
        endpoint=Endpoint(
            name=name,
            kind=endpoint.kind,
            bindings=bindings,
            models=models,
            operations=frozenset(endpoint.operations),
            missing=endpoint.missing,
        ),
        provider=provider,
        capacity=endpoint.concurrency,
        rates=_rates(endpoint),
        daily_cap=endpoint.daily_cap_usd,
        monthly_cap=endpoint.monthly_cap_usd,
        assumed=endpoint.assumed_usd,
        source=endpoint.source,
        starts_per_minute=endpoint.starts_per_minute,
        affinity=endpoint.affinity,
    )


def _bindings(endpoint: EndpointSettings, catalog: Catalog) -> tuple[str, frozenset[str]]:
    """By which kind of bindings an endpoint goes, and which models are there. RunPod's public endpoints are known by
    their ids, whatever variable names them."""
    models = frozenset(endpoint.models)
    if endpoint.kind == "scenario" and endpoint.legacy:
        return "scenario-legacy", models
    if endpoint.kind != "runpod":
        return endpoint.kind, models
    if endpoint.protocol == "comfyui":
        return "comfyui", models
    public = {
        one.model
        for one in catalog.of("runpod-public")
        if one.wire.get("endpoint_id") == endpoint.endpoint_id
    }
    return ("runpod-public", frozenset(public)) if public else ("runpod", models)

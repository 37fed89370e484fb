"""The plans' environment names work as they are; wrong values name the variable."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from genyard.errors import Code, GenyardError
from genyard.media import MediaLimits
from genyard.settings import (
    BudgetSettings,
    CreditSettings,
    EndpointSettings,
    PriceRow,
    ServerSettings,
    Settings,
    StorageSettings,
    Timeouts,
    load_settings,
)
from genyard.settings.environment import ENDPOINTS, FIELDS, VARIABLES


def test_nothing_configured_means_the_built_in_renderer(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.provider == "preview"
    assert list(settings.endpoints) == ["preview"]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"COMFYUI_ENDPOINT": "http://127.0.0.1:8188/"}, "http://127.0.0.1:8188"),
        (
            {"COMFYUI_ENDPOINT": "https://abc-8188.proxy.runpod.net/api"},
            "https://abc-8188.proxy.runpod.net/api",
        ),
        ({"COMFYUI_API_URL": "http://gpu", "COMFYUI_API_PORT": "8188"}, "http://gpu:8188"),
        ({"COMFYUI_API_URL": "gpu:9000"}, "http://gpu:9000"),
    ],
)
def test_comfyui_addresses(environ: dict[str, str], url: str, tmp_path: Path) -> None:
    assert load_settings(environ, tmp_path).endpoints["comfyui"].url == url


def test_the_plans_time_limits(tmp_path: Path) -> None:
    default = load_settings({"COMFYUI_ENDPOINT": "http://gpu"}, tmp_path).endpoints["comfyui"].timeouts
    assert (default.connect, default.image, default.video, default.download, default.poll) == (
        10,
        200,
        400,
        60,
        3,
    )
    environ = {"COMFYUI_ENDPOINT": "http://gpu", "COMFYUI_TIMEOUT": "90", "COMFYUI_POLL_INTERVAL": "0.5"}
    changed = load_settings(environ, tmp_path).endpoints["comfyui"].timeouts
    assert (changed.image, changed.video, changed.poll) == (90, 90, 0.5)


def test_the_plans_names_configure_every_place(tmp_path: Path) -> None:
    environ = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": "rp",
        "RUNPOD_FLUX_ENDPOINT_ID": "f1",
        "RUNPOD_SDXL_ENDPOINT_ID": "s1",
        "RUNPOD_BG_REMOVAL_ENDPOINT_ID": "b1",
        "RUNPOD_COMFYUI_ENDPOINT_ID": "c1",
        "SCENARIO_API_KEY": "sk",
        "SCENARIO_SECRET_API_KEY": "ss",
        "REPLICATE_API_TOKEN": "r8",
    }
    settings = load_settings(environ, tmp_path)
    told = {name: (one.kind, one.protocol, one.endpoint_id) for name, one in settings.endpoints.items()}
    assert told["runpod-flux"] == ("runpod", "model", "f1")
    assert told["runpod-comfyui"] == ("runpod", "comfyui", "c1")
    assert settings.endpoints["runpod-flux"].models == ("flux.1-dev",)
    assert settings.endpoints["runpod-bg-removal"].operations == ("remove_background",)
    assert not any(one.missing for one in settings.endpoints.values())
    assert settings.endpoints["replicate"].daily_cap_usd == 5.0


def test_the_short_name_of_comfyui_on_runpod_works_and_the_long_one_wins(tmp_path: Path) -> None:
    short = load_settings({"RUNPOD_ENDPOINT_ID": "old"}, tmp_path).endpoints["runpod-comfyui"]
    assert (short.endpoint_id, short.missing) == ("old", ("RUNPOD_API_KEY",))
    both = {"RUNPOD_ENDPOINT_ID": "old", "RUNPOD_COMFYUI_ENDPOINT_ID": "new"}
    assert load_settings(both, tmp_path).endpoints["runpod-comfyui"].endpoint_id == "new"


def test_a_comfyui_endpoint_at_runpods_api_is_serverless(tmp_path: Path) -> None:
    environ = {"COMFYUI_ENDPOINT": "https://api.runpod.ai/v2/abc123/", "RUNPOD_API_KEY": "rp"}
    one = load_settings(environ, tmp_path).endpoints["comfyui"]
    assert (one.kind, one.protocol, one.endpoint_id, one.missing) == ("runpod", "comfyui", "abc123", ())


def test_the_runpod_key_is_not_for_other_hosts(tmp_path: Path) -> None:
    environ = {"COMFYUI_ENDPOINT": "https://abc-8188.proxy.runpod.net", "RUNPOD_API_KEY": "rp"}
    assert load_settings(environ, tmp_path).endpoints["comfyui"].api_key is None


def test_half_a_pair_of_keys_names_the_other_half(tmp_path: Path) -> None:
    one = load_settings({"SCENARIO_API_KEY": "sk"}, tmp_path).endpoints["scenario"]
    assert one.missing == ("SCENARIO_SECRET_API_KEY",)


def test_a_dotenv_file_counts_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMFYUI_ENDPOINT=http://from-file:8188\nGENYARD_PORT='9001'\nEMPTY=\n")
    settings = load_settings({"GENYARD_PORT": "9002"}, tmp_path)
    assert (settings.endpoints["comfyui"].url, settings.server.port) == ("http://from-file:8188", 9002)


def test_routes_lead_to_places_that_exist(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text('[routes]\nremove_background = "scenario"\n')
    assert load_settings({}, tmp_path).targets == {"remove_background": "scenario"}
    table = '[routes]\nimg2img = "comfyui"\npixelate = {lost = "again"}\n'
    (tmp_path / "genyard.toml").write_text(table + '[routes.txt2img]\nto = "runpod"\nlost = "again"\n')
    routes = load_settings({}, tmp_path)
    assert routes.targets == {"img2img": "comfyui", "txt2img": "runpod"}
    assert {name: route.lost for name, route in routes.routes.items()} == {
        "img2img": "fail",
        "txt2img": "again",
        "pixelate": "again",
    }
    for wrong in ("txt2img = 7", "txt2img = {lost = 'always'}", "txt2img = {goes = 'runpod'}"):
        (tmp_path / "genyard.toml").write_text(f"[routes]\n{wrong}\n")
        with pytest.raises(GenyardError) as caught:
            load_settings({}, tmp_path)
        assert (caught.value.field or "").startswith("genyard.toml: routes.txt2img")
    (tmp_path / "genyard.toml").write_text('[routes]\nremove_background = "scenari"\n')
    with pytest.raises(GenyardError, match="scenario") as caught:
        load_settings({}, tmp_path)
    assert caught.value.field == "genyard.toml: routes"


@pytest.mark.parametrize("table", ["alerts", "before_submit"])
def test_what_is_posted_goes_to_an_address_and_is_signed_by_a_secret(tmp_path: Path, table: str) -> None:
    for wrong, field in (
        ('url = "pager.internal"', "url"),
        ('url = "https://user:word@pager.internal/"', "url"),
        ('url = "https://pager.internal/"\nsecret = "pager"', "secret"),
    ):
        (tmp_path / "genyard.toml").write_text(f"[{table}]\n{wrong}\n")
        with pytest.raises(GenyardError) as caught:
            load_settings({}, tmp_path)
        assert caught.value.field == f"genyard.toml: {table}.{field}"


def test_secrets_do_not_show(tmp_path: Path) -> None:
    environ = {
        "COMFYUI_ENDPOINT": "http://gpu",
        "COMFYUI_API_KEY": "hush-hush",
        "DATABASE_URL": "postgresql://u:hush-hush@db/x",
        "R2_BUCKET": "pictures",
        "R2_SECRET_ACCESS_KEY": "hush-hush",
    }
    assert "hush" not in repr(load_settings(environ, tmp_path))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"IMAGE_GENERATION_PROVIDER": "dalle"}, "IMAGE_GENERATION_PROVIDER"),
        ({"GENYARD_PORT": "eighty"}, "GENYARD_PORT"),
        ({"GENYARD_PORT": "99999"}, "GENYARD_PORT"),
        ({"COMFYUI_ENDPOINT": "http://gpu", "COMFYUI_POLL_INTERVAL": "-1"}, "COMFYUI_POLL_INTERVAL"),
        ({"RUNPOD_COMFYUI_ENDPOINT_ID": "c1", "COMFYUI_TIMEOUT": "soon"}, "COMFYUI_TIMEOUT"),
        ({"GENYARD_LOG_LEVEL": "foo"}, "GENYARD_LOG_LEVEL"),
        ({"COMFYUI_ENDPOINT": "ftp://x"}, "COMFYUI_ENDPOINT"),
        ({"COMFYUI_ENDPOINT": "http://a b"}, "COMFYUI_ENDPOINT"),
        ({"COMFYUI_ENDPOINT": "http://[::1"}, "COMFYUI_ENDPOINT"),
        ({"COMFYUI_API_URL": "gpu:port"}, "COMFYUI_API_URL"),
        ({"COMFYUI_API_URL": "gpu", "COMFYUI_API_PORT": "high"}, "COMFYUI_API_PORT"),
        ({"RUNPOD_FLUX_ENDPOINT_ID": "f1", "RUNPOD_BASE_URL": "api.runpod.ai"}, "RUNPOD_BASE_URL"),
        ({"SCENARIO_API_KEY": "k", "SCENARIO_BASE_URL": "https://"}, "SCENARIO_BASE_URL"),
        ({"REPLICATE_API_TOKEN": "k", "REPLICATE_BASE_URL": "https://a:0"}, "REPLICATE_BASE_URL"),
        ({"GENYARD_PUBLIC_URL": "pictures.example"}, "GENYARD_PUBLIC_URL"),
    ],
)
def test_a_wrong_value_names_its_variable(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(GenyardError) as caught:
        load_settings(environ, tmp_path)
    assert caught.value.code is Code.settings_invalid
    assert caught.value.field == named


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("endpoints = 5", {"COMFYUI_ENDPOINT": "http://gpu"}, "endpoints"),
        ("endpoints.comfyui = 5", {"COMFYUI_ENDPOINT": "http://gpu"}, "endpoints.comfyui"),
        ("server = 5", {"GENYARD_PORT": "80"}, "server"),
        ("storage = []", {"R2_BUCKET": "b"}, "storage"),
        ("limits = 5", {}, "limits"),
        ("routes = 5", {}, "routes"),
        ("[endpoints.gpu]\nkind = ['comfyui']", {}, "endpoints.gpu.kind"),
        (
            "[endpoints.gpu]\nkind = 'comfyui'\ntimeouts = 5",
            {"COMFYUI_TIMEOUT": "9"},
            "endpoints.gpu.timeouts",
        ),
        ("[endpoints.gpu]\nkind = 'comfyui'\nurl = 'gpu:8188'", {}, "endpoints.gpu.url"),
        ("[endpoints.rp]\nkind = 'runpod'\nurl = 'x'", {"RUNPOD_BASE_URL": "http://y"}, "endpoints.rp.url"),
        ("[endpoints.scenario]\nkind = 'comfyui'", {}, "endpoints"),
        ("[endpoints.runpod]\nkind = 'replicate'", {}, "endpoints"),
        ("[credits]\nenabled = true", {}, "credits"),
        ("[[credits.prices]]\noperation = '*'\ncredits = 0.5", {}, "credits.prices.0.credits"),
        ("[[credits.prices]]\noperation = '*'\ncredits = -1", {}, "credits.prices.0.credits"),
        ("[[credits.prices]]\noperation = '*'\ncredits = 1\nper = 'pixel'", {}, "credits.prices.0.per"),
        (
            "[credits]\nprices = [{operation = 'x', credits = 1}, {operation = 'x', credits = 2}]",
            {},
            "credits.prices",
        ),
        ("[budgets]\ndaily_usd = nan", {}, "budgets.daily_usd"),
        ("[budgets.tiers.pro]\nmonthly_usd = -1", {}, "budgets.tiers.pro.monthly_usd"),
    ],
)
def test_a_wrong_part_of_the_file_is_named(
    text: str, environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    (tmp_path / "genyard.toml").write_text(text)
    with pytest.raises(GenyardError) as caught:
        load_settings(environ, tmp_path)
    assert (caught.value.code, caught.value.field) == (Code.settings_invalid, f"genyard.toml: {named}")


def test_an_endpoint_may_bear_the_word_that_means_it(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text(
        "[endpoints.scenario]\nkind = 'scenario'\n"
        "[endpoints.comfyui]\nkind = 'runpod'\nprotocol = 'comfyui'\nendpoint_id = 'x'\n"
    )
    assert set(load_settings({}, tmp_path).endpoints) == {"preview", "scenario", "comfyui"}


def test_an_address_that_is_refused_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(GenyardError) as caught:
        load_settings({"COMFYUI_ENDPOINT": "ftp://user:hush@gpu"}, tmp_path)
    assert "hush" not in str(caught.value)


def test_a_broken_or_unknown_file(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text("this is not toml")
    with pytest.raises(GenyardError, match=r"genyard\.toml"):
        load_settings({}, tmp_path)
    (tmp_path / "genyard.toml").write_text("[endpoints.gpu]\nkind = 'comfyui'\nspeed = 'fast'\n")
    with pytest.raises(GenyardError, match=r"endpoints\.gpu\.speed"):
        load_settings({}, tmp_path)


def test_the_file_configures_more_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text(
        "[endpoints.big]\nkind = 'comfyui'\nurl = 'http://big:8188'\nconcurrency = 2\n"
        "files = { 'a.safetensors' = 'b.safetensors' }\n[server]\nport = 9000\n"
    )
    settings = load_settings({"GENYARD_PORT": "9001"}, tmp_path)
    assert settings.endpoints["big"].files == {"a.safetensors": "b.safetensors"}
    assert settings.server.port == 9001


def test_the_level_of_logs_may_be_shouted(tmp_path: Path) -> None:
    assert load_settings({"GENYARD_LOG_LEVEL": "DEBUG"}, tmp_path).log_level == "debug"


ROOT = Path(__file__).parents[2]
NAMES = {*VARIABLES, *ENDPOINTS, *(name for fields in FIELDS.values() for name in fields.values())}
NAMES |= {"COMFYUI_ENDPOINT", "COMFYUI_API_URL", "COMFYUI_API_PORT", "COMFYUI_TIMEOUT"}
NAMES |= {"COMFYUI_POLL_INTERVAL", "GENYARD_DATA", "GENYARD_CONFIG"}
#: Of compose.yaml alone: written into the same file, not read by genyard.
NAMES |= {"POSTGRES_PASSWORD", "GARAGE_RPC_SECRET", "GENYARD_PUBLISHED_PORT"}


def test_the_example_lists_every_name_with_a_word_on_it_and_starts_as_it_is(tmp_path: Path) -> None:
    example = ROOT / ".env.example"
    lines = example.read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if line and not line.startswith("#")} == NAMES
    (tmp_path / ".env").write_text(example.read_text())
    assert list(load_settings({}, tmp_path).endpoints) == ["preview"]


def test_the_reference_page_names_every_variable_and_its_file_says_everything(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == NAMES
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "genyard.toml").write_text(example)
    settings = load_settings({}, tmp_path)
    assert settings.targets["animate_photo"] == "films"
    assert not any(one.missing for one in settings.endpoints.values())

    told = tomllib.loads(example)
    assert set(told) == set(Settings.model_fields)
    places = told["endpoints"].values()
    assert {field for place in places for field in place} == set(EndpointSettings.model_fields)
    [waits] = [place["timeouts"] for place in places if "timeouts" in place]
    assert waits == Timeouts().model_dump()
    assert set(told["storage"]) == set(StorageSettings.model_fields)
    assert set(told["server"]) == set(ServerSettings.model_fields)
    assert told["limits"] == asdict(MediaLimits())
    assert set(told["credits"]) == set(CreditSettings.model_fields)
    assert {field for row in told["credits"]["prices"] for field in row} == set(PriceRow.model_fields)
    assert set(told["budgets"]) == set(BudgetSettings.model_fields)

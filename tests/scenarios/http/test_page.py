"""The page at `/` in a real browser, against a real server. Skipped where no browser is installed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from genyard.app import Product
from genyard.errors import Code, GenyardError
from genyard.providers import Snapshot, State
from scenarios.http.client import Client, KeyMaker, climbing, picture, serving
from support.scripted import ScriptedProvider, png

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on this machine"),
]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=BROWSER, headless=True, args=FLAGS)
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: Any) -> AsyncIterator[Any]:
    """A page that must not complain: neither scripts nor the content security policy."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    opened = await context.new_page()
    opened.set_default_timeout(10_000)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None
    )
    yield opened
    await context.close()
    assert complaints == []


async def until(page: Any, expression: str, arg: Any = None) -> None:
    """Asks the page until it says yes: its own policy forbids what Playwright has for this (eval)."""
    async with asyncio.timeout(10):
        while not await page.evaluate(expression, arg):  # noqa: ASYNC110 (nothing tells us)
            await asyncio.sleep(0.02)


async def make(page: Any, base: str, prompt: str) -> None:
    await page.goto(base)
    await page.fill("#p-prompt", prompt)
    await page.click("summary")
    await page.fill("#p-width", "64")
    await page.fill("#p-height", "64")
    await page.click("#generate")


async def test_from_a_prompt_to_a_picture_and_on_to_a_cut_out(page: Any, client: Client) -> None:
    await make(page, client.base, "a red potion for the page")
    shown = page.locator(".canvas a img")
    await shown.wait_for()
    await until(page, "document.querySelector('.canvas a img').naturalWidth === 64")
    assert await page.locator(".badge").inner_text() == "preview – not AI"
    facts = await page.locator(".facts").inner_text()
    assert "Seed" in facts
    assert "64 × 64" in facts
    assert await page.locator(".gallery li").first.get_attribute("class") == "shown"
    await page.select_option(".actions select", "remove_background")
    await page.locator(".picked img").wait_for()
    before = page.url
    await page.click("#generate")
    await until(page, "(before) => location.href !== before", arg=before)
    await until(page, "document.querySelector('.facts')?.innerText.includes('remove_background')")


async def test_the_button_says_why_it_cannot_be_pressed(page: Any, client: Client) -> None:
    await page.goto(client.base)
    await until(page, "document.getElementById('reason').textContent.includes('prompt')")
    assert await page.locator("#generate").is_disabled()
    await page.fill("#p-prompt", "a potion")
    assert await page.locator("#generate").is_enabled()
    await page.click("label:has(#o-pixelate)")
    assert "image" in await page.locator("#reason").inner_text()
    file = {"name": "a.png", "mimeType": "image/png", "buffer": picture()}
    await page.set_input_files("#i-image", file)
    await page.locator(".picked").wait_for()
    assert await page.locator("#generate").is_enabled()
    await page.set_input_files("#i-image", file | {"buffer": b"no picture"})
    await page.locator(".problem").wait_for()
    await page.click("label:has(#o-run_workflow)")
    assert "cannot do this" in await page.locator("#reason").inner_text()


async def test_an_error_is_told_where_it_belongs(page: Any, client: Client) -> None:
    await page.goto(client.base)
    await page.fill("#p-prompt", "a potion")
    await page.click("summary")
    await page.fill("#p-loras", '[{"name": "x.safetensors"}]')
    await page.click("#generate")
    told = await page.locator(".failure").inner_text()
    assert "request.unsupported" in told
    assert "Change the request" in told
    assert await page.evaluate("document.activeElement.id") == "p-loras"


async def test_progress_the_unfinished_picture_and_cancel(
    page: Any, scripted_client: Client, place: ScriptedProvider
) -> None:
    place.says = [climbing(png(120, side=64))]
    await make(page, scripted_client.base, "a long one")
    await until(page, "document.querySelector('progress')?.value > 0.3")
    assert "Half" in await page.locator(".detail").inner_text()
    await page.locator("img.unfinished").wait_for()
    await page.click("text=Cancel")
    await page.locator(".failure h2", has_text="Canceled").wait_for()


async def test_what_was_canceled_says_how_long_it_ran_and_each_try_is_shown(
    page: Any, scripted_client: Client, place: ScriptedProvider
) -> None:
    stopped = Snapshot(
        state=State.failed, error=GenyardError(Code.provider_interrupted, "somebody stopped it")
    )
    place.says = [stopped, climbing()]
    await make(page, scripted_client.base, "twice")
    await until(page, "document.querySelector('progress')?.value > 0.3")
    await page.click("text=Cancel")
    await page.locator(".failure h2", has_text="Canceled").wait_for()
    facts = await page.locator(".facts").inner_text()
    assert "Execution" in facts
    assert "(measured)" in facts
    await page.click(".tries summary")
    rows = await page.locator(".tries tbody tr").all_inner_texts()
    first, second = (row.split("\t") for row in rows)
    assert (first[0], first[1], first[3], first[6]) == ("1.1", "preview", "failed", "somebody stopped it")
    assert (second[0], second[3], second[6]) == ("1.2", "canceled", "canceled on request")
    assert "about" in second[4]


async def test_it_asks_for_the_key_and_keeps_it_for_the_tab(
    page: Any, client: Client, with_key: KeyMaker
) -> None:
    alice = await with_key("alice")
    await page.goto(client.base)
    await page.locator("#key-dialog[open]").wait_for()
    await page.fill("#key", alice.headers["Authorization"].removeprefix("Bearer "))
    await page.click("text=Use this key")
    await page.locator("#p-prompt").wait_for()
    await page.reload()
    await page.locator("#p-prompt").wait_for()
    await make(page, client.base, "with a key")
    await page.locator(".canvas a img").wait_for()


async def test_it_says_when_the_server_stops(page: Any, scripted: Product) -> None:
    async with aiohttp.ClientSession() as session, serving(scripted) as address:
        client = Client(base=address, session=session)
        await make(page, client.base, "a long one")
        await until(page, "document.querySelector('progress')?.value > 0.3")
    async with asyncio.timeout(10):
        await page.locator("#banner", has_text="does not answer").wait_for()


async def test_it_fits_a_narrow_window(page: Any, client: Client) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(client.base)
    await page.locator("#p-prompt").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_what_was_typed_and_dropped_stays_with_another_operation(page: Any, client: Client) -> None:
    await page.goto(client.base)
    await page.fill("#p-prompt", "a potion that stays")
    await page.click("label:has(#o-img2img)")
    await page.set_input_files("#i-image", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
    await page.locator(".picked").wait_for()
    assert await page.input_value("#p-prompt") == "a potion that stays"
    await page.click("label:has(#o-remove_background)")
    await page.locator(".picked").wait_for()
    assert await page.locator("#generate").is_enabled()

"""A stranger in a headless browser clicks through a clip, a picture, a story, a score.

``SCREENSHOTS=docs/web`` keeps what is seen. With ``KINEMA_NEEDS_BROWSER=1`` a machine without
Chromium fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra `web`")
pytest.importorskip("playwright", reason="needs playwright")
from playwright.sync_api import Page, expect, sync_playwright

from kinema.web.limits import Limits
from kinema.web.page import open_page
from kinema.web.studio import Studio

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 300_000  # milliseconds; a busy machine takes its time


@pytest.fixture(scope="module")
def browser_path() -> str:
    """A browser of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        is_needed = os.environ.get("KINEMA_NEEDS_BROWSER") == "1"
        missing = pytest.fail if is_needed else pytest.skip
        missing("no Chromium is installed")
    return found


@pytest.fixture(params=["nano", pytest.param("ltx_video:shapes", marks=pytest.mark.slow)])
def url(
    request: pytest.FixtureRequest,
    browser_path: str,
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
) -> Iterator[str]:
    """A page with the nano model, and one with the shipped."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):  # the page sets both
        monkeypatch.setenv(name, "")
    named = str(model) if request.param == "nano" else request.param
    studio = Studio(tmp_path / "page", named, Limits(story_seconds=600))
    blocks, address = open_page(studio, "127.0.0.1", free_port)
    yield address
    studio.close()
    blocks.close(verbose=False)


@pytest.fixture
def window(browser_path: str, url: str) -> Iterator[tuple[Page, list[str]]]:
    """The page in a browser, and what went wrong or was asked of other machines."""
    faults: list[str] = []

    def asked(address: str) -> None:
        if not address.startswith((url, "data:", "blob:")):
            faults.append(address)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"]
        )
        window = browser.new_page(viewport={"width": 1100, "height": 900})
        window.set_default_timeout(PATIENCE)
        window.on("pageerror", lambda error: faults.append(str(error)))
        window.on("request", lambda request: asked(request.url))
        window.goto(url)
        yield window, faults
        browser.close()


def test_a_stranger_clicks_through_without_reading(
    window: tuple[Page, list[str]], request: pytest.FixtureRequest
) -> None:
    page, faults = window
    keep = os.environ.get("SCREENSHOTS") if "shapes" in request.node.name else None

    def done(tab: str, name: str) -> None:
        expect(page.locator(f"#{name}-status")).to_contain_text("Done", timeout=PATIENCE)
        if name == "score":
            expect(page.locator("#score-table")).to_contain_text("psnr")
        else:
            page.wait_for_function(
                "id => document.querySelector(`#${id}-clip video`)?.readyState > 1", arg=name
            )
        seen(tab)

    def seen(tab: str) -> None:
        if keep:
            page.wait_for_timeout(700)
            page.screenshot(path=Path(keep) / f"{tab}.png", full_page=True)

    def open_tab(words: str) -> None:
        page.get_by_role("tab", name=words, exact=True).click()

    page.get_by_role("button", name="Make a clip").first.click()
    done("generate", "generate")

    open_tab("From a picture")
    page.locator("#picture-start").click()
    done("picture", "picture")

    open_tab("Story")
    page.locator("#story-start").click()
    done("story", "story")

    open_tab("Score")
    page.locator("#score-start").click()
    done("score", "score")

    open_tab("Systems")
    expect(page.get_by_text("frozen_in_time").locator("visible=true").first).to_be_visible()
    open_tab("Claims")
    expect(
        page.get_by_text("stream_separates_time_and_space").locator("visible=true").first
    ).to_be_visible()
    open_tab("History")
    expect(page.locator("#history-runs input")).to_have_value("0004-scores-fvd-rand-psnr-ssim")
    page.locator("#history-runs input").click()
    page.get_by_role("option").filter(has_text="0003-story").click()
    expect(page.locator("#history-clip video")).to_be_visible()
    seen("history")
    assert faults == []


def test_a_mistake_is_told_in_one_line_and_cancel_works(
    window: tuple[Page, list[str]], request: pytest.FixtureRequest
) -> None:
    if "shapes" in request.node.name:
        pytest.skip("the nano model tells the same")
    page, faults = window
    page.locator("#generate-prompt textarea").fill("")
    page.locator("#generate-start").click()
    alert = page.locator("#generate-status [role=alert]")
    expect(alert).to_have_text("the prompt is empty; write at least one word")
    page.get_by_role("tab", name="Story", exact=True).click()
    page.locator("#story textarea").fill("a red circle moves left | 600")
    page.locator("#story-start").click()
    expect(page.locator("#story-status progress")).to_be_visible()
    page.locator("#story-cancel").click()
    expect(page.locator("#story-status")).to_have_text("Canceled")
    assert faults == []

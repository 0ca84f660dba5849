"""The page in the system's Chromium, against the application on fakes that behave; served once, in a thread."""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.settings import Settings
from tests.api.conftest import build_world, listening

NAME = "project-meeting.wav"
SAID = (
    ("the budget for the new server is four thousand euros", 0),
    ("who will fix the database before the launch", 1),
    ("peter will fix it on monday and anna tests it", 2),
    ("then we launch the mobile app in june", 0),
    ("the payment system is slow but stable", 1),
)
MEETING = [
    Utterance(start_s=1.0 + 4 * turn, end_s=4.0 + 4 * turn, text=SAID[turn % 5][0], speaker=SAID[turn % 5][1])
    for turn in range(30)
]
SCREENSHOTS = os.environ.get("PAGE_SCREENSHOTS")
"""A folder into which each view is photographed: ``PAGE_SCREENSHOTS=docs/screenshots``."""
PATIENCE_MS = 15_000
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
expect.set_options(timeout=PATIENCE_MS)


@dataclass(slots=True)
class Visit:
    """An open page and everything that went wrong in it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, place: str = "#/") -> Page:
        """Go to a view."""
        self.page.goto(f"{self.url}/{place}")
        return self.page

    def check_accessibility(self) -> None:
        """Hold what stands there against WCAG 2.2 AA, as far as axe can."""
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": STANDARD}})
        problems = [
            (problem["id"], [node["target"] for node in problem["nodes"]][:3])
            for problem in found.response["violations"]
        ]
        assert problems == [], found.generate_report()

    def photograph(self, name: str) -> None:
        """Take a picture for docs/, where somebody asked for them."""
        if SCREENSHOTS:
            self.page.wait_for_timeout(300)  # transitions
            self.page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The browser of this machine; nothing is downloaded.

    Not for the whole session: it keeps an event loop in this thread, in which no asynchronous test can run.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on the PATH: install the system's package (Debian: chromium)")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def address(chromium: Browser) -> Iterator[str]:
    """Where the application answers; its event loop is a thread's, because the browser's calls block this one."""
    found, stopping = Future[str](), threading.Event()

    async def serve() -> None:
        world = await asyncio.to_thread(build_world, Settings())
        async with listening(world.app) as url:
            found.set_result(url)
            await asyncio.to_thread(stopping.wait)
        await world.jobs.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield found.result(60)
    stopping.set()
    thread.join()


def watched(context: BrowserContext, url: str) -> Visit:
    """Open a page that may reach nothing but its server, and whose every complaint is kept."""
    page = context.new_page()
    visit = Visit(page=page, url=url)
    here = urlsplit(url).netloc

    def look(request: Request) -> None:
        if urlsplit(request.url).scheme not in ("blob", "data") and urlsplit(request.url).netloc != here:
            visit.complaints.append(f"a request to {request.url}")

    page.on("request", look)
    page.on("console", lambda said: visit.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    return visit


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visit]:
    """A visit of a desktop, in which nothing may be complained of."""
    with chromium.new_context(
        viewport={"width": 1360, "height": 900}, device_scale_factor=1, color_scheme="light"
    ) as context:
        opened = watched(context, address)
        yield opened
        assert opened.complaints == []


@pytest.fixture(scope="package")
def meeting(chromium: Browser, address: str) -> str:
    """A meeting that was dropped into the page and has become a transcript: its job's id."""
    with chromium.new_context(viewport={"width": 1360, "height": 900}) as context:
        opened = watched(context, address)
        page = opened.open()
        expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
        opened.check_accessibility()
        content = write_wav(MEETING)
        page.locator("input[type=file]").set_input_files({"name": NAME, "mimeType": "audio/wav", "buffer": content})
        row = page.locator("li.job", has_text=NAME)
        expect(row.locator(".state.succeeded")).to_be_visible()
        place = row.get_by_role("link").get_attribute("href")
        assert opened.complaints == []
    assert place is not None
    return place.removeprefix("#/jobs/")

"""From a dropped recording to a citation that plays, as people do it."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import NAME, Visit, watched


def position_s(page: Page) -> float:
    """Where the player stands."""
    return float(page.locator(".dock .waveform").get_attribute("aria-valuenow") or 0)


def expect_playing(page: Page) -> None:
    expect(page.locator(".dock").get_by_role("button", name="Pause")).to_be_visible()


def test_the_library_shows_what_became_of_it(visit: Visit, meeting: str) -> None:
    page = visit.open()
    expect(page.get_by_role("link", name=NAME)).to_be_visible()
    visit.check_accessibility()
    visit.photograph("library")
    page.get_by_placeholder("Find by name").fill("no such name")
    expect(page.get_by_role("heading", name="Nothing matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("link", name=NAME).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)


def test_a_word_plays_from_where_it_was_said(visit: Visit, meeting: str) -> None:
    page = visit.open(f"#/jobs/{meeting}")
    word = page.locator(".line [data-start]").nth(12)
    word.click()
    expect_playing(page)
    assert abs(position_s(page) - float(word.get_attribute("data-start") or -9)) < 3
    expect(page.locator(".line.current")).to_be_visible()
    expect(page.locator(".lane-grid .speaker-name").nth(1)).to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator(".dock").get_by_role("button", name="Play", exact=True)).to_be_visible()
    before = position_s(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".dock .waveform")).not_to_have_attribute("aria-valuenow", str(round(before)))
    assert 4 <= position_s(page) - before <= 6
    visit.check_accessibility()
    visit.photograph("transcript")


def test_the_transcript_follows_until_its_reader_scrolls(visit: Visit, meeting: str) -> None:
    page = visit.open(f"#/jobs/{meeting}")
    page.locator(".line").first.wait_for()
    follow = page.get_by_role("button", name="Follow along")
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.locator(".scroller").hover()
    page.mouse.wheel(0, 400)
    expect(follow).to_have_attribute("aria-pressed", "false")


def test_what_is_looked_for_is_found_in_the_transcript(visit: Visit, meeting: str) -> None:
    page = visit.open(f"#/jobs/{meeting}")
    page.get_by_placeholder("Find in this transcript").fill("budget")
    expect(page.locator(".line-tools [role=status]")).to_have_text(re.compile(r"1 of \d+"))
    expect(page.locator(".line.hit .found").first).to_be_visible()


def test_a_correction_and_a_name_are_kept_and_found(visit: Visit, meeting: str) -> None:
    page = visit.open(f"#/jobs/{meeting}")
    line = page.locator(".line").first
    line.hover()
    line.get_by_role("button", name=re.compile("^Correct")).click()
    editor = page.get_by_label("Text of this passage")
    editor.fill("Good morning everyone, welcome to the zeppelin meeting.")
    visit.check_accessibility()
    editor.press("Control+Enter")
    expect(page.locator(".line").first).to_contain_text("zeppelin")
    page.locator(".lane-grid .speaker-name").first.click()
    page.get_by_label("Name of this speaker").fill("Anna")
    page.get_by_label("Name of this speaker").press("Enter")
    expect(page.locator(".line .speaker").first).to_have_text("Anna")
    page.reload()
    expect(page.locator(".line").first).to_contain_text("zeppelin")
    expect(page.locator(".line .speaker").first).to_have_text("Anna")


def test_transcripts_are_taken_along(visit: Visit, meeting: str) -> None:
    page = visit.open(f"#/jobs/{meeting}")
    page.locator(".menu summary").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Subtitles (WebVTT)").click()
    assert taken.value.suggested_filename == "project-meeting.vtt"
    assert taken.value.path().read_text().startswith("WEBVTT")


def test_a_hit_plays_in_place(visit: Visit, meeting: str) -> None:
    page = visit.open("#/search")
    page.get_by_placeholder("What are you looking for?").fill("what does a new server cost")
    page.get_by_role("main").get_by_role("button", name="Search").click()
    page.locator(".hit-card").first.get_by_role("button").click()
    expect_playing(page)
    expect(page.locator(".hit-card.playing")).to_be_visible()
    visit.check_accessibility()
    visit.photograph("search")


def test_an_answer_cites_and_its_citation_plays(visit: Visit, meeting: str) -> None:
    page = visit.open("#/ask")
    page.get_by_placeholder("Your question").fill("who will fix the database")
    page.get_by_role("main").get_by_role("button", name="Ask").click()
    chip = page.locator(".citations .chip").first
    chip.click()
    expect_playing(page)
    expect(page.locator(".citations .chip.playing")).to_be_visible()
    visit.check_accessibility()
    visit.photograph("ask")


def test_an_operator_sees_models_and_their_fallbacks(visit: Visit, meeting: str) -> None:
    page = visit.open("#/operate")
    expect(page.get_by_text("Works, with fallbacks")).to_be_visible()
    visit.check_accessibility()
    visit.photograph("operate")


def test_the_microphone_opens_a_live_session(visit: Visit, meeting: str) -> None:
    page = visit.open("#/live")
    page.get_by_role("button", name="Listen").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_label("Captions")).to_contain_text("Listening")
    visit.check_accessibility()
    visit.photograph("live")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Listen")).to_be_visible()


def test_the_keyboard_table_opens_and_closes(visit: Visit, meeting: str) -> None:
    page = visit.open()
    page.get_by_role("heading", name="Library").wait_for()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    visit.check_accessibility()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("place", ["library", "transcript", "ask"])
def test_it_is_as_good_in_the_dark_and_on_a_telephone(
    chromium: Browser, address: str, meeting: str, place: str
) -> None:
    with chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark") as context:
        visit = watched(context, address)
        page = visit.open({"library": "#/", "transcript": f"#/jobs/{meeting}", "ask": "#/ask"}[place])
        marks = {"library": "li.job", "transcript": ".line", "ask": ".composer"}
        page.locator(marks[place]).first.wait_for()
        visit.check_accessibility()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visit.photograph(f"{place}-dark-narrow")
        assert visit.complaints == []


def test_an_erasure_can_be_undone(visit: Visit, meeting: str) -> None:
    page = visit.open()
    page.get_by_role("button", name=f"Erase {NAME}").click()
    expect(page.locator("li.job")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name=NAME)).to_be_visible()

"""Zipkin's page of one trace as a picture, drawn by the system's chromium."""

from pathlib import Path

import pytest

from tests.tracing.zipkin import Zipkin

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def draw(zipkin: Zipkin, trace_id: str, path: Path) -> None:
    """Skips the test where chromium is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium: install the Debian package chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 640}, device_scale_factor=1.5)
        page.goto(f"{zipkin.url}/zipkin/traces/{trace_id}")
        playwright.expect(page.get_by_text("inferrequest").first).to_be_visible(timeout=20_000)
        page.screenshot(path=str(path))
        browser.close()

"""The page in a real browser, before a real Triton: with the mouse, by keys alone, with bad and hostile input."""

import base64
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import Served, digit

pytestmark = pytest.mark.e2e
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
if not CHROMIUM.exists():
    pytest.skip("no /usr/bin/chromium: install the Debian package chromium", allow_module_level=True)
HOSTILE = """x" onerror="alert(1)'<img src=x onerror=alert(1)>;$(touch pwned)`touch pwned`\\.png"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, real: Served) -> Iterator[Any]:
    """The page, ready; fails when the browser or its policy complains of anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    complaints: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("pageerror", lambda err: complaints.append(str(err)))
    opened.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(real.url)
    opened.wait_for_selector("#state.good")
    yield opened
    allowed = "Failed to load resource: the server responded with a status of "  # chromium tells of every one
    assert [said for said in complaints if not said.startswith(allowed)] == []
    assert [url for url in asked if not url.startswith((real.url, "blob:", "data:"))] == []
    context.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images as a person has them."""
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(digit(number)[0])
    (tmp_path / "cut.png").write_bytes(digit(0)[0][:150])
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


DROP = """([data, name]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector("#drop").dispatchEvent(new DragEvent(kind, options));
}"""


def drop(page: Any, data: bytes, name: str) -> None:
    page.evaluate(DROP, [base64.b64encode(data).decode(), name])


def labels(page: Any, count: int) -> list[str]:
    playwright.expect(page.locator(".item .label")).to_have_count(count)
    return [text.split()[0] for text in page.locator(".item .label").all_inner_texts()]


def copied(page: Any, of: str) -> str:
    page.click(f".copy[data-of={of}]")
    playwright.expect(page.locator("#copied")).to_have_text("Copied.")
    return str(page.evaluate("navigator.clipboard.readText()"))


def embed(page: Any, text: str) -> None:
    page.click("#tab-text")
    page.fill("#text", text)
    page.click("text=Embed")
    playwright.expect(page.locator(".said")).to_have_text(text[:200] + ("…" if len(text) > 200 else ""))


def test_an_image_that_is_dropped_gets_its_label(page: Any) -> None:
    data, label = digit(0)
    drop(page, data, "a digit.png")
    assert labels(page, 1) == [label]
    assert page.locator(".bars li").count() == 5
    assert re.fullmatch(r"classify_image · server\s[\d.]+\sms · round\strip\s[\d.]+\sms", page.inner_text("#times"))
    assert page.locator(".item img").evaluate("image => image.complete && image.naturalWidth") == 64


def test_several_images_keep_their_order_and_a_bad_one_does_not_spoil_the_others(page: Any, folder: Path) -> None:
    names = ["0.png", "cut.png", "1.png", "text.png", "2.png"]
    page.set_input_files("#files", [folder / name for name in names])
    assert labels(page, 3) == [digit(number)[1] for number in range(3)]
    assert page.locator(".item .name").all_inner_texts() == names
    assert page.locator(".item .wrong").all_inner_texts() == [
        "Unreadable image: The PNG image of 150 bytes is truncated or corrupt: send the whole file.",
        "Unsupported type: The file is not a PNG or JPEG image.",
    ]
    assert page.is_hidden("#error")


def test_a_sentence_shows_its_embedding_and_how_near_others_are(page: Any) -> None:
    embed(page, "A train leaves the station.")
    assert page.locator(".facts dd").nth(0).inner_text() == "384"
    assert float(page.locator(".facts dd").nth(1).inner_text()) == pytest.approx(1, abs=0.001)
    embed(page, "Bread is baked from flour.")
    embed(page, "The train departs from the station.")
    near = page.locator(".near li")
    assert near.all_inner_texts()[0].startswith("A train leaves the station.")
    strip = "canvas => canvas.getContext('2d').getImageData(0, 0, 192, 2).data.filter((v, i) => i % 4 == 3 && v).length"
    assert page.locator(".strip").evaluate(strip) > 300


def test_a_text_that_is_too_long_is_told_in_words(page: Any) -> None:
    page.click("#tab-text")
    page.fill("#text", "a" * 20_000)
    page.click("text=Embed")
    playwright.expect(page.locator("#error")).to_have_text(
        "Not valid: text: String should have at most 16384 characters."
    )
    page.fill("#text", " ")
    page.click("text=Embed")
    playwright.expect(page.locator("#error")).to_have_text("Type a sentence first.")


def test_a_server_that_is_gone_is_told_in_words(page: Any) -> None:
    page.route("**/v1/embed", lambda route: route.fulfill(status=503, body="<h1>nginx</h1>"))
    page.click("#tab-text")
    page.fill("#text", "a")
    page.click("text=Embed")
    error = page.locator("#error")
    playwright.expect(error).to_have_text("The server is not available: try again in a moment.")
    assert error.get_attribute("role") == "alert"


def test_everything_can_be_done_by_keys_alone(page: Any, folder: Path) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = (
                    "getComputedStyle(document.activeElement.closest('.drop') || document.activeElement).outlineStyle"
                )
                assert page.evaluate(outline) != "none", f"{selector} does not show that it is focused"
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    # Told before the key is pressed: a dialog that opens earlier than that is not caught.
    page.on("filechooser", lambda chooser: chooser.set_files([folder / "0.png"]))
    tab_to("#files")
    page.keyboard.press("Enter")
    assert labels(page, 1) == [digit(0)[1]]
    page.evaluate("document.activeElement.blur()")
    tab_to("#tab-images")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-text"
    tab_to("#text")
    page.keyboard.type("Typed by hand.")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator(".said")).to_have_text("Typed by hand.")
    tab_to(".copy[data-of=curl]")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#copied")).to_have_text("Copied.")


def test_a_hostile_file_name_is_shown_as_it_is_and_quoted_for_shell_and_python(page: Any, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    data, label = digit(0)
    drop(page, data, name)
    assert labels(page, 1) == [label]
    assert page.locator(".item .name").inner_text() == name
    assert page.locator(".item img").count() == 1
    (tmp_path / name).write_bytes(data)
    command = copied(page, "curl")
    assert f'images=@"{name}"'.replace("\\", "") in shlex.split(command.replace("\\\n", ""))[-1].replace("\\", "")
    assert f'"label":"{label}"' in shell(command, tmp_path)
    assert f" {label} " in python(copied(page, "python"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "text",
    [
        'It\'s "so" & $HOME `id` \\ %d',
        "@/etc/passwd",
        "zwei Zeilen\nund \t✓ \U0001f682",
        "</script><script>alert(1)</script>",
    ],
)
def test_the_copied_requests_for_a_sentence_run(page: Any, text: str, tmp_path: Path) -> None:
    embed(page, text)
    first = page.locator(".facts dd").nth(2).inner_text().split()[0]
    assert f"{float(re.findall(r'embeddings.:..([-.0-9e]+)', shell(copied(page, 'curl'), tmp_path))[0]):.4f}" == first
    assert f"{float(python(copied(page, 'python'), tmp_path).strip('[ ').split(',')[0]):.4f}" == first


def test_the_token_field_appears_when_a_token_is_wanted_and_the_token_goes_with_every_request(
    page: Any, real: Served
) -> None:
    seen: list[str | None] = []

    def service(route: Any) -> None:
        seen.append(route.request.headers.get("authorization"))
        if seen[-1] == "Bearer good.token":
            route.continue_()
        else:
            route.fulfill(status=401, body="{}", headers={"WWW-Authenticate": "Bearer"})

    page.route("**/v1/**", service)
    assert page.is_hidden("#token-form")
    page.reload()
    playwright.expect(page.locator("#token-form")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "token"
    assert page.inner_text("#state") == "wants a token"
    page.fill("#token", "bad.token")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#token-note")).to_have_text(
        "The server does not take this token: it may be cut, or too old."
    )
    page.fill("#token", "good.token")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#state")).to_have_text("ready")
    playwright.expect(page.locator("#token-form")).to_be_hidden()
    embed(page, "a")
    assert seen == [None, "Bearer bad.token", "Bearer good.token", "Bearer good.token"]
    curl = page.inner_text("#curl")
    assert '-H "Authorization: Bearer $AI102_TOKEN"' in curl
    assert "good.token" not in page.content()
    assert page.evaluate("Object.keys(localStorage).length") == 0
    page.reload()
    playwright.expect(page.locator("#state")).to_have_text("ready")
    assert seen[-1] == "Bearer good.token", "kept for the tab"


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_or_faint(page: Any, folder: Path, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.set_input_files("#files", [folder / "0.png", folder / "cut.png"])
    labels(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    faint = page.evaluate(CONTRASTS)
    assert [one for one in faint if one["ratio"] < 4.5] == []
    assert len(faint) > 20
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")


# Of every text that is seen: its colour against the first background behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility())
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => {
      const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
      return { text: one.textContent.trim().slice(0, 30), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
    });
}"""


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout

"""The studio as its user meets it: `jnst studio` in a process of its own, and its page in a real browser.

Run by `scripts/test_browser`, which names the browser in JNST_CHROMIUM.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import paint
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from jnst.images.writing import read_metadata

PATIENCE = 240_000  # milliseconds; compiling takes most of it on a busy machine
# Three convolutions deep, so that compiling takes seconds and a step milliseconds.
SHALLOW = ["--content-layers", "relu2_1", "--style-layers", "relu1_1,relu2_1"]
SMALL = ["--size", "96", "--iterations", "4000", "--scales", "1"]


class Served(NamedTuple):
    """A running studio."""

    link: str
    port: int
    folder: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("studio")
    process = subprocess.Popen(
        [sys.executable, "-m", "jnst", "studio", "--no-browser", "-o", "kept", *SHALLOW, *SMALL],
        cwd=folder,
        env={**os.environ, "JNST_CACHE": str(folder / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    link = next((line.strip() for line in process.stdout if line.startswith("http://")), "")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", link)
    yield Served(link, int(link.split(":")[2].partition("/")[0]), folder, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 0  # what is being compiled is compiled to its end


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=os.environ["JNST_CHROMIUM"], args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A tab on the studio, by its link; nothing may go wrong in it that its console would tell."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1400, "height": 1000})
    opened, problems = context.new_page(), []
    opened.set_default_timeout(PATIENCE)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request",
        lambda request: request.url.startswith(("http://127.0.0.1:", "blob:", "data:")) or problems.append(request.url),
    )
    opened.goto(served.link)
    opened.wait_for_selector("#pictures img")
    yield opened
    stop_all(opened)
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two pictures, a text called .jpg, and a sparse file of a gigabyte."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, subject, seed in (("photo.jpg", "shapes", 0), ("painting.jpg", "marble", 3), ("other.jpg", "weave", 4)):
        Image.fromarray(np.rint(paint(subject, 90, 120, seed) * 255).astype(np.uint8)).save(folder / name)
    (folder / "notes.jpg").write_text("only words\n" * 100)
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(2**30)
    return {path.stem: path for path in folder.iterdir()}


def ask_state(page: Page) -> dict[str, Any]:
    return page.evaluate("() => fetch('/state').then((answer) => answer.json())")


def stop_all(page: Page) -> None:
    """Ends every painting, so that the next test finds an empty queue."""
    for one in reversed(ask_state(page)["paintings"]):
        if one["status"] in ("queued", "compiling", "painting", "paused"):
            page.evaluate("(n) => fetch(`/paintings/${n}/stop`, { method: 'POST', body: '{}' })", one["number"])
    until = time.monotonic() + 60
    while any(one["status"] not in ("done", "stopped", "failed") for one in ask_state(page)["paintings"]):
        assert time.monotonic() < until
        time.sleep(0.1)


def drop(page: Page, role: str, path: Path) -> None:
    """A drop from the file manager: a DataTransfer with the file in it."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event(f"#drop-{role}", "dragover", {"dataTransfer": transfer})
    page.dispatch_event(f"#drop-{role}", "drop", {"dataTransfer": transfer})


def choose(page: Page, files: dict[str, Path], *styles: str) -> None:
    """A fresh choice of a photo and paintings, dropped."""
    page.evaluate("() => fetch('/draft', { method: 'POST', body: '{\"content\": null, \"styles\": []}' })")
    expect(page.locator("#content img")).to_have_count(0)
    drop(page, "content", files["photo"])
    expect(page.locator("#content .name")).to_contain_text("photo.jpg")
    for index, style in enumerate(styles):
        drop(page, "style", files[style])
        expect(page.locator("#styles img")).to_have_count(index + 1)


def step_of(page: Page) -> int:
    found = re.search(r"step (\d+) of", page.text_content("#status") or "")
    return int(found[1]) if found else -1


def wait_until(page: Page, script: str, argument: Any = None) -> None:
    page.wait_for_function(script, arg=argument, timeout=PATIENCE)


def wait_status(page: Page, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern), timeout=PATIENCE)


def wait_steps(page: Page, at: int) -> None:
    """Until more than that many steps are done."""
    until = time.monotonic() + PATIENCE / 1000
    while step_of(page) <= at:
        assert time.monotonic() < until, page.text_content("#status")
        time.sleep(0.05)


def begin(page: Page) -> None:
    """Presses Paint and waits for the first steps."""
    page.click("#paint")
    wait_status(page, r": painting · step ([3-9]|\d\d)")


def move(page: Page, id: str, value: float) -> None:
    """Moves a slider as a hand does: its value, then the event."""
    page.evaluate(
        """([id, value]) => {
            const slider = document.getElementById(id);
            slider.value = value;
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }""",
        [id, value],
    )


def pixels(page: Page) -> np.ndarray:
    """The picture as the page shows it."""
    values = page.evaluate(
        """() => {
            const image = document.querySelector('#picture'), canvas = document.createElement('canvas');
            canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
            const pen = canvas.getContext('2d');
            pen.drawImage(image, 0, 0);
            return [canvas.height, canvas.width, ...pen.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    return np.array(values[2:], np.float32).reshape(values[0], values[1], 4)[..., :3]


def last_of(page: Page, name: str) -> float:
    return float(page.get_attribute(f"#curve-{name}", "data-last") or "nan")


def test_drop_paint_and_watch_it_grow(page: Page, files: dict[str, Path]) -> None:
    choose(page, files, "painting")
    page.fill("#steps", "4000")  # long enough for any machine to be seen on the way
    page.press("#steps", "Tab")
    begin(page)
    early, at = pixels(page), step_of(page)
    assert early.shape[:2] == (72, 96)
    wait_until(
        page, "(at) => Number(/step (\\d+)/.exec(document.querySelector('#status').textContent)[1]) > at + 20", at
    )
    curve = "document.querySelector('#curve-style').dataset"
    wait_until(page, f"(share) => Number({curve}.last) < share * Number({curve}.first)", 0.9)
    assert np.any(pixels(page) != early)
    for name in ("content", "style", "total_variation", "total"):
        assert last_of(page, name) > 0
    expect(page.locator("#moments img").first).to_be_visible()


def test_knobs_act_on_loss_and_picture(page: Page, files: dict[str, Path]) -> None:
    choose(page, files, "painting", "other")
    begin(page)
    before, rough = pixels(page), last_of(page, "total_variation")

    def roughness(seen: np.ndarray) -> float:
        return float(np.abs(np.diff(seen, axis=1)).mean())

    move(page, "smoothness", 5)
    expect(page.locator("#smoothness-value")).to_have_text("× 32")
    wait_until(
        page, "(rough) => Number(document.querySelector('#curve-total_variation').dataset.last) < 0.7 * rough", rough
    )
    until = time.monotonic() + PATIENCE / 1000  # the picture follows its curve
    while roughness(pixels(page)) >= 0.8 * roughness(before):
        assert time.monotonic() < until
        page.wait_for_timeout(200)
    # The blend, and then the photo's colours, which act at once.
    move(page, "blend-0", 0)
    expect(page.locator("#blend-1-value")).to_have_text("100 %")
    move(page, "strength", 0.8)
    expect(page.locator("#strength-value")).to_have_text("0.80")
    until = time.monotonic() + PATIENCE / 1000
    while (knobs := ask_state(page)["paintings"][-1]["knobs"])["blend"][0] != 0 or knobs["strength"] != 0.8:
        assert time.monotonic() < until, knobs
        time.sleep(0.05)
    page.click("#pause")
    wait_status(page, r": paused")
    painted = pixels(page)
    page.select_option("#colors", "content")
    until = time.monotonic() + PATIENCE / 1000  # another version may be the last step's, still on its way
    while np.abs(pixels(page) - painted).mean() <= 2:
        assert time.monotonic() < until
        page.wait_for_timeout(200)


def test_stop_undo_go_on_keep_and_download(page: Page, served: Served, files: dict[str, Path]) -> None:
    choose(page, files, "painting")
    begin(page)
    page.click("#stop")
    wait_status(page, r": stopped · step [1-9]")
    page.locator("#moments button").first.click()
    wait_status(page, r": stopped · step 0 of 4000")
    page.click("#go_on")
    wait_status(page, r": painting · step [1-9]")
    page.click("#stop")
    wait_status(page, r": stopped · step [1-9]")
    name = f"photo-painting-{step_of(page):04d}.png"
    page.click("#keep")
    expect(page.locator("#kept img").first).to_be_visible()
    with page.expect_download() as waiting:
        page.click("#download")
    path = served.folder / "downloaded.png"
    waiting.value.save_as(path)
    assert waiting.value.suggested_filename == name
    record = read_metadata(path)
    assert record is not None
    assert record["inputs"]["content"]["path"] == "photo.jpg"
    assert record["studio"]["steps"] == step_of(page)
    assert [one.name for one in (served.folder / "kept").iterdir()] == [name]


def test_twice_as_large(page: Page, files: dict[str, Path]) -> None:
    page.fill("#steps", "10")
    page.press("#steps", "Tab")
    choose(page, files, "painting")
    page.click("#paint")
    wait_status(page, r": done · step 10")
    page.click("#double")
    wait_status(page, r": done · step 5 of 5 · 192 × 144")
    wait_until(page, "() => document.querySelector('#picture').naturalWidth === 192")
    expect(page.locator("#paintings .name").first).to_contain_text("from")


def test_a_reload_and_a_closed_tab_lose_nothing(page: Page, served: Served, files: dict[str, Path]) -> None:
    page.fill("#steps", "4000")
    page.press("#steps", "Tab")
    choose(page, files, "painting")
    begin(page)
    at = step_of(page)
    page.reload()
    wait_until(
        page,
        "(at) => Number((/step (\\d+)/.exec(document.querySelector('#status').textContent) || [0, -1])[1]) > at",
        at,
    )
    expect(page.locator("#content .name")).to_contain_text("photo.jpg")
    at = step_of(page)
    tab = page.context.new_page()
    page.goto("about:blank")  # the first tab is closed, as it were
    time.sleep(1)
    tab.goto(f"http://127.0.0.1:{served.port}/")
    wait_status(tab, r": painting")
    wait_steps(tab, at)
    tab.close()
    page.goto(served.link)
    page.wait_for_selector("#pictures img")


def test_two_tabs_show_the_same(page: Page, served: Served, files: dict[str, Path]) -> None:
    choose(page, files, "painting")
    other = page.context.new_page()
    other.goto(served.link)
    expect(other.locator("#content .name")).to_contain_text("photo.jpg")
    begin(page)
    wait_status(other, r": painting")
    move(page, "strength", 0.2)
    expect(other.locator("#strength-value")).to_have_text("0.20", timeout=20_000)
    other.click("#stop")
    wait_status(page, r": stopped")
    other.close()


def test_what_is_no_picture_is_refused_in_a_sentence(page: Page, files: dict[str, Path]) -> None:
    before = len(ask_state(page)["pictures"])
    drop(page, "content", files["notes"])
    expect(page.locator("#message")).to_contain_text("notes.jpg is not a picture jnst can read")
    page.set_input_files("#file-content", files["huge"])
    expect(page.locator("#message")).to_contain_text("huge.jpg has 1024 MB; the studio takes 64 MB a picture")
    assert len(ask_state(page)["pictures"]) == before


def test_a_gigabyte_past_the_page_is_refused_by_its_length(page: Page, served: Served) -> None:
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.putrequest("POST", "/pictures?role=content&name=huge.jpg")
    for name, value in (
        ("Origin", f"http://127.0.0.1:{served.port}"),
        ("Cookie", cookie),
        ("Content-Length", str(2**30)),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "above the studio's limit" in json.loads(answer.read())["error"]


@pytest.mark.parametrize("address", ["/", "/?token=", "/?token=wrong", "/state", "/events", "/static/studio.js"])
def test_without_the_token_there_is_nothing(browser: Browser, served: Served, address: str) -> None:
    context = browser.new_context()
    answer = context.new_page().goto(f"http://127.0.0.1:{served.port}{address}")
    assert answer is not None
    assert answer.status == 403
    context.close()


STRANGER = """async (home) => {
    const outcome = {};
    const own = { credentials: 'include' };
    try { outcome.read = (await fetch(home + '/state', own)).status; } catch { outcome.read = 'failed'; }
    try {
        await fetch(home + '/paintings', { ...own, method: 'POST', mode: 'no-cors', body: '{}' });
        outcome.post = 'sent';
    } catch { outcome.post = 'failed'; }
    outcome.image = await new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve('loaded');
        image.onerror = () => resolve('failed');
        image.src = home + '/pictures/p0';
    });
    outcome.frame = await new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.onload = () => {
            try { resolve(frame.contentDocument ? 'readable' : 'closed'); } catch { resolve('closed'); }
        };
        frame.src = home + '/';
        document.body.append(frame);
    });
    return outcome;
}"""


def test_a_foreign_page_gets_nothing_done(page: Page, served: Served) -> None:
    """A page of another origin in the same browser, with the studio's cookie in it, cannot read, post or frame."""
    stranger = page.context.new_page()
    stranger.route("http://evil.example/**", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    stranger.goto("http://evil.example/")
    paintings = len(ask_state(page)["paintings"])
    outcome = stranger.evaluate(STRANGER, f"http://127.0.0.1:{served.port}")
    assert outcome["read"] == "failed"
    assert outcome["image"] == "failed"
    assert outcome["frame"] == "closed"
    assert len(ask_state(page)["paintings"]) == paintings
    stranger.close()


def test_a_run_from_the_shell_is_steered_and_written(browser: Browser, files: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jnst", "stylize", str(files["photo"]), str(files["painting"]), "-o", "out.png"]
    process = subprocess.Popen(
        [*command, "--live", "--no-browser", *SHALLOW, *SMALL],
        cwd=tmp_path,
        env={**os.environ, "JNST_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        shown = (re.search(r"http://\S+", line) for line in iter(process.stderr.readline, ""))
        link = next(found[0] for found in shown if found)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # so that its pipe is never full
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.goto(link)
        wait_status(page, r": painting · step ([3-9]|\d\d)")
        expect(page.locator("#paint")).to_be_hidden()
        move(page, "strength", 0.9)
        until = time.monotonic() + PATIENCE / 1000
        while not ask_state(page)["paintings"][0]["steering"]:
            assert time.monotonic() < until
            time.sleep(0.05)
        expect(page.locator("#stop")).to_have_text("Stop and write")
        if folder := os.environ.get("JNST_SCREENSHOTS"):
            page.wait_for_timeout(1000)
            page.screenshot(path=f"{folder}/live.png")
        page.click("#stop")
        expect(page.locator("#message")).to_contain_text("the run has ended", timeout=30_000)
        assert process.wait(timeout=60) == 0
        context.close()
    record = read_metadata(tmp_path / "out.png")
    assert record is not None
    assert record["stopped"] == "callback"
    assert record["config"]["loss"]["strength"] == 0.9

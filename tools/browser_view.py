#!/usr/bin/env python3
"""Starts `vitscope view`, opens its page in headless Chromium and checks that it works.

    python3 tools/browser_view.py [--shots DIR] [--chromium PATH] VITSCOPE RUN|MODEL [...] [--drop IMAGE]

Needs what tools/browser.py needs, with which it shares the driving of Chromium. Of the page: no console error, and no
request that leaves the server; a click and the arrow keys choose a patch, whose own cosine is 1, and change the
pictures; layers, facets and components change them, too; a dropped file is shown and one that is no image gets a
sentence; the address opens the view again; the saved picture is a PNG; text stands out, in light and dark; everything has a
name; nothing runs over the edge at 390 pixels. At the end, Ctrl-C stops the program with exit code 0.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import FAINT, Browser, check, check_names, close_page, said, take_shot

PICTURES = """[...document.querySelectorAll('.cards canvas')].map((canvas) => { const text = canvas.toDataURL();
  let h = 7; for (let i = 0; i < text.length; i += 1) h = (h * 31 + text.charCodeAt(i)) >>> 0; return h; }).join()"""
IDLE = "(({dataset}) => dataset.ready === 'true' && dataset.busy === 'false')(document.documentElement || {dataset: {}})"


def open_view(browser, url, width):
    target = browser.send("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.events.clear()
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.send(f"{domain}.enable")
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    browser.send("Page.navigate", url=url)
    browser.until(IDLE, "the page to be ready", 120)
    return target


def check_quiet(browser, url, allowed=()):
    errors, requests = said(browser)
    errors = [error for error in errors if not any(word in error for word in allowed)]
    check(not errors, f"no error in the console {errors[:2] or ''}")
    foreign = [one for one in requests if not one.startswith((url, "data:", "blob:"))]
    check(not foreign, f"no request leaves the server ({len(requests)} requests) {foreign[:2] or ''}")


def changed(browser, before, what, seconds=60):
    browser.until(f"{IDLE} && {PICTURES} !== {json.dumps(before)}", what, seconds)
    print(f"  ok  {what}")
    return browser.settled(PICTURES)


def check_patches(browser):
    before = browser.settled(PICTURES)
    count = browser.run("document.querySelectorAll('.cards canvas').length")
    check(count > 0, f"{count} pictures are shown")
    browser.click("document.querySelector('.cards canvas')")
    browser.until(f"{IDLE}", "the click to be answered")
    browser.run("document.querySelector('.cards canvas').focus()")
    browser.key("ArrowLeft")
    browser.key("ArrowUp")
    before = changed(browser, before, "clicks and arrow keys choose a patch, and the pictures change")
    row, column = browser.run("new URLSearchParams(location.hash.slice(1)).get('at').split(',').map(Number)")
    status = browser.run("document.querySelector('.status').textContent")
    check(status.startswith(f"Patch at row {row + 1}, column {column + 1} of "), f"the status names the patch ({status})")
    x, y = browser.run("""(() => { const box = document.querySelector('.cards canvas').getBoundingClientRect();
      return fetch('about').then((answer) => answer.json()).then((about) => [box.x + (%d + 0.5) * box.width / about.panes[0].grid[1],
        box.y + (%d + 0.5) * box.height / about.panes[0].grid[0]]); })()""" % (column, row))
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.until("document.querySelector('.status').textContent.endsWith(': 1.000.')", "the patch's cosine to itself, 1")
    print("  ok  a patch's cosine to itself is 1")
    return before


def check_controls(browser, before):
    browser.run("document.activeElement.blur()")
    layer = "[" if browser.run("Number(document.querySelector('.layer input').value)") > 1 else "]"
    browser.key(layer)
    before = changed(browser, before, f"the key {layer} changes the layer")
    browser.key("f")
    before = changed(browser, before, "the key F changes the facet")
    browser.key("p")
    before = changed(browser, before, "the key P shows principal components", 300)
    legend = browser.run("document.querySelector('.legend').textContent")
    check("of the variance" in legend, f"the legend says what they are fitted on ({legend})")
    if not browser.run("document.querySelector('.show input[value=clusters]').disabled"):
        browser.key("k")
        before = changed(browser, before, "the key K shows the clusters of the run")
        check(browser.run("document.querySelectorAll('.lines li').length") > 0, "with their legend")
    browser.key("c")
    return changed(browser, before, "the key C shows cosines again")


def give(browser, path):
    node = browser.send("DOM.getDocument", depth=-1)["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=node, selector=".file input")["nodeId"]
    browser.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)


def check_files(browser, image, folder):
    before = browser.run("document.querySelectorAll('.cards canvas').length")
    give(browser, image)
    browser.until(f"{IDLE} && document.querySelectorAll('.cards canvas').length > {before}", "the image to be shown", 60)
    check(True, "an image of the user's is shown")
    wrong = Path(folder) / "wrong.png"
    wrong.write_bytes(b"not an image")
    give(browser, wrong)
    browser.until("!document.querySelector('.wrong').hidden", "a sentence about a bad image")
    check("wrong.png" in browser.run("document.querySelector('.wrong').textContent"), "a bad image gets a sentence")
    names = "[...document.querySelectorAll('.line b')].map((b) => b.textContent).join()"
    before = browser.run(names)
    browser.click("[...document.querySelectorAll('.pane')].at(-1).querySelector('li:last-child button')")
    browser.until(f"{IDLE} && {names} !== {json.dumps(before)}", "an image to be closed")
    check(True, "an image can be closed")


def check_saved(browser, folder):
    saved = Path(folder) / "downloads"
    saved.mkdir()
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(saved))
    browser.click("document.querySelector('.save')")
    for _ in range(100):
        files = [path for path in saved.iterdir() if path.suffix == ".png" and path.stat().st_size]
        if files:
            break
        browser.run("new Promise((done) => setTimeout(done, 100))")
    check(files and files[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", "the view is saved as a PNG")
    return files[0]


def check_link(browser, url, width):
    at = "location.hash + document.querySelector('.where').textContent + document.querySelector('.status').textContent"
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    before = browser.run(at)
    target = open_view(browser, url + browser.run("location.hash"), width)
    check(browser.run(at) == before, "the address opens the view again")
    return target


def look(browser, url, args, folder):
    shots = args.shots
    target = open_view(browser, url, 1280)
    before = check_patches(browser)
    if shots:
        take_shot(browser, shots / "cosines.png")
    before = check_controls(browser, before)
    for key, name in (("p", "components"), ("k", "clusters"), ("c", "again")):
        browser.key(key)
        browser.until(IDLE, "the pictures")
        browser.settled(PICTURES)
        if shots:
            take_shot(browser, shots / f"{name}.png")
    check_files(browser, args.drop, folder)
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        faint = browser.run(FAINT)
        check(not faint, f"text stands out in {scheme} {faint[:3] or ''}")
        if shots:
            take_shot(browser, shots / f"{scheme}.png")
    browser.send("Emulation.setEmulatedMedia", features=[])
    check_names(browser)
    saved = check_saved(browser, folder)
    if shots:
        shutil.copy(saved, shots / "saved.png")
    # Chromium itself tells of the refusal that the page tells in a sentence.
    check_quiet(browser, url, allowed=("422",))
    second = check_link(browser, url, 1280)
    close_page(browser, second)
    narrow = open_view(browser, url, 390)
    over = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(over <= 0, f"nothing runs over the edge at 390 pixels ({over})")
    top = browser.run("document.querySelector('.cards canvas').getBoundingClientRect().top + scrollY")
    check(top < 300, f"a picture comes first there ({top:.0f})")
    if shots:
        take_shot(browser, shots / "390.png")
    check_quiet(browser, url)
    close_page(browser, narrow)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vitscope", type=Path)
    parser.add_argument("what", nargs="+")
    parser.add_argument("--drop", type=lambda path: Path(path).resolve(), required=True, help="an image that is dropped on the page")
    parser.add_argument("--more", default="", help="further arguments of vitscope view, as one text")
    parser.add_argument("--shots", type=Path, help="write screenshots here")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    args = parser.parse_args()
    if not args.chromium:
        raise SystemExit("browser: chromium is not installed: apt-get install chromium")
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    command = [str(args.vitscope), "view", *args.what, "--format", "json", *args.more.split()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        url = json.loads(server.stdout.readline())["url"]
        with tempfile.TemporaryDirectory() as folder:
            browser = Browser(args.chromium, Path(folder) / "profile")
            try:
                look(browser, url, args, folder)
            finally:
                browser.close()
        server.send_signal(signal.SIGINT)
        check(server.wait(timeout=10) == 0, "Ctrl-C ends the program with exit code 0")
    finally:
        if server.poll() is None:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())

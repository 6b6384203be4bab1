#!/usr/bin/env python3
"""Opens report pages in headless Chromium and checks that they work.

    python3 tools/browser.py PAGE [PAGE ...] [--shots DIR] [--chromium PATH]

Needs Python 3.11 and Debian's chromium, nothing else: Chromium is driven over a pipe by its DevTools
protocol. Of every page: it loads without a console error and without a request that leaves it; the
table sorts; downloads are valid files; it prints. Of a page with an explorer: keys and slider change the
picture; pointing at a class lights it in images and bars; a point of the scatter opens its slot; the
difference of a slot to itself is 0 % and to another is not. Exits with 1 on the first failure.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Chromium reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte.
COMMANDS, ANSWERS = 3, 4


class Browser:
    def __init__(self, program, profile):
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()

        def hand_over():
            # Via high numbers, since a pipe's own may be 3 or 4 already.
            high = [os.dup2(to_browser, 100), os.dup2(from_browser, 101)]
            os.dup2(high[0], COMMANDS)
            os.dup2(high[1], ANSWERS)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []

    def send(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"browser: {method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def read(self):
        while b"\0" not in self.buffer:
            chunk = os.read(self.inp, 1 << 20)
            if not chunk:
                raise SystemExit("browser: Chromium ended before it answered")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def run(self, script):
        """The value of an expression in the page, promises awaited."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise SystemExit(f"browser: {details.get('exception', details).get('description', details['text'])}")
        return result["result"].get("value")

    def until(self, script, what, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(script):
                return
            time.sleep(0.05)
        raise SystemExit(f"browser: waited {seconds} s for: {what}")

    def settled(self, script):
        """The value of an expression once it has stayed the same for a while: pictures are unpacked in turn."""
        value = None
        for _ in range(100):
            last, value = value, self.run(script)
            if value == last:
                return value
            time.sleep(0.2)
        raise SystemExit("browser: a picture did not come to rest")

    def key(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def point(self, script):
        """Moves the pointer over the middle of an element."""
        x, y = self.run(f"(() => {{ const e = {script}; e.scrollIntoView({{block: 'center'}}); "
                        "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def click(self, script):
        x, y = self.point(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self):
        self.session = None
        try:
            self.send("Browser.close")
        except (OSError, SystemExit):
            pass
        self.process.wait(timeout=30)


def check(condition, what):
    if not condition:
        raise SystemExit(f"browser: FAILED: {what}")
    print(f"  ok  {what}")


# What the first card shows, as one number.
PICTURE = """(() => { const text = document.querySelector('.cards canvas').toDataURL();
  let h = 7; for (let i = 0; i < text.length; i += 1) h = (h * 31 + text.charCodeAt(i)) >>> 0; return h; })()"""


def open_page(browser, page, width, height=900):
    target = browser.send("Target.createTarget", url="about:blank")["targetId"]
    session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.session = session
    browser.events.clear()
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.send(f"{domain}.enable")
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
    begun = time.monotonic()
    browser.send("Page.navigate", url=page.resolve().as_uri())
    browser.until("document.readyState === 'complete'", "the page to load")
    browser.until("document.documentElement.dataset.ready === 'true' || !document.querySelector('.explorer')",
                  "the explorer to be ready")
    return target, time.monotonic() - begun


def close_page(browser, target):
    browser.session = None
    browser.send("Target.closeTarget", targetId=target)


def check_quiet(browser, page):
    errors, requests = [], []
    for event in browser.events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            errors.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            errors.append(str(params["args"]))
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("data:", "blob:")) and url.split("#")[0] != page.resolve().as_uri():
                requests.append(url)
    check(not errors, f"no console error {errors[:2] or ''}")
    check(not requests, f"no request leaves the page {requests[:2] or ''}")


def check_table(browser):
    if not browser.run("!!document.querySelector('tbody tr')"):
        return
    column = browser.run("document.querySelectorAll('thead th').length - 1")
    cells = f"[...document.querySelectorAll('tbody tr:not(.truth)')].map((r) => r.cells[{column}].dataset.sort).filter((v) => v).map(Number)"
    for order in ("ascending", "descending"):
        browser.run(f"document.querySelectorAll('thead th')[{column}].querySelector('button').click()")
        values = browser.run(cells)
        check(values == sorted(values, reverse=order == "descending"), f"the table sorts {order}")
        check(browser.run(f"document.querySelectorAll('thead th')[{column}].getAttribute('aria-sort')") == order,
              f"and says so ({order})")


def check_downloads(browser, folder):
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    name = browser.run("document.querySelector('.plates section').id")
    count = browser.run("document.querySelectorAll('.plates section:first-child .downloads button').length")
    for index in range(count):
        browser.run(f"document.querySelectorAll('.plates section:first-child .downloads button')[{index}].click()")
    wanted = [folder / f"{name}.{form}" for form in ("svg", "png", "csv")]
    end = time.monotonic() + 30
    while time.monotonic() < end and not all(file.exists() and file.stat().st_size for file in wanted):
        time.sleep(0.1)
    check(all(file.exists() for file in wanted), f"{name} downloads as SVG, PNG and CSV")
    import xml.dom.minidom
    check(xml.dom.minidom.parse(str(wanted[0])).documentElement.tagName == "svg", "the SVG is well formed")
    png = wanted[1].read_bytes()
    check(png[:8] == b"\x89PNG\r\n\x1a\n" and png[-8:-4] == b"IEND", "the PNG is whole")
    import csv
    rows = list(csv.reader(wanted[2].read_text().splitlines()))
    check(len(rows) > 1 and len({len(row) for row in rows}) == 1, "the CSV has rows of one length")


def check_explorer(browser):
    first = browser.settled(PICTURE)
    heading = browser.run("document.querySelector('.slot').textContent")
    layers = browser.run("Number(document.querySelector('.layer input').max)")
    if layers > 0:
        place = browser.run("Number(document.querySelector('.layer input').value)")
        browser.run("document.querySelector('.explorer').focus()")
        browser.key("ArrowLeft" if place else "ArrowRight")
        browser.until(f"document.querySelector('.slot').textContent !== {json.dumps(heading)}", "a key to change the layer")
        browser.until(f"{PICTURE} !== {first}", "the picture to change with the layer")
        check(True, "a key changes layer and picture")
        browser.run("(() => { const s = document.querySelector('.layer input'); s.value = 0; "
                    "s.dispatchEvent(new Event('input')); })()")
        browser.until("document.querySelector('.layer .now').textContent.startsWith(JSON.parse(document.getElementById('data').textContent).runs[0].layers[0] + ' ')",
                      "the slider to change the layer")
        check(True, "the slider changes the layer")
    before = browser.settled(PICTURE)
    browser.point("document.querySelector('.legend button')")
    browser.until(f"{PICTURE} !== {before}", "a class to light up in the images")
    lit = browser.run("[document.querySelectorAll('.legend button.lit').length, document.querySelectorAll('.mi .bar.dim').length,"
                      " document.querySelectorAll('svg g[data-class].dim').length, document.querySelectorAll('svg g[data-class]').length]")
    check(lit[0] == 1, "pointing at a class lights its line in the legend")
    check(lit[3] == 0 or lit[2] > 0, "and its bars in the figures")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    browser.until(f"{PICTURE} === {before}", "the class to go out again")
    check(True, "and it goes out again")
    browser.point("document.querySelector('.cards .stack canvas')")
    browser.until("document.querySelectorAll('.legend button.lit').length === 1 || document.querySelector('.cards canvas').hidden",
                  "pointing at a map to light its class")
    check(True, "pointing at a map lights its class")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    if browser.run("!!document.querySelector('svg g[data-slot]')"):
        name = browser.run("document.querySelector('svg g[data-slot]:last-of-type').dataset.slot")
        browser.run("document.querySelector('svg g[data-slot]:last-of-type').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        facet, layer = name.split("/")[1].split(".")
        browser.until(f"document.querySelector('.slot').textContent.endsWith('{facet}, layer {layer}')", "the scatter to open a slot")
        check(True, "a point of the scatter opens its slot")
    if browser.run("JSON.parse(document.getElementById('data').textContent).runs[0].has_classes"):
        browser.run("document.querySelector('.keep').click(); document.querySelector('.view input[value=difference]').click()")
        browser.until("document.querySelector('.difference').textContent.includes(' in 0.0 %')", "the difference to itself")
        check(True, "a slot does not differ from itself")
        # Some slots may say the same everywhere, as where one cluster took everything: one that does not will do.
        browser.until("""(() => { const line = document.querySelector('.difference').textContent;
          if (/ in [0-9.]*[1-9][0-9.]* %/.test(line)) return true;
          const others = [...document.querySelectorAll('.facets input:not(:checked)')], slider = document.querySelector('.layer input');
          slider.value = Math.floor(Math.random() * (Number(slider.max) + 1)); slider.dispatchEvent(new Event('input'));
          if (others.length) others[Math.floor(Math.random() * others.length)].click();
          return false; })()""", "the difference to another slot")
        check(True, "it differs from another")
        browser.run("document.querySelector('.view input[value=labels]').click()")
    if browser.run("JSON.parse(document.getElementById('data').textContent).runs.length > 1"):
        before = browser.run("document.querySelector('.slot').textContent")
        browser.run("(() => { const s = document.querySelector('.run select'); s.value = '1'; s.dispatchEvent(new Event('change')); })()")
        browser.until(f"document.querySelector('.slot').textContent !== {json.dumps(before)}", "another run to be shown")
        check(True, "another run can be chosen")


def check_names(browser):
    """Everything that can be used has a name for a screen reader."""
    nameless = browser.run("""[...document.querySelectorAll('button, input, select, [role=img], [role=group]')].filter((e) =>
      !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || (e.labels && e.labels.length)
        || e.querySelector('title'))).map((e) => e.outerHTML.slice(0, 80))""")
    check(not nameless, f"every control and picture has a name {nameless[:2] or ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path, help="write screenshots and the printed page here")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    args = parser.parse_args()
    if not args.chromium:
        raise SystemExit("browser: chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(args.chromium, Path(folder) / "profile")
        try:
            for number, page in enumerate(args.pages):
                print(page)
                for width in (1280, 400):
                    target, seconds = open_page(browser, page, width)
                    print(f"  ok  ready after {seconds:.1f} s at {width} pixels")
                    over = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    check(over <= 0, f"nothing runs over the edge at {width} pixels ({over})")
                    if args.shots:
                        args.shots.mkdir(parents=True, exist_ok=True)
                        shot = browser.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
                        (args.shots / f"{number}-{width}.png").write_bytes(base64.b64decode(shot["data"]))
                    if width == 1280:
                        check_names(browser)
                        if browser.run("!!document.querySelector('.explorer:not([hidden])')"):
                            check_explorer(browser)
                        check_table(browser)
                        if browser.run("!!document.querySelector('.plates section')"):
                            check_downloads(browser, Path(folder) / "downloads")
                        printed = base64.b64decode(browser.send("Page.printToPDF", printBackground=True)["data"])
                        check(printed[:5] == b"%PDF-" and len(printed) > 10_000, "it prints")
                        if args.shots:
                            (args.shots / f"{number}.pdf").write_bytes(printed)
                    check_quiet(browser, page)
                    close_page(browser, target)
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())

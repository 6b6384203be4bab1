#!/usr/bin/env python3
"""Opens report pages in headless Chromium and checks that they work.

    python3 tools/browser.py PAGE [PAGE ...] [--shots DIR] [--chromium PATH]

Needs Python 3.11 and Debian's chromium, nothing else: Chromium is driven over a pipe by its DevTools
protocol. Of every page: it is under 6 MB, loads without a console error and without a request that
leaves it, and is soon ready; the table sorts; the downloads of every figure are valid files; text stands
out from its ground, in light and dark; the keyboard reaches the controls in the order of the page; of
figures behind tabs one is shown; it prints. Of a page with an explorer: keys and slider change the picture; a cell
of the grid opens its slot, arrow keys work with nothing in focus, and the address names the slot; pointing at a class lights it in
images and bars, and pointing at a bar lights its class; a point of the scatter opens its slot; the
difference of a slot to itself is 0 % and to another is not; a click on a patch shows the cosines that the run's file gives, and
the keys A and C show patches and components. Exits with 1 on the first failure.
"""

import argparse
import base64
import csv
import json
import math
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import xml.dom.minidom
from pathlib import Path

# Chromium reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte.
COMMANDS, ANSWERS = 3, 4
# Seconds without an answer that are too many, on a busy machine, too.
PATIENCE = 180


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
            # A page whose process is gone is never heard of again.
            if not select.select([self.inp], [], [], PATIENCE)[0]:
                raise SystemExit(f"browser: Chromium gave no answer for {PATIENCE} s")
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


# A page with 48 slots and 12 examples stays below this.
MOST_BYTES = 6_000_000
# Of text that stands out too little from its ground (WCAG 2, level AA), what it says and by how much.
FAINT = """(() => {
  const numbers = (color) => (color.match(/[0-9.]+/g) || []).map(Number);
  const light = (color) => color.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let e = node; e; e = e.parentElement) {
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    const style = getComputedStyle(e), isDrawn = !!e.closest("svg");
    if (!text || !e.checkVisibility() || e.closest("script, style, title, desc, .hidden, .skip, [hidden]")) continue;
    // A number on a cell whose color is a value is colored with it, and belongs to no theme.
    if (isDrawn && !e.className.baseVal) continue;
    const [a, b] = [numbers(isDrawn ? style.fill : style.color), ground(e)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 600);
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${text.slice(0, 40)} (${ratio.toFixed(2)})`);
  }
  return faint; })()"""

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


def take_shot(browser, path):
    shot = browser.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
    path.write_bytes(base64.b64decode(shot["data"]))


def close_page(browser, target):
    browser.session = None
    browser.send("Target.closeTarget", targetId=target)


def said(browser):
    """The errors in the console so far, and the addresses that were asked for."""
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
            requests.append(params["request"]["url"])
    return errors, requests


def check_quiet(browser, page):
    errors, requests = said(browser)
    own = page.resolve().as_uri()
    requests = [url for url in requests if not url.startswith(("data:", "blob:")) and url.split("#")[0] != own]
    check(not errors, f"no console error {errors[:2] or ''}")
    check(not requests, f"no request leaves the page {requests[:2] or ''}")


def check_table(browser):
    if not browser.run("!!document.querySelector('#table tbody tr')"):
        return
    column = browser.run("document.querySelectorAll('#table thead th').length - 1")
    cells = f"[...document.querySelectorAll('#table tbody tr:not(.truth)')].map((r) => r.cells[{column}].dataset.sort).filter((v) => v).map(Number)"
    for order in ("ascending", "descending"):
        browser.run(f"document.querySelectorAll('#table thead th')[{column}].querySelector('button').click()")
        values = browser.run(cells)
        check(values == sorted(values, reverse=order == "descending"), f"the table sorts {order}")
        check(browser.run(f"document.querySelectorAll('#table thead th')[{column}].getAttribute('aria-sort')") == order,
              f"and says so ({order})")


def check_downloads(browser, folder):
    """Every button of every figure gives a file that is what its name says."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    names = browser.run("[...document.querySelectorAll('.plates section')].map((section) => section.id)")
    for name in names:
        buttons = f"document.querySelectorAll('[id=\"{name}\"] .downloads button')"
        forms = browser.run(f"[...{buttons}].map((button) => button.textContent)")
        if forms != ["SVG", "PNG", "CSV"]:
            check(False, f"{name} can be downloaded in three forms ({forms})")
        for index, form in enumerate(forms):
            file = folder / f"{name}.{form.lower()}"
            # Chromium drops what a page gives out beyond ten files a second.
            time.sleep(0.12)
            browser.run(f"{buttons}[{index}].click()")
            end = time.monotonic() + 30
            # A file has its name once it is whole.
            while time.monotonic() < end and not (file.exists() and file.stat().st_size):
                time.sleep(0.02)
            if not file.exists():
                check(False, f"{file.name} is downloaded")
            data = file.read_bytes()
            if form == "SVG" and xml.dom.minidom.parseString(data).documentElement.tagName != "svg":
                check(False, f"{file.name} is an SVG")
            if form == "PNG" and not (data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"):
                check(False, f"{file.name} is a whole PNG")
            if form == "CSV":
                rows = list(csv.reader(data.decode().splitlines()))
                if len(rows) < 2 or len({len(row) for row in rows}) != 1:
                    check(False, f"{file.name} has rows of one length")
    check(True, f"{len(names)} figures download as SVG, PNG and CSV")


def check_contrast(browser, shots, name):
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        faint = browser.run(FAINT)
        check(not faint, f"text stands out from its ground ({scheme}) {faint[:3] or ''}")
        if shots and scheme == "dark":
            take_shot(browser, shots / f"{name}-dark.png")
    browser.send("Emulation.setEmulatedMedia", media="print", features=[])
    if shots:
        take_shot(browser, shots / f"{name}-print.png")
    browser.send("Emulation.setEmulatedMedia", media="", features=[])


def check_focus(browser):
    """The tab key reaches what can be used in the order in which it stands, from the link past the heading."""
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(60):
        browser.key("Tab")
        where = browser.run("""(() => { const e = document.activeElement; if (!e || e === document.body) return null;
          window.order = window.order || [...document.querySelectorAll('*')]; const style = getComputedStyle(e);
          const shown = e.matches('.facets input, .view input') ? getComputedStyle(e.nextElementSibling) : style;
          return [window.order.indexOf(e), e.className, shown.outlineStyle !== 'none']; })()""")
        if where is None:
            break
        reached.append(where)
    check(len(reached) > 4 and reached[0][1] == "skip", "the first tab is the link to the figures")
    places = [place for place, *_ in reached if place >= 0]
    check(places == sorted(places), "the tab key goes down the page")
    check(all(ring for *_, ring in reached), "what has the focus shows it")


def check_grid_and_keys(browser):
    """A cell of the grid opens its slot, arrow keys work in the facets and with nothing in focus, and the
    address names the slot."""
    slot = "document.querySelector('.slot').textContent"
    cells = browser.run("document.querySelectorAll('[data-open]').length")
    if not cells:
        return
    browser.run("document.querySelector('[data-open]').click()")
    opened = browser.run("document.querySelector('[data-open]').dataset.open.split('/')[1].replace('.', ', layer ')")
    browser.until(f"{slot}.endsWith({json.dumps(opened)})", "a cell of the grid to open its slot")
    check(True, "a cell of the grid opens its slot")
    for focus, where in (("document.activeElement.blur()", "with nothing in focus"),
                         ("document.querySelector('.facets input:checked').focus()", "in the facets")):
        browser.run(focus)
        before = browser.run(slot)
        if browser.run("Number(document.querySelector('.layer input').max)") > 0:
            browser.key("ArrowRight" if browser.run("Number(document.querySelector('.layer input').value)") == 0 else "ArrowLeft")
            browser.until(f"{slot} !== {json.dumps(before)}", f"a key {where} to change the layer")
            check(browser.run(slot).split(",")[-2] == before.split(",")[-2], f"a key {where} changes the layer alone")
    if browser.run("document.querySelectorAll('.facets input').length") > 1:
        before = browser.run(slot)
        browser.run("document.querySelector('.facets input:checked').focus()")
        browser.key("ArrowDown" if browser.run("document.querySelector('.facets input').checked") else "ArrowUp")
        browser.until(f"{slot} !== {json.dumps(before)}", "a key in the facets to change the facet")
        after = browser.run(slot)
        check(after.split(",")[-1] == before.split(",")[-1], f"up and down change the facet alone ({before}; {after})")
    named = browser.run("location.hash")
    check(named.startswith("#slot="), f"the address names the slot ({named})")


def check_tabs(browser):
    """Of figures behind tabs one is shown, and its tab says so."""
    shown = browser.run("[...document.querySelectorAll('.tabs.live')].map((box) => "
                        "[...box.querySelectorAll('section')].filter((section) => !section.hidden).length)")
    check(all(count == 1 for count in shown), f"one figure of each row of tabs is shown ({len(shown)} rows)")
    if shown:
        browser.run("document.querySelector('.tabs.live [role=tab]:last-of-type').click()")
        last = browser.run("(() => { const s = [...document.querySelector('.tabs.live').querySelectorAll('section')]; "
                           "return !s.at(-1).hidden && s[0].hidden; })()")
        check(last, "a tab shows its figure")


def check_tables_fit(browser, width):
    """No table is wider than its place, but for a grid of more layers than a narrow window has room for."""
    over = browser.run("""[...document.querySelectorAll('.scroll')].filter((box) => {
      const layers = box.matches('.slots') ? box.querySelectorAll('thead th').length - 1 : 0;
      return layers <= 12 && box.querySelectorAll('thead th').length < 16 && box.scrollWidth > box.clientWidth;
    }).map((box) => [box.getAttribute('aria-label'), box.scrollWidth, box.clientWidth])""")
    check(not over, f"tables fit at {width} pixels {over or ''}")


def check_picture_first(browser):
    """On a narrow window a picture stands above the words, where the page has one to choose."""
    if browser.run("!!document.querySelector('.explorer:not([hidden])')"):
        places = browser.run("""['.cards .stack', '.controls', '#verdict'].map((name) => {
          const node = document.querySelector(name); return node ? node.getBoundingClientRect().top + scrollY : 1e9; })""")
        check(places[0] < min(300, *places[1:]),
              f"a picture comes first ({[round(place) for place in places]})")


def kept_patches(page, slot):
    """`[E, N, r]` of a run's slot, read without the page: coordinates by image and patch; and the share of what they leave out."""
    path = Path(page).parent / "patches.safetensors"
    if not path.exists():
        return None
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensor = header[f"patches.{slot}"]
    [rest] = struct.unpack("<d", content[start + header[f"patch_rest.{slot}"]["data_offsets"][0]:][:8])
    images, patches, width = tensor["shape"]
    codes = memoryview(content[start + tensor["data_offsets"][0]:start + tensor["data_offsets"][1]]).cast("b")
    return [[codes[(i * patches + n) * width:(i * patches + n + 1) * width] for n in range(patches)] for i in range(images)], rest


def kept_cosine(one, other, rest):
    """The cosine of two patches (docs/protocol.md section 19)."""
    if one is other:
        return 1.0
    both, own, others = (sum(a * b for a, b in zip(p, q)) / 32**2 for p, q in ((one, other), (one, one), (other, other)))
    outside = math.sqrt(max(0, 1 - own) * max(0, 1 - others))
    return max(-1, min(1, both + rest * outside * (both / math.sqrt(own * others)) ** 3))


def check_patches(browser, page):
    """Clicking a patch shows what is like it, with the cosines that the run's file gives; keys move it; components are
    colors; a layer without patches says so."""
    data = "JSON.parse(document.getElementById('data').textContent).runs[0]"
    kept = browser.run(f"Object.keys({data}.patches)")
    if not kept:
        check(browser.run("document.querySelector('.view input[value=alike]').closest('label').hidden"), "no patches, nothing to compare")
        return
    slot, (facet, layer) = kept[0], kept[0].split(".")
    browser.run(f"location.hash = '#slot=0/{slot}'")
    browser.until(f"document.querySelector('.slot').textContent.endsWith('{facet}, layer {layer}')", "the slot with patches")
    labels = browser.settled(PICTURE)
    browser.run("document.querySelector('.explorer').focus()")
    browser.key("a")
    browser.until("document.querySelector('.view input[value=alike]').checked", "the key A")
    browser.click("document.querySelector('.cards li .stack')")
    line = browser.run("document.querySelector('.difference').textContent")
    chosen = re.match(r"Cosines with the patch at row (\d+), column (\d+) of (.*?)(; they are made of |\.)", line)
    check(chosen and browser.settled(PICTURE) != labels, f"a click shows cosines with that patch ({line})")
    browser.point("document.querySelector('.cards li:last-child .stack')")
    told = browser.run("document.querySelector('.lit-line').textContent")
    found = re.match(r"row (\d+), column (\d+) of .*: cosine (.*)$", told)
    check(found, f"pointing at another tells their cosine ({told})")
    stored, (_, columns) = kept_patches(page, slot), browser.run(f"{data}.grid")
    if stored:
        codes, rest = stored
        one, other = [(int(at[1]) - 1) * columns + int(at[2]) - 1 for at in (chosen, found)]
        own, last = codes[0][one], codes[browser.run("document.querySelectorAll('.cards li').length") - 1][other]
        cosine = kept_cosine(own, last, rest)
        check(abs(float(found[3].replace("\u2212", "-")) - cosine) < 0.0051, f"it is the one of the run's file ({cosine:.4f})")
    browser.run("document.querySelector('.cards li .stack').focus()")
    browser.key("ArrowRight")
    moved = browser.run("document.querySelector('.difference').textContent")
    check(f"column {min(columns, int(chosen[2]) + 1)} of" in moved, "an arrow key moves the patch, not the layer")
    before = browser.settled(PICTURE)
    browser.run("document.querySelector('.explorer').focus()")
    browser.key("c")
    browser.until(f"document.querySelector('.view input[value=components]').checked && {PICTURE} !== {before}", "the key C to show components")
    check(True, "the key C shows principal components")
    without = browser.run(f"Object.keys({data}.slots).find((slot) => !({data}.patches[slot]))")
    if without:
        browser.run(f"location.hash = '#slot=0/{without}'")
        browser.until("document.querySelector('.difference').textContent.startsWith('Patches are kept of')", "a slot without patches to say so")
        check(True, "a slot without patches says so")
    browser.run("document.querySelector('.view input[value=labels]').click()")
    browser.run(f"location.hash = '#slot=0/{slot}'")
    browser.until(f"document.querySelector('.slot').textContent.endsWith('{facet}, layer {layer}')", "the slot again")
    check(browser.settled(PICTURE) == labels, "and the segmentation comes back")


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
    for bar, where in (("document.querySelector('.mi .bar')", "beside the picture"),
                       ("document.querySelector('svg g[data-class] rect')", "in a figure")):
        if browser.run(f"!!{bar}"):
            x, y = browser.point(bar)
            browser.until("document.querySelectorAll('.legend button.lit').length === 1", f"a bar {where} to light its class")
            check(browser.run(f"{bar}.contains(document.elementFromPoint({x}, {y}))"), f"a bar {where} lights its class, and stays under the pointer")
            browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
            browser.until("document.querySelectorAll('.legend button.lit').length === 0", "the class to go out again")
    if browser.run("!!document.querySelector('svg g[data-slot]')"):
        name = browser.run("document.querySelector('svg g[data-slot]:last-of-type').dataset.slot")
        browser.run("document.querySelector('svg g[data-slot]:last-of-type').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        run, (facet, layer) = name.split("/")[0], name.split("/")[1].split(".")
        browser.until(f"document.querySelector('.slot').textContent.endsWith('{facet}, layer {layer}')"
                      f" && document.querySelector('.run select').value === '{run}'", "the scatter to open a slot")
        told = browser.run("document.querySelector('svg g[data-slot]:last-of-type title').textContent")
        opened = browser.run("document.querySelector('.slot').textContent")
        check(told.replace(f", {facet} layer", "").startswith(opened.split(", ")[0]) or not browser.run(
            "document.querySelector('.run select').options.length > 1"), f"it is the slot that the point names ({told}; {opened})")
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
        browser.run("document.querySelector('.view input[value=labels]').click(); document.querySelector('.explorer').focus()")
        for key, wanted in (("d", "difference"), ("d", "labels")):
            browser.key(key)
            browser.until(f"document.querySelector('.view input[value={wanted}]').checked", f"the key D to show the {wanted}")
        check(True, "the key D switches to the difference and back")
    if browser.run("JSON.parse(document.getElementById('data').textContent).runs.length > 1"):
        before = browser.run("document.querySelector('.slot').textContent")
        browser.run("(() => { const s = document.querySelector('.run select'); s.value = s.value === '0' ? '1' : '0';"
                    " s.dispatchEvent(new Event('change')); })()")
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
                for width in (1280, 390):
                    target, seconds = open_page(browser, page, width)
                    print(f"  ok  ready after {seconds:.1f} s at {width} pixels")
                    over = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    check(over <= 0, f"nothing runs over the edge at {width} pixels ({over})")
                    if args.shots:
                        args.shots.mkdir(parents=True, exist_ok=True)
                        take_shot(browser, args.shots / f"{number}-{width}.png")
                    check_tables_fit(browser, width)
                    if width == 390:
                        check_picture_first(browser)
                    if width == 1280:
                        size = page.stat().st_size
                        check(size < MOST_BYTES, f"the page has {size / 1e6:.1f} MB")
                        check_contrast(browser, args.shots, number)
                        check_focus(browser)
                        check_names(browser)
                        if browser.run("!!document.querySelector('.explorer:not([hidden])')"):
                            check_explorer(browser)
                            check_patches(browser, page)
                            check_grid_and_keys(browser)
                        check_tabs(browser)
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

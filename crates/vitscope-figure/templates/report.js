"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NONE = 255;
  const FACETS = ["key", "query", "value", "token"];
  const find = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const button = (text, action) => {
    const node = make("button", "", text);
    node.type = "button";
    node.addEventListener("click", action);
    return node;
  };

  // Downloads: what is on the page, as a file of its own. Nothing is fetched.
  const save = (name, blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const fontFaces = () => (document.querySelector("style").textContent.match(/@font-face\{[^}]*\}/g) || []).join("\n");
  const aloneSvg = (svg) => {
    const copy = svg.cloneNode(true);
    const style = document.createElementNS(copy.namespaceURI, "style");
    style.textContent = fontFaces();
    const paper = document.createElementNS(copy.namespaceURI, "rect");
    for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", "#ffffff"]]) paper.setAttribute(name, value);
    for (const dim of copy.querySelectorAll(".dim")) dim.classList.remove("dim");
    copy.prepend(style, paper);
    return new XMLSerializer().serializeToString(copy);
  };
  const toPng = (canvas, name) => new Promise((done) => canvas.toBlob((blob) => { save(name, blob); done(); }, "image/png"));
  const savePng = async (svg, name) => {
    const box = svg.viewBox.baseVal;
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(aloneSvg(svg))}`;
    await picture.decode();
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [box.width * 2, box.height * 2];
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    await toPng(canvas, name);
  };
  for (const section of document.querySelectorAll(".plates section")) {
    const svg = section.querySelector("svg");
    const line = make("span", "downloads");
    const heading = section.querySelector("h2").textContent;
    const add = (form, action) => {
      const node = button(form, action);
      node.setAttribute("aria-label", `${form} of ${heading}`);
      line.append(" ", node);
    };
    add("SVG", () => save(`${section.id}.svg`, new Blob([aloneSvg(svg)], { type: "image/svg+xml" })));
    add("PNG", () => savePng(svg, `${section.id}.png`));
    if (data.tables[section.id] !== undefined) {
      add("CSV", () => save(`${section.id}.csv`, new Blob([data.tables[section.id]], { type: "text/csv" })));
    }
    section.querySelector("figcaption").append(line);
  }

  // Figures of one kind for each facet: one at a time. Without a script they stand below one another.
  for (const box of document.querySelectorAll(".tabs")) {
    const sections = [...box.querySelectorAll("section")];
    if (sections.length < 2) continue;
    const list = make("div");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.dataset.heading);
    list.append(make("h2", "", box.dataset.heading));
    const tabs = sections.map((section) => {
      const tab = button(section.dataset.tab, () => choose(section));
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", section.id);
      section.setAttribute("role", "tabpanel");
      list.append(tab);
      return tab;
    });
    const choose = (chosen) => sections.forEach((section, index) => {
      section.hidden = section !== chosen;
      tabs[index].setAttribute("aria-selected", String(section === chosen));
      tabs[index].tabIndex = section === chosen ? 0 : -1;
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
      choose(sections[next]);
      tabs[next].focus();
    });
    const follow = () => {
      const wanted = sections.find((section) => `#${section.id}` === location.hash);
      if (wanted) choose(wanted);
    };
    box.classList.add("live");
    box.prepend(list);
    choose(sections[0]);
    follow();
    window.addEventListener("hashchange", follow);
  }

  // The table: sorting is stable, and what is undefined stays last in both directions.
  const sortBy = (head, column) => {
    const table = head.closest("table");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const order = {
      text: (left, right) => left.localeCompare(right, "en"),
      facet: (left, right) => FACETS.indexOf(left) - FACETS.indexOf(right),
      number: (left, right) => left - right,
    }[head.dataset.order || "number"];
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("truth"));
    rows.sort((a, b) => {
      const [left, right] = [key(a), key(b)];
      if (left === "" || right === "") return (left === "") - (right === "");
      return falling ? -order(left, right) : order(left, right);
    });
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("#table thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(head, column));
  });

  const explorer = find(".explorer");
  if (!explorer) return;

  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflate = async (text) => {
    const stream = new Blob([decode(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  // Label maps, as page/maps.rs encodes them: up to three answers a pixel, each through LZMA's range coder.
  const unfold = (text, maps, [width, height]) => {
    const bytes = decode(text);
    const pixels = new Uint8Array(maps * width * height);
    const answers = [0, 1, 2].map(() => new Uint16Array(512).fill(2048));
    const bits = new Uint16Array(256).fill(2048);
    let next = 8;
    let code = ((bytes[4] << 24) | (bytes[5] << 16) | (bytes[6] << 8) | bytes[7]) >>> 0;
    let range = 0xffffffff;
    const tell = (learned, way) => {
      const no = learned[way];
      const bound = (range >>> 12) * no;
      const isYes = code >= bound;
      if (isYes) {
        code -= bound;
        range -= bound;
        learned[way] = no - (no >> 5);
      } else {
        range = bound;
        learned[way] = no + ((4096 - no) >> 5);
      }
      while (range < 0x1000000) {
        range *= 256;
        code = ((code << 8) | (bytes[next] || 0)) >>> 0;
        next += 1;
      }
      return isYes;
    };
    const other = () => {
      let node = 1;
      for (let bit = 0; bit < 8; bit += 1) node = 2 * node + (tell(bits, node) ? 1 : 0);
      return node & 255;
    };
    let sum = 7;
    let at = 0;
    for (let map = 0; map < maps; map += 1) {
      for (let row = 0; row < height; row += 1) {
        // The rows above, 0 where there is none; two above the second row is the first.
        const above = row ? at - width : -1;
        const higher = row > 1 ? at - 2 * width : above;
        const in1 = (column) => (above < 0 ? 0 : pixels[above + (column < width ? column : width - 1)]);
        const in2 = (column) => (higher < 0 ? 0 : pixels[higher + (column < width ? column : width - 1)]);
        let [up, right] = [in1(0), in1(1)];
        let [left, before, corner] = [up, up, up];
        for (let column = 0; column < width; column += 1) {
          const beyond = in1(column + 2);
          const way = (left === up) | ((up === corner) << 1) | ((up === right) << 2) | ((left === corner) << 3) | ((left === before) << 4)
            | ((up === in2(column)) << 5) | ((right === beyond) << 6) | ((right === in2(column + 1)) << 7) | ((left === right) << 8);
          let label = left;
          if (tell(answers[0], way)) {
            if (up !== left && !tell(answers[1], way)) label = up;
            else if (right !== left && right !== up && !tell(answers[2], way)) label = right;
            else label = other();
          }
          pixels[at + column] = label;
          sum = (Math.imul(sum, 31) + label) >>> 0;
          [before, left, corner, up, right] = [column ? left : label, label, up, right, beyond];
        }
        at += width;
      }
    }
    if (sum !== ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0) throw new Error("The page is damaged: its label maps are not those that were written.");
    return pixels;
  };
  const jpeg = (text) => `data:image/jpeg;base64,${text}`;
  const rgb = (color) => `rgb(${color.join(" ")})`;

  // What is unpacked of a slot: one array per example, and the shares by position.
  const unpack = async (source, run) => {
    if (!source || source.unpacked) return;
    const labels = source.labels && unfold(source.labels, source.maps.filter(Boolean).length, run.size);
    const shares = source.shares && (await inflate(source.shares));
    const pixels = run.size[0] * run.size[1];
    let next = 0;
    source.unpacked = source.maps.map((there) => {
      if (!there || !labels) return null;
      next += 1;
      return labels.subarray((next - 1) * pixels, next * pixels);
    });
    source.places = shares || null;
  };

  // `base` is the slot that the difference is taken from: its run, facet and layer as places.
  const state = { run: 0, facet: 0, layer: 0, opacity: 1, lit: -1, pinned: -1, turn: 0, view: "labels", base: null };
  const run = () => data.runs[state.run];
  const nameOf = (at) => `${data.runs[at.run].facets[at.facet]}.${data.runs[at.run].layers[at.layer]}`;
  const slotOf = (at) => data.runs[at.run].slots[nameOf(at)];
  const slot = () => slotOf(state);
  const readable = (at) => {
    const { label, facets, layers } = data.runs[at.run];
    return `${data.runs.length > 1 ? `${label}, ` : ""}${facets[at.facet]}, layer ${layers[at.layer]}`;
  };

  // Whether a difference can be shown, or why not.
  const noDifference = () => {
    if (!state.base) return "First choose a slot and keep it as reference.";
    const other = data.runs[state.base.run];
    if (!run().has_classes || !other.has_classes) return "Without ground truth, clusters of two slots have nothing in common.";
    if (String(other.size) !== String(run().size)) return "The two runs have crops of different sizes.";
    if (other.entries.map((entry) => entry.name).join("\n") !== run().entries.map((entry) => entry.name).join("\n")) return "The two runs have different classes.";
    return "";
  };
  const isDifference = () => state.view === "difference" && noDifference() === "";

  // The base's labels of an example, as lines of the legend.
  const baseLabels = (stem) => {
    const index = data.runs[state.base.run].examples.findIndex((example) => example.stem === stem);
    const source = slotOf(state.base);
    return index >= 0 && source && source.unpacked ? source.unpacked[index] : null;
  };

  // Paints a label map; gives how many of its pixels were compared and how many differ.
  const paint = (canvas, source, example, alpha, compared) => {
    const [width, height] = run().size;
    const map = source && source.unpacked ? source.unpacked[example] : null;
    const other = compared ? baseLabels(run().examples[example].stem) : null;
    canvas.hidden = !map || (compared && !other);
    if (canvas.hidden) return [0, 0];
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const words = new Uint32Array(image.data.buffer);
    const table = new Uint32Array(256);
    const solid = Math.round(255 * alpha);
    // Around a lit class the image shows gray, veiled white behind a dark color, black behind a light one.
    const luminance = state.lit < 0 ? 0 : [0.3, 0.59, 0.11].reduce((sum, share, at) => sum + share * run().entries[state.lit].color[at], 0);
    const veil = luminance < 110 ? 0x8cffffff : 0x8c000000;
    // A cluster that has not earned its class's name is muted and striped.
    const stripes = new Uint32Array(256);
    for (let index = 0; index < NONE; index += 1) {
      const color = source.palette[index] || [128, 128, 128];
      const isLit = state.lit < 0 || source.entries[index] === state.lit;
      const word = ([red, green, blue]) => (isLit ? (((state.lit < 0 ? solid : 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0 : veil);
      const isMuted = source.unearned[source.entries[index]] === true;
      const muted = isMuted ? color.map((channel) => Math.round(0.4 * channel + 90)) : color;
      table[index] = word(muted);
      stripes[index] = isMuted ? word(muted.map((channel) => Math.round(0.45 * channel + 129.25))) : table[index];
    }
    // Pixels without a label are hatched, so that no class's color can be mistaken for them.
    const [light, dark] = [0xece8e6, 0xa39992].map((gray) => (state.lit < 0 ? ((solid << 24) | gray) >>> 0 : veil));
    const from = compared ? slotOf(state.base).entries : null;
    let differing = 0;
    for (let pixel = 0; pixel < words.length; pixel += 1) {
      const index = map[pixel];
      const diagonal = pixel % width + Math.floor(pixel / width);
      const color = index !== NONE ? (diagonal % 9 < 4 ? stripes : table)[index] : diagonal % 24 < 8 ? dark : light;
      if (!compared) {
        words[pixel] = color;
      } else if (source.entries[index] !== from[other[pixel]]) {
        differing += 1;
        words[pixel] = color;
      } else {
        words[pixel] = 0x8cffffff;
      }
    }
    context.putImageData(image, 0, 0);
    return [words.length, differing];
  };

  const stack = (label, image, canvas) => {
    const [width, height] = run().size;
    const box = make("div", "stack");
    if (image !== null) {
      const picture = make("img");
      picture.src = jpeg(data.pictures[image]);
      picture.alt = "";
      box.append(picture);
    } else {
      // Seen only while no map lies over it.
      box.append(make("span", "absentmap", "not stored"));
    }
    if (canvas) {
      canvas.width = width;
      canvas.height = height;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
      box.append(canvas);
    } else {
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", label);
    }
    return box;
  };

  // Pointing at a map lights the class under the pointer.
  const watch = (box, canvas, source, example) => {
    const entryAt = (event) => {
      const [width, height] = run().size;
      const map = source() && source().unpacked ? source().unpacked[example] : null;
      if (!map) return -1;
      const place = canvas.getBoundingClientRect();
      const x = Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - place.left) / place.width) * width)));
      const y = Math.min(height - 1, Math.max(0, Math.floor(((event.clientY - place.top) / place.height) * height)));
      const index = map[y * width + x];
      return index === NONE ? -1 : source().entries[index];
    };
    box.addEventListener("pointermove", (event) => light(entryAt(event)));
    box.addEventListener("pointerleave", () => light(state.pinned));
    box.addEventListener("click", (event) => pin(entryAt(event)));
  };

  let cards = [];
  let buttons = [];
  let bars = [];
  let facetInputs = [];

  const makeCards = () => run().examples.map((example, index) => {
    const card = make("li");
    const main = make("canvas");
    const mainStack = stack(`segmentation of ${example.stem}`, example.image, main);
    watch(mainStack, main, slot, index);
    const thumbs = make("div", "thumbs");
    thumbs.append(stack(`image ${example.stem}`, example.image, null));
    let truth = null;
    let truthStack = null;
    if (run().truth && run().truth.maps[index]) {
      truth = make("canvas");
      truthStack = stack(`ground truth of ${example.stem}`, example.image, truth);
      watch(truthStack, truth, () => run().truth, index);
      thumbs.append(truthStack);
    }
    const stem = make("p", "stem", example.stem);
    stem.title = example.stem;
    card.append(mainStack, thumbs, stem);
    return { card, main, mainStack, truth, truthStack };
  });

  // What the line below the legend says: how to use the explorer, or the lit class's numbers.
  const HINT = "Arrow keys: left and right change the layer, up and down the facet. Point at a class, in the legend or in a map, to light it up; click to keep it, Escape to let it go. R keeps the slot as reference, D shows the difference to it.";
  const describeLit = () => {
    if (state.lit < 0) return HINT;
    const parts = [slot(), run().truth].map((source, at) => {
      const numbers = source ? source.entry_numbers[state.lit] : "";
      if (!numbers) return "";
      return at === 0 ? `${readable(state)}: ${numbers}` : `ground truth: ${numbers}`;
    });
    return [run().entries[state.lit].name, ...parts.filter(Boolean)].join(" — ");
  };

  const makeButtons = () => {
    const made = run().entries.map((entry, index) => {
      const node = button(entry.name, () => pin(index));
      node.style.setProperty("--swatch", rgb(entry.color));
      if (entry.is_rest) node.classList.add("rest");
      node.setAttribute("aria-pressed", "false");
      node.addEventListener("pointerenter", () => light(index));
      node.addEventListener("pointerleave", () => light(state.pinned));
      node.addEventListener("focus", () => light(index));
      node.addEventListener("blur", () => light(state.pinned));
      return node;
    });
    const items = made.map((node) => {
      const item = make("li");
      item.append(node);
      return item;
    });
    if (run().has_none) items.push(make("li", "nolabel", "no label"));
    find(".legend").replaceChildren(...items);
    return made;
  };

  const maps = ["slot", "truth"].map((which) => {
    const figure = make("figure");
    const canvas = make("canvas");
    const box = make("div", "stack");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", which === "slot" ? "aggregate map" : "aggregate map of the ground truth");
    const picture = make("img");
    picture.alt = "";
    box.append(picture, canvas);
    const caption = make("figcaption");
    figure.append(box, caption);
    find(".aggregates").append(figure);
    return { which, figure, box, canvas, picture, caption };
  });

  // An aggregate map; with a class lit, that class's share at each position.
  const paintAggregate = (map) => {
    const source = map.which === "slot" ? slot() : run().truth;
    map.figure.hidden = !source || !source.aggregate;
    if (map.figure.hidden) return;
    map.picture.src = jpeg(source.aggregate);
    const name = map.which === "slot" ? `${run().facets[state.facet]} layer ${run().layers[state.layer]}` : "ground truth";
    const [rows, columns] = run().grid;
    const shown = state.lit >= 0 && source.places;
    map.canvas.hidden = !shown;
    if (!shown) {
      map.caption.textContent = `aggregate map: ${name}`;
      return;
    }
    map.canvas.width = columns;
    map.canvas.height = rows;
    const context = map.canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    const shares = source.places.subarray(state.lit * rows * columns, (state.lit + 1) * rows * columns);
    const most = Math.max(1, ...shares);
    shares.forEach((share, place) => {
      const level = Math.round((255 * share) / most);
      image.data.set([level, level, level, 255], place * 4);
    });
    context.putImageData(image, 0, 0);
    map.caption.textContent = `where ${name} says ${run().entries[state.lit].name}; white: ${(most / 255).toFixed(2)} of the images, black: 0`;
  };

  // Class-wise mutual information: the highest classes, in the ground truth's order.
  const MOST_BARS = 10;
  const makeBars = () => {
    const box = find(".mi");
    const truth = run().truth ? run().truth.mi : [];
    const mine = slot() ? slot().mi : [];
    const height = (entry) => Math.max(mine[entry] || 0, truth[entry] || 0);
    const entries = run().entries.map((_, entry) => entry).filter((entry) => (mine[entry] ?? truth[entry] ?? null) !== null);
    entries.sort((a, b) => height(b) - height(a) || a - b);
    entries.length = Math.min(entries.length, MOST_BARS);
    entries.sort((a, b) => (truth[b] || 0) - (truth[a] || 0) || a - b);
    box.hidden = entries.length === 0;
    const most = Math.max(...entries.map(height), 1e-12);
    const made = entries.map((entry) => {
      const line = make("div", "bar");
      line.dataset.entry = entry;
      const name = make("span", "", run().entries[entry].name);
      name.title = name.textContent;
      line.append(name);
      const track = make("div");
      const fill = make("i");
      fill.style.width = `${(100 * (mine[entry] || 0)) / most}%`;
      track.append(fill);
      if (truth[entry] !== undefined && truth[entry] !== null) {
        const mark = make("b");
        mark.style.left = `${(100 * truth[entry]) / most}%`;
        track.append(mark);
      }
      line.append(track, make("span", "value", mine[entry] === null || mine[entry] === undefined ? "undefined" : mine[entry].toFixed(3)));
      line.addEventListener("pointerenter", () => light(entry));
      line.addEventListener("pointerleave", () => light(state.pinned));
      line.addEventListener("click", () => pin(entry));
      return { entry, line };
    });
    box.replaceChildren(make("h4", "", "class-wise MI (nats), line: ground truth"), ...made.map((bar) => bar.line));
    return made;
  };

  const repaint = () => {
    const compared = isDifference();
    let [pixels, differing] = [0, 0];
    cards.forEach((card, index) => {
      const counts = paint(card.main, slot(), index, state.opacity, compared);
      pixels += counts[0];
      differing += counts[1];
      card.mainStack.classList.toggle("lit", state.lit >= 0 || compared);
      if (card.truth) {
        paint(card.truth, run().truth, index, 1, false);
        card.truthStack.classList.toggle("lit", state.lit >= 0);
      }
    });
    let line = state.base ? `Reference: ${readable(state.base)}.` : "";
    if (state.view === "difference") line = compared ? `${readable(state)} differs from ${readable(state.base)} in ${pixels ? ((100 * differing) / pixels).toFixed(1) : "0.0"} % of the pixels shown; in color: what it says there.` : noDifference();
    find(".difference").textContent = line;
    maps.forEach(paintAggregate);
    find(".lit-line").textContent = describeLit();
    buttons.forEach((node, index) => node.classList.toggle("lit", index === state.lit));
    bars.forEach((bar) => {
      bar.line.classList.toggle("lit", bar.entry === state.lit);
      bar.line.classList.toggle("dim", state.lit >= 0 && bar.entry !== state.lit);
    });
    for (const group of classGroups) group.classList.toggle("dim", state.lit >= 0 && classOf(group) !== state.lit);
  };

  // The bars of classes in the figures light up with the explorer, and light it up.
  const classGroups = [...document.querySelectorAll("svg g[data-class]")];
  const classOf = (group) => Number(group.dataset.class);
  for (const group of classGroups) {
    group.addEventListener("pointerenter", () => light(classOf(group)));
    group.addEventListener("pointerleave", () => light(state.pinned));
  }

  function light(entry) {
    if (entry === state.lit || entry >= run().entries.length) return;
    state.lit = entry;
    repaint();
  }

  function pin(entry) {
    state.pinned = entry === state.pinned ? -1 : entry;
    buttons.forEach((node, index) => node.setAttribute("aria-pressed", String(index === state.pinned)));
    light(entry);
  }

  const makeFacets = () => {
    const made = run().facets.map((facet, index) => {
      const label = make("label");
      label.style.setProperty("--facet", `var(--${facet})`);
      const input = make("input");
      input.type = "radio";
      input.name = "facet";
      input.value = facet;
      input.addEventListener("change", () => show(index, state.layer));
      label.append(input, make("span", "", facet));
      return { input, label };
    });
    find(".facets").replaceChildren(find(".facets legend"), ...made.map((one) => one.label));
    return made.map((one) => one.input);
  };

  const slider = find(".layer input");
  slider.addEventListener("input", () => show(state.facet, Number(slider.value)));
  const opacity = find(".opacity input");
  opacity.addEventListener("input", () => {
    state.opacity = opacity.value / 100;
    find(".opacity .now").textContent = `${opacity.value} %`;
    repaint();
  });
  find(".opacity .now").textContent = "100 %";
  const views = [...document.querySelectorAll(".view input")];
  const setView = (view) => {
    state.view = view;
    for (const input of views) input.checked = input.value === view;
    repaint();
  };
  for (const input of views) input.addEventListener("change", () => setView(input.value));
  const keep = () => {
    state.base = { run: state.run, facet: state.facet, layer: state.layer };
    repaint();
  };
  find(".keep").addEventListener("click", keep);

  // The view as it is, in one picture: page and slot, its numbers, the legend, and the cards with their names.
  const FONT = "Inter, Helvetica, Arial, sans-serif";
  const wrapped = (context, pieces, width) => {
    const lines = [];
    let line = [0, []];
    for (const piece of pieces) {
      const long = context.measureText(piece.text).width + piece.room;
      if (line[1].length && line[0] + long > width) {
        lines.push(line[1]);
        line = [0, []];
      }
      line[1].push({ ...piece, at: line[0] });
      line[0] += long;
    }
    return [...lines, line[1]];
  };
  const drawHead = (context, left, width) => {
    const named = isDifference() ? `${readable(state)}, difference to ${readable(state.base)}` : readable(state);
    const words = (text) => text.split(" ").map((word) => ({ text: word, room: context.measureText(" ").width }));
    const swatches = buttons.map((node, entry) => ({ text: node.textContent, room: 34, color: run().entries[entry].color }));
    const numbers = [...document.querySelectorAll(".numbers > div")].map((line) => [...line.children].map((part) => part.textContent).join(" ")).join(", ");
    let top = 4;
    for (const [font, pieces] of [[`600 16px ${FONT}`, () => words(find("h1").textContent)], [`600 14px ${FONT}`, () => words(named)], [`13px ${FONT}`, () => words(numbers)], [`13px ${FONT}`, () => swatches]]) {
      context.font = font;
      for (const line of wrapped(context, pieces(), width)) {
        top += 20;
        for (const piece of line) {
          if (piece.color) {
            context.fillStyle = rgb(piece.color);
            context.fillRect(left + piece.at, top - 11, 12, 12);
          }
          context.fillStyle = "#16191d";
          context.fillText(piece.text, left + piece.at + (piece.color ? 17 : 0), top);
        }
      }
    }
    return top + 12;
  };
  find(".save").addEventListener("click", async () => {
    const [width, height] = run().size;
    const columns = Math.min(cards.length, 4) || 1;
    const [gap, foot] = [8, 22];
    const canvas = make("canvas");
    canvas.width = Math.max(640, columns * (width + gap) + gap);
    const inner = canvas.width - 2 * gap;
    // Once to learn how much room the head takes.
    const head = drawHead(canvas.getContext("2d"), gap, inner);
    canvas.height = head + Math.ceil(cards.length / columns) * (height + foot + gap);
    const context = canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    drawHead(context, gap, inner);
    context.font = `13px ${FONT}`;
    cards.forEach((card, index) => {
      const [x, y] = [gap + (index % columns) * (width + gap), head + Math.floor(index / columns) * (height + foot + gap)];
      const picture = card.mainStack.querySelector("img");
      if (picture) context.drawImage(picture, x, y, width, height);
      if (!card.main.hidden) context.drawImage(card.main, x, y, width, height);
      context.fillText(run().examples[index].stem, x, y + height + 16, width);
    });
    await toPng(canvas, `${nameOf(state)}.png`);
  });

  const picker = find(".run select");
  data.runs.forEach((one, index) => {
    const option = make("option", "", one.label);
    option.value = index;
    picker.append(option);
  });
  find(".run").hidden = data.runs.length < 2;
  picker.addEventListener("change", () => showRun(Number(picker.value)));

  // Takes over another run, at the same facet and layer where it has them.
  function showRun(index, at) {
    const [facet, layer] = at || [run().facets[state.facet], run().layers[state.layer]];
    state.run = index;
    [state.lit, state.pinned] = [-1, -1];
    picker.value = String(index);
    slider.max = run().layers.length - 1;
    cards = makeCards();
    find(".cards").replaceChildren(...cards.map((card) => card.card));
    // Few examples are shown larger.
    find(".cards").style.setProperty("--least", cards.length > 6 ? "150px" : "240px");
    buttons = makeButtons();
    facetInputs = makeFacets();
    return show(Math.max(0, run().facets.indexOf(facet)), Math.max(0, run().layers.indexOf(layer)));
  }

  // The address names the slot once a reader has chosen one, so that a link opens it again.
  let remember = false;

  async function show(facet, layer) {
    state.facet = Math.min(run().facets.length - 1, Math.max(0, facet));
    state.layer = Math.min(run().layers.length - 1, Math.max(0, layer));
    state.turn += 1;
    const turn = state.turn;
    const current = slot();
    const here = `${state.run}/${nameOf(state)}`;
    const layerNow = run().layers[state.layer];
    facetInputs[state.facet].checked = true;
    slider.value = state.layer;
    slider.setAttribute("aria-valuetext", `layer ${layerNow}`);
    find(".layer .now").textContent = `${layerNow} of ${run().layers[run().layers.length - 1]}`;
    explorer.style.setProperty("--facet", `var(--${run().facets[state.facet]})`);
    find(".slot").textContent = readable(state);
    const numbers = find(".numbers");
    numbers.replaceChildren();
    for (const [name, text] of current ? current.numbers : []) {
      const line = make("div");
      line.append(make("dt", "", name), make("dd", "", text));
      numbers.append(line);
    }
    const effect = current && current.nmi !== null ? current.nmi : 0;
    for (const part of [".scale", ".meter"]) find(part).hidden = !current || current.nmi === null;
    find(".meter i").style.width = `${100 * effect}%`;
    const truth = run().truth ? run().truth.nmi : null;
    find(".meter b").hidden = truth === null;
    find(".meter b").style.left = `${100 * (truth || 0)}%`;
    for (const node of document.querySelectorAll("[data-slot], [data-open]")) node.classList.toggle("shown", (node.dataset.slot || node.dataset.open) === here);
    // IoU stands in the legend; a name that is not earned here is a question.
    buttons.forEach((node, entry) => {
      const iou = current && current.ious[entry];
      const isUnearned = Boolean(current && current.unearned[entry]);
      const { name } = run().entries[entry];
      node.textContent = iou === null || iou === undefined ? name : `${name}${isUnearned ? "?" : ""} ${iou.toFixed(2)}`;
      node.classList.toggle("unearned", isUnearned);
    });
    if (remember) history.replaceState(null, "", `#slot=${here}`);
    bars = makeBars();
    const waiting = [unpack(current, run()), unpack(run().truth, run())];
    if (state.base) waiting.push(unpack(slotOf(state.base), data.runs[state.base.run]));
    await Promise.all(waiting);
    // A slower slot must not overwrite one that was chosen later.
    if (turn === state.turn) repaint();
  }

  // Opens the slot that a row of the table or a point of a figure names.
  const open = (name) => {
    const [index, place] = name.split("/");
    const [facet, layer] = place.split(".");
    showRun(Number(index), [facet, Number(layer)]);
    find("#explorer").scrollIntoView();
  };
  document.querySelectorAll("tr[data-slot]").forEach((row) => {
    const head = row.querySelector("th");
    const node = button(head.firstChild.textContent, () => open(row.dataset.slot));
    node.title = "Show in the explorer";
    head.firstChild.replaceWith(node);
  });
  for (const point of document.querySelectorAll("svg g[data-slot]")) {
    point.addEventListener("click", () => open(point.dataset.slot));
  }
  for (const cell of document.querySelectorAll("[data-open]")) {
    cell.addEventListener("click", () => open(cell.dataset.open));
  }

  explorer.tabIndex = 0;
  explorer.setAttribute("role", "group");
  explorer.setAttribute("aria-label", "Explorer: left and right change the layer, up and down the facet");
  // Keys work in the explorer and wherever nothing else has the focus.
  document.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const at = event.target;
    if (at !== document.body && at !== document.documentElement && !explorer.contains(at)) return;
    if (event.key === "Escape") {
      if (state.pinned >= 0) pin(state.pinned);
      light(-1);
    }
    // Sliders and lists have their own keys; the facets' radio buttons follow ours.
    if (at.matches("select")) return;
    if (event.key === "r") keep();
    if (event.key === "d") setView(state.view === "difference" ? "labels" : "difference");
    if (!(event.key in steps) || at.matches("input[type=range], .view input")) return;
    // Up and down scroll the page unless a reader is in the explorer.
    if (!explorer.contains(at) && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
    event.preventDefault();
    remember = true;
    const [facet, layer] = steps[event.key];
    show(state.facet + facet, state.layer + layer);
    if (at.matches(".facets input")) facetInputs[state.facet].focus();
  });

  explorer.hidden = false;
  const linked = () => {
    const [, index, facet, layer] = location.hash.match(/^#slot=(\d+)\/(\w+)\.(\d+)$/) || [];
    const there = index !== undefined && data.runs[index] && data.runs[index].slots[`${facet}.${layer}`];
    return there ? [Number(index), [facet, Number(layer)]] : null;
  };
  window.addEventListener("hashchange", () => {
    const link = linked();
    if (link) showRun(...link);
  });
  const [startFacet, startLayer] = run().start.split(".");
  const [first, at] = linked() || [0, [startFacet, Number(startLayer)]];
  showRun(first, at).then(() => {
    remember = true;
    document.documentElement.dataset.ready = "true";
  });
})();

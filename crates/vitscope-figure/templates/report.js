"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NONE = 255;
  const find = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // The table: sorting is stable, and what is undefined stays last in both directions.
  const sortBy = (head, column) => {
    const table = head.closest("table");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const numeric = column > 0;
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("truth"));
    rows.sort((a, b) => {
      const [left, right] = [key(a), key(b)];
      if (left === "" || right === "") return (left === "") - (right === "");
      const order = numeric ? left - right : data.facets.indexOf(left) - data.facets.indexOf(right);
      return falling ? -order : order;
    });
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(head, column));
  });

  const explorer = find(".explorer");
  if (!explorer) return;

  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflate = async (text) => {
    const stream = new Blob([decode(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const [width, height] = data.size;
  const jpeg = (text) => `data:image/jpeg;base64,${text}`;
  const rgb = (color) => `rgb(${color.join(" ")})`;

  // What is unpacked of a slot: one array per example, and the shares by position.
  const unpack = async (slot) => {
    if (!slot || slot.unpacked) return;
    const [labels, shares] = await Promise.all([slot.labels && inflate(slot.labels), slot.shares && inflate(slot.shares)]);
    let next = 0;
    slot.unpacked = slot.maps.map((there) => {
      if (!there || !labels) return null;
      next += 1;
      return labels.subarray((next - 1) * width * height, next * width * height);
    });
    slot.places = shares || null;
  };

  const state = { facet: 0, layer: 0, opacity: 1, lit: -1, pinned: -1, turn: 0 };
  const [startFacet, startLayer] = data.start.split(".");
  state.facet = Math.max(0, data.facets.indexOf(startFacet));
  state.layer = Math.max(0, data.layers.indexOf(Number(startLayer)));
  const slotName = () => `${data.facets[state.facet]}.${data.layers[state.layer]}`;
  const slot = () => data.slots[slotName()];

  const paint = (canvas, source, example, alpha) => {
    const map = source && source.unpacked ? source.unpacked[example] : null;
    canvas.hidden = !map;
    if (!map) return;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const words = new Uint32Array(image.data.buffer);
    const table = new Uint32Array(256);
    const solid = Math.round(255 * alpha);
    // Around a lit class the image shows gray, veiled white behind a dark color, black behind a light one.
    const luminance = state.lit < 0 ? 0 : [0.3, 0.59, 0.11].reduce((sum, share, at) => sum + share * data.entries[state.lit].color[at], 0);
    const veil = luminance < 110 ? 0x8cffffff : 0x8c000000;
    for (let index = 0; index < NONE; index += 1) {
      const [red, green, blue] = source.palette[index] || [128, 128, 128];
      const isLit = state.lit < 0 || source.entries[index] === state.lit;
      table[index] = isLit ? (((state.lit < 0 ? solid : 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0 : veil;
    }
    // Pixels without a label are hatched, so that no class's color can be mistaken for them.
    const [light, dark] = [0xece8e6, 0xa39992].map((gray) => (state.lit < 0 ? ((solid << 24) | gray) >>> 0 : veil));
    for (let pixel = 0; pixel < words.length; pixel += 1) {
      const index = map[pixel];
      words[pixel] = index !== NONE ? table[index] : (pixel % width + Math.floor(pixel / width)) % 24 < 8 ? dark : light;
    }
    context.putImageData(image, 0, 0);
  };

  const stack = (label, image, canvas) => {
    const box = make("div", "stack");
    if (image) {
      const picture = make("img");
      picture.src = jpeg(image);
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

  const cards = data.examples.map((example, index) => {
    const card = make("li");
    const main = make("canvas");
    const mainStack = stack(`segmentation of ${example.stem}`, example.image, main);
    watch(mainStack, main, slot, index);
    const thumbs = make("div", "thumbs");
    thumbs.append(stack(`image ${example.stem}`, example.image, null));
    let truth = null;
    let truthStack = null;
    if (data.truth && data.truth.maps[index]) {
      truth = make("canvas");
      truthStack = stack(`ground truth of ${example.stem}`, example.image, truth);
      watch(truthStack, truth, () => data.truth, index);
      thumbs.append(truthStack);
    }
    const stem = make("p", "stem", example.stem);
    stem.title = example.stem;
    card.append(mainStack, thumbs, stem);
    find(".cards").append(card);
    return { main, mainStack, truth, truthStack };
  });

  // What the line below the legend says: how to use the explorer, or the lit class's numbers.
  const HINT = "Arrow keys: left and right change the layer, up and down the facet. Point at a class, in the legend or in a map, to light it up; click to keep it, Escape to let it go.";
  const describeLit = () => {
    if (state.lit < 0) return HINT;
    const parts = [slot(), data.truth].map((source, at) => {
      const numbers = source ? source.entry_numbers[state.lit] : "";
      if (!numbers) return "";
      return at === 0 ? `${data.facets[state.facet]}, layer ${data.layers[state.layer]}: ${numbers}` : `ground truth: ${numbers}`;
    });
    return [data.entries[state.lit].name, ...parts.filter(Boolean)].join(" — ");
  };

  const buttons = data.entries.map((entry, index) => {
    const item = make("li");
    const button = make("button", "", entry.name);
    button.type = "button";
    button.style.setProperty("--swatch", rgb(entry.color));
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("pointerenter", () => light(index));
    button.addEventListener("pointerleave", () => light(state.pinned));
    button.addEventListener("focus", () => light(index));
    button.addEventListener("blur", () => light(state.pinned));
    button.addEventListener("click", () => pin(index));
    item.append(button);
    find(".legend").append(item);
    return button;
  });

  if (data.has_none) find(".legend").append(make("li", "nolabel", "no label"));

  const maps = ["slot", "truth"].map((which) => {
    const figure = make("figure");
    const canvas = make("canvas");
    const box = stack(which === "slot" ? "aggregate map" : "aggregate map of the ground truth", null, canvas);
    const picture = make("img");
    picture.alt = "";
    box.replaceChildren(picture, canvas);
    const caption = make("figcaption");
    figure.append(box, caption);
    find(".aggregates").append(figure);
    return { which, figure, box, canvas, picture, caption };
  });

  // An aggregate map; with a class lit, that class's share at each position.
  const paintAggregate = (map) => {
    const source = map.which === "slot" ? slot() : data.truth;
    map.figure.hidden = !source || !source.aggregate;
    if (map.figure.hidden) return;
    map.picture.src = jpeg(source.aggregate);
    const name = map.which === "slot" ? `${data.facets[state.facet]} layer ${data.layers[state.layer]}` : "ground truth";
    const [rows, columns] = data.grid;
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
    map.caption.textContent = `where ${name} says ${data.entries[state.lit].name}; white: ${(most / 255).toFixed(2)} of the images, black: 0`;
  };

  const repaint = () => {
    cards.forEach((card, index) => {
      paint(card.main, slot(), index, state.opacity);
      card.mainStack.classList.toggle("lit", state.lit >= 0);
      if (card.truth) {
        paint(card.truth, data.truth, index, 1);
        card.truthStack.classList.toggle("lit", state.lit >= 0);
      }
    });
    maps.forEach(paintAggregate);
    find(".lit-line").textContent = describeLit();
    buttons.forEach((button, index) => button.classList.toggle("lit", index === state.lit));
  };

  function light(entry) {
    if (entry === state.lit) return;
    state.lit = entry;
    repaint();
  }

  function pin(entry) {
    state.pinned = entry === state.pinned ? -1 : entry;
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === state.pinned)));
    light(entry);
  }

  const facetInputs = data.facets.map((facet, index) => {
    const label = make("label");
    label.style.setProperty("--facet", `var(--${facet})`);
    const input = make("input");
    input.type = "radio";
    input.name = "facet";
    input.value = facet;
    input.addEventListener("change", () => show(index, state.layer));
    label.append(input, make("span", "", facet));
    find(".facets").append(label);
    return input;
  });
  const slider = find(".layer input");
  slider.max = data.layers.length - 1;
  slider.addEventListener("input", () => show(state.facet, Number(slider.value)));
  const opacity = find(".opacity input");
  opacity.addEventListener("input", () => {
    state.opacity = opacity.value / 100;
    find(".opacity output").textContent = `${opacity.value} %`;
    repaint();
  });
  find(".opacity output").textContent = "100 %";

  async function show(facet, layer) {
    state.facet = Math.min(data.facets.length - 1, Math.max(0, facet));
    state.layer = Math.min(data.layers.length - 1, Math.max(0, layer));
    state.turn += 1;
    const turn = state.turn;
    const current = slot();
    facetInputs[state.facet].checked = true;
    slider.value = state.layer;
    slider.setAttribute("aria-valuetext", `layer ${data.layers[state.layer]}`);
    find(".layer output").textContent = `${data.layers[state.layer]} of ${data.layers[data.layers.length - 1]}`;
    explorer.style.setProperty("--facet", `var(--${data.facets[state.facet]})`);
    find(".slot").textContent = `${data.facets[state.facet]}, layer ${data.layers[state.layer]}`;
    const numbers = find(".numbers");
    numbers.replaceChildren();
    for (const [name, text] of current ? current.numbers : []) {
      const line = make("div");
      line.append(make("dt", "", name), make("dd", "", text));
      numbers.append(line);
    }
    const effect = current && current.nmi !== null ? current.nmi : 0;
    find(".meter").hidden = !current || current.nmi === null;
    find(".meter i").style.width = `${100 * effect}%`;
    const truth = data.truth ? data.truth.nmi : null;
    find(".meter b").hidden = truth === null;
    find(".meter b").style.left = `${100 * (truth || 0)}%`;
    for (const row of document.querySelectorAll("tr[data-slot]")) row.classList.toggle("shown", row.dataset.slot === slotName());
    await Promise.all([unpack(current), unpack(data.truth)]);
    // A slower slot must not overwrite one that was chosen later.
    if (turn === state.turn) repaint();
  }

  document.querySelectorAll("tr[data-slot]").forEach((row) => {
    const head = row.querySelector("th");
    const button = make("button", "", head.firstChild.textContent);
    button.type = "button";
    button.title = "Show in the explorer";
    head.firstChild.replaceWith(button);
    button.addEventListener("click", () => {
      const [facet, layer] = row.dataset.slot.split(".");
      show(data.facets.indexOf(facet), data.layers.indexOf(Number(layer)));
      find("#explorer").scrollIntoView();
    });
  });

  explorer.tabIndex = 0;
  explorer.setAttribute("role", "group");
  explorer.setAttribute("aria-label", "Explorer: left and right change the layer, up and down the facet");
  explorer.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") {
      pin(state.pinned);
      light(-1);
    }
    // Sliders and radio buttons have their own arrow keys.
    if (!(event.key in steps) || event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [facet, layer] = steps[event.key];
    show(state.facet + facet, state.layer + layer);
  });

  explorer.hidden = false;
  show(state.facet, state.layer);
})();

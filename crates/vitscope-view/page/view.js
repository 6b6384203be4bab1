"use strict";
(async () => {
  const FACETS = ["key", "query", "value", "token"];
  const SHOWS = { cosine: "cosines", colors: "components", clusters: "clusters" };
  const NONE = 255;
  const find = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // One sentence of what went wrong; the next thing that works takes it away.
  const complain = (sentence) => {
    find(".wrong").textContent = sentence;
    find(".wrong").hidden = !sentence;
  };
  const ask = async (path, query, change) => {
    const text = new URLSearchParams(query || {}).toString();
    let response;
    try {
      response = await fetch(text ? `${path}?${text}` : path, change);
    } catch {
      throw new Error("vitscope does not answer: it may have been stopped.");
    }
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  };
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  let about;
  try {
    about = await ask("about");
  } catch (error) {
    complain(error.message);
    return;
  }
  const [first] = about.panes;
  const { panes } = about;
  let { pictures } = about;

  // `image` is the picture of the chosen patch and `at` its row and column in the first model's grid.
  const state = { facet: first.facet, layer: first.layer, show: "cosine", norm: first.token_norm, rope: first.rope, opacity: 75, image: null, at: null };
  let turn = 0;
  // What is shown: of each pane, its legend and the map of each picture.
  let shown = panes.map(() => null);

  // The same share of the depth, where depths differ.
  const layerOf = (pane) => (pane.depth === first.depth ? state.layer : Math.max(1, Math.round((state.layer / first.depth) * pane.depth)));
  const patchOf = (pane, [row, column]) => {
    const at = (place, axis) => Math.min(pane.grid[axis] - 1, Math.floor(((place + 0.5) / first.grid[axis]) * pane.grid[axis]));
    return [at(row, 0), at(column, 1)];
  };
  const pictureNamed = (name) => pictures.find((picture) => picture.name === name);

  // The address holds the state.
  const remember = () => {
    const parts = { facet: state.facet, layer: state.layer, show: state.show, norm: state.norm, rope: state.rope, over: state.opacity };
    const picture = pictures.find((one) => one.id === state.image);
    if (picture && state.at) Object.assign(parts, { image: picture.name, at: state.at.join(",") });
    parts.images = pictures.map((one) => one.name).join("|");
    history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
  };
  const recall = async () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const text = (name, among) => (among.includes(parts.get(name)) ? parts.get(name) : null);
    const whole = (name, least, most) => {
      const value = Number(parts.get(name));
      return parts.has(name) && Number.isInteger(value) && value >= least && value <= most ? value : null;
    };
    state.facet = text("facet", FACETS) ?? state.facet;
    state.show = text("show", Object.keys(SHOWS)) ?? state.show;
    state.norm = text("norm", ["after", "before"]) ?? state.norm;
    state.rope = text("rope", ["after", "before"]) ?? state.rope;
    state.layer = whole("layer", 1, first.depth) ?? state.layer;
    state.opacity = whole("over", 0, 100) ?? state.opacity;
    for (const name of (parts.get("images") || "").split("|")) {
      if (name && !pictureNamed(name)) {
        try {
          await add(ask("pick", { name }, { method: "POST" }));
        } catch {
          // A dropped image cannot be opened by its name.
        }
      }
    }
    const picture = pictureNamed(parts.get("image"));
    const at = (parts.get("at") || "").split(",").map(Number);
    if (picture && at.length === 2 && at.every((place, axis) => Number.isInteger(place) && place >= 0 && place < first.grid[axis])) {
      [state.image, state.at] = [picture.id, at];
    }
  };

  const add = async (asked) => {
    const picture = await asked;
    if (!pictures.some((one) => one.id === picture.id)) pictures.push(picture);
    return picture;
  };
  // Middle of the first image: something is shown before anything is clicked.
  const chooseSomething = () => {
    if (pictures.some((picture) => picture.id === state.image)) return;
    state.image = pictures.length ? pictures[0].id : null;
    state.at = pictures.length ? first.grid.map((side) => Math.floor(side / 2)) : null;
  };

  // Viridis, at nine places.
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const scale = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
    const [low, part] = [Math.min(STOPS.length - 2, Math.floor(place)), place - Math.min(STOPS.length - 2, Math.floor(place))];
    return STOPS[low].map((value, channel) => Math.round(value + part * (STOPS[low + 1][channel] - value)));
  };
  const two = (value) => value.toFixed(2).replace("-", "\u2212");

  // Cards: one canvas a picture and pane.
  const images = new Map();
  const imageOf = (pane, picture) => {
    const key = `${pane}/${picture.id}`;
    if (!images.has(key)) {
      const image = new Image();
      image.src = `crop?${new URLSearchParams({ pane, image: picture.id })}`;
      images.set(key, image.decode().then(() => image, () => null));
    }
    return images.get(key);
  };
  let boards = [];
  const makeBoards = () => {
    find(".board").style.setProperty("--panes", panes.length);
    boards = panes.map((pane, index) => {
      const box = make("section", "pane");
      const heading = make("h2", "", pane.label);
      const where = make("p", "where");
      const legend = make("div", "legend");
      const list = make("ol", "cards");
      const cards = pictures.map((picture) => {
        const card = make("li");
        const canvas = make("canvas");
        [canvas.width, canvas.height] = [pane.size, pane.size];
        canvas.tabIndex = 0;
        canvas.setAttribute("role", "img");
        const line = make("div", "line");
        const name = make("b", "", picture.name);
        name.title = picture.name;
        const close = make("button", "", "close");
        close.type = "button";
        close.setAttribute("aria-label", `close ${picture.name}`);
        close.addEventListener("click", () => shut(picture));
        line.append(name, close);
        const numbers = make("p", "numbers");
        card.append(canvas, line, numbers);
        list.append(card);
        listen(canvas, pane, index, picture);
        return { picture, canvas, numbers };
      });
      box.append(heading, where, legend, cards.length ? list : make("p", "empty", "No image is open: drop one, or pick one above."));
      return { pane, box, where, legend, cards };
    });
    find(".board").replaceChildren(...boards.map((board) => board.box));
  };

  const listen = (canvas, pane, index, picture) => {
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      return share.map((part, axis) => Math.min(pane.grid[axis] - 1, Math.max(0, Math.floor(part * pane.grid[axis]))));
    };
    const toFirst = (at) => at.map((part, axis) => Math.min(first.grid[axis] - 1, Math.floor(((part + 0.5) / pane.grid[axis]) * first.grid[axis])));
    canvas.addEventListener("click", (event) => choose(picture, toFirst(place(event))));
    canvas.addEventListener("pointermove", (event) => tell(index, picture, place(event)));
    canvas.addEventListener("pointerleave", () => tell());
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0], " ": [0, 0] }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const from = state.image === picture.id && state.at ? state.at : first.grid.map((side) => Math.floor(side / 2));
      const isHere = state.image === picture.id;
      choose(picture, from.map((part, axis) => Math.min(first.grid[axis] - 1, Math.max(0, part + (isHere ? step[axis] : 0)))));
    });
  };

  // What the line above the images says: the value under the pointer, or the chosen patch.
  const tell = (index, picture, at) => {
    const chosen = pictures.find((one) => one.id === state.image);
    let text = chosen && state.at ? `Patch at row ${state.at[0] + 1}, column ${state.at[1] + 1} of ${chosen.name}.` : "";
    const map = picture && shown[index] && shown[index].maps.get(picture.id);
    if (map && map.values) {
      const value = map.values[at[0] * panes[index].grid[1] + at[1]];
      text += ` Cosine to row ${at[0] + 1}, column ${at[1] + 1} of ${picture.name}: ${value === null ? "undefined" : value.toFixed(3).replace("-", "\u2212")}.`;
    }
    find(".status").textContent = text;
  };

  const choose = (picture, at) => {
    [state.image, state.at] = [picture.id, at];
    if (state.show !== "cosine") setShow("cosine");
    refresh();
  };
  const shut = async (picture) => {
    try {
      await ask("close", { image: picture.id }, { method: "POST" });
      pictures = pictures.filter((one) => one.id !== picture.id);
      chooseSomething();
      makeBoards();
      refresh();
    } catch (error) {
      complain(error.message);
    }
  };

  // Asks for what is to be shown in a pane.
  const fetchPane = async (pane, index) => {
    const look = { pane: index, slot: `${state.facet}.${layerOf(pane)}`, norm: state.norm, rope: state.rope };
    if (pictures.length === 0) return { maps: new Map() };
    if (state.show === "cosine") {
      const [row, column] = patchOf(pane, state.at);
      const answer = await ask("cosines", { ...look, image: state.image, patch: row * pane.grid[1] + column });
      return { maps: new Map(answer.maps.map((map) => [map.picture, map])) };
    }
    if (state.show === "colors") {
      const answer = await ask("colors", look);
      return { ...answer, maps: new Map(answer.maps.map((map) => [map.picture, map])) };
    }
    if (!pane.has_clusters) return { maps: new Map(), note: "This model comes without a run, so it has no clusters." };
    const answer = await ask("clusters", look);
    return { ...answer, maps: new Map(answer.maps.map((map) => [map.picture, { ...map, labels: decode(map.labels) }])) };
  };

  const refresh = async () => {
    turn += 1;
    const own = turn;
    document.documentElement.dataset.busy = "true";
    setControls();
    remember();
    // Running a model over new images, or fitting colors, takes seconds.
    const waiting = setTimeout(() => {
      if (own === turn) find(".status").textContent = "Working …";
    }, 400);
    try {
      const found = [];
      for (const [index, pane] of panes.entries()) {
        found.push(await fetchPane(pane, index));
        // A slower answer must not overwrite one that was asked for later.
        if (own !== turn) return;
      }
      shown = found;
      complain("");
    } catch (error) {
      if (own !== turn) return;
      shown = panes.map(() => ({ maps: new Map() }));
      complain(error.message);
    }
    clearTimeout(waiting);
    await paint();
    if (own === turn) document.documentElement.dataset.busy = "false";
  };

  // Cosines of all models are on one scale: from the least that is shown to 1.
  const least = () => {
    const values = shown.flatMap((one) => [...one.maps.values()].flatMap((map) => map.values || [])).filter((value) => value !== null);
    return values.length ? Math.min(Math.floor(Math.min(...values) * 10) / 10, 0.9) : 0;
  };
  // How a map is painted: its color at a place, or none.
  const painter = (board, map, low) => {
    const { pane } = board;
    const side = pane.size / pane.grid[1];
    const patch = (x, y) => Math.floor(y / side) * pane.grid[1] + Math.floor(x / side);
    if (map.values) {
      const colors = map.values.map((value) => (value === null ? null : scale((value - low) / (1 - low))));
      return (x, y) => colors[patch(x, y)];
    }
    if (map.colors) return (x, y) => map.colors[patch(x, y)];
    const { lines } = shown[boards.indexOf(board)];
    return (x, y) => (map.labels[y * pane.size + x] === NONE ? null : lines[map.labels[y * pane.size + x]].color);
  };

  const bestOf = (map, skip) => {
    let best = -1;
    map.values.forEach((value, at) => {
      if (at !== skip && value !== null && (best < 0 || value > map.values[best])) best = at;
    });
    return best;
  };
  const frame = (context, pane, at, color, width) => {
    const side = pane.size / pane.grid[1];
    // Lines are as wide in a small crop as in one of 320 pixels.
    for (const [stroke, line] of [["#000000", width + 2], [color, width]]) {
      context.strokeStyle = stroke;
      context.lineWidth = (line * pane.size) / 320;
      context.strokeRect((at % pane.grid[1]) * side, Math.floor(at / pane.grid[1]) * side, side, side);
    }
  };

  const paintCard = async (board, index, card, low) => {
    const { pane } = board;
    const image = await imageOf(index, card.picture);
    const map = shown[index] && shown[index].maps.get(card.picture.id);
    const context = card.canvas.getContext("2d");
    context.clearRect(0, 0, pane.size, pane.size);
    if (image) context.drawImage(image, 0, 0, pane.size, pane.size);
    card.numbers.textContent = "";
    if (map) {
      const color = painter(board, map, low);
      const over = make("canvas");
      [over.width, over.height] = [pane.size, pane.size];
      const pixels = over.getContext("2d").createImageData(pane.size, pane.size);
      for (let y = 0; y < pane.size; y += 1) {
        for (let x = 0; x < pane.size; x += 1) {
          const rgb = color(x, y);
          if (rgb) pixels.data.set([rgb[0], rgb[1], rgb[2], 255], 4 * (y * pane.size + x));
        }
      }
      over.getContext("2d").putImageData(pixels, 0, 0);
      context.globalAlpha = state.opacity / 100;
      context.drawImage(over, 0, 0);
      context.globalAlpha = 1;
    }
    if (map && map.values) {
      const [row, column] = patchOf(pane, state.at);
      const own = card.picture.id === state.image ? row * pane.grid[1] + column : -1;
      const values = map.values.filter((value) => value !== null);
      const best = bestOf(map, own);
      if (best >= 0) {
        frame(context, pane, best, "#ffffff", 1.5);
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        card.numbers.textContent = `highest ${two(map.values[best])}, mean ${two(mean)}, least ${two(Math.min(...values))}`;
      } else {
        card.numbers.textContent = "undefined";
      }
      if (own >= 0) frame(context, pane, own, "#ff3b30", 3);
    }
    const what = { cosine: "cosines to the chosen patch", colors: "principal components", clusters: "clusters" }[state.show];
    card.canvas.setAttribute("aria-label", `${what} in ${card.picture.name}, ${pane.label}. Arrow keys choose another patch. ${card.numbers.textContent}`);
  };

  const legendText = (board, index) => {
    const one = shown[index];
    if (!one || one.note) return one ? one.note : "";
    if (state.show === "colors" && one.shares) {
      const shares = one.shares.map((share) => `${(100 * share).toFixed(1)} %`).join(", ");
      return `Principal components as red, green, blue: ${shares} of the variance; ${one.fitted}.`;
    }
    return "";
  };
  const paintLegend = (board, index, low) => {
    const one = shown[index];
    board.legend.replaceChildren();
    const text = legendText(board, index);
    if (text) board.legend.append(text);
    if (state.show === "cosine" && pictures.length) {
      const bar = make("canvas");
      [bar.width, bar.height] = [256, 1];
      const context = bar.getContext("2d");
      const pixels = context.createImageData(256, 1);
      for (let at = 0; at < 256; at += 1) pixels.data.set([...scale(at / 255), 255], 4 * at);
      context.putImageData(pixels, 0, 0);
      const ends = make("div", "ends");
      ends.append(make("span", "", two(low)), make("span", "", "cosine; red: the chosen patch, white: the most like it"), make("span", "", "1.00"));
      board.legend.append(bar, ends);
    }
    if (state.show === "clusters" && one && one.lines) {
      const list = make("ul", "lines");
      for (const line of one.lines) {
        const item = make("li");
        const swatch = make("i");
        swatch.style.background = `rgb(${line.color.join(" ")})`;
        item.append(swatch, line.iou === null ? line.name : `${line.name}, IoU ${two(line.iou)}`);
        list.append(item);
      }
      board.legend.append(list);
    }
  };
  const whereText = (pane) => {
    const parts = [`${state.facet}, layer ${layerOf(pane)} of ${pane.depth}`, `${pane.size} pixels, ${pane.grid[0]} × ${pane.grid[1]} patches`];
    if (state.facet === "token" && layerOf(pane) === pane.depth) parts.push(`${state.norm} the final norm`);
    if (pane.is_rotary && (state.facet === "key" || state.facet === "query")) parts.push(`${state.rope} rotation`);
    if (pane.transform) parts.push(`transform ${pane.transform}`);
    return parts.join("; ");
  };

  const paint = async () => {
    const low = least();
    for (const [index, board] of boards.entries()) {
      board.where.textContent = `${whereText(board.pane)}${board.pane.run ? `; run ${board.pane.run}` : ""}`;
      paintLegend(board, index, low);
      await Promise.all(board.cards.map((card) => paintCard(board, index, card, low)));
    }
    tell();
  };

  // Controls.
  const radios = (box, name, values, change) => values.map(([value, text]) => {
    const label = make("label");
    const input = make("input");
    [input.type, input.name, input.value] = ["radio", name, value];
    input.addEventListener("change", () => change(value));
    label.style.setProperty("--facet", `var(--${value})`);
    label.append(input, make("span", "", text));
    find(box).append(label);
    return input;
  });
  const setFacet = (facet) => {
    state.facet = facet;
    refresh();
  };
  const setShow = (show) => {
    state.show = show;
  };
  const facetInputs = radios(".facets", "facet", FACETS.map((facet) => [facet, facet]), setFacet);
  const showInputs = radios(".show", "show", Object.entries(SHOWS), (show) => {
    setShow(show);
    refresh();
  });
  const slider = find(".layer input");
  slider.max = first.depth;
  const setLayer = (layer) => {
    state.layer = Math.min(first.depth, Math.max(1, layer));
    refresh();
  };
  slider.addEventListener("input", () => setLayer(Number(slider.value)));
  const opacity = find(".opacity input");
  opacity.addEventListener("input", () => {
    state.opacity = Number(opacity.value);
    setControls();
    remember();
    paint();
  });
  for (const name of ["norm", "rope"]) {
    find(`.${name} select`).addEventListener("change", (event) => {
      state[name] = event.target.value;
      refresh();
    });
  }
  const setControls = () => {
    for (const input of facetInputs) input.checked = input.value === state.facet;
    for (const input of showInputs) {
      input.checked = input.value === state.show;
      if (input.value === "clusters") input.disabled = !panes.some((pane) => pane.has_clusters);
    }
    slider.value = state.layer;
    slider.setAttribute("aria-valuetext", `layer ${state.layer}`);
    find(".layer .now").textContent = `${state.layer} of ${first.depth}`;
    opacity.value = state.opacity;
    find(".opacity .now").textContent = `${state.opacity} %`;
    find(".norm").hidden = state.facet !== "token" || !panes.some((pane) => layerOf(pane) === pane.depth);
    find(".rope").hidden = !["key", "query"].includes(state.facet) || !panes.some((pane) => pane.is_rotary);
    find(".norm select").value = state.norm;
    find(".rope select").value = state.rope;
  };

  // Images.
  const take = async (asked) => {
    try {
      await add(asked);
      return "";
    } catch (error) {
      return error.message;
    }
  };
  const opened = (wrong) => {
    chooseSomething();
    makeBoards();
    return refresh().then(() => wrong.length && complain(wrong.join(" ")));
  };
  const takeFiles = async (files) => {
    const wrong = [];
    for (const file of files) {
      find(".status").textContent = `Reading ${file.name} …`;
      const sentence = await take(ask("add", { name: file.name }, { method: "POST", body: file }));
      if (sentence) wrong.push(sentence.endsWith(".") ? sentence : `${sentence}.`);
    }
    await opened(wrong);
  };
  find(".file input").addEventListener("change", async (event) => {
    await takeFiles([...event.target.files]);
    event.target.value = "";
  });
  const picker = find(".names input");
  find(".names").hidden = about.names.length === 0;
  find("datalist").append(...about.names.map((name) => {
    const option = make("option");
    option.value = name;
    return option;
  }));
  picker.addEventListener("change", async () => {
    if (!picker.value) return;
    const sentence = await take(ask("pick", { name: picker.value }, { method: "POST" }));
    picker.value = "";
    await opened(sentence ? [sentence] : []);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    takeFiles([...event.dataTransfer.files]);
  });

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select, .names input")) return;
    const layer = { "[": -1, "]": 1 }[event.key];
    const show = { c: "cosine", p: "colors", k: "clusters" }[event.key];
    if (layer) setLayer(state.layer + layer);
    if (event.key === "f") setFacet(FACETS[(FACETS.indexOf(state.facet) + 1) % FACETS.length]);
    if (show && !showInputs.find((input) => input.value === show).disabled) {
      setShow(show);
      refresh();
    }
  });

  // The view as it is, in one picture: models, what is shown, legend, images with their names and numbers.
  const wrap = (context, text, width) => {
    const lines = [""];
    for (const word of text.split(" ")) {
      const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
      if (context.measureText(longer).width > width && lines.at(-1)) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines;
  };
  const drawPane = (context, board, index, left, width) => {
    const [ink, gap, row] = ["#16191d", 10, 18];
    let top = 24;
    const write = (text, font) => {
      [context.font, context.fillStyle] = [font, ink];
      for (const line of wrap(context, text, width)) {
        context.fillText(line, left, top);
        top += row;
      }
    };
    write(board.pane.label, "600 15px Helvetica, Arial, sans-serif");
    write(board.where.textContent, "13px Helvetica, Arial, sans-serif");
    const text = legendText(board, index);
    if (text) write(text, "13px Helvetica, Arial, sans-serif");
    const bar = board.legend.querySelector("canvas");
    if (bar) {
      context.drawImage(bar, left, top - 10, width, 12);
      top += row + 2;
      write([...board.legend.querySelectorAll(".ends span")].map((end) => end.textContent).join("  |  "), "13px Helvetica, Arial, sans-serif");
      write(find(".status").textContent, "13px Helvetica, Arial, sans-serif");
    }
    let at = left;
    for (const [number, item] of [...board.legend.querySelectorAll("li")].entries()) {
      context.font = "13px Helvetica, Arial, sans-serif";
      const long = context.measureText(item.textContent).width + 34;
      if (at + long > left + width && at > left) [at, top] = [left, top + row];
      context.fillStyle = `rgb(${shown[index].lines[number].color.join(" ")})`;
      context.fillRect(at, top - 11, 12, 12);
      context.fillStyle = ink;
      context.fillText(item.textContent, at + 17, top);
      at += long;
    }
    if (at > left) top += row;
    const columns = Math.min(2, board.cards.length) || 1;
    const side = (width - gap * (columns - 1)) / columns;
    board.cards.forEach((card, place) => {
      const [x, y] = [left + (place % columns) * (side + gap), top + Math.floor(place / columns) * (side + 46)];
      context.drawImage(card.canvas, x, y, side, side);
      [context.font, context.fillStyle] = ["600 13px Helvetica, Arial, sans-serif", ink];
      context.fillText(card.picture.name, x, y + side + 16, side);
      context.font = "13px Helvetica, Arial, sans-serif";
      context.fillText(card.numbers.textContent, x, y + side + 34, side);
    });
    return top + Math.ceil(board.cards.length / columns) * (side + 46) + gap;
  };
  const picture = () => {
    const [width, gap] = [680, 24];
    const canvas = make("canvas");
    canvas.width = panes.length * (width + gap) + gap;
    const draw = () => {
      const context = canvas.getContext("2d");
      context.fillStyle = "#ffffff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      return Math.max(...boards.map((board, index) => drawPane(context, board, index, gap + index * (width + gap), width)));
    };
    // Once to learn the height, which legends and names decide.
    canvas.height = draw();
    draw();
    return canvas;
  };
  find(".save").addEventListener("click", () => picture().toBlob((blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = `view-${state.facet}.${state.layer}-${SHOWS[state.show]}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png"));

  document.title = `${panes.map((pane) => pane.label).join(" and ")}: vitscope view`;
  find("h1").textContent = panes.length > 1 ? `${panes.length} models side by side` : first.label;
  find(".rule").textContent = about.rule;
  find(".data").textContent = about.no_data || "";
  find(".data").hidden = !about.no_data;
  const follow = async () => {
    await recall();
    chooseSomething();
    makeBoards();
    await refresh();
  };
  window.addEventListener("hashchange", follow);
  await follow();
  document.documentElement.dataset.ready = "true";
})();

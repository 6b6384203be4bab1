  // Looking closer: which patches are like a chosen one, and colors of principal components.
  const PARTS = 32;
  const isClose = () => state.view === "alike" || state.view === "components";
  const kept = () => run().patches[nameOf(state)];
  const places = () => run().grid[0] * run().grid[1];
  // Whether patches are kept of a picture of the page, in the slot that is shown.
  const keeps = (image) => Boolean(kept()) && kept().images.includes(image);
  // The coordinates of every patch of every picture of which they are kept, one after the other, and the squares of their lengths.
  const codesOf = (source) => {
    if (!source.unpacked) {
      const codes = unfoldPatches(source.codes, source.images.length, source.width, run().grid);
      const squares = Float64Array.from({ length: source.images.length * places() }, (_, patch) => productOf(codes, source.width, patch, patch));
      source.unpacked = { codes, squares };
    }
    return source.unpacked;
  };
  const rowOf = (source, image, at) => source.images.indexOf(image) * places() + at;
  // The chosen patch, by the picture's name and its place in it, so that it is found in another run, too; before one is chosen, the
  // middle of the first picture.
  const chosen = () => {
    const [rows, columns] = run().grid;
    const { images } = kept();
    const found = state.patch ? images.find((image) => run().examples[image].stem === state.patch.stem) : undefined;
    const [row, column] = found === undefined ? [0.5, 0.5] : state.patch.place;
    const within = (share, count) => Math.min(count - 1, Math.floor(share * count));
    return { image: found === undefined ? images[0] : found, at: within(row, rows) * columns + within(column, columns) };
  };
  const productOf = (codes, width, one, other) => {
    let sum = 0;
    for (let at = 0; at < width; at += 1) sum += codes[one * width + at] * codes[other * width + at];
    return sum / PARTS ** 2;
  };
  // Cosines of the chosen patch with every patch of every picture (protocol section 19); none where a vector has no direction, and of a
  // picture that is not kept.
  const cosines = (source) => {
    const { codes, squares } = codesOf(source);
    const { image, at } = chosen();
    const own = rowOf(source, image, at);
    const cosine = (other) => {
      if (!squares[own] || !squares[other]) return null;
      if (own === other) return 1;
      const both = productOf(codes, source.width, own, other);
      const outside = Math.sqrt(Math.max(0, 1 - squares[own]) * Math.max(0, 1 - squares[other]));
      return Math.max(-1, Math.min(1, both + source.rest * outside * (both / Math.sqrt(squares[own] * squares[other])) ** 3));
    };
    return run().examples.map((_, other) => (keeps(other) ? Array.from({ length: places() }, (_, patch) => cosine(rowOf(source, other, patch))) : null));
  };

  // Viridis, at nine places.
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const scaleColor = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
    const low = Math.min(STOPS.length - 2, Math.floor(place));
    return STOPS[low].map((value, channel) => Math.round(value + (place - low) * (STOPS[low + 1][channel] - value)));
  };
  const signed = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
  const leastOf = (pictures) => {
    const defined = pictures.flatMap((values) => values || []).filter((value) => value !== null);
    return defined.length ? Math.min(Math.floor(Math.min(...defined) * 10) / 10, 0.9) : 0;
  };
  const componentColors = (source, image) => {
    const { codes } = codesOf(source);
    return Array.from({ length: places() }, (_, at) => [0, 1, 2].map((channel) => {
      const [low, high] = source.ends[channel] || [0, 0];
      if (high <= low) return 128;
      return Math.round((255 * Math.min(1, Math.max(0, codes[rowOf(source, image, at) * source.width + channel] - low) / (high - low))));
    }));
  };

  // Frames a patch on whole pixels, so that its color is the one that is named, at whatever size.
  const frame = (context, at, color, line) => {
    const [rows, columns] = run().grid;
    const [width, height] = run().size;
    const [row, column] = [Math.floor(at / columns), at % columns];
    const [left, top, right, bottom] = [(column * width) / columns, (row * height) / rows, ((column + 1) * width) / columns, ((row + 1) * height) / rows].map(Math.round);
    const ring = (out, wide) => {
      const [x, y, w, h] = [left - out, top - out, right - left + 2 * out, bottom - top + 2 * out];
      for (const side of [[x, y, w, wide], [x, y + h - wide, w, wide], [x, y, wide, h], [x + w - wide, y, wide, h]]) context.fillRect(...side);
    };
    const wide = Math.max(1, Math.round((line * width) / 320));
    context.fillStyle = "#000000";
    ring(1, 1);
    ring(-wide, 1);
    context.fillStyle = color;
    ring(0, wide);
  };
  // Paints one color a patch, undefined ones not at all.
  const paintPatches = (canvas, colors) => {
    const [rows, columns] = run().grid;
    const [width, height] = run().size;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.globalAlpha = state.opacity;
    colors.forEach((color, at) => {
      if (!color) return;
      const [left, top] = [Math.round((at % columns) * (width / columns)), Math.round(Math.floor(at / columns) * (height / rows))];
      context.fillStyle = rgb(color);
      context.fillRect(left, top, Math.round(((at % columns) + 1) * (width / columns)) - left, Math.round((Math.floor(at / columns) + 1) * (height / rows)) - top);
    });
    context.globalAlpha = 1;
    return context;
  };

  let shownCosines = [];
  // Paints the cards, and gives the line that says what they show.
  const paintClose = () => {
    const source = kept();
    shownCosines = [];
    find(".ramp").hidden = state.view !== "alike" || !source;
    cards.forEach((card, index) => {
      card.main.hidden = !keeps(index);
    });
    if (!source) {
      const names = Object.keys(run().patches).map((name) => name.replace(".", " "));
      return `Patches are kept of the layer that is chosen for each facet: ${names.join(", ")}.${run().from_features ? "" : " For all others: vitscope view."}`;
    }
    const missing = cards.length - source.images.length;
    const partly = missing ? ` Of ${missing} of the pictures no patches are kept: a run has those of its first 24 examples.` : "";
    if (state.view === "components") {
      for (const image of source.images) paintPatches(cards[image].main, componentColors(source, image));
      return `Red, green and blue: the first three principal components of patch vectors of length 1. They rise with brightness in the first layer of the run, in every other one with the same component of the layer before.${partly}`;
    }
    shownCosines = cosines(source);
    const low = leastOf(shownCosines);
    const own = chosen();
    for (const image of source.images) {
      const values = shownCosines[image];
      const context = paintPatches(cards[image].main, values.map((value) => (value === null ? null : scaleColor((value - low) / (1 - low)))));
      let best = -1;
      values.forEach((value, at) => {
        if (value !== null && !(image === own.image && at === own.at) && (best < 0 || value > values[best])) best = at;
      });
      if (best >= 0) frame(context, best, "#ffffff", 1.5);
      if (image === own.image) frame(context, own.at, "#ff3b30", 3);
    }
    find(".ramp .low").textContent = signed(low, 1);
    const [, columns] = run().grid;
    const error = source.error === null ? "" : `; they are made of ${source.width} numbers a patch, which puts them off by ${source.error.toFixed(3)} (root mean square)`;
    return `Cosines with the patch at row ${Math.floor(own.at / columns) + 1}, column ${own.at % columns + 1} of ${run().examples[own.image].stem}${error}.${partly}`;
  };
  const ramp = () => {
    const context = find(".ramp canvas").getContext("2d");
    for (let at = 0; at < 256; at += 1) {
      context.fillStyle = rgb(scaleColor(at / 255));
      context.fillRect(at, 0, 1, 1);
    }
  };
  ramp();

  const choosePatch = (image, at) => {
    const [rows, columns] = run().grid;
    state.patch = { stem: run().examples[image].stem, place: [(Math.floor(at / columns) + 0.5) / rows, ((at % columns) + 0.5) / columns] };
    if (state.view === "alike") repaint();
    else setView("alike");
  };
  // What the line below the legend says of a patch under the pointer.
  const tellPatch = (image, at) => {
    const value = (shownCosines[image] || [])[at];
    const [, columns] = run().grid;
    const where = `row ${Math.floor(at / columns) + 1}, column ${at % columns + 1} of ${run().examples[image].stem}`;
    if (value !== undefined) find(".lit-line").textContent = `${where}: cosine ${value === null ? "undefined" : signed(value, 2)}`;
  };
  // Clicking a patch chooses it, and so do the arrow keys while a picture has the focus.
  const chooseHere = (box, canvas, image) => {
    const patchAt = (event) => {
      const [rows, columns] = run().grid;
      const place = canvas.getBoundingClientRect();
      const [row, column] = [[event.clientY - place.top, place.height, rows], [event.clientX - place.left, place.width, columns]].map(([part, whole, count]) => Math.min(count - 1, Math.max(0, Math.floor((part / whole) * count))));
      return row * columns + column;
    };
    box.addEventListener("pointermove", (event) => {
      if (state.view === "alike") tellPatch(image, patchAt(event));
    });
    box.addEventListener("click", (event) => {
      if (isClose() && keeps(image)) choosePatch(image, patchAt(event));
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0] }[event.key];
      if (!isClose() || !keeps(image) || !step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const [rows, columns] = run().grid;
      const now = chosen();
      const from = now.image === image ? [Math.floor(now.at / columns), now.at % columns] : [Math.floor(rows / 2), Math.floor(columns / 2)];
      const [row, column] = from.map((part, axis) => Math.min([rows, columns][axis] - 1, Math.max(0, part + (now.image === image ? step[axis] : 0))));
      choosePatch(image, row * columns + column);
    });
  };


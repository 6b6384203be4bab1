  // Looking closer: which patches are like a chosen one, and colors of principal components.
  const PARTS = 32;
  const isClose = () => state.view === "alike" || state.view === "components";
  const kept = () => run().patches[nameOf(state)];
  const places = () => run().grid[0] * run().grid[1];
  // The coordinates of every patch of every example, one after the other.
  const codesOf = (source) => {
    if (!source.unpacked) source.unpacked = unfoldPatches(source.codes, run().examples.length, source.width, run().grid);
    return source.unpacked;
  };
  // The chosen patch; before one is chosen, the middle of the first image.
  const chosen = () => {
    const [rows, columns] = run().grid;
    const there = state.patch && state.patch.image < run().examples.length && state.patch.at < places();
    return there ? state.patch : { image: 0, at: Math.floor(rows / 2) * columns + Math.floor(columns / 2) };
  };
  const productOf = (codes, width, one, other) => {
    let sum = 0;
    for (let at = 0; at < width; at += 1) sum += codes[one * width + at] * codes[other * width + at];
    return sum;
  };
  // Cosines of the chosen patch with every patch of every example; none where a vector has no direction.
  const cosines = (source) => {
    const codes = codesOf(source);
    const { image, at } = chosen();
    const own = image * places() + at;
    const isNothing = (patch) => codes.subarray(patch * source.width, (patch + 1) * source.width).every((code) => code === 0);
    return Array.from({ length: run().examples.length * places() }, (_, other) => {
      if (isNothing(own) || isNothing(other)) return null;
      return own === other ? 1 : Math.max(-1, Math.min(1, productOf(codes, source.width, own, other) / PARTS ** 2));
    });
  };

  // Viridis, at nine places.
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const scaleColor = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
    const low = Math.min(STOPS.length - 2, Math.floor(place));
    return STOPS[low].map((value, channel) => Math.round(value + (place - low) * (STOPS[low + 1][channel] - value)));
  };
  const signed = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
  const leastOf = (values) => {
    const defined = values.filter((value) => value !== null);
    return defined.length ? Math.min(Math.floor(Math.min(...defined) * 10) / 10, 0.9) : 0;
  };
  const componentColors = (source) => {
    const codes = codesOf(source);
    return Array.from({ length: run().examples.length * places() }, (_, patch) => [0, 1, 2].map((channel) => {
      const [low, high] = source.ends[channel] || [0, 0];
      if (high <= low) return 128;
      return Math.round((255 * Math.min(1, Math.max(0, codes[patch * source.width + channel] - low) / (high - low))));
    }));
  };

  const frame = (context, at, color, line) => {
    const [rows, columns] = run().grid;
    const [width, height] = run().size;
    for (const [stroke, wide] of [["#000000", line + 2], [color, line]]) {
      context.strokeStyle = stroke;
      context.lineWidth = (wide * width) / 320;
      context.strokeRect((at % columns) * (width / columns), Math.floor(at / columns) * (height / rows), width / columns, height / rows);
    }
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
    for (const card of cards) card.main.hidden = !source;
    if (!source) {
      const names = Object.keys(run().patches).map((name) => name.replace(".", " "));
      return `Patches are kept of the layer that is chosen for each facet: ${names.join(", ")}. For all others: vitscope view.`;
    }
    if (state.view === "components") {
      const colors = componentColors(source);
      cards.forEach((card, index) => paintPatches(card.main, colors.slice(index * places(), (index + 1) * places())));
      return "Red, green and blue: the first three principal components of patch vectors of length 1. They rise with brightness in the first layer, in every other one with the same component one layer before.";
    }
    shownCosines = cosines(source);
    const low = leastOf(shownCosines);
    const own = chosen();
    cards.forEach((card, index) => {
      const values = shownCosines.slice(index * places(), (index + 1) * places());
      const context = paintPatches(card.main, values.map((value) => (value === null ? null : scaleColor((value - low) / (1 - low)))));
      let best = -1;
      values.forEach((value, at) => {
        if (value !== null && !(index === own.image && at === own.at) && (best < 0 || value > values[best])) best = at;
      });
      if (best >= 0) frame(context, best, "#ffffff", 1.5);
      if (index === own.image) frame(context, own.at, "#ff3b30", 3);
    });
    find(".ramp .low").textContent = signed(low, 1);
    const [, columns] = run().grid;
    const error = source.error === null ? "" : `; ${source.width} numbers a patch are kept, which puts them off by ${source.error.toFixed(3)} (root mean square)`;
    return `Cosines with the patch at row ${Math.floor(own.at / columns) + 1}, column ${own.at % columns + 1} of ${run().examples[own.image].stem}${error}.`;
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
    state.patch = { image, at };
    if (state.view === "alike") repaint();
    else setView("alike");
  };
  // What the line below the legend says of a patch under the pointer.
  const tellPatch = (image, at) => {
    const value = shownCosines[image * places() + at];
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
      if (isClose() && kept()) choosePatch(image, patchAt(event));
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0] }[event.key];
      if (!isClose() || !kept() || !step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const [rows, columns] = run().grid;
      const now = chosen();
      const from = now.image === image ? [Math.floor(now.at / columns), now.at % columns] : [Math.floor(rows / 2), Math.floor(columns / 2)];
      const [row, column] = from.map((part, axis) => Math.min([rows, columns][axis] - 1, Math.max(0, part + (now.image === image ? step[axis] : 0))));
      choosePatch(image, row * columns + column);
    });
  };


  // Viridis, at nine places.
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const scale = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
    const [low, part] = [Math.min(STOPS.length - 2, Math.floor(place)), place - Math.min(STOPS.length - 2, Math.floor(place))];
    return STOPS[low].map((value, channel) => Math.round(value + part * (STOPS[low + 1][channel] - value)));
  };
  const two = (value) => value.toFixed(2).replace("-", "\u2212");

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


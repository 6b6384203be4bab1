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
    box.addEventListener("pointermove", (event) => isClose() || light(entryAt(event)));
    box.addEventListener("pointerleave", () => light(state.pinned));
    box.addEventListener("click", (event) => isClose() || pin(entryAt(event)));
  };


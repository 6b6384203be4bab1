  const explorer = find(".explorer");
  if (!explorer) return;

  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflate = async (text) => {
    const stream = new Blob([decode(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  // What page/coder.rs wrote: LZMA's range coder, with probabilities that are learned on the way.
  const teller = (bytes) => {
    let next = 8;
    let code = ((bytes[4] << 24) | (bytes[5] << 16) | (bytes[6] << 8) | bytes[7]) >>> 0;
    let range = 0xffffffff;
    return (learned, way) => {
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
  };
  const eightBits = (tell, learned) => {
    let node = 1;
    for (let bit = 0; bit < 8; bit += 1) node = 2 * node + (tell(learned, node) ? 1 : 0);
    return node & 255;
  };
  const halves = (count) => new Uint16Array(count).fill(2048);
  const mustBe = (bytes, sum, what) => {
    if (sum !== ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0) throw new Error(`The page is damaged: its ${what} are not those that were written.`);
  };
  // Label maps, as page/maps.rs encodes them: up to three answers a pixel.
  const unfold = (text, maps, [width, height]) => {
    const bytes = decode(text);
    const pixels = new Uint8Array(maps * width * height);
    const answers = [0, 1, 2].map(() => halves(512));
    const bits = halves(256);
    const tell = teller(bytes);
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
            else label = eightBits(tell, bits);
          }
          pixels[at + column] = label;
          sum = (Math.imul(sum, 31) + label) >>> 0;
          [before, left, corner, up, right] = [column ? left : label, label, up, right, beyond];
        }
        at += width;
      }
    }
    mustBe(bytes, sum, "label maps");
    return pixels;
  };
  // Coordinates of patches, as page/patches.rs encodes them: eight bits each, by what the patches to the left and above have.
  const BOUNDS = [-24, -12, -6, -2, 1, 3, 7, 13, 25];
  const unfoldPatches = (text, images, width, [rows, columns]) => {
    const bytes = decode(text);
    const tell = teller(bytes);
    const ways = BOUNDS.length + 1;
    const learned = Array.from({ length: width * ways }, () => halves(256));
    const codes = new Int8Array(images * rows * columns * width);
    let sum = 7;
    for (let at = 0; at < codes.length; at += 1) {
      const place = Math.floor(at / width) % (rows * columns);
      const both = (place % columns ? codes[at - width] : 0) + (place >= columns ? codes[at - columns * width] : 0);
      const folded = eightBits(tell, learned[(at % width) * ways + BOUNDS.filter((bound) => both >= bound).length]);
      sum = (Math.imul(sum, 31) + folded) >>> 0;
      codes[at] = (folded >> 1) ^ -(folded & 1);
    }
    mustBe(bytes, sum, "patches");
    return codes;
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


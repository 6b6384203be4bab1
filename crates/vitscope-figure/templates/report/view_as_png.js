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
    const close = isClose() ? find(".difference").textContent : "";
    const named = close ? `${readable(state)}. ${close}` : isDifference() ? `${readable(state)}, difference to ${readable(state.base)}` : readable(state);
    const words = (text) => text.split(" ").map((word) => ({ text: word, room: context.measureText(" ").width }));
    const swatches = (close ? [] : buttons).map((node, entry) => ({ text: node.textContent, room: 34, color: run().entries[entry].color }));
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
    // The scale of colors, where there is one.
    const scale = find(".ramp");
    if (!scale.hidden) {
      const [bar, space] = [scale.querySelector("canvas"), context.measureText(" ").width];
      const parts = [...scale.children];
      context.font = `13px ${FONT}`;
      top += 20;
      let at = left;
      for (const part of parts) {
        if (part === bar) context.drawImage(bar, at, top - 11, 160, 12);
        else context.fillText(part.textContent, at, top);
        at += (part === bar ? 160 : context.measureText(part.textContent).width) + 2 * space;
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


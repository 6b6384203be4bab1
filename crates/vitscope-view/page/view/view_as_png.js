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


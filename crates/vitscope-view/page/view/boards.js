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


  const maps = ["slot", "truth"].map((which) => {
    const figure = make("figure");
    const canvas = make("canvas");
    const box = make("div", "stack");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", which === "slot" ? "aggregate map" : "aggregate map of the ground truth");
    const picture = make("img");
    picture.alt = "";
    box.append(picture, canvas);
    const caption = make("figcaption");
    figure.append(box, caption);
    find(".aggregates").append(figure);
    return { which, figure, box, canvas, picture, caption };
  });

  // An aggregate map; with a class lit, that class's share at each position.
  const paintAggregate = (map) => {
    const source = map.which === "slot" ? slot() : run().truth;
    map.figure.hidden = !source || !source.aggregate;
    if (map.figure.hidden) return;
    map.picture.src = jpeg(source.aggregate);
    const name = map.which === "slot" ? `${run().facets[state.facet]} layer ${run().layers[state.layer]}` : "ground truth";
    const [rows, columns] = run().grid;
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
    map.caption.textContent = `where ${name} says ${run().entries[state.lit].name}; white: ${(most / 255).toFixed(2)} of the images, black: 0`;
  };


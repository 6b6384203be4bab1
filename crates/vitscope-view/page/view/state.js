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


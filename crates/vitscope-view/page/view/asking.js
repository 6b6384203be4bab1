  // Asks for what is to be shown in a pane.
  const fetchPane = async (pane, index) => {
    const look = { pane: index, slot: `${state.facet}.${layerOf(pane)}`, norm: state.norm, rope: state.rope };
    if (pictures.length === 0) return { maps: new Map() };
    if (state.show === "cosine") {
      const [row, column] = patchOf(pane, state.at);
      const answer = await ask("cosines", { ...look, image: state.image, patch: row * pane.grid[1] + column });
      return { maps: new Map(answer.maps.map((map) => [map.picture, map])) };
    }
    if (state.show === "colors") {
      const answer = await ask("colors", look);
      return { ...answer, maps: new Map(answer.maps.map((map) => [map.picture, map])) };
    }
    if (!pane.has_clusters) return { maps: new Map(), note: "This model comes without a run, so it has no clusters." };
    const answer = await ask("clusters", look);
    return { ...answer, maps: new Map(answer.maps.map((map) => [map.picture, { ...map, labels: decode(map.labels) }])) };
  };

  const refresh = async () => {
    turn += 1;
    const own = turn;
    document.documentElement.dataset.busy = "true";
    setControls();
    remember();
    // Running a model over new images, or fitting colors, takes seconds.
    const waiting = setTimeout(() => {
      if (own === turn) find(".status").textContent = "Working …";
    }, 400);
    try {
      const found = [];
      for (const [index, pane] of panes.entries()) {
        found.push(await fetchPane(pane, index));
        // A slower answer must not overwrite one that was asked for later.
        if (own !== turn) return;
      }
      shown = found;
      complain("");
    } catch (error) {
      if (own !== turn) return;
      shown = panes.map(() => ({ maps: new Map() }));
      complain(error.message);
    }
    clearTimeout(waiting);
    await paint();
    if (own === turn) document.documentElement.dataset.busy = "false";
  };


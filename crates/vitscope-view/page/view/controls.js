  // Controls.
  const radios = (box, name, values, change) => values.map(([value, text]) => {
    const label = make("label");
    const input = make("input");
    [input.type, input.name, input.value] = ["radio", name, value];
    input.addEventListener("change", () => change(value));
    label.style.setProperty("--facet", `var(--${value})`);
    label.append(input, make("span", "", text));
    find(box).append(label);
    return input;
  });
  const setFacet = (facet) => {
    state.facet = facet;
    refresh();
  };
  const setShow = (show) => {
    state.show = show;
  };
  const facetInputs = radios(".facets", "facet", FACETS.map((facet) => [facet, facet]), setFacet);
  const showInputs = radios(".show", "show", Object.entries(SHOWS), (show) => {
    setShow(show);
    refresh();
  });
  const slider = find(".layer input");
  slider.max = first.depth;
  const setLayer = (layer) => {
    state.layer = Math.min(first.depth, Math.max(1, layer));
    refresh();
  };
  slider.addEventListener("input", () => setLayer(Number(slider.value)));
  const opacity = find(".opacity input");
  opacity.addEventListener("input", () => {
    state.opacity = Number(opacity.value);
    setControls();
    remember();
    paint();
  });
  for (const name of ["norm", "rope"]) {
    find(`.${name} select`).addEventListener("change", (event) => {
      state[name] = event.target.value;
      refresh();
    });
  }
  const setControls = () => {
    for (const input of facetInputs) input.checked = input.value === state.facet;
    for (const input of showInputs) {
      input.checked = input.value === state.show;
      if (input.value === "clusters") input.disabled = !panes.some((pane) => pane.has_clusters);
    }
    slider.value = state.layer;
    slider.setAttribute("aria-valuetext", `layer ${state.layer}`);
    find(".layer .now").textContent = `${state.layer} of ${first.depth}`;
    opacity.value = state.opacity;
    find(".opacity .now").textContent = `${state.opacity} %`;
    find(".norm").hidden = state.facet !== "token" || !panes.some((pane) => layerOf(pane) === pane.depth);
    find(".rope").hidden = !["key", "query"].includes(state.facet) || !panes.some((pane) => pane.is_rotary);
    find(".norm select").value = state.norm;
    find(".rope select").value = state.rope;
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select, .names input")) return;
    const layer = { "[": -1, "]": 1 }[event.key];
    const show = { c: "cosine", p: "colors", k: "clusters" }[event.key];
    if (layer) setLayer(state.layer + layer);
    if (event.key === "f") setFacet(FACETS[(FACETS.indexOf(state.facet) + 1) % FACETS.length]);
    if (show && !showInputs.find((input) => input.value === show).disabled) {
      setShow(show);
      refresh();
    }
  });


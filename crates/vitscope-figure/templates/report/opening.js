  // Opens the slot that a row of the table or a point of a figure names.
  const open = (name) => {
    const [index, place] = name.split("/");
    const [facet, layer] = place.split(".");
    showRun(Number(index), [facet, Number(layer)]);
    find("#explorer").scrollIntoView();
  };
  document.querySelectorAll("tr[data-slot]").forEach((row) => {
    const head = row.querySelector("th");
    const node = button(head.firstChild.textContent, () => open(row.dataset.slot));
    node.title = "Show in the explorer";
    head.firstChild.replaceWith(node);
  });
  for (const point of document.querySelectorAll("svg g[data-slot]")) {
    point.addEventListener("click", () => open(point.dataset.slot));
  }
  for (const cell of document.querySelectorAll("[data-open]")) {
    cell.addEventListener("click", () => open(cell.dataset.open));
  }

  explorer.tabIndex = 0;
  explorer.setAttribute("role", "group");
  explorer.setAttribute("aria-label", "Explorer: left and right change the layer, up and down the facet");
  // Keys work in the explorer and wherever nothing else has the focus.
  document.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const at = event.target;
    if (at !== document.body && at !== document.documentElement && !explorer.contains(at)) return;
    if (event.key === "Escape") {
      if (state.pinned >= 0) pin(state.pinned);
      light(-1);
    }
    // Sliders and lists have their own keys; the facets' radio buttons follow ours.
    if (at.matches("select")) return;
    if (event.key === "r") keep();
    if (event.key === "d") setView(state.view === "difference" ? "labels" : "difference");
    const close = { a: "alike", c: "components" }[event.key];
    if (close && Object.keys(run().patches).length) setView(state.view === close ? "labels" : close);
    if (!(event.key in steps) || at.matches("input[type=range], .view input")) return;
    // Up and down scroll the page unless a reader is in the explorer.
    if (!explorer.contains(at) && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
    event.preventDefault();
    remember = true;
    const [facet, layer] = steps[event.key];
    show(state.facet + facet, state.layer + layer);
    if (at.matches(".facets input")) facetInputs[state.facet].focus();
  });

  explorer.hidden = false;
  const linked = () => {
    const [, index, facet, layer] = location.hash.match(/^#slot=(\d+)\/(\w+)\.(\d+)$/) || [];
    const there = index !== undefined && data.runs[index] && data.runs[index].slots[`${facet}.${layer}`];
    return there ? [Number(index), [facet, Number(layer)]] : null;
  };
  window.addEventListener("hashchange", () => {
    const link = linked();
    if (link) showRun(...link);
  });
  const [startFacet, startLayer] = run().start.split(".");
  const [first, at] = linked() || [0, [startFacet, Number(startLayer)]];
  showRun(first, at).then(() => {
    remember = true;
    document.documentElement.dataset.ready = "true";
  });

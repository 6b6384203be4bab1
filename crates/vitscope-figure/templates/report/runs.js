  const picker = find(".run select");
  data.runs.forEach((one, index) => {
    const option = make("option", "", one.label);
    option.value = index;
    picker.append(option);
  });
  find(".run").hidden = data.runs.length < 2;
  picker.addEventListener("change", () => showRun(Number(picker.value)));

  // Takes over another run, at the same facet and layer where it has them.
  function showRun(index, at) {
    const [facet, layer] = at || [run().facets[state.facet], run().layers[state.layer]];
    state.run = index;
    [state.lit, state.pinned] = [-1, -1];
    picker.value = String(index);
    slider.max = run().layers.length - 1;
    cards = makeCards();
    find(".cards").replaceChildren(...cards.map((card) => card.card));
    // Few examples are shown larger.
    find(".cards").style.setProperty("--least", cards.length > 6 ? "150px" : "240px");
    buttons = makeButtons();
    facetInputs = makeFacets();
    const hasPatches = Object.keys(run().patches).length > 0;
    for (const label of closeLabels) label.hidden = !hasPatches;
    if (isClose() && !hasPatches) setView("labels");
    return show(Math.max(0, run().facets.indexOf(facet)), Math.max(0, run().layers.indexOf(layer)));
  }

  // The address names the slot once a reader has chosen one, so that a link opens it again.
  let remember = false;

  async function show(facet, layer) {
    state.facet = Math.min(run().facets.length - 1, Math.max(0, facet));
    state.layer = Math.min(run().layers.length - 1, Math.max(0, layer));
    state.turn += 1;
    const turn = state.turn;
    const current = slot();
    const here = `${state.run}/${nameOf(state)}`;
    const layerNow = run().layers[state.layer];
    facetInputs[state.facet].checked = true;
    slider.value = state.layer;
    slider.setAttribute("aria-valuetext", `layer ${layerNow}`);
    find(".layer .now").textContent = `${layerNow} of ${run().layers[run().layers.length - 1]}`;
    explorer.style.setProperty("--facet", `var(--${run().facets[state.facet]})`);
    find(".slot").textContent = readable(state);
    const numbers = find(".numbers");
    numbers.replaceChildren();
    for (const [name, text] of current ? current.numbers : []) {
      const line = make("div");
      line.append(make("dt", "", name), make("dd", "", text));
      numbers.append(line);
    }
    const effect = current && current.nmi !== null ? current.nmi : 0;
    for (const part of [".scale", ".meter"]) find(part).hidden = !current || current.nmi === null;
    find(".meter i").style.width = `${100 * effect}%`;
    const truth = run().truth ? run().truth.nmi : null;
    find(".meter b").hidden = truth === null;
    find(".meter b").style.left = `${100 * (truth || 0)}%`;
    for (const node of document.querySelectorAll("[data-slot], [data-open]")) node.classList.toggle("shown", (node.dataset.slot || node.dataset.open) === here);
    // IoU stands in the legend; a name that is not earned here is a question.
    buttons.forEach((node, entry) => {
      const iou = current && current.ious[entry];
      const isUnearned = Boolean(current && current.unearned[entry]);
      const { name } = run().entries[entry];
      node.textContent = iou === null || iou === undefined ? name : `${name}${isUnearned ? "?" : ""} ${iou.toFixed(2)}`;
      node.classList.toggle("unearned", isUnearned);
    });
    if (remember) history.replaceState(null, "", `#slot=${here}`);
    bars = makeBars();
    const waiting = [unpack(current, run()), unpack(run().truth, run())];
    if (state.base) waiting.push(unpack(slotOf(state.base), data.runs[state.base.run]));
    await Promise.all(waiting);
    // A slower slot must not overwrite one that was chosen later.
    if (turn === state.turn) repaint();
  }


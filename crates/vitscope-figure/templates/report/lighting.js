  const repaint = () => {
    const compared = isDifference();
    let [pixels, differing] = [0, 0];
    cards.forEach((card, index) => {
      if (!isClose()) {
        const counts = paint(card.main, slot(), index, state.opacity, compared);
        pixels += counts[0];
        differing += counts[1];
      }
      card.mainStack.classList.toggle("lit", !isClose() && (state.lit >= 0 || compared));
      for (const box of card.card.querySelectorAll(".stack")) box.classList.toggle("chooses", isClose() && keeps(index));
      const { stem } = run().examples[index];
      card.main.setAttribute("aria-label", `${{ alike: "cosines with the chosen patch in", components: "principal components of" }[state.view] || "segmentation of"} ${stem}`);
      const asked = isClose() && keeps(index) ? { tabindex: "0", role: "group", "aria-label": `patches of ${stem}: arrow keys choose one` } : {};
      for (const name of ["tabindex", "role", "aria-label"]) {
        if (name in asked) card.mainStack.setAttribute(name, asked[name]);
        else card.mainStack.removeAttribute(name);
      }
      if (card.truth) {
        paint(card.truth, run().truth, index, 1, false);
        card.truthStack.classList.toggle("lit", state.lit >= 0);
      }
    });
    let line = state.base ? `Reference: ${readable(state.base)}.` : "";
    if (state.view === "difference") line = compared ? `${readable(state)} differs from ${readable(state.base)} in ${pixels ? ((100 * differing) / pixels).toFixed(1) : "0.0"} % of the pixels shown; in color: what it says there.` : noDifference();
    find(".ramp").hidden = true;
    find(".difference").textContent = isClose() ? paintClose() : line;
    maps.forEach(paintAggregate);
    find(".lit-line").textContent = describeLit();
    buttons.forEach((node, index) => node.classList.toggle("lit", index === state.lit));
    bars.forEach((bar) => {
      bar.line.classList.toggle("lit", bar.entry === state.lit);
      bar.line.classList.toggle("dim", state.lit >= 0 && bar.entry !== state.lit);
    });
    for (const group of classGroups) group.classList.toggle("dim", state.lit >= 0 && classOf(group) !== state.lit);
  };

  // The bars of classes in the figures light up with the explorer, and light it up.
  const classGroups = [...document.querySelectorAll("svg g[data-class]")];
  const classOf = (group) => Number(group.dataset.class);
  for (const group of classGroups) {
    group.addEventListener("pointerenter", () => light(classOf(group)));
    group.addEventListener("pointerleave", () => light(state.pinned));
  }

  function light(entry) {
    if (entry === state.lit || entry >= run().entries.length) return;
    state.lit = entry;
    repaint();
  }

  function pin(entry) {
    state.pinned = entry === state.pinned ? -1 : entry;
    buttons.forEach((node, index) => node.setAttribute("aria-pressed", String(index === state.pinned)));
    light(entry);
  }


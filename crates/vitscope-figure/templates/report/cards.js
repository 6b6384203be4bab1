  let cards = [];
  let buttons = [];
  let bars = [];
  let facetInputs = [];

  const makeCards = () => run().examples.map((example, index) => {
    const card = make("li");
    const main = make("canvas");
    const mainStack = stack(`segmentation of ${example.stem}`, example.image, main);
    watch(mainStack, main, slot, index);
    chooseHere(mainStack, main, index);
    const thumbs = make("div", "thumbs");
    const photograph = stack(`image ${example.stem}`, example.image, null);
    chooseHere(photograph, photograph, index);
    thumbs.append(photograph);
    let truth = null;
    let truthStack = null;
    if (run().truth && run().truth.maps[index]) {
      truth = make("canvas");
      truthStack = stack(`ground truth of ${example.stem}`, example.image, truth);
      watch(truthStack, truth, () => run().truth, index);
      chooseHere(truthStack, truth, index);
      thumbs.append(truthStack);
    }
    const stem = make("p", "stem", example.stem);
    stem.title = example.stem;
    card.append(mainStack, thumbs, stem);
    return { card, main, mainStack, truth, truthStack };
  });

  // What the line below the legend says: how to use the explorer, or the lit class's numbers.
  const HINT = "Arrow keys: left and right change the layer, up and down the facet. Point at a class, in the legend or in a map, to light it up; click to keep it, Escape to let it go. R keeps the slot as reference, D shows the difference to it; A shows which patches are like the one that is clicked, C principal components.";
  const CLOSE_HINT = "Click a patch, in a picture, its ground truth or its map, to compare all others with it; while a picture has the focus, arrow keys move it. Elsewhere they change the layer (left and right) and the facet (up and down). A shows which patches are alike, C principal components.";
  const describeLit = () => {
    if (state.lit < 0) return isClose() && kept() ? CLOSE_HINT : HINT;
    const parts = [slot(), run().truth].map((source, at) => {
      const numbers = source ? source.entry_numbers[state.lit] : "";
      if (!numbers) return "";
      return at === 0 ? `${readable(state)}: ${numbers}` : `ground truth: ${numbers}`;
    });
    return [run().entries[state.lit].name, ...parts.filter(Boolean)].join(" — ");
  };

  const makeButtons = () => {
    const made = run().entries.map((entry, index) => {
      const node = button(entry.name, () => pin(index));
      node.style.setProperty("--swatch", rgb(entry.color));
      if (entry.is_rest) node.classList.add("rest");
      node.setAttribute("aria-pressed", "false");
      node.addEventListener("pointerenter", () => light(index));
      node.addEventListener("pointerleave", () => light(state.pinned));
      node.addEventListener("focus", () => light(index));
      node.addEventListener("blur", () => light(state.pinned));
      return node;
    });
    const items = made.map((node) => {
      const item = make("li");
      item.append(node);
      return item;
    });
    if (run().has_none) items.push(make("li", "nolabel", "no label"));
    find(".legend").replaceChildren(...items);
    return made;
  };


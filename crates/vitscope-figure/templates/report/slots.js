  // `base` is the slot that the difference is taken from: its run, facet and layer as places.
  const state = { run: 0, facet: 0, layer: 0, opacity: 1, lit: -1, pinned: -1, turn: 0, view: "labels", base: null, patch: null };
  const run = () => data.runs[state.run];
  const nameOf = (at) => `${data.runs[at.run].facets[at.facet]}.${data.runs[at.run].layers[at.layer]}`;
  const slotOf = (at) => data.runs[at.run].slots[nameOf(at)];
  const slot = () => slotOf(state);
  const readable = (at) => {
    const { label, facets, layers } = data.runs[at.run];
    return `${data.runs.length > 1 ? `${label}, ` : ""}${facets[at.facet]}, layer ${layers[at.layer]}`;
  };

  // Whether a difference can be shown, or why not.
  const noDifference = () => {
    if (!state.base) return "First choose a slot and keep it as reference.";
    const other = data.runs[state.base.run];
    if (!run().has_classes || !other.has_classes) return "Without ground truth, clusters of two slots have nothing in common.";
    if (String(other.size) !== String(run().size)) return "The two runs have crops of different sizes.";
    if (other.entries.map((entry) => entry.name).join("\n") !== run().entries.map((entry) => entry.name).join("\n")) return "The two runs have different classes.";
    return "";
  };
  const isDifference = () => state.view === "difference" && noDifference() === "";

  // The base's labels of an example, as lines of the legend.
  const baseLabels = (stem) => {
    const index = data.runs[state.base.run].examples.findIndex((example) => example.stem === stem);
    const source = slotOf(state.base);
    return index >= 0 && source && source.unpacked ? source.unpacked[index] : null;
  };


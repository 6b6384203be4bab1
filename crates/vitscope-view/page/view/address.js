  // The address holds the state.
  const remember = () => {
    const parts = { facet: state.facet, layer: state.layer, show: state.show, norm: state.norm, rope: state.rope, over: state.opacity };
    const picture = pictures.find((one) => one.id === state.image);
    if (picture && state.at) Object.assign(parts, { image: picture.name, at: state.at.join(",") });
    parts.images = pictures.map((one) => one.name).join("|");
    history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
  };
  const recall = async () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const text = (name, among) => (among.includes(parts.get(name)) ? parts.get(name) : null);
    const whole = (name, least, most) => {
      const value = Number(parts.get(name));
      return parts.has(name) && Number.isInteger(value) && value >= least && value <= most ? value : null;
    };
    state.facet = text("facet", FACETS) ?? state.facet;
    state.show = text("show", Object.keys(SHOWS)) ?? state.show;
    state.norm = text("norm", ["after", "before"]) ?? state.norm;
    state.rope = text("rope", ["after", "before"]) ?? state.rope;
    state.layer = whole("layer", 1, first.depth) ?? state.layer;
    state.opacity = whole("over", 0, 100) ?? state.opacity;
    for (const name of (parts.get("images") || "").split("|")) {
      if (name && !pictureNamed(name)) {
        try {
          await add(ask("pick", { name }, { method: "POST" }));
        } catch {
          // A dropped image cannot be opened by its name.
        }
      }
    }
    const picture = pictureNamed(parts.get("image"));
    const at = (parts.get("at") || "").split(",").map(Number);
    if (picture && at.length === 2 && at.every((place, axis) => Number.isInteger(place) && place >= 0 && place < first.grid[axis])) {
      [state.image, state.at] = [picture.id, at];
    }
  };


  // Class-wise mutual information: the highest classes, in the ground truth's order.
  const MOST_BARS = 10;
  const makeBars = () => {
    const box = find(".mi");
    const truth = run().truth ? run().truth.mi : [];
    const mine = slot() ? slot().mi : [];
    const height = (entry) => Math.max(mine[entry] || 0, truth[entry] || 0);
    const entries = run().entries.map((_, entry) => entry).filter((entry) => (mine[entry] ?? truth[entry] ?? null) !== null);
    entries.sort((a, b) => height(b) - height(a) || a - b);
    entries.length = Math.min(entries.length, MOST_BARS);
    entries.sort((a, b) => (truth[b] || 0) - (truth[a] || 0) || a - b);
    box.hidden = entries.length === 0;
    const most = Math.max(...entries.map(height), 1e-12);
    const made = entries.map((entry) => {
      const line = make("div", "bar");
      line.dataset.entry = entry;
      const name = make("span", "", run().entries[entry].name);
      name.title = name.textContent;
      line.append(name);
      const track = make("div");
      const fill = make("i");
      fill.style.width = `${(100 * (mine[entry] || 0)) / most}%`;
      track.append(fill);
      if (truth[entry] !== undefined && truth[entry] !== null) {
        const mark = make("b");
        mark.style.left = `${(100 * truth[entry]) / most}%`;
        track.append(mark);
      }
      line.append(track, make("span", "value", mine[entry] === null || mine[entry] === undefined ? "undefined" : mine[entry].toFixed(3)));
      line.addEventListener("pointerenter", () => light(entry));
      line.addEventListener("pointerleave", () => light(state.pinned));
      line.addEventListener("click", () => pin(entry));
      return { entry, line };
    });
    box.replaceChildren(make("h4", "", "class-wise MI (nats), line: ground truth"), ...made.map((bar) => bar.line));
    return made;
  };


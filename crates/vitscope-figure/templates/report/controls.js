  const makeFacets = () => {
    const made = run().facets.map((facet, index) => {
      const label = make("label");
      label.style.setProperty("--facet", `var(--${facet})`);
      const input = make("input");
      input.type = "radio";
      input.name = "facet";
      input.value = facet;
      input.addEventListener("change", () => show(index, state.layer));
      label.append(input, make("span", "", facet));
      return { input, label };
    });
    find(".facets").replaceChildren(find(".facets legend"), ...made.map((one) => one.label));
    return made.map((one) => one.input);
  };

  const slider = find(".layer input");
  slider.addEventListener("input", () => show(state.facet, Number(slider.value)));
  const opacity = find(".opacity input");
  opacity.addEventListener("input", () => {
    state.opacity = opacity.value / 100;
    find(".opacity .now").textContent = `${opacity.value} %`;
    repaint();
  });
  find(".opacity .now").textContent = "100 %";
  const views = [...document.querySelectorAll(".view input")];
  const setView = (view) => {
    state.view = view;
    for (const input of views) input.checked = input.value === view;
    repaint();
  };
  const closeLabels = views.filter((input) => input.value === "alike" || input.value === "components").map((input) => input.closest("label"));
  for (const input of views) input.addEventListener("change", () => setView(input.value));
  const keep = () => {
    state.base = { run: state.run, facet: state.facet, layer: state.layer };
    repaint();
  };
  find(".keep").addEventListener("click", keep);


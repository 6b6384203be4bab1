  document.title = `${panes.map((pane) => pane.label).join(" and ")}: vitscope view`;
  find("h1").textContent = panes.length > 1 ? `${panes.length} models side by side` : first.label;
  find(".rule").textContent = about.rule;
  find(".data").textContent = about.no_data || "";
  find(".data").hidden = !about.no_data;
  const follow = async () => {
    await recall();
    chooseSomething();
    makeBoards();
    await refresh();
  };
  window.addEventListener("hashchange", follow);
  await follow();
  document.documentElement.dataset.ready = "true";

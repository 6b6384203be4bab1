  // Figures of one kind for each facet: one at a time. Without a script they stand below one another.
  for (const box of document.querySelectorAll(".tabs")) {
    const sections = [...box.querySelectorAll("section")];
    if (sections.length < 2) continue;
    const list = make("div");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.dataset.heading);
    list.append(make("h2", "", box.dataset.heading));
    const tabs = sections.map((section) => {
      const tab = button(section.dataset.tab, () => choose(section));
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", section.id);
      section.setAttribute("role", "tabpanel");
      list.append(tab);
      return tab;
    });
    const choose = (chosen) => sections.forEach((section, index) => {
      section.hidden = section !== chosen;
      tabs[index].setAttribute("aria-selected", String(section === chosen));
      tabs[index].tabIndex = section === chosen ? 0 : -1;
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
      choose(sections[next]);
      tabs[next].focus();
    });
    const follow = () => {
      const wanted = sections.find((section) => `#${section.id}` === location.hash);
      if (wanted) choose(wanted);
    };
    box.classList.add("live");
    box.prepend(list);
    choose(sections[0]);
    follow();
    window.addEventListener("hashchange", follow);
  }


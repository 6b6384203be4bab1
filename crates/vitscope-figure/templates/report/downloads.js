  // Downloads: what is on the page, as a file of its own. Nothing is fetched.
  const save = (name, blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const fontFaces = () => (document.querySelector("style").textContent.match(/@font-face\{[^}]*\}/g) || []).join("\n");
  const aloneSvg = (svg) => {
    const copy = svg.cloneNode(true);
    const style = document.createElementNS(copy.namespaceURI, "style");
    style.textContent = fontFaces();
    const paper = document.createElementNS(copy.namespaceURI, "rect");
    for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", "#ffffff"]]) paper.setAttribute(name, value);
    for (const dim of copy.querySelectorAll(".dim")) dim.classList.remove("dim");
    copy.prepend(style, paper);
    return new XMLSerializer().serializeToString(copy);
  };
  const toPng = (canvas, name) => new Promise((done) => canvas.toBlob((blob) => { save(name, blob); done(); }, "image/png"));
  const savePng = async (svg, name) => {
    const box = svg.viewBox.baseVal;
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(aloneSvg(svg))}`;
    await picture.decode();
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [box.width * 2, box.height * 2];
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    await toPng(canvas, name);
  };
  for (const section of document.querySelectorAll(".plates section")) {
    const svg = section.querySelector("svg");
    const line = make("span", "downloads");
    const heading = section.querySelector("h2").textContent;
    const add = (form, action) => {
      const node = button(form, action);
      node.setAttribute("aria-label", `${form} of ${heading}`);
      line.append(" ", node);
    };
    add("SVG", () => save(`${section.id}.svg`, new Blob([aloneSvg(svg)], { type: "image/svg+xml" })));
    add("PNG", () => savePng(svg, `${section.id}.png`));
    if (data.tables[section.id] !== undefined) {
      add("CSV", () => save(`${section.id}.csv`, new Blob([data.tables[section.id]], { type: "text/csv" })));
    }
    section.querySelector("figcaption").append(line);
  }


  // The table: sorting is stable, and what is undefined stays last in both directions.
  const sortBy = (head, column) => {
    const table = head.closest("table");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.sort;
    const order = {
      text: (left, right) => left.localeCompare(right, "en"),
      facet: (left, right) => FACETS.indexOf(left) - FACETS.indexOf(right),
      number: (left, right) => left - right,
    }[head.dataset.order || "number"];
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("truth"));
    rows.sort((a, b) => {
      const [left, right] = [key(a), key(b)];
      if (left === "" || right === "") return (left === "") - (right === "");
      return falling ? -order(left, right) : order(left, right);
    });
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("#table thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(head, column));
  });


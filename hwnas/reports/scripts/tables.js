/* Tables: sorted by any column, and a row brought into view from elsewhere. */
(() => {
  /* Numbers by size, words by alphabet, empty cells last in either direction. */
  function compare(first, second, numeric, sign) {
    if (first === "" || second === "") return (first === "") - (second === "");
    return sign * (numeric ? Number(first) - Number(second) : first.localeCompare(second));
  }

  function sortBy(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const body = table.tBodies[0];
    const values = [...body.rows].map((row) => [row.cells[column].dataset.sort, row]);
    const numeric = values.every(([value]) => value === "" || !Number.isNaN(Number(value)));
    values.sort((a, b) => compare(a[0], b[0], numeric, sign));
    body.append(...values.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((cell) => cell.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  }

  report.focusRow = (id) => {
    const row = document.getElementById(id ?? "");
    if (row === null) return;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  };

  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sortBy(table, column));
    });
  });
})();

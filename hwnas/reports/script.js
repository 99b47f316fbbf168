"use strict";
(() => {
  const root = document.documentElement;
  const drawings = [];

  /* Drawings name colours and fonts as "var(--front)"; the style sheet in force says what they are. */
  function resolve(value, style) {
    if (typeof value === "string") {
      return value.startsWith("var(--") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, style)]));
    }
    return value;
  }

  function settings() {
    return {
      displayModeBar: false,
      responsive: true,
      scrollZoom: false,
      showTips: false,
      doubleClick: "reset",
    };
  }

  function draw(drawing) {
    const figure = resolve(drawing.spec, getComputedStyle(root));
    /* a finger on the drawing must still scroll the page */
    figure.layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    if (drawing.plot.clientWidth < 480) {
      figure.layout.margin = { ...figure.layout.margin, l: 30, r: 8 };
      figure.layout.xaxis.nticks = 5;
    }
    if ("printing" in root.dataset) {
      figure.layout.width = drawing.plot.clientWidth;
      figure.layout.height = drawing.plot.clientHeight;
    }
    drawing.figure = figure;
    return Plotly.react(drawing.plot, figure.data, figure.layout, settings());
  }

  function drawAll() {
    drawings.forEach(draw);
  }

  function showModel(event) {
    const row = document.getElementById(event.points[0]?.customdata ?? "");
    if (row === null) return;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  }

  function saveDrawing(drawing, name) {
    const layout = { ...drawing.figure.layout, paper_bgcolor: resolve("var(--surface)", getComputedStyle(root)) };
    Plotly.downloadImage(
      { data: drawing.figure.data, layout },
      { format: "svg", filename: name, width: drawing.plot.clientWidth, height: drawing.plot.clientHeight },
    );
  }

  function begin(figure) {
    const plot = figure.querySelector(".plot");
    const drawing = { plot, spec: JSON.parse(figure.querySelector(".spec").textContent) };
    drawings.push(drawing);
    draw(drawing);
    plot.on("plotly_click", showModel);
    figure.querySelectorAll("[data-trace]").forEach((key) => {
      key.addEventListener("click", () => {
        const shown = key.getAttribute("aria-pressed") !== "true";
        key.setAttribute("aria-pressed", String(shown));
        drawing.spec.data[Number(key.dataset.trace)].visible = shown;
        draw(drawing);
      });
    });
    figure.querySelector("[data-do=reset]").addEventListener("click", () => draw(drawing));
    figure.querySelector("[data-do=save]").addEventListener("click", () => saveDrawing(drawing, figure.id));
  }

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

  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sortBy(table, column));
    });
  });

  document.querySelectorAll("figure.drawing").forEach(begin);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    root.dataset.printing = "";
    drawAll();
  });
  addEventListener("afterprint", () => {
    delete root.dataset.printing;
    drawAll();
  });
})();

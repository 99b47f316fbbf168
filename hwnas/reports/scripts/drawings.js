"use strict";
const report = {};

/* Drawings: plotly figures in the colours of the style sheet in force, with their legends and buttons. */
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
    if (!drawing.begun) return;
    const spec = { ...drawing.spec, data: report.decorate(drawing.spec.data) };
    const figure = resolve(spec, getComputedStyle(root));
    /* a finger on the drawing must still scroll the page */
    figure.layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    /* what the reader has zoomed to is kept until the view is reset */
    figure.layout.uirevision = drawing.revision;
    Object.entries(drawing.view).forEach(([name, range]) => {
      figure.layout[name].range = range;
    });
    if (drawing.plot.clientWidth < 480) {
      figure.layout.margin = { ...figure.layout.margin, l: 30, r: 8 };
      figure.layout.xaxis.nticks = 5;
    }
    if ("printing" in root.dataset) {
      figure.layout.width = drawing.plot.clientWidth;
      figure.layout.height = drawing.plot.clientHeight;
    }
    drawing.shown = figure;
    Plotly.react(drawing.plot, figure.data, figure.layout, settings());
  }

  function drawAll() {
    drawings.forEach(draw);
  }

  function zoom(drawing, factor) {
    const view = {};
    for (const name of ["xaxis", "yaxis"]) {
      const axis = drawing.plot._fullLayout[name];
      if (axis.type === "category") continue;
      const middle = (axis.range[0] + axis.range[1]) / 2;
      view[name] = axis.range.map((end) => middle + (end - middle) * factor);
    }
    drawing.view = view;
    draw(drawing);
  }

  function reset(drawing) {
    drawing.view = {};
    drawing.revision += 1;
    draw(drawing);
  }

  function save(drawing, name) {
    const layout = { ...drawing.shown.layout, paper_bgcolor: resolve("var(--surface)", getComputedStyle(root)) };
    Plotly.downloadImage(
      { data: drawing.shown.data, layout },
      { format: "svg", filename: name, width: drawing.plot.clientWidth, height: drawing.plot.clientHeight },
    );
  }

  /* A legend holds for every drawing beside it. */
  function toggle(key) {
    const shown = key.getAttribute("aria-pressed") !== "true";
    const group = key.closest(".drawings");
    key.setAttribute("aria-pressed", String(shown));
    drawings
      .filter((drawing) => group.contains(drawing.plot))
      .forEach((drawing) => {
        drawing.spec.data.filter((trace) => trace.meta.role === key.dataset.role).forEach((trace) => {
          trace.visible = shown;
        });
        draw(drawing);
      });
  }

  function prepare(figure) {
    const plot = figure.querySelector(".plot");
    const spec = JSON.parse(figure.querySelector(".spec").textContent);
    const drawing = { figure, plot, spec, view: {}, revision: 0, begun: false };
    const actions = {
      in: () => zoom(drawing, 1 / 1.5),
      out: () => zoom(drawing, 1.5),
      reset: () => reset(drawing),
      save: () => save(drawing, figure.id),
    };
    figure.querySelectorAll("[data-do]").forEach((button) => {
      button.addEventListener("click", actions[button.dataset.do]);
    });
    return drawing;
  }

  function begin(drawing) {
    if (drawing.begun) return;
    drawing.begun = true;
    draw(drawing);
    drawing.plot.on("plotly_click", (event) => report.choose(event.points[0]?.customdata));
  }

  /* A drawing is made when it comes near the screen: a page of many opens at once. */
  function beginWhenNear() {
    const near = new IntersectionObserver(
      (entries) => {
        entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
          near.unobserve(entry.target);
          begin(drawings.find((drawing) => drawing.figure === entry.target));
        });
      },
      { rootMargin: "100% 0px" },
    );
    drawings.forEach((drawing) => near.observe(drawing.figure));
  }

  /* Only the planes of the front change with what the reader asks for. */
  let waiting = false;
  report.redrawFront = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawings.filter((drawing) => report.isFront(drawing.spec.data)).forEach(draw);
    });
  };

  /* What is chosen and what fits; explorer.js knows more where there is a front. */
  report.isFront = (traces) => traces.some((trace) => /^(front-|cloud)/.test(trace.meta.role));
  report.decorate = (traces) => traces;
  report.choose = (key) => report.focusRow(key);

  report.start = () => {
    drawings.push(...[...document.querySelectorAll("figure.drawing")].map(prepare));
    beginWhenNear();
    document.querySelectorAll(".key").forEach((key) => key.addEventListener("click", () => toggle(key)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    addEventListener("beforeprint", () => {
      root.dataset.printing = "";
      drawings.forEach(begin);
      drawAll();
    });
    addEventListener("afterprint", () => {
      delete root.dataset.printing;
      drawAll();
    });
  };
})();

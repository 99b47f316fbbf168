/* One architecture drawn block by block, with what each block costs on each device. */
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SLOT_FOR_LABELS = 23;

  function element(tag, attributes = {}, text = null) {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text !== null) made.textContent = text;
    return made;
  }

  function shape(tag, attributes, text = null) {
    const made = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text !== null) made.textContent = text;
    return made;
  }

  function significant(value, digits = 3) {
    if (value === 0) return "0";
    const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)) + 1e-9));
    return value.toFixed(Math.min(decimals, 6));
  }

  function counted(value) {
    for (const [size, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (value >= size) return `${significant(value / size)} ${suffix}`;
    }
    return String(value);
  }

  const channels = (block) => (block.output.length === 2 ? block.output[1] : block.output[0]);
  const resolution = (block) => (block.output.length === 3 ? block.output.slice(1).join("×") : "");
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  /* The quantities that are drawn below the blocks: one for each device with a latency table, then the counts. */
  function lanesOf(blocks, precision, overhead) {
    const lanes = Object.keys(overhead).map((device) => {
      const values = blocks.map((block) => block.ms[device]?.[precision] ?? null);
      if (values.includes(null)) return null;
      const extra = overhead[device][precision] ?? 0;
      const largest = Math.max(...values);
      const decimals = largest > 0 ? Math.max(0, 2 - Math.floor(Math.log10(largest) + 1e-9)) : 0;
      const write = (value) => value.toFixed(Math.min(decimals, 6));
      return { title: `ms on ${device}`, head: `${device} (ms)`, values, extra, write, kind: "time" };
    });
    const macs = blocks.map((block) => block.macs);
    const parameters = blocks.map((block) => block.parameters);
    return [
      ...lanes.filter((lane) => lane !== null),
      { title: "MACs", head: "MACs", values: macs, write: counted, kind: "count" },
      { title: "parameters", head: "Parameters", values: parameters, write: counted, kind: "count" },
    ];
  }

  function kindsOf(blocks) {
    return [...new Set(blocks.map((block) => block.title))];
  }

  /* The class that gives a block its colour; the fifth is for all further kinds. */
  const colourOf = (kinds, title) => `kind-${"abcde"[Math.min(kinds.indexOf(title), 4)]}`;

  /* Bands behind the blocks of one resolution, named below them. */
  function drawResolutions(svg, blocks, slot, top, bottom) {
    let start = 0;
    let odd = false;
    blocks.forEach((block, index) => {
      const last = index + 1 === blocks.length || resolution(blocks[index + 1]) !== resolution(block);
      if (!last) return;
      const width = (index + 1 - start) * slot;
      if (odd) svg.append(shape("rect", { class: "band", x: start * slot, y: top, width, height: bottom - top }));
      const name = resolution(block);
      if (name && width > 8 * name.length) {
        svg.append(shape("text", { class: "note", x: (start + (index + 1 - start) / 2) * slot, y: bottom - 6 }, name));
      }
      start = index + 1;
      odd = !odd;
    });
  }

  function drawBlocks(svg, blocks, slot, top, height) {
    const most = Math.max(...blocks.map(channels));
    const kinds = kindsOf(blocks);
    const middle = top + height / 2;
    svg.append(shape("line", { class: "wire", x1: 0, x2: slot * blocks.length, y1: middle, y2: middle }));
    blocks.forEach((block, index) => {
      const size = Math.max(8, height * Math.sqrt(channels(block) / most));
      const gap = Math.min(3, slot * 0.15);
      svg.append(
        shape("rect", {
          class: `block ${colourOf(kinds, block.title)}`,
          x: index * slot + gap,
          y: middle - size / 2,
          width: slot - 2 * gap,
          height: size,
          rx: Math.min(4, slot / 5),
        }),
      );
    });
  }

  function drawLabels(svg, blocks, slot, top) {
    if (slot < SLOT_FOR_LABELS) return;
    blocks.forEach((block, index) => {
      const lines = [...block.facts.filter((fact) => fact.length <= 5).slice(0, 3), String(channels(block))];
      lines.forEach((line, row) => {
        const kind = row + 1 === lines.length ? "fact wide" : "fact";
        svg.append(shape("text", { class: kind, x: (index + 0.5) * slot, y: top + 12 * row }, line));
      });
    });
  }

  function drawLane(svg, lane, slot, top, height) {
    const most = Math.max(...lane.values);
    const total = (lane.kind === "time" ? significant : lane.write)(sum(lane.values) + (lane.extra ?? 0));
    svg.append(shape("text", { class: "lane", x: 0, y: top }, `${total} ${lane.title}`));
    const floor = top + 8 + height;
    lane.values.forEach((value, index) => {
      const size = most > 0 ? Math.max(1, (height * value) / most) : 1;
      const gap = Math.min(3, slot * 0.15);
      const place = { x: index * slot + gap, y: floor - size, width: slot - 2 * gap, height: size };
      svg.append(shape("rect", { class: `bar ${lane.kind}`, ...place }));
    });
    svg.append(shape("line", { class: "floor", x1: 0, x2: slot * lane.values.length, y1: floor, y2: floor }));
  }

  function describe(block, lanes, index) {
    const costs = lanes.map((lane) => `${lane.write(lane.values[index])} ${lane.title}`);
    return `${index + 1}. ${[block.title, ...block.facts].join(" ")}, ${block.output.join("×")}: ${costs.join(", ")}`;
  }

  function drawNetwork(blocks, lanes, width, mark) {
    const slot = width / blocks.length;
    const labels = slot < SLOT_FOR_LABELS ? 0 : 56;
    const laneHeight = 34;
    const laneTop = 130 + labels;
    const height = laneTop + lanes.length * (laneHeight + 30);
    const heaviest = lanes.length ? lanes[0].values.indexOf(Math.max(...lanes[0].values)) : 0;
    const costliest = describe(blocks[heaviest], lanes, heaviest);
    const label = `${blocks.length} blocks drawn from input to output. The costliest is ${costliest}.`;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
    drawResolutions(svg, blocks, slot, 0, 104);
    drawBlocks(svg, blocks, slot, 4, 76);
    drawLabels(svg, blocks, slot, 122);
    lanes.forEach((lane, row) => drawLane(svg, lane, slot, laneTop + row * (laneHeight + 30), laneHeight));
    blocks.forEach((block, index) => {
      const target = shape("rect", { class: "target", x: index * slot, y: 0, width: slot, height });
      target.append(shape("title", {}, describe(block, lanes, index)));
      target.addEventListener("pointerenter", () => mark(index));
      target.addEventListener("pointerleave", () => mark(null));
      svg.append(target);
    });
    return svg;
  }

  function cellOf(lane, value) {
    const cell = element("td", { class: "number" });
    const most = Math.max(...lane.values);
    const bar = element("span", { class: `share ${lane.kind}` });
    bar.style.width = `${most > 0 ? (100 * value) / most : 0}%`;
    cell.append(element("span", {}, lane.write(value)), bar);
    return cell;
  }

  function rowOf(block, lanes, index, kinds) {
    const row = element("tr");
    const name = element("th", { scope: "row" });
    name.append(
      element("span", { class: "place" }, `${index + 1} `),
      element("span", { class: `dot ${colourOf(kinds, block.title)}`, "aria-hidden": "true" }),
      element("span", { class: "title" }, `${block.title} `),
      element("span", { class: "facts" }, `${block.facts.join(" ")} `),
      element("span", { class: "shape" }, block.output.join("×")),
    );
    row.append(name, element("td", { class: "shape" }, block.output.join("×")));
    lanes.forEach((lane) => row.append(cellOf(lane, lane.values[index])));
    return row;
  }

  function tableOf(blocks, lanes) {
    const table = element("table", { class: "blocks" });
    table.append(element("caption", {}, "The blocks from input to output, and what each costs"));
    const heads = element("tr");
    heads.append(element("th", { scope: "col" }, "Block"), element("th", { scope: "col", class: "shape" }, "Output"));
    lanes.forEach((lane) => heads.append(element("th", { scope: "col", class: "number" }, lane.head)));
    const kinds = kindsOf(blocks);
    table.createTHead().append(heads);
    table.createTBody().append(...blocks.map((block, index) => rowOf(block, lanes, index, kinds)));
    const foot = table.createTFoot();
    if (lanes.some((lane) => lane.extra)) foot.append(footOf("Besides the blocks", lanes, (lane) => lane.extra ?? null));
    foot.append(footOf("In all", lanes, (lane) => sum(lane.values) + (lane.extra ?? 0)));
    return table;
  }

  function footOf(title, lanes, value) {
    const row = element("tr");
    row.append(element("th", { scope: "row" }, title), element("td", { class: "shape" }));
    lanes.forEach((lane) => {
      const found = value(lane);
      row.append(element("td", { class: "number" }, found === null ? "–" : lane.write(found)));
    });
    return row;
  }

  function legendOf(blocks) {
    const legend = element("p", { class: "kinds", "aria-hidden": "true" });
    const kinds = kindsOf(blocks);
    kinds.forEach((kind) => {
      const key = element("span");
      key.append(element("span", { class: `dot ${colourOf(kinds, kind)}` }), kind);
      legend.append(key);
    });
    legend.append(element("span", { class: "explained" }, "height: output channels · k kernel · e expand · s stride"));
    return legend;
  }

  /* The parts that show a network of `blocks` in a place of this width: its drawing, the legend, the table. */
  report.drawArchitecture = (blocks, precision, overhead, width) => {
    const lanes = lanesOf(blocks, precision, overhead);
    const scroll = element("div", { class: "table-scroll blocks", role: "region", tabindex: "0", "aria-label": "Blocks" });
    const table = tableOf(blocks, lanes);
    const mark = (index) => {
      [...table.tBodies[0].rows].forEach((row, place) => row.classList.toggle("marked", place === index));
    };
    const svg = drawNetwork(blocks, lanes, width, mark);
    const targets = svg.querySelectorAll(".target");
    [...table.tBodies[0].rows].forEach((row, place) => {
      row.addEventListener("pointerenter", () => targets[place].classList.add("marked"));
      row.addEventListener("pointerleave", () => targets[place].classList.remove("marked"));
    });
    scroll.append(table);
    return [svg, legendOf(blocks), scroll];
  };
})();

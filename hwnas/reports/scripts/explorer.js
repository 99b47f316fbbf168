/* Choosing: bounds that dim what does not fit, and the architecture that is shown in full. */
(() => {
  const found = document.querySelector("script.choices");
  const choices = found === null ? null : JSON.parse(found.textContent);
  const form = document.querySelector("form.bounds");
  if (choices === null || form === null) {
    report.start();
    return;
  }
  const { objectives, candidates } = choices;
  const members = candidates.filter((one) => one.number !== null);
  const known = new Map([...candidates, ...choices.baselines].map((one) => [one.key, one]));
  const list = document.querySelector("[role=listbox]");
  const place = document.getElementById("architecture");
  const status = document.querySelector("[role=status]");
  const bounds = new Map();
  let chosen = null;

  function write(objective, value) {
    const gap = ["", "%"].includes(objective.suffix) ? "" : "\u00a0";
    return (value * objective.factor).toFixed(objective.decimals) + gap + objective.suffix;
  }

  /* By how much, as a share of the bound, a value breaks it; 0 where it keeps it or is not known. */
  function excess(one, objective, bound) {
    const value = one.values[objective.name];
    if (value === undefined || value === null) return 0;
    const over = objective.maximize ? bound - value : value - bound;
    return Math.max(0, over) / Math.max(Math.abs(bound), 1e-12);
  }

  function misses(one) {
    return [...bounds]
      .map(([objective, bound]) => ({ objective, share: excess(one, objective, bound) }))
      .filter((miss) => miss.share > 1e-9);
  }

  const fits = (one) => misses(one).length === 0;
  const missed = (one) => misses(one).reduce((total, miss) => total + miss.share, 0);

  /* The better first, as `hwnas pick` has it: by the search's error, which alone all members share, then by the others. */
  const ranking = [...objectives].sort((a, b) => (b.name === "error") - (a.name === "error"));
  function better(first, second) {
    for (const objective of ranking) {
      const gap = (first.estimates[objective.name] ?? Infinity) - (second.estimates[objective.name] ?? Infinity);
      if (gap) return objective.maximize ? -gap : gap;
    }
    return first.number - second.number;
  }

  function picked() {
    const fitting = members.filter(fits).sort(better);
    if (fitting.length) return fitting[0];
    return [...members].sort((a, b) => missed(a) - missed(b) || better(a, b))[0];
  }

  function facts(one) {
    return objectives
      .filter((objective) => objective.name === "error" || objective.device !== null || bounds.has(objective))
      .filter((objective) => one.values[objective.name] !== undefined)
      .map((objective) => `${write(objective, one.values[objective.name])} ${phrase(objective)}`)
      .join(", ");
  }

  /* How an objective follows a number: "4.2% error", "1.9 ms on rpi4". */
  function phrase(objective) {
    if (objective.device !== null) return `on ${objective.device}`;
    return objective.title.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
  }

  const nameOf = (one) => (one.model === null ? one.name : `${one.name} (winner ${one.model})`);

  function verdict() {
    if (bounds.size === 0) return `${members.length} architectures are on the front. Set a bound to see which of them fit.`;
    const count = members.filter(fits).length;
    const best = picked();
    if (count > 0) {
      const first = ranking[0].name === "error" ? "most accurate" : "best";
      const which = count === 1 ? "It is" : `The ${first} of them is`;
      return `${count} of ${members.length} ${count === 1 ? "fits" : "fit"}. ${which} ${nameOf(best)}: ${facts(best)}.`;
    }
    const over = misses(best).map(({ objective, share }) => {
      const percent = (100 * share).toFixed(share < 0.1 ? 1 : 0);
      return `${objective.title} is ${percent}% ${objective.maximize ? "below" : "over"} its bound`;
    });
    return `None fits. The nearest miss is ${nameOf(best)}: ${over.join(", ")}.`;
  }

  /* A bound that half of the front keeps. */
  function example() {
    const objective = objectives.find((one) => one.device !== null) ?? ranking[0];
    const values = members.map((one) => one.values[objective.name] ?? 0).sort((a, b) => a - b);
    return [[objective, rounded(objective, values[Math.floor(values.length / 2)])]];
  }

  /* The value as it is written, rounded outwards, so that who has exactly that value still keeps the bound. */
  function rounded(objective, value) {
    const scale = 10 ** objective.decimals;
    const exact = value * objective.factor * scale;
    return (objective.maximize ? Math.floor(exact + 1e-9) : Math.ceil(exact - 1e-9)) / scale / objective.factor;
  }

  /* What `hwnas pick` takes for the same bounds. */
  function command(asked) {
    const terms = [...asked].map(([objective, bound]) => {
      const name = objective.device === null ? objective.name : `latency@${objective.device}`;
      const unit = { ms: " ms", "%": "%", M: " M", G: " G" }[objective.suffix] ?? "";
      const amount = Number((unit ? bound * objective.factor : bound).toPrecision(6));
      return `${name} ${objective.maximize ? ">=" : "<="} ${amount}${unit}`;
    });
    return `hwnas pick ${choices.run} "${terms.join(" and ")}"`;
  }

  let saying = null;
  function say(text) {
    clearTimeout(saying);
    saying = setTimeout(() => {
      status.textContent = text;
    }, 250);
  }

  function updateBounds() {
    const text = verdict();
    document.getElementById("verdict").textContent = text;
    const line = form.querySelector(".command");
    const [label, code] = line.children;
    label.textContent = bounds.size ? "The same in a terminal: " : "For example, in a terminal: ";
    code.textContent = command(bounds.size ? bounds : example());
    form.querySelector("[type=reset]").disabled = bounds.size === 0;
    list.querySelectorAll("[role=option]").forEach((option) => {
      option.classList.toggle("dim", !fits(known.get(option.dataset.key)));
    });
    if (bounds.size) choose(picked().key, { quiet: true });
    report.redrawFront();
    return text;
  }

  /* Sliders go from the best to the worst value of the front, in equal steps or, over wide spans, in equal ratios. */
  function toValue(objective, step, steps) {
    const share = step / steps;
    if (objective.log) return objective.low * (objective.high / objective.low) ** share;
    return objective.low + share * (objective.high - objective.low);
  }

  function toStep(objective, value, steps) {
    const share = objective.log
      ? Math.log(value / objective.low) / Math.log(objective.high / objective.low)
      : (value - objective.low) / (objective.high - objective.low);
    return Math.round(steps * Math.min(1, Math.max(0, share || 0)));
  }

  function beginBound(row) {
    const objective = objectives[Number(row.dataset.objective)];
    const slider = row.querySelector("[type=range]");
    const field = row.querySelector("[type=number]");
    const steps = Number(slider.max);
    const open = objective.maximize ? 0 : steps;

    function set(value) {
      if (value === null) bounds.delete(objective);
      else bounds.set(objective, value);
      slider.setAttribute("aria-valuetext", value === null ? "no bound" : write(objective, value));
      row.classList.toggle("set", value !== null);
      say(updateBounds());
    }

    slider.addEventListener("input", () => {
      if (Number(slider.value) === open) {
        field.value = "";
        set(null);
        return;
      }
      const value = rounded(objective, toValue(objective, Number(slider.value), steps));
      field.value = (value * objective.factor).toFixed(objective.decimals);
      set(value);
    });
    field.addEventListener("input", () => {
      const given = field.value.trim() === "" ? NaN : Number(field.value);
      const value = given >= 0 ? given / objective.factor : null;
      slider.value = value === null ? open : toStep(objective, value, steps);
      set(value);
    });
    form.addEventListener("reset", () => {
      slider.setAttribute("aria-valuetext", "no bound");
      row.classList.remove("set");
    });
  }

  function heading(one) {
    const head = document.createElement("h3");
    head.tabIndex = -1;
    head.textContent = one.name;
    const tags = [one.precision, ...(one.model === null ? [] : [`winner-${one.model}, ${one.unmeasured.length ? "partly " : ""}measured`])];
    tags.forEach((text) => {
      const tag = document.createElement("span");
      tag.className = "tag";
      tag.textContent = text;
      head.append(tag);
    });
    return head;
  }

  function values(one) {
    const facts = document.createElement("dl");
    facts.className = "values";
    objectives.forEach((objective) => {
      const value = one.values[objective.name];
      if (value === undefined) return;
      const group = document.createElement("div");
      const term = document.createElement("dt");
      const amount = document.createElement("dd");
      term.textContent = objective.title;
      amount.textContent = write(objective, value);
      const estimate = one.estimates[objective.name];
      const open = one.unmeasured.includes(objective.name);
      if (open || (estimate !== undefined && estimate !== value)) {
        const note = document.createElement("span");
        note.textContent = open ? " predicted, not measured" : ` estimated ${write(objective, estimate)}`;
        amount.append(note);
      }
      group.append(term, amount);
      facts.append(group);
    });
    return facts;
  }

  function show(one) {
    const parts = [heading(one), values(one)];
    if (one.description) {
      const words = document.createElement("p");
      words.className = "description";
      words.textContent = one.description;
      parts.push(words);
    }
    if (one.blocks.length) {
      const blocks = one.blocks.map((number) => choices.blocks[number]);
      const width = Math.max(260, Math.floor(place.clientWidth));
      parts.push(...report.drawArchitecture(blocks, one.precision, choices.overhead, width));
    }
    place.replaceChildren(...parts);
  }

  function choose(key, { quiet = false } = {}) {
    const one = known.get(key);
    if (one === undefined || one.estimates === undefined) {
      report.focusRow(key);
      return;
    }
    if (one === chosen) return;
    chosen = one;
    list.querySelectorAll("[role=option]").forEach((option) => {
      option.setAttribute("aria-selected", String(option.dataset.key === key));
    });
    const option = document.getElementById(`option-${key}`);
    if (option === null) list.removeAttribute("aria-activedescendant");
    else {
      list.setAttribute("aria-activedescendant", option.id);
      const { offsetTop: top, offsetHeight: height } = option;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
    }
    show(one);
    if (!quiet) say(`Showing ${nameOf(one)}: ${facts(one)}.`);
    report.redrawFront();
  }

  function onKey(event) {
    const options = [...list.querySelectorAll("[role=option]")];
    const at = options.findIndex((option) => option.dataset.key === chosen?.key);
    const last = options.length - 1;
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 8, PageUp: at - 8, Home: 0, End: last };
    if (event.key === "Enter") {
      place.querySelector("h3")?.scrollIntoView({ block: "nearest" });
      place.querySelector("h3")?.focus({ preventScroll: true });
    } else if (event.key in moves) choose(options[Math.max(0, Math.min(last, moves[event.key]))].dataset.key);
    else return;
    event.preventDefault();
  }

  /* The bars of what does not fit have no length. */
  function shortened(bars, fit) {
    const kept = (reaches) => reaches.map((reach, index) => (fit[index] ? reach : 0));
    return bars && { ...bars, array: kept(bars.array), arrayminus: kept(bars.arrayminus) };
  }

  function faded(trace) {
    const fit = trace.customdata.map((key) => !known.has(key) || fits(known.get(key)));
    if (fit.every(Boolean)) return trace;
    if (trace.meta.role === "interval") return { ...trace, x: trace.x.map((x, index) => (fit[index] ? x : null)) };
    const base = trace.marker.opacity ?? 1;
    const marker = { ...trace.marker, opacity: fit.map((one) => (one ? base : 0.16)) };
    const bars = { error_x: shortened(trace.error_x, fit), error_y: shortened(trace.error_y, fit) };
    if (!trace.textfont) return { ...trace, ...bars, marker };
    const color = fit.map((one) => (one ? trace.textfont.color : "var(--muted)"));
    return { ...trace, ...bars, marker, textfont: { ...trace.textfont, color } };
  }

  /* A ring around the chosen architecture, wherever it is drawn. */
  function ring(traces) {
    const [x, y, size] = [[], [], []];
    const drawn = traces.filter((trace) => trace.customdata && trace.meta.role !== "interval" && trace.visible !== false);
    for (const trace of drawn) {
      trace.customdata.forEach((key, index) => {
        if (key !== chosen?.key) return;
        x.push(trace.x[index]);
        y.push(trace.y[index]);
        size.push([trace.marker.size].flat()[Array.isArray(trace.marker.size) ? index : 0] + 11);
      });
    }
    const marker = { symbol: "circle-open", color: "var(--ink)", size, line: { color: "var(--ink)", width: 2.5 } };
    return { type: "scatter", mode: "markers", x, y, marker, hoverinfo: "skip", cliponaxis: false, meta: { role: "chosen" } };
  }

  report.decorate = (traces) =>
    report.isFront(traces) ? [...traces.map((trace) => (trace.customdata ? faded(trace) : trace)), ring(traces)] : traces;
  report.choose = choose;

  form.hidden = false;
  document.querySelector(".chooser").hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelectorAll(".bound").forEach(beginBound);
  form.addEventListener("reset", () => {
    bounds.clear();
    setTimeout(() => say(updateBounds()));
  });
  list.addEventListener("keydown", onKey);
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(option.dataset.key);
  });
  let drawnWidth = 0;
  new ResizeObserver(() => {
    if (chosen === null || place.clientWidth === drawnWidth) return;
    drawnWidth = place.clientWidth;
    show(chosen);
  }).observe(place);

  report.start();
  updateBounds();
  choose((members.filter((one) => one.model !== null).sort(better)[0] ?? members[0]).key, { quiet: true });
})();

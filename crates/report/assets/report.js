"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const runs = new Map(page.runs.map((run) => [run.id, run]));

  /** An element with properties and children; text is never taken for HTML. */
  function make(name, properties = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1));
  const digits = (value) => Number(value.toPrecision(4)).toString();

  // Light and dark

  const theme = document.getElementById("theme");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  nameTheme();
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });

  // Tables

  function sortBy(table, column, heading) {
    const descending = heading.getAttribute("aria-sort") !== "descending" && heading.classList.contains("number")
      || heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => {
      const cell = row.cells[column];
      const number = parseFloat((cell.dataset.sort ?? cell.textContent).replace("\u2212", "-"));
      return heading.classList.contains("number") ? (Number.isNaN(number) ? null : number) : cell.textContent;
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null); // what has no figure comes last
      const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
      return descending ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = make("button", { type: "button", onclick: () => sortBy(table, column, heading) });
      button.append(...heading.childNodes);
      heading.append(button);
    });
  }

  const filters = document.getElementById("filters");
  const rows = [...document.getElementById("runs").tBodies[0].rows];
  function filter() {
    const wanted = filters ? [...filters.querySelectorAll("select")].filter((select) => select.value) : [];
    for (const row of rows) {
      row.hidden = wanted.some((select) => row.dataset[select.dataset.filter] !== select.value);
    }
    const n = rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = `${n} of ${rows.length} runs`;
  }
  if (filters) {
    filters.hidden = false;
    filters.addEventListener("change", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
  }
  filter();

  // One run

  /** A plot as the report drew it: an SVG element of this page's own making. */
  function plot(svg, title) {
    if (!svg) return null;
    const card = make("div", { class: "card" }, make("h3", {}, title));
    card.insertAdjacentHTML("beforeend", svg);
    card.querySelector("svg").setAttribute("aria-label", title);
    return card;
  }

  /** The counts where every score that `isCalled` accepts is called anomalous. */
  function confusion(samples, isCalled) {
    const count = { tp: 0, fp: 0, fn: 0, tn: 0 };
    for (const sample of samples) {
      const called = isCalled(sample.score);
      count[(called === sample.anomalous ? "t" : "f") + (called ? "p" : "n")] += 1;
    }
    return count;
  }

  const f1 = ({ tp, fp, fn }) => (tp === 0 ? 0 : (2 * tp) / (2 * tp + fp + fn));

  /**
   * The histogram of image scores with a threshold to move. A threshold that the reader chooses, and
   * that of the best F1, is a score itself and calls it anomalous; that of the detector's calibration
   * calls anomalous what is above it, as the metrics do.
   */
  function thresholdCard(run) {
    const card = plot(run.plots.image_scores, "Image scores and a threshold");
    if (!card) return null;
    const [low, high] = run.score_range;
    const samples = run.samples;
    const reaching = (threshold) => confusion(samples, (score) => score >= threshold);
    const best = samples.map((sample) => sample.score)
      .reduce((a, b) => (f1(reaching(b)) > f1(reaching(a)) ? b : a));
    const calibrated = run.decision?.threshold;
    const start = calibrated ?? best;
    const svg = card.querySelector("svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "threshold");
    line.setAttribute("y1", page.plot.above);
    line.setAttribute("y2", page.plot.size[1] - page.plot.below);
    svg.append(line);
    const slider = make("input", { type: "range", id: "threshold", min: 0, max: 1000, step: 1, oninput: show });
    const output = make("output", { for: "threshold" });
    const cells = Object.fromEntries(["tp", "fp", "fn", "tn", "precision", "recall", "f1"].map((key) => [key, make("td")]));
    // The threshold of a calibration may lie beyond the scores of these images.
    const place = (threshold) => Math.min(1, Math.max(0, (threshold - low) / (high - low)));
    slider.value = Math.round(1000 * place(start));
    let exact = start;
    function show(event) {
      if (event) exact = slider.value === "1000" ? high : low + (Number(slider.value) / 1000) * (high - low);
      const x = page.plot.left + place(exact) * (page.plot.size[0] - page.plot.left - page.plot.right);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      output.textContent = digits(exact);
      slider.setAttribute("aria-valuetext", `threshold ${digits(exact)}`);
      const isAtStart = !event && calibrated !== undefined;
      const count = isAtStart ? confusion(samples, (score) => score > calibrated) : reaching(exact);
      for (const key of ["tp", "fp", "fn", "tn"]) cells[key].textContent = count[key];
      cells.precision.textContent = percent(count.tp + count.fp ? count.tp / (count.tp + count.fp) : null);
      cells.recall.textContent = percent(count.tp + count.fn ? count.tp / (count.tp + count.fn) : null);
      cells.f1.textContent = percent(f1(count));
    }
    const row = (title, ...keys) => make("tr", {}, make("th", { scope: "row" }, title), ...keys.map((key) => cells[key]));
    const head = (...titles) => make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)));
    card.append(
      make("div", { class: "slider" }, make("label", { for: "threshold" }, "Threshold"), slider, output),
      make("table", { class: "confusion", "aria-live": "polite" },
        make("thead", {}, head("Images", "called anomalous", "called normal")),
        make("tbody", {}, row("anomalous", "tp", "fn"), row("normal", "fp", "tn"))),
      make("table", { class: "confusion" },
        make("thead", {}, head("Per cent", "precision", "recall", "F1")),
        make("tbody", {}, row("at this threshold", "precision", "recall", "f1"))),
      make("p", { id: "threshold-start" }, calibrated === undefined
        ? "It starts where F1 is best on these images: an oracle."
        : `It starts at the threshold that the detector was calibrated with, ${digits(calibrated)}. F1 is best on these images at ${digits(best)}: an oracle.`));
    show();
    return card;
  }

  /** An image of the run with its anomaly map over it. */
  function viewerCard(run) {
    const shown = run.samples.filter((sample) => sample.picture);
    if (!shown.length) return null;
    const [height, width] = run.image_size;
    const canvas = make("canvas", { width, height, role: "img" });
    const context = canvas.getContext("2d");
    const opacity = make("input", { type: "range", id: "opacity", min: 0, max: 100, value: 60, oninput: paint });
    const truth = make("input", { type: "checkbox", id: "truth", onchange: paint, checked: "" });
    const caption = make("p", { role: "status" });
    const picture = new Image();
    picture.addEventListener("load", paint);
    picture.addEventListener("error", () => { caption.textContent = "The picture is not where it was."; });
    function paint() {
      if (!picture.complete || !picture.naturalWidth) return;
      // Three panels without a ground truth, four with one; behind the last stands the colour bar.
      const n = picture.naturalWidth > run.panels[4] ? 4 : 3;
      const panel = (k) => context.drawImage(picture, run.panels[k], 0, width, height, 0, 0, width, height);
      context.globalAlpha = 1;
      panel(n === 4 && truth.checked ? 1 : 0);
      context.globalAlpha = Number(opacity.value) / 100;
      panel(n - 1);
      truth.disabled = n !== 4;
    }
    const buttons = shown.map((sample) => {
      const kind = sample.anomalous ? sample.defect ?? "anomalous" : "normal";
      return make("button", { type: "button", "aria-pressed": "false", onclick: () => choose(sample) },
        make("span", {}, sample.id.replace(/^test\//, "")), make("small", {}, `${kind}, score ${digits(sample.score)}`));
    });
    function choose(sample) {
      shown.forEach((other, k) => buttons[k].setAttribute("aria-pressed", other === sample));
      canvas.setAttribute("aria-label", `${sample.id} under its anomaly map`);
      caption.textContent = `${sample.id}: score ${digits(sample.score)}`;
      picture.src = sample.picture;
    }
    choose(shown.find((sample) => sample.anomalous) ?? shown[0]);
    return make("div", { class: "card wide" }, make("h3", {}, "Images and anomaly maps"),
      make("div", { class: "viewer" },
        make("div", {}, canvas,
          make("div", { class: "slider" }, make("label", { for: "opacity" }, "Anomaly map"), opacity),
          make("label", { class: "check" }, truth, "outline the ground truth"), caption),
        make("ul", { class: "samples" }, ...buttons.map((button) => make("li", {}, button)))));
  }

  /** The interval of a metric at the threshold of the calibration, with a space before it. */
  function interval(run, key) {
    const bounds = run.decision?.intervals[key];
    return bounds ? ` (${percent(bounds[0])} to ${percent(bounds[1])})` : "";
  }

  function figures(run) {
    const memory = run.peak_rss_bytes === null ? "–" : `${Math.round(run.peak_rss_bytes / 2 ** 20)} MiB`;
    const measured = page.metrics.filter(({ key }) => key in run.metrics);
    const entries = [
      ...measured.map(({ key, title }) => [title, percent(run.metrics[key]) + interval(run, key)]),
      ["Fit", `${digits(run.fit_seconds)} s`], ["Scoring", `${digits(run.images_per_second)} images/s`],
      ["Memory", memory], ["Image size", run.placed_size], ["Training images", run.n_train], ["Test images", `${run.n_test[0]} normal, ${run.n_test[1]} anomalous`],
    ];
    if (run.reading_and_evaluation) entries.push(["Reading and evaluation", run.reading_and_evaluation]);
    if (run.decision) {
      const { threshold, confidence } = run.decision;
      entries.push([`Threshold; in brackets ${digits(100 * confidence)} % intervals`, digits(threshold)]);
    }
    for (const [name, scores] of [["Images", run.analysis?.image_scores], ["Pixels", run.analysis?.pixel_scores]]) {
      if (!scores) continue;
      const values = [scores.overlap, scores.fisher_ratio, scores.ks_distance].map((value) => value.toFixed(2));
      entries.push([`${name}: overlap, Fisher's ratio, KS distance`, values.join(", ")]);
    }
    return make("dl", { class: "figures" },
      ...entries.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
  }

  /** The peculiarities of the images that bear on the figures. */
  function aboutImages(run) {
    if (!run.about_images.length) return [];
    const notes = run.about_images.map((note) => make("li", {}, note));
    return [make("h3", {}, "About the images"), make("ul", { class: "notes" }, ...notes)];
  }

  function settings(run) {
    const started = new Date(1000 * run.started_at).toISOString().replace("T", " ").slice(0, 16);
    const about = { started: `${started} UTC`, device: run.device, versions: run.versions, config: run.config };
    return make("details", {}, make("summary", {}, "Configuration and versions"),
      make("pre", { tabindex: 0 }, JSON.stringify(about, null, 2)));
  }

  const section = document.getElementById("run");
  function open(run) {
    const title = `${run.method} on ${run.dataset}, ${run.category}`;
    const heading = make("h2", { id: "run-title", tabindex: -1 }, `${title} (${run.backbone}, seed ${run.seed})`);
    const cards = [
      thresholdCard(run),
      plot(run.plots.rates, "ROC and region-overlap curves"),
      plot(run.plots.pixel_scores, "Pixel scores"),
      plot(run.plots.training, "Training loss"),
      viewerCard(run),
    ].filter(Boolean);
    section.replaceChildren(heading, figures(run), ...aboutImages(run), make("div", { class: "cards" }, ...cards), settings(run));
    section.hidden = false;
    document.title = `${title} – anomaly detection report`;
    heading.focus({ preventScroll: true });
    section.scrollIntoView();
  }

  /** The address names the run that is shown, so that it can be sent to somebody. */
  function follow() {
    const match = /^#run=(.*)$/.exec(location.hash);
    const run = match && runs.get(decodeURIComponent(match[1]));
    for (const row of rows) {
      const current = run && row.querySelector("a").getAttribute("href") === location.hash;
      row.toggleAttribute("aria-current", Boolean(current));
    }
    if (run) open(run);
    else section.hidden = true;
  }
  addEventListener("hashchange", follow);
  follow();
})();

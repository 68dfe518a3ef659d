"use strict";
// The grid of thumbnails: one dataset, as one method made it, ordered by one metric.
(() => {
  const get = (id) => document.getElementById(id);
  const grid = get("image-grid");
  const controls = get("image-controls");

  const chosen = (id) => Number(get(id).value);

  const scoreOf = (item) => item[5][chosen("image-method")]?.[chosen("image-metric")];

  const spreadOf = (item) => {
    const metric = chosen("image-metric");
    const values = item[5].map((scores) => Viewer.numeric(scores[metric])).filter(Number.isFinite);
    return values.length > 1 ? Math.max(...values) - Math.min(...values) : null;
  };

  // What is compared and whether small comes first; images without it stay last.
  const orders = () => {
    const lower = REPORT.metrics[chosen("image-metric")]?.lower;
    const score = (item) => Viewer.numeric(scoreOf(item));
    return {
      worst: [score, !lower],
      best: [score, lower],
      spread: [spreadOf, false],
      name: [() => 0, true],
    }[get("image-order").value];
  };

  const ordered = () => {
    const dataset = chosen("image-dataset");
    const needle = get("image-filter").value.toLowerCase();
    const [key, ascending] = orders();
    return REPORT.items
      .map((item, index) => ({ item, index, key: key(item) }))
      .filter(({ item }) => item[0] === dataset && item[1].toLowerCase().includes(needle))
      .sort((a, b) => {
        if (a.key === null || b.key === null) {
          return (a.key === null) - (b.key === null) || a.index - b.index;
        }
        const less = a.key === b.key ? 0 : a.key < b.key ? -1 : 1;
        return (ascending ? less : -less) || a.index - b.index;
      });
  };

  const thumbnail = (item) => {
    const source = item[4][chosen("image-method") + 2];
    if (!Array.isArray(source)) {
      const empty = document.createElement("span");
      empty.className = "empty";
      empty.textContent = source ?? "no picture";
      return empty;
    }
    const image = document.createElement("img");
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = "";
    image.src = Viewer.url(source, true);
    return image;
  };

  const label = (item) => {
    const score = scoreOf(item);
    if (score === undefined) {
      return "";
    }
    const title = REPORT.metrics[chosen("image-metric")].title;
    const known = Viewer.numeric(score) !== null;
    return `${title} ${known ? Viewer.format(score, chosen("image-metric")) : "–"}`;
  };

  const card = (item, list, place) => {
    const line = document.createElement("li");
    const button = document.createElement("button");
    const name = document.createElement("span");
    const score = document.createElement("span");
    button.type = "button";
    name.className = "name";
    name.textContent = item[1];
    score.className = "quiet";
    score.textContent = label(item);
    button.append(thumbnail(item), name, score);
    button.addEventListener("click", () => Viewer.open(list, place, chosen("image-method")));
    line.append(button);
    return line;
  };

  const draw = () => {
    const found = ordered();
    const list = found.map(({ index }) => index);
    grid.replaceChildren(...found.map(({ item }, place) => card(item, list, place)));
    const images = `${found.length} image${found.length === 1 ? "" : "s"}`;
    get("image-status").textContent = `${images}, as ${get("image-method").selectedOptions[0].text} made them.`;
  };

  const fill = (id, titles) => {
    get(id).replaceChildren(...titles.map((title, index) => new Option(title, index)));
  };

  fill("image-dataset", REPORT.datasets);
  fill("image-method", REPORT.methods);
  fill("image-metric", REPORT.metrics.map((metric) => metric.title));
  get("image-metric").disabled = REPORT.metrics.length === 0;
  if (!REPORT.metrics.length) {
    get("image-order").value = "name";
    get("image-order").disabled = true;
  }
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.querySelectorAll("select").forEach((select) => select.addEventListener("change", draw));
  get("image-filter").addEventListener("input", draw);
  document.addEventListener("show-images", ({ detail }) => {
    get("image-dataset").value = detail.dataset;
    get("image-method").value = detail.method;
    get("image-metric").value = detail.metric;
    get("image-order").value = "worst";
    draw();
    get("images").scrollIntoView();
    get("image-dataset").focus({ preventScroll: true });
  });
  draw();
})();

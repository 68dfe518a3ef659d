"use strict";
// Which images of a dataset are shown, in which order, and how: thumbnails, a table, a scatter plot.
const Images = (() => {
  const controls = get("image-controls");
  const chosen = (/** @type {string} */ id) => Number(field(id).value);

  /** The controls by their key in the address; choices among names are there by name. */
  const byName = /** @type {[string, string, string[]][]} */ ([
    ["dataset", "image-dataset", REPORT.names.datasets],
    ["method", "image-method", REPORT.names.methods],
    ["metric", "image-metric", REPORT.metrics.map(({ name }) => name)],
    ["x-method", "scatter-method", REPORT.names.methods],
    ["x-metric", "scatter-metric", REPORT.metrics.map(({ name }) => name)],
  ]);
  const byValue = [
    ["as", "image-display", "thumbnails"], ["order", "image-order", "worst"], ["find", "image-filter", ""],
    ["from", "image-from", ""], ["to", "image-to", ""],
  ];
  const displays = { thumbnails: "image-grid", table: "image-table", scatter: "image-scatter" };
  let turn = 0;
  let drawn = "";

  /** @param {Row} row */
  const scoreOf = (row) => Scores.numeric(row[5][chosen("image-method")]?.[chosen("image-metric")]);

  /** @param {Row} row */
  const spreadOf = (row) => {
    const values = row[5]
      .map((scores) => Scores.numeric(scores[chosen("image-metric")]) ?? NaN)
      .filter(Number.isFinite);
    return values.length > 1 ? Math.max(...values) - Math.min(...values) : null;
  };

  /** What is compared, and 1 where small comes first. @returns {[(row: Row) => number | null, number]} */
  const order = () => {
    const worst = REPORT.metrics[chosen("image-metric")]?.lower ? -1 : 1;
    /** @type {Record<string, [(row: Row) => number | null, number]>} */
    const orders = { worst: [scoreOf, worst], best: [scoreOf, -worst], spread: [spreadOf, -1] };
    return orders[field("image-order").value] ?? [() => 0, 1];
  };

  /** @param {Row[]} rows */
  const found = (rows) => {
    const needle = field("image-filter").value.toLowerCase();
    const [from, to] = ["image-from", "image-to"].map((id) => field(id).value);
    const [low, high] = [from === "" ? -Infinity : Number(from), to === "" ? Infinity : Number(to)];
    const [key, sign] = order();
    // An image without a score is in no range.
    const within = (/** @type {Row} */ row) => {
      const score = scoreOf(row);
      return score === null ? from + to === "" : score >= low && score <= high;
    };
    // Sorting is stable: equals stay in the dataset's order.
    return rows
      .filter((row) => row[1].toLowerCase().includes(needle) && within(row))
      .map((row) => ({ row, key: key(row) }))
      .sort((a, b) => Scores.compare(a.key, b.key, sign))
      .map(({ row }) => row);
  };

  /** @returns {ImageSelection} */
  const selection = (/** @type {Row[]} */ rows) => ({
    rows,
    method: chosen("image-method"),
    metric: chosen("image-metric"),
    other: { method: chosen("scatter-method"), metric: chosen("scatter-metric") },
    open: (place) => Viewer.open(rows, place, chosen("image-method")),
  });

  const draw = async () => {
    turn += 1;
    const mine = turn;
    let failed = "";
    const rows = await Scores.images(chosen("image-dataset")).catch((error) => {
      failed = error.message;
      return /** @type {Row[]} */ ([]);
    });
    if (mine !== turn) {
      return null;
    }
    const shown = selection(found(rows));
    const display = field("image-display").value;
    const controlled = JSON.stringify([...byName, ...byValue].map(([, id]) => field(id).value));
    // What is there already keeps its place on the page, and the focus, when the reader goes back.
    if (failed || controlled !== drawn) {
      drawn = failed ? "" : controlled;
      for (const [name, id] of Object.entries(displays)) {
        get(id).hidden = name !== display;
      }
      controls.dataset.as = display;
      ({ table: ImageTable.draw, scatter: Scatter.draw }[display] ?? Grid.draw)(shown);
    }
    const count = shown.rows.length;
    const images = `${count} image${count === 1 ? "" : "s"}${count < rows.length ? ` of ${rows.length}` : ""}`;
    const by = field("image-method").selectedOptions[0]?.text ?? "";
    get("image-status").textContent = failed || `${images}, as ${by} made them.`;
    return { shown: shown.rows, all: rows };
  };

  /** What is chosen where the address says nothing. @param {string} key */
  const initial = (key) => (key === "x-metric" && REPORT.metrics.length > 1 ? 1 : 0);

  const onChange = () => {
    Address.change(Object.fromEntries([
      ...byName.map(([key, id, names]) => [key, chosen(id) === initial(key) ? "" : names[chosen(id)]]),
      ...byValue.map(([key, id, usual]) => [key, field(id).value === usual ? "" : field(id).value]),
    ]));
    draw();
  };

  /** Controls as the address says, then the viewer. */
  const follow = async () => {
    for (const [key, id, names] of byName) {
      const index = names.indexOf(Address.value(key));
      field(id).value = String(index < 0 ? initial(key) : index);
    }
    for (const [key, id, usual] of byValue) {
      choose(id, Address.value(key), usual);
    }
    if (!REPORT.metrics.length) {
      field("image-order").value = "name";
    }
    const lists = await draw();
    if (lists) {
      Viewer.follow(lists.shown, lists.all);
    }
  };

  /** The images behind a mean, worst first. @param {number} dataset @param {number} method @param {number} metric */
  const show = (dataset, method, metric) => {
    field("image-dataset").value = String(dataset);
    field("image-method").value = String(method);
    field("image-metric").value = String(metric);
    field("image-order").value = "worst";
    onChange();
    get("images").scrollIntoView();
    field("image-dataset").focus({ preventScroll: true });
  };

  fill("image-dataset", REPORT.datasets);
  for (const id of ["image-method", "scatter-method"]) {
    fill(id, REPORT.methods);
  }
  for (const id of ["image-metric", "scatter-metric"]) {
    fill(id, REPORT.metrics.map(({ title }) => title));
    field(id).disabled = REPORT.metrics.length === 0;
  }
  field("image-order").disabled = REPORT.metrics.length === 0;
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", onChange);
  for (const id of ["image-filter", "image-from", "image-to"]) {
    get(id).addEventListener("input", draw);
  }
  Address.follow(follow);
  return { show };
})();

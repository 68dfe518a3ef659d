"use strict";
// What stands behind a mean: interval, n, rank, and whom it is told apart from.
const CellCard = (() => {
  const card = get("cell-card");

  /** @param {number} dataset @param {number} column @param {number} method */
  const lines = (dataset, column, method) => {
    const [mean, low, high, n, rank, rankLow, rankHigh, best] = Standing.cell(dataset, column, method);
    const { title, digits } = REPORT.columns[column];
    const shown = (/** @type {Score} */ value) => Scores.digits(Scores.numeric(value) ?? NaN, digits);
    const told = [`${title} ${shown(mean)}`];
    if (low !== null && high !== null) {
      told.push(`95 % interval ${shown(low)} to ${shown(high)}`);
    }
    told.push(`n = ${n}`);
    if (rank !== null) {
      told.push(`rank ${rank}, ${rankLow}–${rankHigh} in 95 % of resamples`);
      told.push(`best in ${Math.round(100 * (best ?? 0))} % of resamples`);
    }
    return told;
  };

  /** Other methods by what the paired test says of this one beside them. @param {number} dataset @param {number} column @param {number} method */
  const verdicts = (dataset, column, method) => {
    /** @type {Map<Verdict, string[]>} */
    const found = new Map();
    REPORT.methods.forEach((title, other) => {
      const { verdict, p } = Standing.against(dataset, column, method, other);
      if (other !== method && Standing.mean(dataset, column, other) !== null) {
        const shown = p === null ? title : `${title} (p ${p < 0.001 ? "< 0.001" : `= ${p.toPrecision(2)}`})`;
        found.set(verdict, [...(found.get(verdict) ?? []), shown]);
      }
    });
    const words = {
      better: "better than", worse: "worse than", "not told apart": "not told apart from",
      "too few images": "too few images beside", "no test": "no test beside",
    };
    return [...found].map(([verdict, names]) => `${words[verdict]}: ${names.join(", ")}`);
  };

  /** @param {HTMLElement} button @param {number} dataset @param {number} column @param {number} method */
  const open = (button, dataset, column, method) => {
    const title = make("h3", {}, `${REPORT.methods[method]} · ${REPORT.datasets[dataset]}`);
    const text = [...lines(dataset, column, method), ...verdicts(dataset, column, method)];
    card.replaceChildren(title, ...text.map((line) => make("p", {}, line)));
    card.showPopover();
    const box = button.getBoundingClientRect();
    const left = Math.min(box.left, window.innerWidth - card.offsetWidth - 8);
    const fits = box.bottom + card.offsetHeight + 8 < window.innerHeight;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${fits ? box.bottom + 4 : Math.max(8, box.top - card.offsetHeight - 4)}px`;
  };

  /** Put a button into a cell that has a mean: its interval, else n. @param {HTMLElement} cell @param {number} dataset @param {number} column @param {number} method */
  const attach = (cell, dataset, column, method) => {
    if (Standing.mean(dataset, column, method) === null) {
      return;
    }
    const interval = cell.querySelector(".interval");
    const label = `about ${REPORT.methods[method]} in ${REPORT.columns[column].title}`;
    const button = make("button", { type: "button", title: label, className: interval ? "interval" : "info" }, interval?.textContent ?? "i");
    button.addEventListener("click", () => open(button, dataset, column, method));
    interval?.remove();
    cell[interval ? "append" : "prepend"](button);
  };

  return { attach };
})();

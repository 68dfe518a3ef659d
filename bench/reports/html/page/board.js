"use strict";
// The table of one dataset: its cells laid out anew, with methods as rows or as columns.

/**
 * What is shown.
 * @typedef {{methods: number[], columns: string[], across: boolean, empty: boolean, sort: string}} Shown
 * @typedef {{key: string, head: HTMLElement, lower: boolean, cells: HTMLElement[]}} BoardColumn
 */
class Board {
  /** @param {HTMLElement} element as the page has it without scripts @param {number} dataset */
  constructor(element, dataset) {
    this.element = element;
    this.dataset = dataset;
    this.table = /** @type {HTMLTableElement} */ (element.querySelector("table"));
    const rows = [...this.table.tBodies[0].rows];
    /** @type {HTMLElement[]} */
    this.heads = [...this.table.querySelectorAll("th[data-head]")].map((th) => /** @type {any} */ (th));
    this.labels = rows.map((row) => [...row.cells].slice(0, this.heads.length));
    /** @type {BoardColumn[]} */
    this.columns = REPORT.columns.map(({ name, lower }, index) => ({
      key: name,
      lower,
      head: /** @type {HTMLElement} */ (this.table.querySelector(`th[data-metric="${index}"]`)),
      cells: rows.map((row) => row.cells[this.heads.length + index]),
    }));
    // Computed of the others.
    const extra = (/** @type {string} */ key, /** @type {string} */ title, /** @type {boolean} */ lower) => {
      const cells = rows.map(() => make("td", { className: "number" }));
      return { key, lower, head: make("th", { className: "number" }, title), cells };
    };
    if (rows.length > 1) {
      this.columns.push(extra("@rank", "Mean rank", true), extra("@wins", "Better / worse", false));
    }
  }

  /** Headings by what they sort, with their text. @returns {{key: string, head: HTMLElement}[]} */
  sortable() {
    return [...this.heads.map((head, index) => ({ key: `@${index}`, head })), ...this.columns];
  }

  /** @param {Shown} shown */
  arrange(shown) {
    const columns = this.columns.filter(({ key }) => shown.columns.includes(key));
    const scored = columns.map((column) => this.columns.indexOf(column)).filter((i) => i < REPORT.columns.length);
    this.compute(scored, shown.methods);
    const value = (/** @type {BoardColumn} */ column, /** @type {number} */ method) =>
      column.cells[method].dataset.value !== "";
    const kept = columns.filter((c) => !shown.empty || shown.methods.some((m) => value(c, m)));
    const methods = this.ordered(shown).filter((m) => !shown.empty || kept.some((c) => value(c, m)));
    scored.forEach((column) => this.mark(column, methods));
    (shown.across ? this.acrossRows : this.downRows).call(this, kept, methods);
    this.element.classList.toggle("across", shown.across);
  }

  /** Mean rank with its interval, else its range over the metrics, and verdicts. @param {number[]} columns @param {number[]} methods */
  compute(columns, methods) {
    const [rank, wins] = this.columns.slice(REPORT.columns.length);
    for (const method of rank ? methods : []) {
      const ranks = Standing.ranks(this.dataset, columns, methods, method);
      const average = ranks.reduce((sum, one) => sum + one, 0) / ranks.length;
      const sure = Standing.rankInterval(this.dataset, columns, methods, method);
      const range = sure?.map((end) => end.toFixed(1)).join("–") ?? `(${Math.min(...ranks)}–${Math.max(...ranks)})`;
      this.put(rank.cells[method], ranks.length ? average : null, average.toFixed(1), range);
      const found = Standing.wins(this.dataset, columns, methods, method);
      const tests = found.better + found.worse + found.open;
      const difference = tests ? found.better - found.worse : null;
      this.put(wins.cells[method], difference, `${found.better} / ${found.worse}`, `of ${tests}`);
    }
  }

  /** @param {HTMLElement} cell @param {number | null} value @param {string} text @param {string} below */
  put(cell, value, text, below) {
    cell.dataset.value = value === null ? "" : String(value);
    cell.replaceChildren(
      make("span", { className: "mean" }, value === null ? "–" : text),
      make("span", { className: "interval" }, value === null ? "" : below),
    );
  }

  /** @param {number} column @param {number[]} methods */
  mark(column, methods) {
    const marks = Standing.marks(this.dataset, column, methods);
    for (const method of methods) {
      const cell = this.columns[column].cells[method];
      const { mark = "", undecided = false } = marks.get(method) ?? {};
      const mean = /** @type {HTMLElement} */ (cell.querySelector(".mean"));
      mean.className = `mean ${mark}`;
      cell.querySelectorAll("abbr, .unseen").forEach((old) => old.remove());
      const words = mark && make("span", { className: "unseen" }, mark === "best" ? " best" : " second best");
      const dagger = undecided && make("abbr", { title: "not told apart from the best" }, "†");
      (mean.closest("a") ?? mean).after(...[dagger, words].filter((part) => part));
    }
  }

  /** Methods in the order of a column, those without a value last. @param {Shown} shown */
  ordered({ methods, sort }) {
    const key = sort.replace(/^-/, "");
    const found = this.sortable().findIndex((column) => column.key === key);
    const direction = this.direction(sort);
    this.sortable().forEach(({ head }) => head.removeAttribute("aria-sort"));
    this.sortable()[found]?.head.setAttribute("aria-sort", direction);
    if (found < 0) {
      return methods;
    }
    const sign = direction === "ascending" ? 1 : -1;
    const text = (/** @type {number} */ m) => this.labels[m][found].textContent?.trim().toLowerCase() ?? "";
    const value = (/** @type {number} */ m) => {
      const { value } = this.columns[found - this.heads.length].cells[m].dataset;
      return value ? Number(value.replace("inf", "Infinity")) : null;
    };
    return [...methods].sort((a, b) => found < this.heads.length
      ? sign * text(a).localeCompare(text(b)) || a - b
      : Scores.compare(value(a), value(b), sign) || a - b);
  }

  /** The best comes first, unless reversed by a minus. @param {string} sort */
  direction(sort) {
    const column = this.columns.find(({ key }) => key === sort.replace(/^-/, ""));
    const descending = column ? !column.lower : false;
    return descending !== sort.startsWith("-") ? "descending" : "ascending";
  }

  /** Methods as rows. @param {BoardColumn[]} columns @param {number[]} methods */
  downRows(columns, methods) {
    const rows = methods.map((method) => [...this.labels[method], ...columns.map(({ cells }) => cells[method])]);
    this.fill([...this.heads, ...columns.map(({ head }) => head)], rows);
  }

  /** Methods as columns, as in the papers' main tables. @param {BoardColumn[]} columns @param {number[]} methods */
  acrossRows(columns, methods) {
    const [first, ...others] = this.heads.map((head, index) => [head, ...methods.map((m) => this.labels[m][index])]);
    this.fill(first, [...others, ...columns.map(({ head, cells }) => [head, ...methods.map((m) => cells[m])])]);
  }

  /** @param {HTMLElement[]} top @param {HTMLElement[][]} rows */
  fill(top, rows) {
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const line = (/** @type {HTMLElement[]} */ cells) => make("tr", {}, ...cells);
    top.forEach((cell) => cell.setAttribute("scope", "col"));
    rows.forEach(([cell]) => cell.setAttribute("scope", "row"));
    this.table.tHead?.replaceChildren(line(top));
    this.table.tBodies[0].replaceChildren(...rows.map(line));
    focused?.focus({ preventScroll: true });
  }
}

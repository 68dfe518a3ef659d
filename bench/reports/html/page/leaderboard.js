"use strict";
// Which datasets, methods and metrics the tables show, how they lie and what sorts them.
(() => {
  const controls = get("board-controls");
  const status = get("board-status");
  const boards = [...document.querySelectorAll(".board")].map(
    (element, dataset) => new Board(/** @type {HTMLElement} */ (element), dataset),
  );
  const NAMES = { ...REPORT.names, metrics: boards[0].columns.map(({ key }) => key) };
  const KINDS = /** @type {const} */ (["datasets", "methods", "metrics"]);

  /** @param {string} kind @returns {HTMLInputElement[]} */
  const ticks = (kind) => [...controls.querySelectorAll(`input[name="${kind}"]`)].map((tick) => /** @type {any} */ (tick));

  const checked = (/** @type {string} */ id) => /** @type {any} */ (field(id)).checked;

  const ticked = (/** @type {string} */ kind) =>
    ticks(kind).flatMap((tick, index) => (tick.checked ? [index] : []));

  const arrange = () => {
    const columns = ticked("metrics").map((index) => NAMES.metrics[index]);
    const sort = Address.value("sort");
    const datasets = ticked("datasets");
    boards.forEach((board, dataset) => {
      board.element.hidden = !datasets.includes(dataset);
      board.arrange({
        methods: ticked("methods"), columns, sort,
        across: field("board-layout").value === "across",
        empty: checked("board-empty"),
      });
    });
    get("leaderboard").classList.toggle("no-intervals", !checked("board-intervals"));
    const by = boards[0].sortable().find(({ key }) => key === sort.replace(/^-/, ""));
    status.textContent = by ? `Sorted by ${by.head.dataset.label}, ${boards[0].direction(sort)}.` : "";
    for (const kind of KINDS) {
      const all = ticks(kind).length;
      const some = ticked(kind).length;
      get(`count-${kind}`).textContent = some === all ? "" : ` ${some} of ${all}`;
    }
  };

  /** Controls as the address says. */
  const follow = () => {
    for (const kind of KINDS) {
      const without = Address.list(`without-${kind}`) ?? [];
      ticks(kind).forEach((tick, index) => {
        tick.checked = !without.includes(NAMES[kind][index]);
      });
    }
    field("board-layout").value = Address.value("layout") === "across" ? "across" : "";
    /** @type {any} */ (field("board-empty")).checked = Address.value("empty") === "hidden";
    /** @type {any} */ (field("board-intervals")).checked = Address.value("intervals") !== "hidden";
    arrange();
  };

  const onChange = () => {
    const without = KINDS.map((kind) => {
      const shown = ticked(kind);
      return [`without-${kind}`, NAMES[kind].filter((_, index) => !shown.includes(index))];
    });
    Address.change({
      ...Object.fromEntries(without),
      layout: field("board-layout").value,
      empty: checked("board-empty") ? "hidden" : "",
      intervals: checked("board-intervals") ? "" : "hidden",
    });
    arrange();
  };

  /** @param {Board} board */
  const makeSortable = (board) => {
    for (const { key, head } of board.sortable()) {
      const label = /** @type {ChildNode} */ (head.firstChild);
      head.dataset.label = label.textContent?.trim();
      const button = make("button", { type: "button", className: "sort" });
      head.replaceChild(button, label);
      button.append(head.dataset.label ?? "");
      button.addEventListener("click", () => {
        Address.change({ sort: Address.value("sort") === key ? `-${key}` : key });
        arrange();
      });
    }
  };

  /** @param {Board} board */
  const makeTelling = (board) => {
    REPORT.columns.forEach(({ image }, column) => {
      board.columns[column].cells.forEach((cell, method) => {
        CellCard.attach(cell, board.dataset, column, method);
        if (image !== null && cell.dataset.value !== "") {
          const mean = /** @type {HTMLElement} */ (cell.querySelector(".mean"));
          const link = make("a", { href: "#images", title: "show its images, worst first" });
          mean.replaceWith(link);
          link.append(mean);
          link.addEventListener("click", (/** @type {Event} */ event) => {
            event.preventDefault();
            Images.show(board.dataset, method, image);
          });
        }
      });
    });
  };

  boards.forEach((board) => {
    makeSortable(board);
    makeTelling(board);
  });
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", (event) => {
    if (event.target !== field("copy-as")) {
      onChange();
    }
  });
  get("copy-board").addEventListener("click", () => {
    const shown = boards.filter(({ element }) => !element.hidden).map(({ element }) => element);
    CopyTable.copy(shown, field("copy-as").value, checked("board-intervals"));
  });
  Address.follow(follow);
})();

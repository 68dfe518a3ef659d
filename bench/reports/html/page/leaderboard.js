"use strict";
// Sorting and filtering of the tables; means become links to the images behind them.
(() => {
  const status = document.getElementById("board-status");
  const controls = document.getElementById("board-controls");
  const boards = [...document.querySelectorAll(".board")];

  const valueOf = (row, metric) => {
    const text = row.querySelector(`[data-metric="${metric}"]`).dataset.value;
    return text === "" ? null : Number(text.replace("inf", "Infinity"));
  };

  // Rows without a value stay last in both directions.
  const compare = (a, b, sign) => {
    if (a === null || b === null) {
      return (a === null) - (b === null);
    }
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  };

  const order = (head) => {
    const metric = head.dataset.metric;
    const isMetric = metric !== undefined;
    const first = isMetric && head.dataset.better === "higher" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? second : first;
    return { metric, isMetric, direction, sign: direction === "ascending" ? 1 : -1 };
  };

  const sort = (board, head) => {
    const { metric, isMetric, direction, sign } = order(head);
    const column = head.cellIndex;
    const body = board.querySelector("tbody");
    const text = (row) => row.cells[column].textContent.trim().toLowerCase();
    const rows = [...body.rows].sort((a, b) => {
      const given = Number(a.dataset.method) - Number(b.dataset.method);
      return isMetric
        ? compare(valueOf(a, metric), valueOf(b, metric), sign) || given
        : compare(text(a), text(b), sign) || given;
    });
    board.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    body.append(...rows);
    status.textContent = `Sorted by ${head.dataset.label}, ${direction}.`;
  };

  const makeSortable = (board) => {
    for (const head of board.querySelectorAll("thead th")) {
      const button = document.createElement("button");
      button.type = "button";
      const label = head.firstChild;
      head.dataset.label = label.textContent.trim();
      head.replaceChild(button, label);
      button.append(label);
      button.addEventListener("click", () => sort(board, head));
    }
  };

  const linkImages = (cell) => {
    const mean = cell.querySelector(".mean");
    const link = document.createElement("a");
    link.href = "#images";
    link.title = "show its images, worst first";
    mean.replaceWith(link);
    link.append(mean);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const [dataset, method, metric] = cell.dataset.images.split(",").map(Number);
      document.dispatchEvent(
        new CustomEvent("show-images", { detail: { dataset, method, metric } })
      );
    });
  };

  const filterDatasets = () => {
    const wanted = document.getElementById("board-dataset").value;
    for (const board of boards) {
      board.hidden = wanted !== "" && board.dataset.board !== wanted;
    }
  };

  const filterMetrics = () => {
    for (const tick of controls.querySelectorAll("input[name=metric]")) {
      document.querySelectorAll(`.board [data-metric="${tick.value}"]`).forEach((cell) => {
        cell.hidden = !tick.checked;
      });
    }
  };

  boards.forEach(makeSortable);
  document.querySelectorAll("td[data-images]").forEach((cell) => {
    if (cell.dataset.value !== "") {
      linkImages(cell);
    }
  });
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", () => {
    filterDatasets();
    filterMetrics();
  });
  filterDatasets();
  filterMetrics();
})();

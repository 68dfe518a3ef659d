"use strict";
// A table as it is shown, for a README, a paper or a spreadsheet.
const CopyTable = (() => {
  /** @typedef {{text: string, mark: string, interval: string}} CopyCell */

  /** @param {HTMLElement} cell @param {boolean} intervals @returns {CopyCell} */
  const read = (cell, intervals) => {
    const mean = cell.querySelector(".mean");
    const label = cell.querySelector(".sort, a") ?? cell;
    const interval = (intervals && cell.querySelector(".interval")?.textContent) || "";
    return {
      text: ((mean ?? label).textContent ?? "").trim(),
      mark: ["best", "second"].find((name) => mean?.classList.contains(name)) ?? "",
      interval: interval.replace(/\s/g, " ").trim(),
    };
  };

  /** @param {HTMLTableElement} table @param {boolean} intervals */
  const cells = (table, intervals) =>
    [...table.rows].map((row) => [...row.cells].map((cell) => read(cell, intervals)));

  const said = (/** @type {CopyCell} */ { text, interval }) => (interval ? `${text} ${interval}` : text);

  const markdown = {
    escape: (/** @type {string} */ text) => text.replace(/[\\`*_[\]|~$#<>&]/g, "\\$&"),
    marks: { best: (/** @type {string} */ t) => `**${t}**`, second: (/** @type {string} */ t) => `*${t}*` },
  };

  /** @type {Record<string, string>} */
  const inLatex = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "↑": "$\\uparrow$", "↓": "$\\downarrow$", "±": "$\\pm$", "–": "--", "−": "$-$", "∞": "$\\infty$",
  };
  const latex = {
    escape: (/** @type {string} */ text) =>
      text.replace(/[\\~^↑↓±–−∞&%$#_{}]/g, (sign) => inLatex[sign] ?? `\\${sign}`),
    marks: {
      best: (/** @type {string} */ t) => `\\textbf{${t}}`,
      second: (/** @type {string} */ t) => `\\underline{${t}}`,
    },
  };

  /** @param {CopyCell} cell @param {typeof markdown} style */
  const marked = (cell, { escape, marks }) => {
    const text = escape(said(cell));
    return cell.mark ? marks[/** @type {"best" | "second"} */ (cell.mark)](text) : text;
  };

  /** @type {Record<string, (rows: CopyCell[][], title: string) => string>} */
  const formats = {
    markdown: ([head, ...rows], title) => {
      const line = (/** @type {string[]} */ texts) => `| ${texts.join(" | ")} |`;
      const row = (/** @type {CopyCell[]} */ cells) => line(cells.map((cell) => marked(cell, markdown)));
      const rule = line(head.map((_, index) => (index ? "---:" : "---")));
      return [markdown.escape(title), "", row(head), rule, ...rows.map(row)].join("\n");
    },
    latex: ([head, ...rows], title) => {
      const row = (/** @type {CopyCell[]} */ cells) => `${cells.map((cell) => marked(cell, latex)).join(" & ")} \\\\`;
      return [
        `% ${title}; needs \\usepackage{booktabs}`,
        `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`, "\\toprule", row(head), "\\midrule",
        ...rows.map(row), "\\bottomrule", "\\end{tabular}",
      ].join("\n");
    },
    csv: (rows) => {
      // A leading sign would make a formula of a name.
      const safe = (/** @type {string} */ text) => (/^[=+@\t]|^-(?![\d.])/.test(text) ? `'${text}` : text);
      const quoted = (/** @type {CopyCell} */ cell) => `"${safe(said(cell)).replaceAll('"', '""')}"`;
      return rows.map((row) => row.map(quoted).join(",")).join("\n");
    },
  };

  /** Copy tables one below the other. @param {HTMLElement[]} boards @param {string} format @param {boolean} intervals */
  const copy = (boards, format, intervals) => {
    const texts = boards.map((board) => {
      const table = /** @type {HTMLTableElement} */ (board.querySelector("table"));
      const title = board.querySelector("h3")?.firstChild?.textContent?.trim() ?? "";
      return formats[format](cells(table, intervals), title);
    });
    copyText(`${texts.join("\n\n")}\n`);
  };

  return { copy };
})();

"use strict";
// What the viewer shows of an image in each of its views, and what it says below.
const Views = (() => {
  /** @typedef {{mode: string, left: number, right: number, shown: number[] | null}} Choice */
  const PAIRS = ["slider", "flicker", "difference"];

  /** Whether a source belongs to an image. @param {Row} row @param {number} source */
  const has = (row, source) => row[4][source] !== null || source >= 2;

  /** @param {Row} row */
  const all = (row) => Scores.sources.map((_, source) => source).filter((source) => has(row, source));

  /** Sources in the panes of a view. @param {Row} row @param {Choice} choice */
  const sources = (row, { mode, left, right, shown }) => {
    if (PAIRS.includes(mode)) {
      return [left, right];
    }
    const chosen = all(row).filter((source) => !shown || shown.includes(source));
    return mode === "errors" ? chosen.filter((source) => source !== 1) : chosen;
  };

  /** Scores as papers print them. @param {Row} row @param {number} source */
  const scoreLine = (row, source) => {
    const scores = row[5][source - 2].map((score, metric) => {
      const best = Scores.numeric(score) !== null && Scores.isBest(row, metric, Scores.numeric(score));
      const title = Scores.titled(REPORT.metrics[metric]);
      return make("span", { className: `score${best ? " best" : ""}`, title }, Scores.format(score, metric));
    });
    return scores.flatMap((score, index) => (index ? [" / ", score] : [score]));
  };

  /** @param {Row} row @param {number} source @param {string} tag */
  const caption = (row, source, tag) => {
    const scores = source < 2 ? [] : scoreLine(row, source);
    return make(tag, {}, make("strong", {}, Scores.sources[source]), " ", make("span", { className: "scores" }, ...scores));
  };

  /** @param {Row} row @param {Choice} choice @returns {PaneSpec[]} */
  const panes = (row, choice) => {
    const shown = sources(row, choice);
    const names = Scores.sources;
    if (PAIRS.includes(choice.mode)) {
      const [left, right] = shown;
      const label = {
        slider: `${names[left]} left, ${names[right]} right`,
        flicker: `${names[left]} and ${names[right]} in turn`,
        difference: `difference of ${names[left]} and ${names[right]}`,
      }[choice.mode] ?? "";
      const kind = /** @type {PaneKind} */ (choice.mode === "slider" ? "divider" : choice.mode);
      return [{ label, kind, pictures: shown.map((source) => Scores.picture(row, source)) }];
    }
    return shown.map((source) => {
      const errors = choice.mode === "errors";
      const pictures = (errors ? [1, source] : [source]).map((one) => Scores.picture(row, one));
      const label = errors ? `error of ${names[source]} against HR` : names[source];
      return { label, kind: errors ? "difference" : "plain", pictures, caption: caption(row, source, "figcaption") };
    });
  };

  /** Every reason for a missing score once, with whom and what it holds for. @param {Row} row @param {number[]} shown */
  const reasons = (row, shown) => {
    /** @type {Map<string, Set<string>[]>} */
    const found = new Map();
    for (const source of shown.filter((one) => one >= 2)) {
      row[5][source - 2].forEach((score, metric) => {
        if (Scores.numeric(score) === null) {
          const reason = String(score ?? "not computed");
          const [who, what] = found.get(reason) ?? [new Set(), new Set()];
          found.set(reason, [who.add(Scores.sources[source]), what.add(REPORT.metrics[metric].title)]);
        }
      });
    }
    return [...found].map(([reason, [who, what]]) =>
      make("p", { className: "quiet" }, `– ${[...who].join(", ")} in ${[...what].join(", ")}: ${reason}`));
  };

  /** Captions of a pair, what the scores are, and reasons. @param {Row} row @param {Choice} choice */
  const below = (row, choice) => {
    const shown = sources(row, choice);
    const pair = PAIRS.includes(choice.mode) ? shown.map((source) => caption(row, source, "div")) : [];
    const scored = shown.some((source) => source >= 2) && REPORT.metrics.length;
    const what = scored ? [make("p", { className: "quiet" }, REPORT.metrics.map(Scores.titled).join(" / "))] : [];
    return [...pair, ...what, ...reasons(row, shown)];
  };

  return { has, all, panes, below };
})();

"use strict";
// Who stands where among the methods that are shown: marks, ranks, verdicts of the paired tests.
const Standing = (() => {
  const count = REPORT.methods.length;

  /** @param {number} dataset @param {number} column @param {number} method */
  const cell = (dataset, column, method) =>
    REPORT.cells[(dataset * REPORT.columns.length + column) * count + method];

  /** @param {number} dataset @param {number} column @param {number} method */
  const mean = (dataset, column, method) => Scores.numeric(cell(dataset, column, method)[0]);

  /** What the test of two methods says of the first. @type {Map<string, {verdict: Verdict, p: number | null}>} */
  const tests = new Map();
  for (const [dataset, metric, a, b, p, verdict] of REPORT.pairs) {
    const turned = { better: "worse", worse: "better" }[/** @type {string} */ (verdict)] ?? verdict;
    tests.set(JSON.stringify([dataset, metric, a, b]), { verdict, p });
    tests.set(JSON.stringify([dataset, metric, b, a]), { verdict: /** @type {Verdict} */ (turned), p });
  }

  /** @param {number} dataset @param {number} column @param {number} a @param {number} b */
  const against = (dataset, column, a, b) => {
    const { datasets, methods } = REPORT.names;
    const key = [datasets[dataset], REPORT.columns[column].name, methods[a], methods[b]];
    return tests.get(JSON.stringify(key)) ?? { verdict: /** @type {Verdict} */ ("no test"), p: null };
  };

  /** Those that have a mean, best first. @param {number} dataset @param {number} column @param {number[]} methods */
  const ranked = (dataset, column, methods) => {
    const sign = REPORT.columns[column].lower ? 1 : -1;
    const key = (/** @type {number} */ method) => mean(dataset, column, method);
    return methods
      .filter((method) => key(method) !== null)
      .sort((a, b) => Scores.compare(key(a), key(b), sign));
  };

  // As in every table: a best of two or more means, a second of three or more; equals, as printed, share a mark.
  /** @param {number} dataset @param {number} column @param {number[]} methods */
  const marks = (dataset, column, methods) => {
    const order = ranked(dataset, column, methods);
    const printed = (/** @type {number} */ method) =>
      Scores.digits(mean(dataset, column, method) ?? NaN, REPORT.columns[column].digits);
    const means = [...new Set(order.map(printed))];
    const tested = REPORT.methods.some((_, method) => cell(dataset, column, method)[4] !== null);
    return new Map(order.map((method) => {
      const place = means.indexOf(printed(method));
      const mark = place < Math.min(2, order.length - 1) ? ["best", "second"][place] : "";
      const { verdict } = against(dataset, column, method, order[0]);
      const undecided = tested && ["not told apart", "too few images"].includes(verdict);
      return [method, { mark, undecided: undecided && method !== order[0] }];
    }));
  };

  /** By each column that a method has a mean in. @param {number} dataset @param {number[]} columns @param {number[]} methods @param {number} method */
  const ranks = (dataset, columns, methods, method) =>
    columns.flatMap((column) => {
      const own = mean(dataset, column, method);
      const order = ranked(dataset, column, methods);
      const place = order.findIndex((other) => mean(dataset, column, other) === own);
      return own === null || order.length < 2 ? [] : [place + 1];
    });

  /** The interval of a mean rank, which is known of all columns and methods alone. @param {number} dataset @param {number[]} columns @param {number[]} methods @param {number} method */
  const rankInterval = (dataset, columns, methods, method) =>
    columns.length === REPORT.columns.length && methods.length === count ? REPORT.meanRanks[dataset][method] : null;

  /** How often the tests decide for and against a method, and not. @param {number} dataset @param {number[]} columns @param {number[]} methods @param {number} method */
  const wins = (dataset, columns, methods, method) => {
    const verdicts = columns.flatMap((column) =>
      methods.map((other) => against(dataset, column, method, other).verdict));
    const times = (/** @type {Verdict} */ verdict) => verdicts.filter((v) => v === verdict).length;
    return { better: times("better"), worse: times("worse"), open: times("not told apart") };
  };

  return { cell, mean, against, marks, ranks, rankInterval, wins };
})();

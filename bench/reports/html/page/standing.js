"use strict";
// Who stands where among the methods that are shown: marks, ranks, verdicts of the paired tests.
const Standing = (() => {
  const count = REPORT.methods.length;

  /** @param {number} dataset @param {number} column @param {number} method */
  const cell = (dataset, column, method) =>
    REPORT.cells[(dataset * REPORT.columns.length + column) * count + method];

  /** @param {number} dataset @param {number} column @param {number} method */
  const mean = (dataset, column, method) => Scores.numeric(cell(dataset, column, method)[0]);

  /** @type {Map<string, Pair>} */
  const pairs = new Map(REPORT.pairs.map((pair) => [JSON.stringify(pair.slice(0, 4)), pair]));

  /** @param {number} dataset @param {number} column @param {number} a @param {number} b */
  const pair = (dataset, column, a, b) => {
    const { datasets, methods } = REPORT.names;
    return pairs.get(JSON.stringify([datasets[dataset], REPORT.columns[column].name, methods[a], methods[b]]));
  };

  /** @type {Record<Verdict, Verdict>} */
  const turned = {
    better: "worse", worse: "better", "not told apart": "not told apart",
    "too few images": "too few images", "no test": "no test",
  };

  /**
   * What the paired test says of `a` beside `b`.
   * @param {number} dataset @param {number} column @param {number} a @param {number} b
   * @returns {{verdict: Verdict, p: number | null}}
   */
  const against = (dataset, column, a, b) => {
    const found = pair(dataset, column, a, b);
    const other = pair(dataset, column, b, a);
    const verdict = found?.[5] ?? (other ? turned[other[5]] : "no test");
    return { verdict, p: (found ?? other)?.[4] ?? null };
  };

  /** @param {number} dataset @param {number} column @param {number[]} methods; those with a mean, best first */
  const ranked = (dataset, column, methods) => {
    const sign = REPORT.columns[column].lower ? 1 : -1;
    const key = (/** @type {number} */ method) => mean(dataset, column, method);
    return methods
      .filter((method) => key(method) !== null)
      .sort((a, b) => Scores.compare(key(a), key(b), sign));
  };

  /**
   * Best and second best of those shown, as in every table: a best of two or more means, a second
   * of three or more; equal means share a mark. With it, who is not told apart from the best.
   * @param {number} dataset @param {number} column @param {number[]} methods
   */
  const marks = (dataset, column, methods) => {
    const order = ranked(dataset, column, methods);
    const means = [...new Set(order.map((method) => mean(dataset, column, method)))];
    return new Map(order.map((method) => {
      const place = means.indexOf(mean(dataset, column, method));
      const mark = place === 0 && order.length > 1 ? "best" : place === 1 && order.length > 2 ? "second" : "";
      const { verdict } = against(dataset, column, method, order[0]);
      const open = ["not told apart", "too few images"].includes(verdict) && tested(dataset, column);
      return [method, { mark, undecided: method !== order[0] && open }];
    }));
  };

  /** @param {number} dataset @param {number} column */
  const tested = (dataset, column) =>
    REPORT.methods.some((_, method) => cell(dataset, column, method)[4] !== null);

  /**
   * Rank by each column that a method has a mean in.
   * @param {number} dataset @param {number[]} columns @param {number[]} methods @param {number} method
   */
  const ranks = (dataset, columns, methods, method) =>
    columns.flatMap((column) => {
      const own = mean(dataset, column, method);
      const order = ranked(dataset, column, methods);
      const place = order.findIndex((other) => mean(dataset, column, other) === own);
      return own === null || order.length < 2 ? [] : [place + 1];
    });

  /**
   * How often the tests call a method better and worse than another, over all columns.
   * @param {number} dataset @param {number[]} columns @param {number[]} methods @param {number} method
   */
  const wins = (dataset, columns, methods, method) => {
    const verdicts = columns.flatMap((column) =>
      methods.map((other) => against(dataset, column, method, other).verdict));
    const times = (/** @type {Verdict} */ verdict) => verdicts.filter((v) => v === verdict).length;
    return { better: times("better"), worse: times("worse"), open: times("not told apart") };
  };

  return { cell, mean, against, marks, ranks, wins };
})();

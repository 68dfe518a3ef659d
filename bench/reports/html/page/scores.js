"use strict";
// Scores, names and pictures as REPORT holds them.
const Scores = (() => {
  const sources = ["LR", "HR", ...REPORT.methods];
  const sourceNames = ["LR", "HR", ...REPORT.names.methods];

  /** A number of a score, infinite ones included; null where there is none. @param {Score | undefined} score */
  const numeric = (score) => {
    if (typeof score === "number") {
      return score;
    }
    return { inf: Infinity, "-inf": -Infinity }[score ?? ""] ?? null;
  };

  /** @param {number} value @param {number} digits */
  const digits = (value, digits) =>
    Number.isFinite(value) ? value.toFixed(digits).replace(/^-(0(?:\.0*)?)$/, "$1") : value > 0 ? "∞" : "−∞";

  /** @param {Score | undefined} score @param {number} metric */
  const format = (score, metric) => {
    const value = numeric(score);
    return value === null ? "–" : digits(value, REPORT.metrics[metric].digits);
  };

  /** @param {{title: string, lower: boolean}} metric */
  const titled = ({ title, lower }) => `${title} ${lower ? "↓" : "↑"}`;

  /** Compare so that what has no value comes last in both directions. @param {number | null} a @param {number | null} b @param {number} sign */
  const compare = (a, b, sign) => {
    if (a === null || b === null) {
      return Number(a === null) - Number(b === null);
    }
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  };

  /** Whether a method is the best of an image. @param {Row} row @param {number} metric @param {number | null} value */
  const isBest = (row, metric, value) => {
    const values = row[5].map((scores) => numeric(scores[metric])).filter((v) => v !== null);
    const extreme = REPORT.metrics[metric].lower ? Math.min : Math.max;
    return values.length > 1 && value === extreme(...values);
  };

  /** The address of a picture below this folder; every part of it is a plain file name. @param {string[]} source @param {boolean} small */
  const url = ([folder, file, thumb], small) => {
    const parts = [small ? "thumbs" : "pictures", ...folder.split("/"), small ? thumb : file];
    return parts.map(encodeURIComponent).join("/");
  };

  /** What is shown of a source of an image. @param {Row} row @param {number} source @returns {Picture} */
  const picture = (row, source) => {
    const name = sources[source];
    const found = row[4][source];
    if (Array.isArray(found)) {
      return { name, url: url(found, !REPORT.originals) };
    }
    const own = source < 2 ? [] : row[5][source - 2];
    const reason = own.find((score) => typeof score === "string" && numeric(score) === null);
    return { name, reason: String(found ?? reason ?? "no picture") };
  };

  /** @type {Map<number, Promise<Row[]>>} */
  const loaded = new Map();

  /** The images of a dataset: a script of its own, asked for when they are. @param {number} dataset */
  const images = (dataset) => {
    const known = loaded.get(dataset) ?? new Promise((resolve, reject) => {
      const script = make("script", { src: `data/${dataset}.js`, async: true });
      script.addEventListener("load", () => resolve(REPORT.parts[dataset]));
      script.addEventListener("error", () => {
        loaded.delete(dataset); // it is asked for again where the folder is there by then
        reject(new Error(`data/${dataset}.js is missing`));
      });
      document.head.append(script);
    });
    loaded.set(dataset, known);
    return /** @type {Promise<Row[]>} */ (known);
  };

  return { sources, sourceNames, numeric, digits, format, titled, compare, isBest, url, picture, images };
})();

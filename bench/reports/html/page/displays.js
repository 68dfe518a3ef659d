"use strict";
// The images of a selection as thumbnails and as a table.

const Grid = (() => {
  /** @param {Source} source */
  const thumbnail = (source) =>
    Array.isArray(source)
      ? make("img", { loading: "lazy", decoding: "async", alt: "", src: Scores.url(source, true) })
      : make("span", { className: "empty" }, source ?? "no picture");

  /** @param {ImageSelection} selection @param {number} place */
  const card = ({ rows, method, metric, open }, place) => {
    const row = rows[place];
    const score = row[5][method]?.[metric];
    const title = REPORT.metrics[metric]?.title;
    const button = make(
      "button", { type: "button" },
      thumbnail(row[4][method + 2]),
      make("span", { className: "name" }, row[1]),
      make("span", { className: "quiet" }, score === undefined ? "" : `${title} ${Scores.format(score, metric)}`),
    );
    button.addEventListener("click", () => open(place));
    return make("li", {}, button);
  };

  /** @param {ImageSelection} selection */
  const draw = (selection) => {
    fillSlowly(get("image-grid"), selection.rows.length, (place) => card(selection, place));
  };

  return { draw };
})();

const ImageTable = (() => {
  /** Method and metric of every column. @param {ImageSelection} selection @returns {[number, number, string][]} */
  const columns = ({ methods, method, metric }) =>
    methods && REPORT.metrics.length
      ? REPORT.methods.map((title, index) => [index, metric, title])
      : REPORT.metrics.map((spec, index) => [method, index, Scores.titled(spec)]);

  /** @param {ImageSelection} selection @param {number} place */
  const line = (selection, place) => {
    const row = selection.rows[place];
    const button = make("button", { type: "button" }, row[1]);
    button.addEventListener("click", () => selection.open(place));
    const cells = columns(selection).map(([method, metric]) => {
      const score = row[5][method][metric];
      const value = Scores.numeric(score);
      const best = selection.methods && value !== null && Scores.isBest(row, metric, value);
      const reason = value === null ? String(score ?? "not computed") : "";
      return make("td", { className: `number${best ? " best" : ""}`, title: reason }, Scores.format(score, metric));
    });
    return make("tr", {}, make("th", { scope: "row" }, button), ...cells);
  };

  /** @param {ImageSelection} selection */
  const draw = (selection) => {
    const heads = columns(selection).map(([, , title]) => make("th", { scope: "col", className: "number" }, title));
    const body = make("tbody");
    const caption = selection.methods
      ? REPORT.metrics[selection.metric] && Scores.titled(REPORT.metrics[selection.metric])
      : REPORT.methods[selection.method];
    const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Image"), ...heads));
    get("image-table").replaceChildren(make("table", {}, make("caption", {}, caption ?? ""), head, body));
    fillSlowly(body, selection.rows.length, (place) => line(selection, place));
  };

  return { draw };
})();

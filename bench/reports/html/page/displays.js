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
  /** @param {ImageSelection} selection @param {number} place */
  const line = ({ rows, metric, open }, place) => {
    const row = rows[place];
    const button = make("button", { type: "button" }, row[1]);
    button.addEventListener("click", () => open(place));
    const cells = row[5].map((scores) => {
      const score = scores[metric];
      const value = Scores.numeric(score);
      const best = value !== null && Scores.isBest(row, metric, value);
      const reason = value === null ? String(score ?? "not computed") : "";
      return make("td", { className: `number${best ? " best" : ""}`, title: reason }, Scores.format(score, metric));
    });
    return make("tr", {}, make("th", { scope: "row" }, button), ...cells);
  };

  /** @param {ImageSelection} selection */
  const draw = (selection) => {
    const spec = REPORT.metrics[selection.metric];
    const heads = REPORT.methods.map((title) => make("th", { scope: "col", className: "number" }, title));
    const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Image"), ...heads));
    const body = make("tbody");
    get("image-table").replaceChildren(make("table", {}, make("caption", {}, spec ? Scores.titled(spec) : ""), head, body));
    fillSlowly(body, selection.rows.length, (place) => line(selection, place));
  };

  return { draw };
})();

"use strict";
// Images as points: one score over another, of two metrics or of two methods. A point opens its image.
const Scatter = (() => {
  const LARGEST = 760;
  const SHAPE = 0.65;
  const EDGE = { left: 70, right: 16, top: 12, bottom: 52 };

  /** By key, the axis and which way. @type {Record<string, [string, number]>} */
  const KEYS = { ArrowLeft: ["cx", -1], ArrowRight: ["cx", 1], ArrowUp: ["cy", -1], ArrowDown: ["cy", 1] };

  let [width, height] = [LARGEST, LARGEST * SHAPE];

  /** @param {string} tag @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
  const shape = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name, String(value));
    }
    element.append(...children);
    return element;
  };

  /** About seven round numbers between two. @param {number} low @param {number} high */
  const ticks = (low, high) => {
    const rough = (high - low) / 7;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  };

  /** From scores to places between two ends. @param {number[]} values @param {number} start @param {number} end */
  const scale = (values, start, end) => {
    const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const margin = (high - low) * 0.04 || Math.abs(high) * 0.04 || 1;
    const [from, to] = [low - margin, high + margin];
    return { from, to, ticks: ticks(from, to), at: (/** @type {number} */ v) => start + ((v - from) / (to - from)) * (end - start) };
  };

  /** @typedef {ReturnType<typeof scale>} Scale */
  /** @param {Scale} x @param {Scale} y */
  const grid = (x, y) => [
    ...x.ticks.flatMap((v) => [
      shape("line", { x1: x.at(v), x2: x.at(v), y1: EDGE.top, y2: height - EDGE.bottom, class: "rule" }),
      shape("text", { x: x.at(v), y: height - EDGE.bottom + 18, "text-anchor": "middle" }, String(v)),
    ]),
    ...y.ticks.flatMap((v) => [
      shape("line", { y1: y.at(v), y2: y.at(v), x1: EDGE.left, x2: width - EDGE.right, class: "rule" }),
      shape("text", { x: EDGE.left - 8, y: y.at(v) + 4, "text-anchor": "end" }, String(v)),
    ]),
  ];

  /** @param {Scale} x @param {Scale} y; where both scores are equal */
  const diagonal = (x, y) => {
    const [low, high] = [Math.max(x.from, y.from), Math.min(x.to, y.to)];
    return shape("line", { x1: x.at(low), y1: y.at(low), x2: x.at(high), y2: y.at(high), class: "diagonal" });
  };

  /** Arrow keys go from point to point, along an axis; only one point is in the order of Tab. @param {Element} plot @param {(event: Event) => void} opened @param {(text: string) => void} say */
  const walk = (plot, opened, say) => {
    const circles = /** @type {SVGElement[]} */ ([...plot.querySelectorAll("circle")]);
    circles[0].setAttribute("tabindex", "0");
    plot.addEventListener("focusin", (event) => {
      const point = /** @type {Element} */ (event.target);
      plot.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
      point.setAttribute("tabindex", "0");
      say(point.textContent ?? "");
    });
    plot.addEventListener("keydown", (event) => {
      const { key, target } = /** @type {KeyboardEvent} */ (event);
      const [axis, step] = KEYS[key] ?? ["", 0];
      if (step) {
        const along = [...circles].sort((a, b) => Number(a.getAttribute(axis)) - Number(b.getAttribute(axis)));
        along[along.indexOf(/** @type {SVGElement} */ (target)) + step]?.focus();
      } else if (["Enter", " "].includes(key)) {
        opened(event);
      } else {
        return;
      }
      event.preventDefault();
    });
  };

  /** @param {ImageSelection} selection */
  const draw = ({ rows, method, metric, other, open }) => {
    const score = (/** @type {Row} */ row, /** @type {number} */ m, /** @type {number} */ k) => Scores.numeric(row[5][m]?.[k]);
    const points = rows
      .map((row, place) => ({ name: row[1], place, x: score(row, other.method, other.metric), y: score(row, method, metric) }))
      .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
    const box = get("image-scatter");
    width = Math.min(LARGEST, box.clientWidth);
    height = width * SHAPE;
    if (!points.length) {
      box.replaceChildren(make("p", {}, "No image has both scores."));
      return;
    }
    const x = scale(points.map((point) => Number(point.x)), EDGE.left, width - EDGE.right);
    const y = scale(points.map((point) => Number(point.y)), height - EDGE.bottom, EDGE.top);
    const title = (/** @type {number} */ m, /** @type {number} */ k) => `${REPORT.methods[m]}, ${Scores.titled(REPORT.metrics[k])}`;
    const [across, up] = [title(other.method, other.metric), title(method, metric)];
    const plot = shape(
      "svg", { width, height, role: "group", "aria-label": `${up} over ${across}, ${points.length} images` },
      ...grid(x, y),
      ...(metric === other.metric ? [diagonal(x, y)] : []),
      shape("text", { x: (EDGE.left + width - EDGE.right) / 2, y: height - 8, "text-anchor": "middle", class: "axis" }, across),
      shape("text", { transform: `translate(14 ${(EDGE.top + height - EDGE.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis" }, up),
      ...points.map((point) => shape(
        "circle", { cx: x.at(Number(point.x)), cy: y.at(Number(point.y)), r: 4, "data-place": point.place, role: "button", tabindex: -1 },
        shape("title", {}, `${point.name}: ${Scores.format(point.x, other.metric)}, ${Scores.format(point.y, metric)}`),
      )),
    );
    const opened = (/** @type {Event} */ event) => {
      const place = /** @type {Element} */ (event.target).getAttribute("data-place");
      if (place !== null) {
        open(Number(place));
      }
    };
    plot.addEventListener("click", opened);
    const said = make("p", { className: "quiet" }, "A point opens its image. Arrow keys go from point to point.");
    walk(plot, opened, (text) => said.replaceChildren(text));
    box.replaceChildren(plot, said);
  };

  return { draw };
})();

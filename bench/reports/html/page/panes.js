"use strict";
// A pane: one picture, or two of which one covers, replaces or is subtracted from the other.
const Panes = (() => {
  /** @param {Picture} picture @param {() => void} onLoad */
  const layer = ({ url, name, reason }, onLoad) => {
    if (!url) {
      return make("div", { className: "layer" }, make("p", {}, `${name}: ${reason}`));
    }
    const image = make("img", { src: url, alt: name, draggable: false });
    image.addEventListener("load", onLoad);
    return make("div", { className: "layer" }, image);
  };

  /** @param {PaneSpec} spec @param {() => void} onLoad @returns {Pane} */
  const build = ({ label, kind, pictures, caption }, onLoad) => {
    // What is not there cannot be subtracted: its reason is shown alone.
    const without = kind === "difference" ? pictures.filter(({ url }) => !url) : [];
    const layers = (without.length ? without : pictures).map((picture) => layer(picture, onLoad));
    const stack = make("div", { className: "stack" }, ...layers);
    const lens = make("div", { className: "lens", hidden: true, "aria-hidden": "true" });
    const view = make("div", {
      className: `pane ${without.length ? "plain" : kind}`,
      tabIndex: 0,
      role: "group",
      "aria-label": `${label}; arrow keys move, plus and minus zoom, 0 fits`,
    }, stack);
    const figure = make("figure", {}, view);
    /** @type {Pane} */
    const pane = { figure, view, layers, kind, lens, lensLayers: [] };
    if (kind === "divider") {
      pane.handle = make("div", { className: "handle" });
      view.append(pane.handle);
    }
    view.append(lens);
    if (caption) {
      figure.append(caption);
    }
    return pane;
  };

  /** Give a pane's lens pictures of its own, once it is used. @param {Pane} pane */
  const fillLens = (pane) => {
    if (!pane.lensLayers.length) {
      pane.lensLayers = pane.layers.map((layer) => /** @type {HTMLElement} */ (layer.cloneNode(true)));
      pane.lens.append(make("div", { className: "stack" }, ...pane.lensLayers));
    }
  };

  return { build, fillLens };
})();

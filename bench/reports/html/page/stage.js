"use strict";
// Panes that show pictures of one size with one zoom and one centre, moved together.
class Stage {
  static STEP = 1.25;
  static LARGEST = 32;
  static LENS = 4;
  static GAP = 8;
  static CAPTION = 46;

  /** @param {HTMLElement} element @param {() => void} onChange called when zoom, centre or divider have changed */
  constructor(element, onChange) {
    this.element = element;
    this.onChange = onChange;
    this.size = [1, 1];
    this.split = 0.5;
    this.flipped = false;
    this.lens = false;
    /** Screen pixels per pixel of the picture; null fits it into its pane. @type {number | null} */
    this.zoom = null;
    /** Share of the picture's width and height. */
    this.centre = [0.5, 0.5];
    /** Where the pointer is in its pane. @type {number[] | null} */
    this.pointer = null;
    /** @type {Pane[]} */
    this.panes = [];
    this.gestures = new Gestures(this);
    new ResizeObserver(() => this.draw()).observe(element);
  }

  /** Zoom and centre stay as they are. @param {PaneSpec[]} specs @param {number[]} size */
  show(specs, size) {
    this.size = size;
    this.panes = specs.map((spec) => Panes.build(spec, () => this.draw()));
    this.panes.forEach((pane) => this.gestures.listen(pane));
    this.element.replaceChildren(...this.panes.map((pane) => pane.figure));
    this.draw();
  }

  fit() {
    this.zoom = null;
    this.centre = [0.5, 0.5];
    this.draw();
  }

  flip() {
    this.flipped = !this.flipped;
    this.draw();
  }

  /** @param {number} share */
  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.draw();
  }

  /** Keep the picture's point that lies at (x, y) of a pane where it is. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x, y) {
    const [width, height] = this.paneSize();
    const before = this.scale();
    const after = Math.min(Stage.LARGEST, Math.max(this.smallest(), before * factor));
    const apart = 1 / before - 1 / after;
    const [right, down] = [(x ?? width / 2) - width / 2, (y ?? height / 2) - height / 2];
    this.centre = [this.centre[0] + (right * apart) / this.size[0], this.centre[1] + (down * apart) / this.size[1]];
    this.zoom = after;
    this.draw();
  }

  /** @param {number} scale */
  zoomTo(scale) {
    this.zoomBy(scale / this.scale());
  }

  /** @param {number} x @param {number} y */
  moveBy(x, y) {
    this.zoom = this.scale();
    this.centre = [
      this.centre[0] - x / this.zoom / this.size[0],
      this.centre[1] - y / this.zoom / this.size[1],
    ];
    this.draw();
  }

  scale() {
    return this.zoom ?? this.fitting();
  }

  fitting() {
    const [width, height] = this.paneSize();
    return Math.min(width / this.size[0], height / this.size[1]) || 1;
  }

  smallest() {
    return Math.min(1, this.fitting()) / 2;
  }

  paneSize() {
    const view = this.panes[0]?.view;
    return [view?.clientWidth || 1, view?.clientHeight || 1];
  }

  /** As many columns as make the pictures largest with all of them in the window. */
  arrange() {
    const { clientWidth, clientHeight } = this.element;
    const count = this.panes.length;
    const caption = this.panes.some(({ figure }) => figure.childElementCount > 1) ? Stage.CAPTION : 0;
    const share = (/** @type {number} */ columns) => {
      const rows = Math.ceil(count / columns);
      const width = (clientWidth - Stage.GAP * (columns - 1)) / columns;
      const height = (clientHeight - Stage.GAP * (rows - 1)) / rows - caption;
      return Math.min(width / this.size[0], height / this.size[1]);
    };
    const choices = Array.from({ length: count }, (_, index) => index + 1);
    const columns = choices.reduce((best, other) => (share(other) > share(best) ? other : best), 1);
    this.element.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    this.element.style.gridTemplateRows = `repeat(${Math.ceil(count / columns)}, minmax(0, 1fr) auto)`;
  }

  draw() {
    if (!this.panes.length) {
      return;
    }
    this.arrange();
    this.centre = this.zoom === null ? [0.5, 0.5] : this.centre.map((c) => Math.min(1, Math.max(0, c)));
    const [width, height] = this.paneSize();
    const scale = this.scale();
    // On a whole pixel of the screen, lest the browser mix neighbours.
    const whole = (/** @type {number} */ place) => Math.round(place * devicePixelRatio) / devicePixelRatio;
    const left = whole(width / 2 - this.centre[0] * this.size[0] * scale);
    const top = whole(height / 2 - this.centre[1] * this.size[1] * scale);
    for (const pane of this.panes) {
      pane.layers.forEach((layer) => this.place(layer, left, top, scale));
      pane.view.classList.toggle("fitted", this.zoom === null);
      pane.handle?.style.setProperty("left", `${this.split * 100}%`);
      this.cover(pane, pane.layers[1], this.split);
      this.magnify(pane, left, top, scale);
    }
    this.onChange();
  }

  /** @param {HTMLElement} layer @param {number} left @param {number} top @param {number} scale */
  place(layer, left, top, scale) {
    const image = layer.querySelector("img");
    if (image) {
      image.style.width = `${this.size[0]}px`;
      image.style.height = `${this.size[1]}px`;
      image.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
      image.classList.toggle("enlarged", this.size[0] * scale > 1.5 * image.naturalWidth);
    }
  }

  /** How the upper picture covers the lower. @param {Pane} pane @param {HTMLElement} upper @param {number} from share of the width */
  cover({ kind }, upper, from) {
    if (kind === "divider") {
      upper.style.clipPath = `inset(0 0 0 ${100 * Math.min(1, Math.max(0, from))}%)`;
    } else if (kind === "flicker") {
      upper.style.visibility = this.flipped ? "visible" : "hidden";
    }
  }

  /** The lens of a pane: what lies below the pointer, larger. @param {Pane} pane @param {number} left @param {number} top @param {number} scale */
  magnify(pane, left, top, scale) {
    pane.lens.hidden = !this.lens || !this.pointer;
    if (!this.lens || !this.pointer) {
      return;
    }
    Panes.fillLens(pane);
    const [x, y] = this.pointer;
    const side = pane.lens.clientWidth;
    const within = (/** @type {number} */ start, /** @type {number} */ at) => side / 2 + (start - at) * Stage.LENS;
    pane.lens.style.transform = `translate(${x - side / 2}px, ${y - side / 2}px)`;
    pane.lensLayers.forEach((layer) => this.place(layer, within(left, x), within(top, y), scale * Stage.LENS));
    this.cover(pane, pane.lensLayers[1], within(this.split * this.paneSize()[0], x) / side);
  }
}

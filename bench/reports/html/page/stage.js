"use strict";
// Panes that show pictures of one size with one zoom and one centre, moved together.
class Stage {
  static STEP = 1.25;
  static LARGEST = 32;

  // `onChange` is called whenever zoom, centre or divider have changed.
  constructor(element, onChange) {
    this.element = element;
    this.onChange = onChange;
    this.size = [1, 1];
    this.split = 0.5;
    this.panes = [];
    this.pointers = new Map();
    this.fit();
    new ResizeObserver(() => this.draw()).observe(element);
  }

  // panes: [{label, pictures: [{url, name, reason}], caption}], two pictures have a divider.
  show(panes, size) {
    this.size = size;
    this.panes = panes.map((pane) => this.makePane(pane));
    this.element.replaceChildren(...this.panes.map((pane) => pane.figure));
    this.element.classList.toggle("several", panes.length > 1);
    this.draw();
  }

  fit() {
    this.zoom = null;
    this.centre = null;
    this.draw();
  }

  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.draw();
  }

  // Keep the picture's point that lies at (x, y) of a pane where it is.
  zoomBy(factor, x, y) {
    const [width, height] = this.paneSize();
    const at = [x ?? width / 2, y ?? height / 2];
    const before = this.scale();
    const after = Math.min(Stage.LARGEST, Math.max(this.smallest(), before * factor));
    const centre = this.middle();
    this.centre = [
      centre[0] + (at[0] - width / 2) * (1 / before - 1 / after),
      centre[1] + (at[1] - height / 2) * (1 / before - 1 / after),
    ];
    this.zoom = after;
    this.draw();
  }

  zoomTo(scale) {
    this.zoomBy(scale / this.scale());
  }

  moveBy(x, y) {
    const centre = this.middle();
    this.zoom = this.scale();
    this.centre = [centre[0] - x / this.zoom, centre[1] - y / this.zoom];
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

  middle() {
    return this.centre ?? [this.size[0] / 2, this.size[1] / 2];
  }

  paneSize() {
    const view = this.panes[0]?.view;
    return [view?.clientWidth || 1, view?.clientHeight || 1];
  }

  draw() {
    if (!this.panes.length) {
      return;
    }
    const [width, height] = this.paneSize();
    const scale = this.scale();
    const centre = this.middle().map((c, i) => Math.min(this.size[i], Math.max(0, c)));
    this.centre = this.zoom === null ? null : centre;
    const left = width / 2 - centre[0] * scale;
    const top = height / 2 - centre[1] * scale;
    for (const pane of this.panes) {
      for (const image of pane.images) {
        image.style.width = `${this.size[0]}px`;
        image.style.height = `${this.size[1]}px`;
        image.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
        image.classList.toggle("enlarged", this.size[0] * scale > 1.5 * image.naturalWidth);
      }
      pane.view.classList.toggle("fitted", this.zoom === null);
      if (pane.handle) {
        pane.clip.style.clipPath = `inset(0 0 0 ${this.split * 100}%)`;
        pane.handle.style.left = `${this.split * 100}%`;
      }
    }
    this.onChange();
  }

  makePane({ label, pictures, caption }) {
    const figure = document.createElement("figure");
    const view = document.createElement("div");
    view.className = "pane";
    view.tabIndex = 0;
    view.setAttribute("role", "group");
    view.setAttribute("aria-label", `${label}; arrow keys move, plus and minus zoom, 0 fits`);
    const layers = pictures.map((picture) => this.makeLayer(picture));
    view.append(...layers);
    const pane = { figure, view, images: [...view.querySelectorAll("img")] };
    if (pictures.length === 2) {
      pane.clip = layers[1];
      pane.handle = document.createElement("div");
      pane.handle.className = "handle";
      view.append(pane.handle);
    }
    figure.append(view);
    if (caption) {
      figure.append(caption);
    }
    this.listen(pane);
    return pane;
  }

  makeLayer({ url, name, reason }) {
    const layer = document.createElement("div");
    layer.className = "layer";
    if (url) {
      const image = document.createElement("img");
      image.src = url;
      image.alt = name;
      image.draggable = false;
      image.addEventListener("load", () => this.draw());
      layer.append(image);
    } else {
      const text = document.createElement("p");
      text.textContent = `${name}: ${reason}`;
      layer.append(text);
    }
    return layer;
  }

  listen(pane) {
    const { view } = pane;
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = view.getBoundingClientRect();
      const factor = event.deltaY < 0 ? Stage.STEP : 1 / Stage.STEP;
      this.zoomBy(factor, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    view.addEventListener("keydown", (event) => this.onKey(event));
    view.addEventListener("pointerdown", (event) => this.onDown(event, pane));
    view.addEventListener("pointermove", (event) => this.onMove(event, pane));
    for (const name of ["pointerup", "pointercancel"]) {
      view.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
  }

  onKey(event) {
    const step = Math.max(16, this.paneSize()[0] / 10);
    const actions = {
      ArrowLeft: () => this.moveBy(step, 0),
      ArrowRight: () => this.moveBy(-step, 0),
      ArrowUp: () => this.moveBy(0, step),
      ArrowDown: () => this.moveBy(0, -step),
      "+": () => this.zoomBy(Stage.STEP),
      "=": () => this.zoomBy(Stage.STEP),
      "-": () => this.zoomBy(1 / Stage.STEP),
      0: () => this.fit(),
    };
    if (Object.hasOwn(actions, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  // A drag moves the divider at its handle or while the picture fits; else it moves the picture.
  onDown(event, pane) {
    const onHandle = event.target === pane.handle;
    this.divides = Boolean(pane.handle) && (onHandle || this.zoom === null);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    pane.view.setPointerCapture(event.pointerId);
    if (this.divides) {
      this.divideAt(event, pane);
    }
  }

  onMove(event, pane) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      return;
    }
    const now = [event.clientX, event.clientY];
    if (this.pointers.size === 2) {
      this.pinch(event.pointerId, before, now, pane);
    } else if (this.divides) {
      this.divideAt(event, pane);
    } else {
      this.moveBy(now[0] - before[0], now[1] - before[1]);
    }
    this.pointers.set(event.pointerId, now);
  }

  divideAt(event, pane) {
    const box = pane.view.getBoundingClientRect();
    this.setSplit((event.clientX - box.left) / box.width);
  }

  pinch(id, before, now, pane) {
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    const box = pane.view.getBoundingClientRect();
    const middle = [(now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top];
    this.zoomBy(apart(now) / apart(before), ...middle);
  }
}

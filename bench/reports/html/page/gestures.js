"use strict";
// Wheel, drag, pinch and keys on the panes of a stage.
class Gestures {
  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    /** @type {Map<number, number[]>} */
    this.pointers = new Map();
    this.divides = false;
  }

  /** @param {Pane} pane */
  listen(pane) {
    const { view } = pane;
    const at = (/** @type {MouseEvent} */ event) => {
      const box = view.getBoundingClientRect();
      return [event.clientX - box.left - view.clientLeft, event.clientY - box.top - view.clientTop];
    };
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.stage.zoomBy(event.deltaY < 0 ? Stage.STEP : 1 / Stage.STEP, ...at(event));
    }, { passive: false });
    view.addEventListener("keydown", (event) => this.onKey(event));
    view.addEventListener("pointerdown", (event) => this.onDown(event, pane));
    view.addEventListener("pointermove", (event) => {
      this.onMove(event, pane);
      this.look(at(event));
    });
    view.addEventListener("pointerleave", () => this.look(null));
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
      view.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
  }

  /** @param {number[] | null} place */
  look(place) {
    this.stage.pointer = place;
    if (this.stage.lens) {
      this.stage.draw();
    }
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const step = Math.max(16, this.stage.paneSize()[0] / 10);
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (Object.hasOwn(moves, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.stage.moveBy(...moves[event.key]);
    }
  }

  /** A drag moves the divider at its handle or while the picture fits; else it moves the picture. @param {PointerEvent} event @param {Pane} pane */
  onDown(event, pane) {
    this.divides = Boolean(pane.handle) && (event.target === pane.handle || this.stage.zoom === null);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    pane.view.setPointerCapture(event.pointerId);
    if (this.divides) {
      this.divideAt(event, pane);
    }
  }

  /** @param {PointerEvent} event @param {Pane} pane */
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
      this.stage.moveBy(now[0] - before[0], now[1] - before[1]);
    }
    this.pointers.set(event.pointerId, now);
  }

  /** @param {PointerEvent} event @param {Pane} pane */
  divideAt(event, { view }) {
    const box = view.getBoundingClientRect();
    this.stage.setSplit((event.clientX - box.left) / box.width);
  }

  /** @param {number} id @param {number[]} before @param {number[]} now @param {Pane} pane */
  pinch(id, before, now, { view }) {
    const other = [...this.pointers].find(([key]) => key !== id)?.[1] ?? now;
    const apart = (/** @type {number[]} */ point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    const box = view.getBoundingClientRect();
    const [x, y] = [(now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top];
    this.stage.zoomBy(apart(now) / apart(before), x, y);
  }
}

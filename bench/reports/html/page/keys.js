"use strict";
// Keys of the viewer, and the map of them.
(() => {
  const { stage, dialog } = Viewer;
  const map = /** @type {HTMLDialogElement} */ (get("keys"));

  /** @type {[string[], string, () => void][]} */
  const KEYS = [
    [["n", "PageDown"], "next image", () => Viewer.go(1)],
    [["p", "PageUp"], "previous image", () => Viewer.go(-1)],
    [["b"], "before and after, under a divider", () => Viewer.change({ mode: "slider" })],
    [["g"], "all side by side", () => Viewer.change({ mode: "grid" })],
    [["f"], "flicker: the other picture of the pair", Viewer.flicker],
    [["d"], "difference of the pair", () => Viewer.change({ mode: "difference" })],
    [["e"], "errors against HR", () => Viewer.change({ mode: "errors" })],
    [["["], "differences darker", () => Viewer.factor(-1)],
    [["]"], "differences brighter", () => Viewer.factor(1)],
    [["x"], "swap left and right", Viewer.swap],
    [["l"], "lens below the pointer", Viewer.lens],
    [["+", "="], "zoom in", () => stage.zoomBy(Stage.STEP)],
    [["-"], "zoom out", () => stage.zoomBy(1 / Stage.STEP)],
    [["0"], "fit into the window", () => stage.fit()],
    [["1"], "one pixel for one", () => stage.zoomTo(1)],
    [["c"], "copy a link to what is shown", Address.copy],
    [["s"], "full screen and back", Viewer.fullScreen],
  ];

  const row = (/** @type {string[]} */ keys, /** @type {string} */ words) => {
    const names = keys.flatMap((key, index) => [...(index ? [" or "] : []), make("kbd", {}, key)]);
    return make("div", {}, make("dt", {}, ...names), make("dd", {}, words));
  };

  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    const typing = target.matches("select, textarea, input:not([type=range]):not([type=checkbox])");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || map.open) {
      return;
    }
    if (event.key === "?") {
      map.showModal();
      return;
    }
    const here = dialog.open && [dialog, null].includes(/** @type {HTMLDialogElement} */ (target.closest("dialog")));
    const found = here && KEYS.find(([keys]) => keys.includes(event.key));
    if (found) {
      event.preventDefault();
      found[2]();
    }
  });

  get("key-list").append(
    ...KEYS.map(([keys, words]) => row(keys, words)),
    row(["arrow keys"], "on a picture: move; on the divider: move it"),
    row(["Escape"], "close"), row(["?"], "this map"),
  );
  document.querySelectorAll(".open-keys").forEach((button) => {
    button.addEventListener("click", () => map.showModal());
    /** @type {HTMLElement} */ (button).hidden = false;
  });
  document.querySelectorAll(".close-dialog").forEach((button) =>
    button.addEventListener("click", () => button.closest("dialog")?.close()));
})();

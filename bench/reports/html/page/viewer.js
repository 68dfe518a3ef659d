"use strict";
// The window that compares the pictures of one image.
const Viewer = (() => {
  const dialog = /** @type {HTMLDialogElement} */ (get("viewer"));
  const body = get("viewer-body");
  const MODES = [...field("mode").options].map(({ value }) => value);
  const FACTOR = "8";
  /** @type {{mode: string, left: number, right: number, shown: number[] | null}} */
  const choice = { mode: "slider", left: 0, right: 2, shown: null };
  /** @type {Row[]} */
  let rows = [];
  let place = 0;

  const stage = new Stage(get("stage"), () => {
    get("zoom").textContent = `${Math.round(stage.scale() * 100)} %`;
    field("divider").value = String(Math.round(stage.split * 1000));
    if (dialog.open) {
      Address.drift(position());
    }
  });

  const position = () => {
    const at = stage.split === 0.5 ? "" : stage.split.toFixed(3);
    const [x, y] = stage.centre.map((share, axis) => (share * stage.size[axis]).toFixed(3));
    return stage.zoom === null ? { at, zoom: "", x: "", y: "" } : { at, zoom: stage.zoom.toPrecision(4), x, y };
  };

  /** All that the address says of an open viewer. @param {boolean} open */
  const said = (open) => {
    const names = Scores.sourceNames;
    const all = {
      image: rows[place]?.[1] ?? "",
      view: choice.mode === "slider" ? "" : choice.mode,
      left: names[choice.left], right: names[choice.right],
      shown: choice.shown?.map((source) => names[source]) ?? [],
      factor: field("factor").value === FACTOR ? "" : field("factor").value,
      ...position(),
    };
    return open ? all : Object.fromEntries(Object.keys(all).map((key) => [key, ""]));
  };

  const drawControls = (/** @type {Row} */ row) => {
    const usable = Views.all(row);
    for (const side of /** @type {const} */ (["left", "right"])) {
      if (!usable.includes(choice[side])) {
        choice[side] = usable[0];
      }
      field(side).replaceChildren(...usable.map((source) => new Option(Scores.sources[source], String(source))));
      field(side).value = String(choice[side]);
    }
    field("mode").value = choice.mode;
    dialog.querySelectorAll("[data-for]").forEach((element) => {
      element.toggleAttribute("hidden", !element.getAttribute("data-for")?.split(" ").includes(choice.mode));
    });
    get("shown-list").replaceChildren(...usable.map((source) => {
      const checked = !choice.shown || choice.shown.includes(source);
      const tick = make("input", { type: "checkbox", value: String(source), checked });
      return make("label", { className: "tick" }, tick, ` ${Scores.sources[source]}`);
    }));
    // Not `disabled`, which would take the focus away from a button that was just pressed.
    get("previous").setAttribute("aria-disabled", String(place === 0));
    get("next").setAttribute("aria-disabled", String(place === rows.length - 1));
    get("lens").setAttribute("aria-pressed", String(stage.lens));
  };

  const draw = () => {
    const row = rows[place];
    get("viewer-title").textContent = `${row[1]} · ${REPORT.datasets[row[0]]} · ${place + 1} of ${rows.length}`;
    drawControls(row);
    get("captions").replaceChildren(...Views.below(row, choice));
    body.style.setProperty("--factor", field("factor").value);
    stage.show(Views.panes(row, choice), row[3]);
  };

  /** Something else is shown. @param {Partial<typeof choice>} [changes] */
  const change = (changes) => {
    Object.assign(choice, changes);
    Address.change(said(true));
    draw();
  };

  /** @param {number} step */
  const go = (step) => {
    if (rows[place + step]) {
      place += step;
      change();
    }
  };

  /** Show the `at`-th of a list of images: LR (or HR) at the left, `method` at the right. @param {Row[]} list @param {number} at @param {number} method */
  const open = (list, at, method) => {
    [rows, place] = [list, at];
    Object.assign(stage, { zoom: null, split: 0.5, flipped: false, size: rows[place][3] });
    dialog.showModal();
    change({ left: Views.has(rows[place], 0) ? 0 : 1, right: method + 2 });
  };

  const fromAddress = () => {
    const source = (/** @type {string} */ name) => Scores.sourceNames.indexOf(name);
    const mode = Address.value("view", "slider");
    const [left, right] = ["left", "right"].map((side) => source(Address.value(side)));
    const number = (/** @type {string} */ key) => Number(Address.value(key)) || 0;
    Object.assign(choice, {
      mode: MODES.includes(mode) ? mode : "slider",
      left: left < 0 ? 0 : left, right: right < 0 ? 2 : right,
      shown: Address.list("shown")?.map(source) ?? null,
    });
    choose("factor", Address.value("factor"), FACTOR);
    const [width, height] = rows[place][3];
    const zoom = number("zoom");
    Object.assign(stage, {
      size: [width, height],
      split: Math.min(1, Math.max(0, Address.value("at") ? number("at") : 0.5)),
      zoom: zoom > 0 ? Math.min(Stage.LARGEST, zoom) : null,
      centre: [number("x") / width, number("y") / height],
    });
  };

  /** Show what the address says, among the images shown or else among all. @param {Row[]} shown @param {Row[]} all */
  const follow = (shown, all) => {
    const name = Address.value("image");
    const list = [shown, all].find((some) => some.some((row) => row[1] === name));
    if (!name || !list) {
      dialog.close();
      return;
    }
    [rows, place] = [list, list.findIndex((row) => row[1] === name)];
    fromAddress();
    if (!dialog.open) {
      dialog.showModal();
    }
    draw();
  };

  const swap = () => change({ left: choice.right, right: choice.left });

  /** The other picture of a pair; from any other view, the view that shows them in turn. */
  const flicker = () => (choice.mode === "flicker" ? stage.flip() : change({ mode: "flicker" }));

  const lens = () => {
    stage.lens = !stage.lens;
    get("lens").setAttribute("aria-pressed", String(stage.lens));
    stage.draw();
  };

  const fullScreen = () => (document.fullscreenElement ? document.exitFullscreen() : body.requestFullscreen());

  /** @param {number} step */
  const factor = (step) => {
    const select = field("factor");
    select.selectedIndex = Math.min(select.length - 1, Math.max(0, select.selectedIndex + step));
    change();
  };

  const presses = {
    close: () => dialog.close(), previous: () => go(-1), next: () => go(1), swap, lens, flip: flicker,
    "full-screen": fullScreen, "copy-link": Address.copy,
    "zoom-in": () => stage.zoomBy(1.5), "zoom-out": () => stage.zoomBy(1 / 1.5),
    "zoom-fit": () => stage.fit(), "zoom-one": () => stage.zoomTo(1),
  };
  for (const [id, action] of Object.entries(presses)) {
    get(id).addEventListener("click", action);
  }
  for (const id of ["mode", "left", "right", "factor"]) {
    field(id).addEventListener("change", () =>
      change({ mode: field("mode").value, left: Number(field("left").value), right: Number(field("right").value) }));
  }
  get("shown-list").addEventListener("change", () => {
    const ticks = [...get("shown-list").querySelectorAll("input")];
    const some = ticks.filter((tick) => tick.checked).map((tick) => Number(tick.value));
    choice.shown = some.length === ticks.length ? null : some;
    Address.change(said(true));
    stage.show(Views.panes(rows[place], choice), rows[place][3]);
  });
  get("divider").addEventListener("input", () => stage.setSplit(Number(field("divider").value) / 1000));
  dialog.addEventListener("close", () => {
    if (Address.value("image")) {
      Address.change(said(false));
    }
  });
  return { open, follow, go, change, swap, flicker, lens, fullScreen, factor, stage, dialog };
})();

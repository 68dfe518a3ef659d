"use strict";
// The dialog that compares the pictures of one image: two under a divider, or all side by side.
const Viewer = (() => {
  const get = (id) => document.getElementById(id);
  const dialog = get("viewer");
  const names = ["LR", "HR", ...REPORT.methods];
  const state = { list: [], place: 0 };

  const stage = new Stage(get("stage"), () => {
    get("zoom").textContent = `${Math.round(stage.scale() * 100)} %`;
    get("divider").value = Math.round(stage.split * 1000);
  });

  const item = () => REPORT.items[state.list[state.place]];

  const format = (value, metric) =>
    typeof value === "number" ? value.toFixed(REPORT.metrics[metric].digits) : value;

  const numeric = (value) => {
    if (typeof value === "number") {
      return value;
    }
    return { inf: Infinity, "-inf": -Infinity }[value] ?? null;
  };

  // The address of a picture below this folder; every part of it is a plain file name.
  const url = ([folder, file, thumb], small) => {
    const parts = [small ? "thumbs" : "pictures", ...folder.split("/"), small ? thumb : file];
    return parts.map(encodeURIComponent).join("/");
  };

  const picture = (source) => {
    const found = item()[4][source];
    const name = names[source];
    if (Array.isArray(found)) {
      return { url: url(found, !REPORT.originals), name };
    }
    const scores = source < 2 ? [] : item()[5][source - 2];
    const reason = scores.find((score) => typeof score === "string" && numeric(score) === null);
    return { name, reason: found ?? reason ?? "no picture" };
  };

  const isBest = (metric, value) => {
    const values = item()[5].map((scores) => numeric(scores[metric])).filter((v) => v !== null);
    const extreme = REPORT.metrics[metric].lower ? Math.min : Math.max;
    return values.length > 1 && value === extreme(...values);
  };

  const scoreLine = (index, value, score) => {
    const { title, lower } = REPORT.metrics[index];
    const line = document.createElement("div");
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = `${title} ${lower ? "↓" : "↑"}`;
    detail.textContent = value === null ? "–" : format(score, index);
    detail.classList.toggle("best", value !== null && isBest(index, value));
    line.append(term, detail);
    return line;
  };

  // One line per reason, naming all the metrics that it keeps from having a score.
  const reasonLines = (scores) => {
    const byReason = new Map();
    scores.forEach((score, index) => {
      if (numeric(score) === null) {
        const reason = score ?? "not computed";
        byReason.set(reason, [...(byReason.get(reason) ?? []), REPORT.metrics[index].title]);
      }
    });
    return [...byReason].map(([reason, titles]) => {
      const line = document.createElement("p");
      line.className = "quiet";
      line.textContent = `– ${titles.join(", ")}: ${reason}`;
      return line;
    });
  };

  const scoreList = (source) => {
    const scores = item()[5][source - 2];
    const list = document.createElement("dl");
    list.className = "scores";
    list.append(...scores.map((score, index) => scoreLine(index, numeric(score), score)));
    return [list, ...reasonLines(scores)];
  };

  const caption = (source, element) => {
    const box = document.createElement(element);
    const title = document.createElement("strong");
    title.textContent = names[source];
    box.append(title);
    if (source >= 2) {
      box.append(...scoreList(source));
    }
    return box;
  };

  const hasPicture = (source) => item()[4][source] !== null || source >= 2;

  const sources = () => names.map((_, source) => source).filter(hasPicture);

  const drawSlider = () => {
    const pair = [Number(get("left").value), Number(get("right").value)];
    const label = `${names[pair[0]]} left, ${names[pair[1]]} right`;
    stage.show([{ label, pictures: pair.map(picture) }], item()[3]);
    get("captions").replaceChildren(...pair.map((source) => caption(source, "div")));
  };

  const drawSide = () => {
    const panes = sources().map((source) => ({
      label: names[source],
      pictures: [picture(source)],
      caption: caption(source, "figcaption"),
    }));
    stage.show(panes, item()[3]);
    get("captions").replaceChildren();
  };

  const draw = () => {
    const [dataset, name] = item();
    const several = get("mode").value === "side";
    get("viewer-title").textContent =
      `${name} · ${REPORT.datasets[dataset]} · ${state.place + 1} of ${state.list.length}`;
    // Not `disabled`, which would take the focus away from a button that was just pressed.
    get("previous").setAttribute("aria-disabled", state.place === 0);
    get("next").setAttribute("aria-disabled", state.place === state.list.length - 1);
    dialog.classList.toggle("side", several);
    (several ? drawSide : drawSlider)();
  };

  const fillSelect = (select, chosen) => {
    const usable = sources();
    select.replaceChildren(...usable.map((source) => new Option(names[source], source)));
    select.value = usable.includes(chosen) ? chosen : usable[0];
  };

  const go = (step) => {
    const place = state.place + step;
    if (place < 0 || place >= state.list.length) {
      return;
    }
    const chosen = [get("left"), get("right")].map((select) => Number(select.value));
    state.place = place;
    fillSelect(get("left"), chosen[0]);
    fillSelect(get("right"), chosen[1]);
    stage.fit();
    draw();
  };

  // Show the `place`-th of a list of images: LR (or HR) at the left, `method` at the right.
  const open = (list, place, method) => {
    Object.assign(state, { list, place });
    fillSelect(get("left"), hasPicture(0) ? 0 : 1);
    fillSelect(get("right"), method + 2);
    stage.zoom = null;
    stage.centre = null;
    stage.split = 0.5;
    dialog.showModal();
    draw();
  };

  const listen = () => {
    get("close").addEventListener("click", () => dialog.close());
    get("previous").addEventListener("click", () => go(-1));
    get("next").addEventListener("click", () => go(1));
    for (const id of ["mode", "left", "right"]) {
      get(id).addEventListener("change", draw);
    }
    get("swap").addEventListener("click", () => {
      [get("left").value, get("right").value] = [get("right").value, get("left").value];
      draw();
    });
    get("zoom-in").addEventListener("click", () => stage.zoomBy(1.5));
    get("zoom-out").addEventListener("click", () => stage.zoomBy(1 / 1.5));
    get("zoom-fit").addEventListener("click", () => stage.fit());
    get("zoom-one").addEventListener("click", () => stage.zoomTo(1));
    get("divider").addEventListener("input", (event) => stage.setSplit(event.target.value / 1000));
    dialog.addEventListener("keydown", (event) => {
      const step = { PageUp: -1, PageDown: 1 }[event.key];
      if (step) {
        event.preventDefault();
        go(step);
      }
    });
  };

  listen();
  return { open, url, format, numeric };
})();

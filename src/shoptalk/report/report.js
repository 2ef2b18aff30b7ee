"use strict";
// The page is complete without this script. It folds out what is printed, tells where the reader is, and makes a tool
// of the map. Text of the run reaches the page as text only (textContent), never as markup.
(() => {
  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "circle", "line"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // --- print: what is folded away is unfolded, and folded again ----------------------------------------------------
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
  // A link to a row that is folded away unfolds it first.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const around = target && target.closest("details");
    if (!around) return;
    around.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();

  // --- contents: the section in view -------------------------------------------------------------------------------
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80%" });
  for (const id of links.keys()) seen.observe(document.getElementById(id));

  // --- the map -----------------------------------------------------------------------------------------------------
  const root = document.querySelector(".map");
  if (!root) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const count = data.before.length;
  const one = (selector) => root.querySelector(selector);
  const [search, kindPick, groupPick] = ["input", "[data-pick=kind]", "[data-pick=group]"].map(one);
  const [results, legend, tip] = [".results", ".legend", ".tip"].map(one);
  const panels = [...root.querySelectorAll("figure")].map((figure, place) => ({
    figure, at: place, drawing: figure.querySelector("svg"), caption: figure.querySelector("figcaption"),
    dots: figure.querySelector(".dots"), marks: [...figure.querySelectorAll(".mark")],
    rings: figure.querySelector(".rings"),
  }));
  const state = { kind: data.kind, groups: data.groups, picked: null, active: null, hits: null, view: "both" };

  const column = () => data[state.kind];
  const namesOf = (kind) => data[kind === "class" ? "classes" : "sources"];
  const scaled = (value) => data.edge + value * (data.side - 2 * data.edge);
  // Where text `index` stands at time t, from 0 (before) to 1 (after).
  const place = (index, t) => {
    const [from, to] = [data.before[index], data.after[index]];
    return [scaled(from[0] + (to[0] - from[0]) * t), scaled(from[1] + (to[1] - from[1]) * t)];
  };
  const moved = (index) => Math.hypot(...data.before[index].map((value, axis) => data.after[index][axis] - value));

  const draw = (panel) => {
    const parts = panel.marks.map(() => []), rest = [], places = new Map(state.groups.map((group, at) => [group, at]));
    for (let index = 0; index < count; index++) {
      const [x, y] = place(index, panel.at), group = places.get(column()[index]);
      if (group === undefined) rest.push(`M${x.toFixed(1)},${y.toFixed(1)}h0`);
      else {
        const [dx, dy, shape] = data.shapes[group];
        parts[group].push(`M${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}${shape}`);
      }
    }
    panel.dots.setAttribute("d", rest.join(""));
    panel.marks.forEach((mark, at) => mark.setAttribute("d", parts[at].join("")));
    ring(panel);
  };

  // Rings around what was searched for, and around the text that is pointed at, with the way it went.
  const ring = (panel) => {
    panel.rings.replaceChildren();
    for (const index of state.hits ? state.hits.slice(0, 400) : []) {
      const [x, y] = place(index, panel.at);
      panel.rings.append(make("circle", { cx: x, cy: y, r: 6, class: "hit" }));
    }
    if (state.active === null) return;
    const [x, y] = place(state.active, panel.at);
    if (state.view !== "both") {
      const [[x1, y1], [x2, y2]] = [place(state.active, 0), place(state.active, 1)];
      panel.rings.append(make("line", { x1, y1, x2, y2, class: "way" }));
    }
    panel.rings.append(make("circle", { cx: x, cy: y, r: 9, class: "active" }));
  };

  // The class that most of the five nearest marks belong to, before or after.
  const known = new Map();
  const around = (index, side) => {
    const key = `${state.kind} ${side} ${index}`;
    if (known.has(key)) return known.get(key);
    const points = data[side], [x, y] = points[index], near = [], votes = new Map();
    for (let other = 0; other < count; other++) {
      if (other === index || column()[other] === null) continue;
      const far = Math.hypot(points[other][0] - x, points[other][1] - y);
      if (near.length === 5 && far >= near[4][0]) continue;
      near.push([far, column()[other]]);
      near.sort((a, b) => a[0] - b[0]);
      near.length = Math.min(near.length, 5);
    }
    for (const [, label] of near) votes.set(label, (votes.get(label) || 0) + 1);
    const most = [...votes].sort((a, b) => b[1] - a[1]).map(([label]) => label)[0];
    known.set(key, most);
    return most;
  };

  const reading = (tag, pointer, text, attributes = {}) =>
    make(tag, { "data-reading": pointer, "data-as": "words", ...attributes }, text);
  const pointerTo = (kind, group) => `/map/${kind === "class" ? "classes" : "sources"}/${group}`;
  const nameOf = (kind, group) => reading("bdi", pointerTo(kind, group), namesOf(kind)[group]);
  // What is said of a text: itself, its class and source, and where it moved.
  const described = (index) => {
    const said = make("span", { class: "about" });
    for (const kind of ["class", "source"]) {
      const group = data[kind][index];
      if (group !== null && group !== undefined) said.append(`${kind}: `, nameOf(kind, group), "; ");
    }
    const [from, to] = [around(index, "before"), around(index, "after")];
    const far = moved(index) > 0.2 ? "moved far" : moved(index) > 0.06 ? "moved some way" : "hardly moved";
    said.append(far);
    if (from !== undefined && from === to) said.append(", stays among ", nameOf(state.kind, from));
    else if (from !== undefined)
      said.append(", from among ", nameOf(state.kind, from), " to among ", nameOf(state.kind, to));
    return [reading("bdi", `/map/text/${index}`, data.text[index], { class: "text" }), said];
  };

  const show = (index, panel) => {
    if (index === state.active && !tip.hidden) return;
    state.active = index;
    panels.forEach(ring);
    tip.hidden = index === null || !panel;
    if (tip.hidden) return;
    tip.replaceChildren(...described(index));
    const box = panel.drawing.getBoundingClientRect(), outer = tip.parentElement.getBoundingClientRect();
    const [x, y] = place(index, panel.at).map((value) => value * box.width / data.side);
    const left = box.left - outer.left + x - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(0, Math.min(left, outer.width - tip.offsetWidth))}px`;
    const above = box.top - outer.top + y - tip.offsetHeight - 14;
    tip.style.top = `${above > -60 ? above : box.top - outer.top + y + 14}px`;
  };

  const list = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const asked = words.length > 0 || state.picked !== null;
    const fits = (index) => (state.picked === null || column()[index] === state.picked)
      && words.every((word) => data.text[index].toLowerCase().includes(word));
    const found = Array.from({ length: count }, (_, index) => index).filter(fits).sort((a, b) => moved(b) - moved(a));
    state.hits = asked ? found : null;
    for (const panel of panels) panel.drawing.classList.toggle("searching", asked);
    const all = `The ${data.many || "texts"} that moved farthest`, some = "Found, the farthest moved first";
    const title = !asked ? all : found.length ? some : `No ${data.one || "text"} on the map has these words`;
    const buttons = found.slice(0, asked ? 40 : 6).map((index) => {
      const button = make("button", { type: "button" }, ...described(index));
      button.addEventListener("focus", () => show(index, null));
      button.addEventListener("mouseenter", () => show(index, null));
      return make("li", {}, button);
    });
    const more = asked && found.length > 40 ? "; more texts fit than are listed, add a word to see fewer" : "";
    results.replaceChildren(make("p", { role: "status" }, title + more), make("ul", {}, ...buttons));
    panels.forEach(ring);
  };

  const chips = () => {
    legend.replaceChildren(...state.groups.map((group, at) => {
      const mark = panels[0].marks[at].cloneNode();
      const [dx, dy, shape] = data.shapes[at];
      mark.setAttribute("d", `M${dx},${dy}${shape}`);
      const sign = make("svg", { viewBox: "-6 -6 12 12", width: 14, height: 14, "aria-hidden": "true" }, mark);
      const chip = make("button", { type: "button", "aria-pressed": String(state.picked === group) }, sign, " ",
        nameOf(state.kind, group));
      chip.addEventListener("click", () => {
        state.picked = state.picked === group ? null : group;
        refresh();
        legend.children[at].firstChild.focus();
      });
      return make("li", {}, chip);
    }));
    const shown = new Set(state.groups), names = namesOf(state.kind);
    const others = names.map((name, group) => [name, group]).filter(([, group]) => !shown.has(group));
    others.sort(([a], [b]) => (a < b ? -1 : 1));
    groupPick.replaceChildren(make("option", { value: "" }, "choose"),
      ...others.map(([name, group]) => reading("option", pointerTo(state.kind, group), name, { value: group })));
    groupPick.disabled = others.length === 0;
  };

  const refresh = () => {
    chips();
    list();
    panels.forEach(draw);
  };

  // One panel that moves, or both that stand still.
  const turn = (view) => {
    state.view = view;
    for (const button of root.querySelectorAll("[data-view]"))
      button.setAttribute("aria-pressed", String(button.dataset.view === view));
    const [first, second] = panels, goal = view === "after" ? 1 : 0, from = first.at, begun = performance.now();
    second.figure.hidden = view !== "both";
    first.caption.textContent = view === "after" ? second.caption.textContent : captions;
    tip.hidden = true;
    const step = (now) => {
      const done = still.matches ? 1 : Math.min(1, (now - begun) / 900);
      first.at = from + (goal - from) * done * done * (3 - 2 * done);
      draw(first);
      if (done < 1 && state.view === view) requestAnimationFrame(step);
    };
    if (from === goal || view === "both" || still.matches) {
      first.at = goal;
      draw(first);
    } else requestAnimationFrame(step);
  };
  const captions = panels[0].caption.textContent;

  for (const panel of panels) {
    panel.drawing.addEventListener("pointermove", (event) => {
      const box = panel.drawing.getBoundingClientRect(), factor = data.side / box.width;
      const [x, y] = [(event.clientX - box.left) * factor, (event.clientY - box.top) * factor];
      let best = null, nearest = 16;
      for (let index = 0; index < count; index++) {
        const [px, py] = place(index, panel.at), far = Math.hypot(px - x, py - y);
        if (far < nearest) [best, nearest] = [index, far];
      }
      show(best, panel);
    });
    panel.drawing.addEventListener("pointerleave", () => show(null, null));
  }
  search.addEventListener("input", () => {
    state.active = null;
    list();
  });
  for (const kind of ["class", "source"])
    if (data[kind].some((group) => group !== null)) kindPick.append(make("option", { value: kind }, kind));
  kindPick.value = state.kind;
  kindPick.addEventListener("change", () => {
    Object.assign(state, { kind: kindPick.value, picked: null, active: null });
    const sizes = new Map();
    for (const group of column()) if (group !== null) sizes.set(group, (sizes.get(group) || 0) + 1);
    const largest = [...sizes].sort((a, b) => b[1] - a[1]).map(([group]) => group).slice(0, data.shapes.length);
    state.groups = state.kind === data.kind ? data.groups : largest;
    refresh();
  });
  groupPick.addEventListener("change", () => {
    if (groupPick.value === "") return;
    const group = Number(groupPick.value);
    state.groups = [...state.groups.slice(-(data.shapes.length - 1)), group];
    state.picked = group;
    refresh();
  });
  for (const button of root.querySelectorAll("[data-view]"))
    button.addEventListener("click", () => turn(button.dataset.view));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !tip.hidden) show(null, null);
  });
  addEventListener("beforeprint", () => turn("both"));
  one(".controls").hidden = results.hidden = false;
  chips();
  list();
  turn(matchMedia("(max-width: 46rem)").matches ? "before" : "both");
})();

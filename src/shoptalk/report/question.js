"use strict";
// The page is complete without this script. It answers by keys, filters the labels as one types, sends no answer twice,
// and tells when the asking has ended or went on in another window.
(() => {
  const one = (selector) => document.querySelector(selector);
  const SETTLE = 350, EVERY = 2000; // milliseconds
  const opened = performance.now(), turn = one("main").dataset.turn;
  let sent = false, missed = 0;

  // A page that comes back from the browser's memory shows a question of the past.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  // --- an answer is sent once, and the second half of a double click answers nothing --------------------------------
  addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (sent || performance.now() - opened < SETTLE) event.preventDefault();
    else sent = true;
  });

  // --- keys ---------------------------------------------------------------------------------------------------------
  const box = one("#keys"), search = one("#search"), store = "shoptalk-ask-keys";
  const remembered = () => {
    try { return localStorage.getItem(store) !== "off"; } catch { return true; }
  };
  const show = (on) => document.body.classList.toggle("by-keys", on);
  if (box) {
    one("#about-keys").hidden = false;
    box.checked = remembered();
    box.addEventListener("change", () => {
      show(box.checked);
      try { localStorage.setItem(store, box.checked ? "on" : "off"); } catch { /* for this page only */ }
    });
  }
  const on = () => (box ? box.checked : remembered());
  show(on());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select") || !on()) return;
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      return;
    }
    const wanted = /^[a-z0-9]$/i.test(event.key) && one(`[data-key="${event.key.toLowerCase()}"]`);
    if (!wanted || wanted.disabled) return;
    event.preventDefault();
    wanted.click();
  });

  // --- search among the labels --------------------------------------------------------------------------------------
  const letters = (text) =>
    text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[_-]/g, " ").replace(/\s+/g, " ").trim();
  if (search) {
    const list = one("#labels"), count = one("#matches");
    const items = [...list.querySelectorAll("li")].map((item) => [item, letters(item.textContent)]);
    const shown = () => items.filter(([item]) => !item.hidden).map(([item]) => item.querySelector("button"));
    const filter = () => {
      const words = letters(search.value).split(" ");
      for (const [item, text] of items) item.hidden = !words.every((word) => text.includes(word));
      const many = shown().length;
      count.textContent = !search.value.trim() ? `All ${items.length.toLocaleString("en")} labels`
        : many ? `${many.toLocaleString("en")} of ${items.length.toLocaleString("en")} labels` : "No label has these words";
      list.open = search.value.trim() !== "";
    };
    if (!search.value) {
      one(".search button").hidden = true;
      search.addEventListener("input", filter);
      search.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          search.value = "";
          filter();
          one("#message").focus();
        }
        if (event.key !== "Enter" && event.key !== "ArrowDown") return;
        event.preventDefault();
        if (search.value.trim()) shown()[0]?.focus();
      });
      list.addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], buttons = shown();
        const place = buttons.indexOf(event.target);
        if (!step || place < 0) return;
        event.preventDefault();
        (buttons[place + step] ?? (step < 0 ? search : event.target)).focus();
      });
    }
  }

  // --- whether the asking goes on -----------------------------------------------------------------------------------
  const stopped = (is) => {
    if (one("#stopped").hidden !== is) return;
    one("#stopped").hidden = !is;
    for (const button of document.querySelectorAll("button")) button.disabled = is;
  };
  const look = async () => {
    try {
      const answer = await fetch("turn", { cache: "no-store" });
      const now = answer.ok ? await answer.text() : null;
      missed = 0;
      stopped(now === null);
      if (now !== null && now !== turn && !sent) location.reload();
    } catch {
      missed += 1;
      if (missed > 1) stopped(true);
    }
  };
  setInterval(look, EVERY);

  // --- who listens to the page hears the message first -----------------------------------------------------------------
  if (!location.hash) one("#message").focus({ preventScroll: true });
  setTimeout(() => document.body.classList.add("ready"), SETTLE);
})();

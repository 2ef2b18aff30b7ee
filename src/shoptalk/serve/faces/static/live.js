// The page and the inbox, when scripts run: forms are sent and messages come without loading the page anew.
"use strict";
const log = document.getElementById("log");
const state = document.getElementById("state");
const box = document.getElementById("text");
const ask = document.getElementById("ask");
const person = document.getElementById("person");
let stream = null;

const say = (words) => { if (state) state.textContent = words || ""; };
const toEnd = () => {
  const end = document.getElementById("end");
  if (end) end.scrollIntoView({ block: "end" });
  if (log) log.scrollTop = log.scrollHeight;
};
const element = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html; // the server escapes whatever people write
  return template.content;
};

// --- what comes ---------------------------------------------------------------------------------------------------
function show(id, html) {
  const piece = element(html);
  const before = document.getElementById(id);
  if (before) before.replaceWith(piece); else log.append(piece);
  toEnd();
}
function follow() {
  const conversation = log.dataset.conversation;
  if (stream || (!conversation && log.dataset.events === "/events")) return;
  const query = new URLSearchParams({ conversation, after: log.dataset.last });
  stream = new EventSource(`${log.dataset.events}?${query}`);
  stream.addEventListener("delta", (event) => {
    const { id, text } = JSON.parse(event.data);
    let item = document.getElementById(id);
    if (!item) {
      item = document.createElement("div");
      item.id = id;
      item.className = "message assistant";
      item.append(Object.assign(document.createElement("p"), { className: "text", dir: "auto" }));
      log.append(item);
    }
    item.querySelector(".text").textContent += text;
    toEnd();
  });
  stream.addEventListener("message", (event) => {
    const { id, role, held, html } = JSON.parse(event.data);
    if (held !== undefined) {
      if (person) person.querySelector("button").hidden = held;
      say(held ? state.dataset.held : role === "visitor" ? state.dataset.writing : "");
    }
    show(id, html);
    log.dataset.last = event.lastEventId;
  });
  for (const name of ["queue", "panel"])
    stream.addEventListener(name, (event) => {
      const place = document.getElementById(name);
      const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      place.replaceChildren(element(JSON.parse(event.data).html));
      if (focused) for (const link of place.querySelectorAll("a")) if (link.getAttribute("href") === focused) link.focus();
    });
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return; // it comes again by itself
    stream = null;
    setTimeout(follow, 3000);
  };
}

// --- what is sent -------------------------------------------------------------------------------------------------
async function send(form, extra = {}) {
  const fields = new URLSearchParams(new FormData(form));
  for (const [name, value] of Object.entries(extra)) fields.set(name, value);
  const response = await fetch(form.action, { method: "POST", body: fields, headers: { accept: "application/json" } });
  if (!response.ok) throw Object.assign(new Error(), { status: response.status });
  return response.json();
}
function begun(answer) {
  for (const form of [ask, person]) {
    form.elements.conversation.value = answer.conversation;
    form.elements.key.value = answer.key + (form === person ? "-person" : "");
  }
  if (log.dataset.conversation !== answer.conversation) {
    log.dataset.conversation = answer.conversation;
    log.dataset.last = "0";
    history.replaceState(null, "", "/");
    document.getElementById("anew").hidden = false;
  }
  follow();
}
function refused(error) {
  say(error.status === 429 ? state.dataset.busy : state.dataset.failed);
}
async function submit(form) {
  if (form.dataset.sending) return;
  form.dataset.sending = "yes";
  const words = form === ask ? box.value : "";
  const shows = form === ask && form.elements.picture && form.elements.picture.value;
  if (form === ask) { if (!words.trim() && !shows) { delete form.dataset.sending; return; } say(state.dataset.writing); }
  try {
    const answer = send(form);
    if (form === ask) { box.value = ""; grow(); }
    begun(await answer);
    if (shows) form.elements.picture.value = "";
  } catch (error) {
    if (form === ask && !box.value) { box.value = words; grow(); }
    // A picture that is refused for good would go with every later message; one that may be sent again stays.
    if (shows && error.status >= 400 && error.status < 500 && ![408, 429].includes(error.status)) form.elements.picture.value = "";
    refused(error);
  }
  delete form.dataset.sending;
  if (form === ask) box.focus();
}
for (const form of [ask, person])
  if (form) form.addEventListener("submit", (event) => { event.preventDefault(); submit(form); });
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-feedback]");
  if (!form) return;
  event.preventDefault();
  try {
    await send(form, { thumbs: event.submitter.value });
    const thanks = Object.assign(document.createElement("p"), { className: "thanks", tabIndex: -1 });
    thanks.textContent = state.dataset.thanks;
    form.closest("[data-thumbs]").replaceWith(thanks);
    thanks.focus();
  } catch (error) { refused(error); }
});

// --- pictures: made smaller here, so that they are soon sent ---------------------------------------------------------
const camera = document.getElementById("show");
const file = document.getElementById("file");
if (camera) {
  camera.hidden = false;
  camera.addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    try { ask.elements.picture.value = await smaller(chosen); } catch { say(state.dataset.failed); return; }
    submit(ask);
  });
}
async function smaller(chosen) {
  const picture = await createImageBitmap(chosen, { imageOrientation: "from-image" });
  const scale = Math.min(1, 1024 / Math.max(picture.width, picture.height));
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.ceil(picture.width * scale), height: Math.ceil(picture.height * scale) });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // what is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  let address = "";
  for (const quality of [0.85, 0.7, 0.55, 0.4, 0.25]) { // so that no picture is too large for what may be sent
    address = canvas.toDataURL("image/jpeg", quality);
    if (address.length < 700000) break;
  }
  return address;
}

// --- writing ------------------------------------------------------------------------------------------------------
function grow() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, 160)}px`;
}
if (box) {
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    box.form.requestSubmit();
  });
  grow();
}
document.addEventListener("toggle", (event) => {
  if (event.target.open) event.target.scrollIntoView({ block: "nearest" });
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-draft]");
  if (!link) return;
  event.preventDefault();
  box.value = link.dataset.draft;
  grow();
  box.focus();
});
if (log) { if (!location.hash.startsWith("#msg_")) toEnd(); follow(); }

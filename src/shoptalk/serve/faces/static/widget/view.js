// What is seen. Whatever anybody wrote becomes text nodes; nothing here reads markup.
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
};
const drawing = (path) => {
  const [svg, line] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
};
const BUBBLE = "M21 12a8 8 0 0 1-8 8H4l1.8-3.2A8 8 0 1 1 21 12zM8.5 12h.01M12.5 12h.01M16.5 12h.01";
const CROSS = "M6 6l12 12M18 6L6 18";
const CAMERA = "M4 8h3l2-3h6l2 3h3v11H4zM12 16a3 3 0 1 0 0-6 3 3 0 0 0 0 6z";
const REASONS = ["incorrect", "inappropriate", "incomplete", "outdated", "other"];

const webPage = (link) => {
  try { return ["http:", "https:"].includes(new URL(link).protocol) ? link : null; } catch { return null; }
};
const sheetOf = (css) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css); return sheet; };
const colours = ({ light, dark }) => {
  const [day, night] = [light, dark].map((palette) => Object.entries(palette).map(([name, value]) => `--${name}:${value}`).join(";"));
  return sheetOf(`.root{${day}}@media (prefers-color-scheme:dark){.root{${night}}}`);
};

const badge = (looks, server) => {
  const letter = () => make("span", { class: "logo letter", "aria-hidden": "true" }, [...looks.name][0] || "");
  if (!looks.logo) return letter();
  // Where the page's policy lets no picture through, the letter stands in.
  const picture = make("img", { class: "logo", alt: "", src: server + looks.logo, error: () => picture.replaceWith(letter()) });
  return picture;
};

const nameOf = (message, looks) => {
  if (message.role === "visitor") return looks.words.you;
  if (message.role !== "agent") return looks.name;
  return message.author && message.author !== "owner" ? message.author : looks.words.colleague;
};

const sourcesOf = (message, words) => {
  if (!message.sources || !message.sources.length) return null;
  const chips = message.sources.map((source) => {
    const place = source.section && source.section !== source.title ? `${source.title} · ${source.section}` : source.title;
    const link = webPage(source.link);
    return make("li", {}, make("details", {},
      make("summary", {}, make("b", {}, String(source.rank)), " ", make("bdi", {}, place)),
      make("blockquote", { dir: "auto" }, source.text),
      link && make("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, words.passage)));
  });
  const label = `s-${message.id}`;
  return make("div", { class: "sources" }, make("p", { class: "label", id: label }, words.sources), make("ul", { "aria-labelledby": label }, ...chips));
};

// Thumbs; `rate` sends them, and may refuse.
const thumbsOf = (message, words, rate) => {
  const give = async (wish) => {
    if (!await rate(message.id, wish)) return;
    const thanks = make("p", { class: "thanks", tabindex: "-1" }, words.thanks);
    box.replaceWith(thanks);
    thanks.focus();
  };
  const choices = REASONS.map((reason) =>
    make("label", {}, make("input", { type: "radio", name: `reason-${message.id}`, value: reason, required: true }), words[reason]));
  const correction = make("textarea", { rows: "2", maxlength: "4000", dir: "auto" });
  const down = (event) => {
    event.preventDefault();
    const reason = choices.map((label) => label.firstChild).find((input) => input.checked).value;
    give({ thumbs: "down", reason, correction: correction.value.trim() || null });
  };
  const box = make("div", { class: "thumbs" },
    make("button", { type: "button", class: "quiet", click: () => give({ thumbs: "up" }) }, words.up),
    make("details", {}, make("summary", { class: "quiet" }, words.down),
      make("form", { class: "reasons", submit: down },
        make("fieldset", {}, make("legend", {}, words.wrong), ...choices),
        make("label", { class: "words" }, words.correction, correction),
        make("button", {}, words.submit))));
  return box;
};

// A picture as a small JPEG file, and on a canvas: the page's policy need not let pictures through.
const smaller = async (chosen) => {
  const canvas = await painted(chosen, 1024);
  let data = "";
  for (const quality of [0.85, 0.7, 0.55, 0.4, 0.25]) { // so that no picture is too large for what may be sent
    data = canvas.toDataURL("image/jpeg", quality);
    if (data.length < 700000) break;
  }
  return data;
};
// The page's policy need not let data be fetched either.
const unpacked = (data) => new Blob([Uint8Array.from(atob(data.slice(data.indexOf(",") + 1)), (sign) => sign.charCodeAt(0))]);
const painted = async (data, most) => {
  const picture = await createImageBitmap(data, { imageOrientation: "from-image" });
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const canvas = make("canvas", { width: Math.ceil(picture.width * scale), height: Math.ceil(picture.height * scale) });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // what is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
};
const shownOf = (message, words, look) => {
  const frame = make("div", { class: "shown", role: "img", "aria-label": words.picture });
  look(message.picture).then((data) => painted(data, 480)).then((canvas) => frame.append(canvas)).catch(() => { frame.textContent = words.picture; });
  return frame;
};

const fill = (item, message, looks, { rated, rate, look }) => {
  item.className = `message ${message.role}`;
  const rest = [sourcesOf(message, looks.words)];
  if (message.role === "assistant" && message.decision)
    rest.push(rated ? make("p", { class: "thanks" }, looks.words.thanks) : thumbsOf(message, looks.words, rate));
  item.replaceChildren(
    make("p", { class: "who" }, nameOf(message, looks)),
    ...(message.picture && look ? [shownOf(message, looks.words, look)] : []),
    ...(message.text || !message.picture ? [make("p", { class: "text", dir: "auto" }, message.text)] : []),
    ...rest.filter((part) => part));
};

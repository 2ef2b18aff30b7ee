// The element: one conversation, its panel and its button.
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const narrow = window.matchMedia("(max-width: 480px)");

class Chat extends HTMLElement {
  prepare(server, site, looks) {
    const memory = new Memory(site);
    Object.assign(this, { server, looks, memory, line: new Line(server, site, memory), words: looks.words });
    Object.assign(this, { conversation: memory.visit.conversation || null, after: 0, held: null, agent: null, news: 0 });
    Object.assign(this, { items: new Map(), outbox: [], trouble: "", unsent: "", refused: false, loaded: false, stream: null, writing: false });
    this.build(this.attachShadow({ mode: "open" }));
  }

  // --- the parts ----------------------------------------------------------------------------------------------------
  build(shadow) {
    const { words, looks } = this;
    shadow.adoptedStyleSheets = [colours(looks), sheetOf(STYLE)];
    const button = (text, click, attributes = {}) => make("button", { type: "button", class: "quiet", click, ...attributes }, text);
    this.count = make("span", { class: "count", "aria-hidden": "true", hidden: true });
    this.launcher = make("button", { type: "button", class: "launcher", "aria-label": words.open, "aria-haspopup": "dialog", click: () => this.open() }, drawing(BUBBLE), this.count);
    this.whisper = make("p", { class: "unseen", role: "status" });
    this.log = make("div", { class: "log", role: "log", "aria-label": words.log, "aria-live": "off", tabindex: "0" });
    this.state = make("p", { class: "state", role: "status" });
    this.box = make("textarea", { id: "text", rows: "1", maxlength: String(looks.longest), placeholder: words.message, dir: "auto", input: () => this.grow(), keydown: (event) => this.typed(event) });
    this.ask = make("form", { class: "ask", submit: (event) => { event.preventDefault(); this.submit(); } },
      make("label", { for: "text", class: "unseen" }, words.message), this.box, ...(looks.pictures ? this.camera() : []), make("button", { class: "strong" }, words.send));
    this.person = button(words.person, () => this.wish());
    this.anew = button(words.anew, () => this.beginAnew(), { hidden: true });
    this.closer = button(drawing(CROSS), () => this.close(), { "aria-label": words.close });
    this.panel = make("section", { class: "panel", role: "dialog", "aria-labelledby": "title", hidden: true, keydown: (event) => this.pressed(event) },
      make("header", { class: "top" }, badge(looks, this.server), make("h2", { id: "title" }, looks.name), this.closer),
      this.log, this.state, this.ask, make("div", { class: "more" }, this.person, this.anew));
    const root = make("div", { class: "root", dir: looks.direction, lang: looks.language }, this.launcher, this.whisper, this.panel);
    // What is typed here is not for the page's own shortcuts.
    for (const name of ["keydown", "keyup", "keypress"]) root.addEventListener(name, (event) => event.stopPropagation());
    this.log.addEventListener("toggle", (event) => { if (event.target.open) event.target.scrollIntoView({ block: "nearest" }); }, true);
    shadow.append(root);
    this.greet();
  }
  camera() {
    const file = make("input", { type: "file", accept: "image/*", hidden: true, change: async () => {
      const [chosen] = file.files;
      file.value = "";
      if (!chosen) return;
      try { this.submit(await smaller(chosen)); } catch { this.unsent = this.words.failed; this.say(); }
    } });
    return [file, make("button", { type: "button", class: "quiet camera", "aria-label": this.words.show, click: () => file.click() }, drawing(CAMERA))];
  }
  greet() {
    this.items.clear();
    const item = make("div", {});
    fill(item, { role: "assistant", text: this.looks.greeting }, this.looks, {});
    this.log.replaceChildren(item);
  }

  connectedCallback() {
    if (!this.memory) return; // an element of the page's own making
    this.setAttribute("popover", "manual");
    if (this.showPopover) this.showPopover(); // above whatever the page has, however high it stacks
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    document.addEventListener("visibilitychange", () => this.tend(), { signal });
    window.addEventListener("online", () => this.tend(), { signal });
    if (window.visualViewport) for (const name of ["resize", "scroll"]) window.visualViewport.addEventListener(name, () => this.fit(), { signal });
    narrow.addEventListener("change", () => this.fit(), { signal });
    this.fit();
    if (this.begun) { this.tend(); return; }
    this.begun = true;
    const { tab, visit } = this.memory;
    this.outbox = (tab.outbox || []).map((job) => ({ ...job, tries: 0, item: this.pending(job) }));
    const reloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
    if (tab.open && (reloaded || !narrow.matches)) this.open({ focus: false });
    else if (this.conversation && visit.held) this.load();
    this.pump();
  }
  disconnectedCallback() {
    if (this.leaving) this.leaving.abort();
    if (this.memory) this.tend();
  }

  // --- opening and closing ------------------------------------------------------------------------------------------
  get shown() { return !this.panel.hidden; }
  open({ focus = true } = {}) {
    this.panel.hidden = false;
    this.launcher.hidden = true;
    this.memory.tab = { open: true };
    this.fit();
    this.seen();
    this.grow();
    this.toEnd(true);
    // Where fingers do the typing, the keyboard would cover what is to be read first.
    if (focus) (window.matchMedia("(pointer: coarse)").matches ? this.log : this.box).focus();
    this.load();
  }
  close() {
    this.panel.hidden = true;
    this.launcher.hidden = false;
    this.memory.tab = { open: false };
    this.launcher.focus();
    this.tend();
  }
  pressed(event) {
    if (event.key === "Escape" && !event.isComposing) { event.preventDefault(); this.close(); }
    if (event.key !== "Tab" || !narrow.matches) return;
    // Over the whole screen the rest of the page cannot be seen, so the keyboard stays here.
    const places = [...this.panel.querySelectorAll("button, summary, a, input, textarea, .log")].filter((one) => one.checkVisibility ? one.checkVisibility() : one.offsetParent);
    const [first, last] = event.shiftKey ? [places.at(-1), places[0]] : [places[0], places.at(-1)];
    if (this.shadowRoot.activeElement === last) { event.preventDefault(); first.focus(); }
  }
  fit() {
    if (narrow.matches) this.panel.setAttribute("aria-modal", "true"); else this.panel.removeAttribute("aria-modal");
    const view = narrow.matches && window.visualViewport;
    // A keyboard on the screen covers a part of the page.
    this.panel.style.height = view ? `${view.height}px` : "";
    this.panel.style.top = view ? `${view.offsetTop}px` : "";
  }

  // --- what comes ---------------------------------------------------------------------------------------------------
  // The conversation so far; then its stream is followed.
  async load() {
    if (this.loading || this.refused) return;
    this.loading = true;
    try {
      if (!this.loaded) {
        await this.line.admission();
        if (this.conversation) {
          const response = await this.line.call(`/v1/conversations/${encodeURIComponent(this.conversation)}?after=${this.after}`);
          const record = await response.json();
          for (const message of record.messages) this.show(message);
          this.stands(record);
        }
        this.loaded = true;
        Object.assign(this, { trouble: "", misses: 0 });
        setTimeout(() => this.log.setAttribute("aria-live", "polite"), 500); // what was said before is not read out
      }
    } catch (error) { this.missed(error, () => this.load()); }
    this.loading = false;
    this.say();
    this.toEnd(true);
    this.tend();
  }
  missed(error, again) {
    if (error.status === 404) this.forget();
    else if (error.status === 403) this.turnedAway(error);
    else {
      this.trouble = error.status === 429 ? this.words.busy : this.words.broken;
      this.misses = Math.min(30, 2 * (this.misses || 1));
      setTimeout(() => { if (this.shown || this.memory.visit.held) again(); }, 1000 * Math.max(this.misses, error.wait || 0));
    }
  }
  turnedAway(error) {
    this.refused = true;
    this.trouble = this.words.refused;
    this.ask.hidden = this.person.hidden = this.anew.hidden = true;
    if (this.shown) this.closer.focus();
    console.error(`Shoptalk: the server refuses this page (${location.origin}). ${error.message}`);
  }
  forget() {
    this.conversation = null;
    this.memory.visit = { conversation: null, held: false };
    Object.assign(this, { after: 0, held: null, agent: null });
  }

  // Follow while somebody reads, or waits for a person.
  tend() {
    const wanted = this.isConnected && this.loaded && this.conversation && !document.hidden && (this.shown || this.held === "human");
    if (!wanted && this.stream) { this.stream.abort(); this.stream = null; }
    if (wanted && !this.stream) { this.stream = new AbortController(); this.followOn(this.conversation, this.stream.signal); }
  }
  async followOn(conversation, signal) {
    for (let failures = 0; !signal.aborted;) {
      const hear = (name, content) => {
        if (signal.aborted) return;
        failures = 0;
        if (this.trouble) { this.trouble = ""; this.say(); }
        if (name === "delta") this.showPiece(content);
        if (name === "message") { this.show(content); this.say(); }
        if (name === "state") { this.stands(content); this.say(); }
      };
      let wait = 1;
      try { await this.line.follow(conversation, this.after, hear, signal); } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) { this.forget(); this.tend(); return; }
        if (error.status === 403) { this.turnedAway(error); this.say(); return; }
        failures += 1;
        wait = Math.max(error.wait || 0, Math.min(30, 2 ** (failures - 1)));
        if (failures > 1) { this.trouble = this.words.broken; this.say(); }
      }
      await pause(wait * (0.8 + 0.4 * Math.random()));
    }
  }
  stands({ held_by: held, agent }) {
    Object.assign(this, { held, agent });
    this.memory.visit = { held: held === "human" };
    this.person.hidden = held === "human" || this.refused;
    setTimeout(() => this.tend(), 1000); // the message that says so comes with it
  }
  itemOf(id) {
    let item = this.items.get(id);
    if (!item) {
      item = make("div", {});
      this.items.set(id, item);
      const waiting = this.outbox.find((job) => job.item && !job.id);
      this.log.insertBefore(item, waiting ? waiting.item : null);
    }
    return item;
  }
  showPiece({ id, text }) {
    this.log.setAttribute("aria-busy", "true"); // it is read out once it is whole
    const item = this.itemOf(id);
    if (!item.firstChild) fill(item, { id, role: "assistant", text: "" }, this.looks, {});
    item.querySelector(".text").append(text);
    this.toEnd();
  }
  show(message) {
    if (message.role === "visitor" && !this.items.has(message.id)) {
      const job = !this.loading && this.outbox.find((job) => !job.id && job.text === message.text.trim() && !job.picture === !message.picture);
      if (job) this.settle(job, message.id); // the stream is ahead of the answer to what was sent
    }
    const rated = (this.memory.visit.rated || []).includes(message.id);
    const item = this.itemOf(message.id);
    if (!item.contains(this.shadowRoot.activeElement)) fill(item, message, this.looks, { rated, rate: (id, wish) => this.rate(id, wish), look: (id) => this.look(id) });
    this.log.removeAttribute("aria-busy");
    this.after = Math.max(this.after, message.number);
    this.writing = message.role === "visitor";
    if (this.shown) this.seen();
    else if (message.role !== "visitor" && message.number > (this.memory.visit.seen || 0)) this.unseen(message);
    this.toEnd();
  }
  seen() {
    this.news = 0;
    this.count.hidden = true;
    this.launcher.setAttribute("aria-label", this.words.open);
    this.whisper.textContent = "";
    if (this.after > (this.memory.visit.seen || 0)) this.memory.visit = { seen: this.after };
  }
  unseen(message) {
    this.news += 1;
    this.count.textContent = String(this.news);
    this.count.hidden = false;
    this.launcher.setAttribute("aria-label", `${this.words.open} (${this.news})`);
    this.whisper.textContent = `${this.words.news}: ${nameOf(message, this.looks)}`;
  }
  say() {
    const { words } = this;
    const waiting = this.outbox.length > 0 || this.writing;
    const standing = this.held === "human" ? (this.agent ? words.held : words.waiting) : waiting ? `${this.looks.name} ${words.writing}` : "";
    const text = this.trouble || this.unsent || standing; // what was never sent is told until something is
    if (this.state.textContent !== text) this.state.textContent = text;
    this.anew.hidden = this.refused || (!this.conversation && this.items.size === 0);
  }
  toEnd(surely = false) {
    const { log } = this;
    const distance = log.scrollHeight - log.scrollTop - log.clientHeight;
    if (surely || distance < 400) log.scrollTop = log.scrollHeight; // who reads further up is left there
  }

  // --- what is sent -------------------------------------------------------------------------------------------------
  typed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: Safari, while a word is composed
    event.preventDefault();
    this.submit();
  }
  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight + 2}px`;
  }
  submit(picture) {
    const text = this.box.value.replaceAll("\0", "").trim();
    if (!text && !picture) return;
    this.box.value = "";
    this.grow();
    this.unsent = "";
    this.put({ text, picture, key: newKey(), person: false });
    this.box.focus();
  }
  wish() {
    this.person.hidden = true;
    this.put({ text: this.words.person, key: newKey(), person: true });
    this.box.focus();
  }
  beginAnew() {
    this.forget();
    this.outbox = [];
    this.keepOutbox();
    Object.assign(this, { writing: false, trouble: "", loaded: true });
    this.greet();
    this.person.hidden = false;
    if (this.stream) { this.stream.abort(); this.stream = null; }
    this.say();
    this.box.focus();
  }
  pending(job) {
    const item = make("div", {});
    fill(item, { role: "visitor", text: job.text, picture: job.picture }, this.looks, { look: async (data) => unpacked(data) });
    item.classList.add("sending");
    this.log.append(item);
    return item;
  }
  put(job) {
    this.outbox.push({ ...job, tries: 0, item: this.pending(job) });
    this.keepOutbox();
    this.toEnd(true);
    this.say();
    this.pump();
  }
  // What is not yet accepted outlives a reload, under the same key, so that it is never there twice.
  keepOutbox() {
    this.memory.tab = { outbox: this.outbox.map(({ text, picture, key, person }) => ({ text, picture, key, person })) };
  }
  settle(job, id) {
    job.id = id;
    job.item.classList.remove("sending");
    if (this.items.has(id)) job.item.remove(); else this.items.set(id, job.item);
  }
  async pump() {
    if (this.pumping) return;
    this.pumping = true;
    while (this.outbox.length && this.isConnected) {
      const [job] = this.outbox;
      try {
        const place = this.conversation ? `/v1/conversations/${encodeURIComponent(this.conversation)}/messages` : "/v1/conversations";
        const body = { text: job.text, picture: job.picture, person: job.person, language: this.looks.language };
        const response = await this.line.call(place, { method: "POST", body, headers: { "idempotency-key": job.key } });
        this.accepted(job, await response.json());
      } catch (error) {
        if (this.outbox[0] !== job) continue;
        if (error.status === 404 && this.conversation) { this.forget(); continue; }
        job.tries += 1;
        if (error.passes && job.tries < 5) {
          this.trouble = error.status === 429 ? this.words.busy : this.words.broken;
          this.say();
          await pause(Math.max(error.wait || 0, 2 ** (job.tries - 1)));
        } else this.failed(job, error);
      }
    }
    this.pumping = false;
  }
  accepted(job, { conversation, message }) {
    if (this.outbox[0] !== job) return; // a new conversation was begun meanwhile
    if (!job.id) {
      this.writing = this.held !== "human" && !this.items.has(message);
      this.settle(job, message);
    }
    this.outbox.shift();
    this.keepOutbox();
    this.trouble = "";
    this.conversation = conversation;
    this.memory.visit = { conversation };
    this.loaded = true;
    this.log.setAttribute("aria-live", "polite");
    this.say();
    this.tend();
  }
  failed(job, error) {
    this.outbox.shift();
    this.keepOutbox();
    this.trouble = error.status === 429 ? this.words.busy : this.words.failed;
    if (error.status === 403) this.turnedAway(error);
    if (job.person) this.person.hidden = this.refused;
    const again = () => { row.remove(); job.item.remove(); this.put({ text: job.text, picture: job.picture, key: job.key, person: job.person }); };
    const row = make("div", { class: "failed" }, make("span", {}, this.words.failed), make("button", { type: "button", class: "quiet", click: again }, this.words.again));
    job.item.append(row);
    this.say();
    this.toEnd(true);
  }
  async look(id) {
    return (await this.line.call(`/v1/pictures/${encodeURIComponent(id)}`)).blob();
  }
  async rate(id, wish) {
    try {
      await this.line.call(`/v1/messages/${encodeURIComponent(id)}/feedback`, { method: "POST", body: wish });
      this.memory.visit = { rated: [...(this.memory.visit.rated || []), id].slice(-200) };
      return true;
    } catch (error) {
      this.trouble = error.status === 429 ? this.words.busy : this.words.failed;
      this.say();
      return false;
    }
  }
}

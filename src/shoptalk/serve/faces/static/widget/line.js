// The line to the server: what this browser remembers, tokens, requests, and the stream of a conversation.
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

class Memory {
  // Under the site's key, so that two sites on one origin do not mix. Where the browser keeps nothing, it lasts as long as the page.
  constructor(site) {
    this.name = `shoptalk ${site}`;
    this.kept = { localStorage: {}, sessionStorage: {} };
  }
  read(where) {
    try {
      const held = JSON.parse(window[where].getItem(this.name));
      return held && typeof held === "object" ? held : {};
    } catch { return this.kept[where]; }
  }
  write(where, changes) {
    this.kept[where] = { ...this.read(where), ...changes };
    try { window[where].setItem(this.name, JSON.stringify(this.kept[where])); } catch { /* it lasts as long as the page */ }
  }
  get visit() { return this.read("localStorage"); }
  set visit(changes) { this.write("localStorage", changes); }
  get tab() { return this.read("sessionStorage"); }
  set tab(changes) { this.write("sessionStorage", changes); }
}

class Refusal extends Error {
  constructor(status, code, sentence, wait) { super(sentence); Object.assign(this, { status, code, wait }); }
  get passes() { return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500; }
  static async of(response) {
    let error = {};
    try { error = (await response.json()).error || {}; } catch { /* the status says enough */ }
    return new Refusal(response.status, error.code, error.message || "", Number(response.headers.get("retry-after")) || 0);
  }
}

class Line {
  constructor(server, site, memory) { Object.assign(this, { server, site, memory, token: null, renewal: 0 }); }

  async send(path, { method = "GET", body, headers = {}, signal } = {}) {
    let response;
    if (body !== undefined) headers = { ...headers, "content-type": "application/json" };
    const request = { method, headers, signal, mode: "cors", credentials: "omit", cache: "no-store", body: body && JSON.stringify(body) };
    try { response = await fetch(this.server + path, request); } catch (error) {
      if (signal && signal.aborted) throw error;
      throw new Refusal(0, "offline", String(error), 0);
    }
    if (!response.ok) throw await Refusal.of(response);
    return response;
  }

  // A token lasts some minutes; another is taken after four fifths of them, by whichever request comes next.
  admission() {
    if (!this.token || Date.now() >= this.renewal) {
      this.renewal = Infinity;
      const wanted = this.send("/v1/widget/token", { method: "POST", body: { site: this.site, resume: this.memory.visit.resume || null } });
      const token = wanted.then((response) => response.json()).then((given) => {
        this.memory.visit = { resume: given.resume };
        this.renewal = Date.now() + 800 * given.seconds;
        return given.token;
      });
      this.token = token;
      token.catch(() => { if (this.token === token) this.token = null; });
    }
    return this.token;
  }

  async call(path, options = {}, again = true) {
    const used = this.admission();
    const headers = { ...options.headers, authorization: `Bearer ${await used}` };
    try { return await this.send(path, { ...options, headers }); } catch (error) {
      if (error.status !== 401 || !again) throw error;
      if (this.token === used) this.token = null;
      return this.call(path, options, false);
    }
  }

  // Events as they come, until the server ends the stream. `alive` hears of each sign of life; silence for long is a break.
  async follow(conversation, after, hear, stop) {
    const silence = new AbortController();
    let timer;
    const alive = () => { clearTimeout(timer); timer = setTimeout(() => silence.abort(), 35_000); };
    stop.addEventListener("abort", () => silence.abort());
    alive();
    try {
      const path = `/v1/conversations/${encodeURIComponent(conversation)}/events?live=true`;
      const response = await this.call(path, { headers: { "last-event-id": String(after) }, signal: silence.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", end; ;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        for (rest += value; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
          const fields = {};
          for (const line of rest.slice(0, end).split("\n")) {
            const colon = line.indexOf(": ");
            if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
          }
          hear(fields.event, fields.data === undefined ? null : JSON.parse(fields.data));
        }
      }
    } finally { clearTimeout(timer); silence.abort(); }
  }
}

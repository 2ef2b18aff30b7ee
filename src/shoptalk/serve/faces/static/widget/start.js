// The page's line: <script src="https://…/widget.js" data-site="pk_…"></script>
const script = document.currentScript || document.querySelector('script[data-site][src*="/widget.js"]');
const begin = async () => {
  const { origin } = new URL(script.src);
  const wishes = [script.dataset.lang, document.documentElement.lang, ...(navigator.languages || [])].filter(Boolean);
  const response = await fetch(`${origin}/widget/looks?lang=${encodeURIComponent(wishes.join(",").slice(0, 200))}`, { mode: "cors", credentials: "omit" });
  if (!response.ok) throw new Error(`${origin} answered with status ${response.status}`);
  const looks = await response.json();
  if (document.readyState === "loading") await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
  if (document.querySelector("shoptalk-chat")) return;
  const chat = document.createElement("shoptalk-chat");
  chat.prepare(origin, script.dataset.site, looks);
  document.body.append(chat);
};
if (!script || !script.dataset.site) console.error("Shoptalk: the script's line needs data-site with the site's public key, which `shoptalk keys RUN` lists.");
else if (!customElements.get("shoptalk-chat")) {
  customElements.define("shoptalk-chat", Chat);
  begin().catch((error) => console.error(`Shoptalk: the chat cannot be loaded. ${error.message}`));
}

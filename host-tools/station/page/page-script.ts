/**
 * What runs in the browser. Plain JavaScript: it only shows what the station says, and passes on what is scanned. Texts go into the page as
 * text, never as markup.
 */
export const PAGE_SCRIPT = `"use strict";
const texts = JSON.parse(document.body.dataset.texts);
const csrf = document.body.dataset.csrf;
const by = (id) => document.getElementById(id);
const t = (key) => texts[key] ?? key;
const heads = new Map();
let order = "";
let lastHeardMs = performance.now();
let clockOffsetMs = 0;

function tile(view) {
  let article = by("head-" + view.name);
  if (article === null) {
    article = document.createElement("article");
    article.id = "head-" + view.name;
    for (const part of ["h2", "word", "id", "step", "hint", "button"]) {
      const element = document.createElement(part === "h2" || part === "button" ? part : "div");
      if (part === "button") element.type = "button";
      else if (part !== "h2") element.className = part;
      article.append(element);
    }
    const [title, word] = article.children;
    title.append(document.createElement("span"), document.createElement("span"));
    const shape = document.createElement("span");
    shape.className = "shape";
    shape.setAttribute("aria-hidden", "true");
    word.append(shape, document.createElement("span"));
    article.lastChild.addEventListener("click", () => act(article));
    by("heads").append(article);
  }
  return article;
}

function act(article) {
  const view = heads.get(article.id);
  if (view.state === "failed") send("RETRY:" + view.name);
  else if (view.id !== undefined) send("REPRINT:" + view.id);
}

function showHead(view) {
  const article = tile(view);
  const before = heads.get(article.id);
  heads.set(article.id, view);
  if (article.className !== view.state) article.className = view.state;
  const [title, word, id, step, hint, button] = article.children;
  title.firstChild.textContent = t("head") + " " + view.name;
  word.lastChild.textContent = t("state." + view.state);
  id.textContent = view.id ?? view.mac ?? "";
  step.textContent = view.state === "working" ? (view.step ?? "") + (view.retries > 0 ? ", " + t("attempt") + " " + (view.retries + 1) : "") : "";
  hint.textContent = view.failure ? view.failure.message + ". " + view.failure.next : view.waitsFor ? t("waits." + view.waitsFor) : view.wasDone ? t("hint.wasDone") : (texts["hint." + view.state] ?? "");
  const can = view.state === "failed" ? "retry" : view.state === "label" || view.state === "passed" ? "reprint" : undefined;
  button.hidden = can === undefined;
  if (can !== undefined) button.textContent = t(can);
  if (before !== undefined && before.state !== view.state && (view.state === "passed" || view.state === "failed")) tone(view.state === "passed");
  count();
}

function count() {
  for (const [key, view] of heads) {
    const isOver = view.state === "passed" || view.state === "failed";
    const seconds = isOver ? view.seconds : ["empty", "no-port"].includes(view.state) ? undefined : Math.max(0, Math.round((Date.now() + clockOffsetMs - view.sinceMs) / 1000));
    by(key).children[0].lastChild.textContent = seconds === undefined ? "" : seconds + " " + t("seconds");
  }
}

function showOrder(shift) {
  for (const key of ["operator", "order", "product", "role", "firmware"]) by(key).textContent = shift.order[key] ?? "-";
  order = shift.order.target ?? "";
  by("start").disabled = shift.isRunning;
  by("stop").disabled = !shift.isRunning;
}

function showTotals(totals) {
  by("passed").textContent = totals.passed + (order === "" ? "" : " / " + order);
  by("failed").textContent = totals.failed;
  by("yield").textContent = totals.firstPassYield === undefined ? "-" : Math.round(totals.firstPassYield * 100) + " %";
  by("perHour").textContent = totals.boardsPerHour;
  by("queued").parentElement.hidden = totals.queued === undefined;
  by("queued").textContent = totals.queued ?? "";
  by("caDays").textContent = totals.caDaysLeft ?? "-";
  by("clock").textContent = t(totals.isClockPlausible ? "clockGood" : "clockBad");
}

function showUnlisted(ports) {
  by("unlisted").hidden = ports.length === 0;
  by("unlisted").textContent = t("unlisted") + ": " + ports.join(", ");
}

function showAnswer(answer) {
  by("answer").textContent = answer.message;
  by("answer").className = answer.isAccepted ? "" : "refused";
}

let audio;
function tone(isGood) {
  if (!by("sound").checked) return;
  try {
    audio ??= new AudioContext();
    (isGood ? [880, 1175] : [220, 175]).forEach((frequency, index) => {
      const [oscillator, gain] = [audio.createOscillator(), audio.createGain()];
      const from = audio.currentTime + index * 0.15;
      oscillator.type = isGood ? "sine" : "square";
      oscillator.frequency.value = frequency;
      gain.gain.setValueAtTime(0.2, from);
      gain.gain.exponentialRampToValueAtTime(0.001, from + 0.14);
      oscillator.connect(gain).connect(audio.destination);
      oscillator.start(from);
      oscillator.stop(from + 0.15);
    });
  } catch { /* a browser without sound shows the same */ }
}

async function send(text) {
  by("scan").focus();
  try {
    const response = await fetch("/scan", { method: "POST", headers: { "x-hawser-csrf": csrf, "content-type": "text/plain" }, body: text });
    showAnswer(response.ok ? await response.json() : { isAccepted: false, message: await response.text() });
    if (response.status === 403) location.reload();
  } catch {
    alive(false);
  }
}

function alive(isAlive) {
  if (isAlive) lastHeardMs = performance.now();
  by("dead").hidden = isAlive;
  document.body.classList.toggle("is-dead", !isAlive);
}

const source = new EventSource("/events");
const on = (type, show) => source.addEventListener(type, (event) => { alive(true); show(JSON.parse(event.data)); });
on("beat", (serverMs) => { clockOffsetMs = serverMs - Date.now(); });
on("view", (view) => { by("heads").replaceChildren(); heads.clear(); view.heads.forEach(showHead); showOrder(view); showTotals(view.totals); showUnlisted(view.unlisted); });
on("head", (event) => showHead(event.head));
on("totals", (event) => showTotals(event.totals));
on("shift", showOrder);
on("unlisted", (event) => showUnlisted(event.ports));
on("scan", showAnswer);
let connections = 0;
source.onopen = () => { alive(true); connections += 1; };
source.onerror = () => { alive(false); if (source.readyState === 2) setTimeout(() => location.reload(), 2000); };
setInterval(() => { if (performance.now() - lastHeardMs > 4000) alive(false); count(); }, 500);

const scan = by("scan");
by("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
function submit() {
  const text = scan.value;
  scan.value = "";
  if (text.trim() !== "") send(text);
}
document.addEventListener("keydown", (event) => {
  // Scanners may end in Tab. With an empty field, Tab moves through the buttons as everywhere.
  if (event.key === "Tab" && document.activeElement === scan && scan.value !== "") { event.preventDefault(); submit(); return; }
  const isCharacter = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isCharacter && document.activeElement !== scan) scan.focus();
});
document.addEventListener("click", (event) => { if (!event.target.closest("button, input, label")) scan.focus(); });
by("sound").addEventListener("change", () => scan.focus());
by("start").addEventListener("click", () => send("START"));
by("stop").addEventListener("click", () => send("STOP"));
scan.focus();
`;

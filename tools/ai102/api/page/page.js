"use strict";
// Asks the API as any program would, and shows the answer and how to ask the same. Text of others goes into
// textContent only, never into markup.
const $ = (id) => document.getElementById(id);
const TOP = 5;
const SHOWN = 8; // values of an embedding
const WORDS = {
  401: "This server wants an access token: paste one above.",
  403: "This token may not ask this model.",
  404: "The server does not offer this.",
  413: "That is too much for one request.",
  429: "Too many requests: wait a moment and try again.",
  502: "The model server failed.",
  503: "The server is not available: try again in a moment.",
  504: "The answer took too long.",
};
let offers = { classify: { max_top: TOP, max_items: 32, max_item_size: Infinity }, embed: {} };
let token = stored();
let wantsToken = false;
let asking = null; // what ends the request under way
let thumbnails = [];
const earlier = []; // sentences and their embeddings, the newest first
const asked = { names: ["photo.png"], text: "The train to the coast leaves at nine." };

class Refusal extends Error {
  constructor(status, problem) {
    const words = problem && problem.detail ? `${problem.title}: ${problem.detail}` : WORDS[status];
    super(words || `The server answered with status ${status}.`);
    this.status = status;
    this.position = problem && problem.position;
  }
}

function stored() {
  try { return sessionStorage.getItem("ai102-token") || ""; } catch { return ""; }
}

function keep(value) {
  token = value;
  try { value ? sessionStorage.setItem("ai102-token", value) : sessionStorage.removeItem("ai102-token"); } catch { /* stays in memory */ }
}

async function ask(path, options = {}) {
  const typed = token ? "" : $("token").value.trim();  // and "Use it" not pressed
  if (typed) keep(typed);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const began = performance.now();
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new Error(err instanceof TypeError && /header|ByteString|latin|ISO/i.test(err.message)
      ? "The token has characters that no token has: paste it again."
      : "The server does not answer, or the connection broke.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    if (response.status === 401) demandToken();
    throw new Refusal(response.status, response.status === 401 ? null : body);
  }
  if (!body) throw new Error("The server's answer cannot be read.");
  const took = performance.now() - began;
  if (typed) {
    $("token-form").hidden = true;
    if (path !== "/v1/models") greet();
  }
  return { body, took };
}

function demandToken() {
  wantsToken = true;
  $("token-form").hidden = false;
  $("token").focus();
  showCode();
}

async function greet() {
  try {
    const { body } = await ask("/v1/models");
    offers = Object.fromEntries(body.models.map((offer) => [offer.task, offer]));
    const silent = body.models.filter((offer) => !offer.is_ready).map((offer) => offer.model);
    tell(silent.length ? `not ready: ${silent.join(", ")}` : "ready", !silent.length);
    $("tab-images").disabled = !offers.classify;
    $("tab-text").disabled = !offers.embed;
    if (!offers.classify) choose("text");
    const limits = offers.classify;
    if (limits) $("files-note").textContent = `PNG or JPEG, up to ${limits.max_items} at once, each up to ${megabytes(limits.max_item_size)}.`;
    showCode();
  } catch (err) {
    tell(err.status === 401 ? "wants a token" : "not available", false);
  }
}

function tell(words, isGood) {
  $("state").textContent = words;
  $("state").className = `state ${isGood ? "good" : "bad"}`;
}

// Tabs: arrow keys move between them, as the ARIA pattern says.
const tabs = ["images", "text"];
let current = "images";
function choose(name, focus = false) {
  current = name;
  for (const other of tabs) {
    const isChosen = other === name;
    $(`tab-${other}`).setAttribute("aria-selected", String(isChosen));
    $(`tab-${other}`).tabIndex = isChosen ? 0 : -1;
    $(`panel-${other}`).hidden = !isChosen;
  }
  if (focus) $(`tab-${name}`).focus();
  showCode();
}
for (const name of tabs) {
  $(`tab-${name}`).addEventListener("click", () => choose(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const other = event.key === "Home" ? "images" : event.key === "End" ? "text" : tabs[1 - tabs.indexOf(name)];
    if (!$(`tab-${other}`).disabled) choose(other, true);
  });
}

async function during(work) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  $("answer").setAttribute("aria-busy", "true");
  fail("");
  $("times").textContent = "asking…";
  try {
    await work(mine.signal);
  } catch (err) {
    if (err.name === "AbortError") return;
    if (mine === asking) { $("times").textContent = ""; fail(err.message); }
  } finally {
    if (mine === asking) { asking = null; $("answer").setAttribute("aria-busy", "false"); }
  }
}

function fail(words) {
  $("error").textContent = words;
  $("error").hidden = !words;
}

function times(body, took) {
  $("times").textContent = `${body.model} · server\u00a0${ms(body.latency_ms)} · round\u00a0trip\u00a0${ms(took)}`;
}

async function classify(files) {
  if (!files.length) return;
  const limits = offers.classify;
  const items = files.map((file) => ({ file, wrong: "", prediction: null }));
  for (const [place, item] of items.entries()) {
    if (place >= limits.max_items) item.wrong = `Not sent: at most ${limits.max_items} images go into one request.`;
    else if (item.file.size > limits.max_item_size) item.wrong = `Not sent: larger than ${megabytes(limits.max_item_size)}.`;
  }
  const sent = items.filter((item) => !item.wrong);
  asked.names = (sent.length ? sent : items).map((item) => item.file.name);
  showCode();
  showItems(items);
  await during(async (signal) => {
    // The answer names a refused image by its place: that image is marked, and the others are asked again without it.
    for (let rest = sent; rest.length; rest = rest.filter((item) => !item.wrong)) {
      const form = new FormData();
      for (const { file } of rest) form.append("images", file, file.name);
      try {
        const { body, took } = await ask(`/v1/classify?top=${topCount()}`, { method: "POST", body: form, signal });
        body.predictions.forEach((prediction, place) => { rest[place].prediction = prediction; });
        times(body, took);
        asked.names = rest.map((item) => item.file.name);
        break;
      } catch (err) {
        if (!err.position || items.length === 1) throw err;
        rest[err.position - 1].wrong = err.message;
      }
    }
    if (!items.some((item) => item.prediction)) $("times").textContent = "";
    showItems(items);
    showCode();
  });
}

const topCount = () => Math.min(TOP, offers.classify ? offers.classify.max_top : 1);

function showItems(items) {
  thumbnails.forEach(URL.revokeObjectURL);
  thumbnails = items.map((item) => URL.createObjectURL(item.file));
  $("answer").replaceChildren(make("ul", { className: "items" }, ...items.map((item, place) => {
    const image = make("img", { src: thumbnails[place], alt: "", decoding: "async" });
    image.addEventListener("error", () => { image.style.visibility = "hidden"; });
    const facts = make("div", {}, make("div", { className: "name", title: item.file.name }, item.file.name));
    if (item.wrong) facts.append(make("div", { className: "wrong" }, item.wrong));
    if (item.prediction) {
      const { label, score, top } = item.prediction;
      facts.append(make("div", { className: "label" }, label, " ", make("span", {}, percent(score))));
      if (top.length > 1) facts.append(bars(top.map((one) => [one.label, one.score, percent(one.score)])));
    }
    return make("li", { className: "item" }, image, facts);
  })));
}

function bars(rows) {
  return make("ul", { className: "bars" }, ...rows.map(([name, share, words]) => {
    const inner = make("div", {});
    inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    const bar = make("div", { className: "bar", ariaHidden: "true" }, inner);
    return make("li", {}, make("span", { title: name }, name), bar, make("span", {}, words));
  }));
}

async function embed(text) {
  asked.text = text;
  showCode();
  await during(async (signal) => {
    const { body, took } = await ask("/v1/embed", {
      method: "POST", body: JSON.stringify({ text }), headers: { "Content-Type": "application/json" }, signal,
    });
    times(body, took);
    const vector = body.embeddings[0];
    const near = earlier.filter((one) => one.text !== text).slice(0, 5)
      .map((one) => [one.text, cosine(one.vector, vector)]).sort((a, b) => b[1] - a[1]);
    earlier.unshift({ text, vector });
    earlier.length = Math.min(earlier.length, 20);
    const values = vector.slice(0, SHOWN).map((value) => value.toFixed(4)).join("  ");
    $("answer").replaceChildren(
      make("p", { className: "said" }, text.length > 200 ? `${text.slice(0, 200)}…` : text),
      strip(vector),
      make("dl", { className: "facts" },
        ...fact("Values", String(vector.length)), ...fact("Norm", norm(vector).toFixed(4)),
        ...fact("First", `${values}\u00a0…`, "values"),
        ...(body.truncated[0] ? fact("Cut", "The text was longer than the model reads: its end was left out.") : [])),
      ...(near.length ? [make("div", { className: "near" }, make("h3", {}, "How near your earlier sentences are (cosine)"),
        bars(near.map(([name, share]) => [name, share, share.toFixed(2)])))] : []),
    );
  });
}

const norm = (vector) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
const cosine = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0) / (norm(a) * norm(b) || 1);

// Blue below zero, orange above, stronger where further from it; two rows, so that each value is wide enough to see.
function strip(vector) {
  const rows = 2, width = Math.ceil(vector.length / rows);
  const canvas = make("canvas", { className: "strip", width, height: rows, role: "img" });
  canvas.setAttribute("aria-label", `The ${vector.length} values as colours: blue below zero, orange above`);
  const context = canvas.getContext("2d");
  const largest = Math.max(...vector.map(Math.abs)) || 1;
  vector.forEach((value, place) => {
    const strength = Math.abs(value) / largest;
    context.fillStyle = value < 0 ? `rgba(45,110,220,${strength})` : `rgba(230,110,20,${strength})`;
    context.fillRect(place % width, Math.floor(place / width), 1, 1);
  });
  return canvas;
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const fact = (name, value, className = "") => [make("dt", {}, name), make("dd", { className }, value)];
const percent = (score) => `${(score * 100).toFixed(score > 0.9995 || score < 0.0005 ? 0 : 1)} %`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;
const megabytes = (bytes) => `${+(bytes / 1048576).toFixed(1)} MB`;

// The same request for a shell and for Python. In single quotes a shell reads everything but a single quote as it is;
// a JSON string is a Python string too.
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const python = (text) => JSON.stringify(text);
const part = (name) => `images=@"${(name === "-" ? "./-" : name).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

function showCode() {
  const isImages = current === "images";
  const url = `${location.origin}${isImages ? `/v1/classify?top=${topCount()}` : "/v1/embed"}`;
  const needsToken = wantsToken || Boolean(token);
  const body = JSON.stringify({ text: asked.text });
  $("curl").textContent = [
    `curl -sS ${shell(url)}`,
    ...(needsToken ? ['  -H "Authorization: Bearer $AI102_TOKEN"'] : []),
    ...(isImages ? asked.names.map((name) => `  -F ${shell(part(name))}`)
      : ["  -H 'Content-Type: application/json'", `  --data-raw ${shell(body)}`]),
  ].join(" \\\n");
  const headers = needsToken ? '    headers={"Authorization": "Bearer " + os.environ["AI102_TOKEN"]},\n' : "";
  $("python").textContent = `${needsToken ? "import os\n\n" : ""}import requests\n\n` + (isImages
    ? `names = [${asked.names.map(python).join(", ")}]\nanswer = requests.post(\n    ${python(url)},\n`
      + `    files=[("images", open(name, "rb")) for name in names],\n${headers}    timeout=30,\n)\n`
      + 'answer.raise_for_status()\nfor prediction in answer.json()["predictions"]:\n    print(prediction["filename"], prediction["label"], prediction["score"])'
    : `answer = requests.post(\n    ${python(url)},\n    json={"text": ${python(asked.text)}},\n${headers}    timeout=30,\n)\n`
      + 'answer.raise_for_status()\nprint(answer.json()["embeddings"][0])');
}

$("files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // the same file again is a new question
  classify(files);
});
const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // beside the field too: the browser would leave this page for the file
    if (offers.classify) { choose("images"); $("drop").classList.add("over"); }
  });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").classList.remove("over");
  if (offers.classify) classify([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData ? [...event.clipboardData.files] : [];
  if (files.length && offers.classify) { choose("images"); classify(files); }
});
function sendText() {
  const text = $("text").value;
  if (text.trim()) embed(text);
  else { fail("Type a sentence first."); $("text").focus(); }
}
$("panel-text").addEventListener("submit", (event) => { event.preventDefault(); sendText(); });
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); sendText(); }
});
$("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  keep($("token").value.trim());
  fail("");
  await greet();
  if ($("state").textContent === "wants a token") {
    $("token-note").textContent = "The server does not take this token: it may be cut, or too old.";
  } else { $("token-form").hidden = true; $("ask").focus(); }
});
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = $(button.dataset.of).textContent;
    try {
      await navigator.clipboard.writeText(text);
      $("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren($(button.dataset.of));
      $("copied").textContent = "Your browser does not let this page copy: the text is selected, press Ctrl + C.";
    }
  });
}
showCode();
greet();

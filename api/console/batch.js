// One batch: how far it is, its scans with filters, what was left out, downloads.

import { bar, chip } from "./batches.js";
import { count, fill, h, lastPart, many, percent, say, when } from "./dom.js";
import { get, picture, post, remove, save, sentence, watch } from "./server.js";
import { LABELS, verdictCard } from "./scan.js";

const RUNNING = ["accepted", "running"];
const FILTERS = [
  ["", "All"], ["finding=tumour", "Tumour"], ["finding=needs_review", "Needs review"],
  ["finding=no_tumour", "No tumour"], ["state=failed", "Failed"], ["state=pending", "Waiting"],
];

export async function batch(place, signal, id) {
  const address = `/v1/batches/${id}`;
  const head = h("section", { class: "card batch-head" });
  const body = h("div", {});
  fill(place, head, body);
  const list = scanList(address, id, signal);
  let last = null;
  await watch(address, (status) => {
    fill(head, ...header(status, address, last));
    announce(status, last);
    refresh(status, last);
    last = status;
    return RUNNING.includes(status.state);
  }, signal);

  async function refresh(status, before) {
    const ended = !RUNNING.includes(status.state);
    const first = before === null;
    if (first) fill(body, status.scans === 1 || status.scans === 0 ? [] : list.element);
    if (status.scans === 1 && status.planned) await single(status);
    else if (status.scans > 0) {
      if (!list.element.isConnected) fill(body, list.element);
      list.told(status);
    } else if (!ended) {
      fill(body, waiting());
    }
    if (ended && status.left_out > 0) body.append(leftOut(address, status, signal));
  }

  async function single(status) {
    const page = await get(`${address}/scans?limit=1`);
    if (signal.aborted || !page.items.length) return;
    const found = page.items[0];
    if (found.state === "pending") fill(body, waiting());
    else fill(body, await verdictCard(address, found, signal), status.left_out > 0 && !RUNNING.includes(status.state) && leftOut(address, status, signal));
  }
}

const waiting = () => h("section", { class: "card pulse", "aria-busy": "true" }, h("p", {}, "The scan is being read and judged …"));

function announce(status, before) {
  if (before && before.state !== status.state) say(`The batch is ${status.state}.`);
}

function header(status, address, before) {
  const running = RUNNING.includes(status.state);
  const done = status.counts.succeeded + status.counts.failed + status.counts.skipped + status.counts.cancelled;
  return [
    h("div", { class: "batch-title" },
      h("h1", {}, status.label || "Batch"), chip(status),
      h("time", { class: "quiet", datetime: status.created }, when(status.created))),
    bar(status),
    h("p", { class: "figures" },
      figure(status.planned ? `${count(done)} / ${count(status.scans)}` : `${count(done)} / ${count(status.scans)}+`, "scans done"),
      figure(count(status.counts.tumour), "tumour", "tumour"),
      figure(count(status.counts.needs_review), "needs review", "review"),
      figure(count(status.counts.no_tumour), "no tumour", "clear"),
      figure(count(status.counts.failed), "failed", "failed"),
      figure(count(status.left_out), "left out")),
    running && status.scans === 0 && h("p", { class: "quiet" }, status.state === "accepted" ? "Waiting for a worker …" : "Looking through the files …"),
    status.code && h("p", { class: "trouble" }, lazySentence(status.code)),
    status.warnings.map((code) => h("p", { class: "warning" }, lazySentence(code))),
    h("div", { class: "buttons" },
      !running && status.scans > 0 && [
        h("button", { type: "button", class: "main", onclick: () => save(`${address}/results.zip`) }, "Download everything (zip)"),
        h("button", { type: "button", onclick: () => save(`${address}/results.csv`) }, "Table (CSV)"),
        h("button", { type: "button", onclick: () => save(`${address}/results.jsonl`) }, "Results (JSON Lines)")],
      running && h("button", { type: "button", disabled: status.cancelling, onclick: (event) => act(event, () => post(`${address}/cancel`)) },
        status.cancelling ? "Cancelling …" : "Cancel"),
      !running && h("button", { type: "button", class: "danger", onclick: (event) => erase(event, address) }, "Delete")),
  ];
}

const figure = (number, word, kind = "") => h("span", { class: `figure ${kind}` }, h("b", {}, number), h("small", {}, word));

function lazySentence(code) {
  const text = h("span", {}, code);
  sentence(code).then((told) => { text.textContent = told; });
  return text;
}

async function act(event, what) {
  event.target.disabled = true;
  try { await what(); } catch (error) { say(error.message); }
}

async function erase(event, address) {
  const button = event.target;
  if (button.dataset.sure !== "yes") {
    button.dataset.sure = "yes";
    button.textContent = "Delete it and all results?";
    setTimeout(() => { button.dataset.sure = ""; button.textContent = "Delete"; }, 4000);
    return;
  }
  button.disabled = true;
  await remove(address);
  location.hash = "#/batches";
}

/** The table of scans: grows by pages, filtered, and follows a running batch. */
function scanList(address, id, signal) {
  let filter = "";
  let next = null;
  let shown = 0;
  let done = -1;
  let busy = false;
  const rows = h("ul", { class: "scans" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(false) }, "More scans");
  const empty = h("p", { class: "quiet", hidden: true }, "No scan is like that.");
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Which scans" }, FILTERS.map(([query, word]) =>
    h("button", { type: "button", "aria-pressed": query === filter ? "true" : "false", onclick: (event) => choose(event, query) }, word)));
  const element = h("section", { class: "card", "aria-label": "Scans" }, tabs, rows, empty, more);

  function choose(event, query) {
    filter = query;
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", tab === event.target ? "true" : "false");
    load(true);
  }

  async function load(again) {
    if (busy) return;
    busy = true;
    try {
      const want = again ? Math.max(40, Math.min(shown, 200)) : 40;
      const fresh = [];
      let cursor = again ? "" : next;
      do {
        const page = await get(`${address}/scans?limit=${want - fresh.length}${filter && `&${filter}`}${cursor ? `&cursor=${cursor}` : ""}`);
        fresh.push(...page.items);
        cursor = page.next;
      } while (cursor && fresh.length < want && !signal.aborted);
      if (signal.aborted) return;
      if (again) { rows.replaceChildren(); shown = 0; }
      rows.append(...fresh.map((each) => scanRow(address, id, each)));
      shown += fresh.length;
      next = cursor;
      more.hidden = !next;
      empty.hidden = shown > 0;
    } finally {
      busy = false;
    }
  }

  return {
    element,
    told(status) {
      const now = status.counts.succeeded + status.counts.failed + status.counts.cancelled + status.scans;
      if (now !== done && shown <= 200) { done = now; load(true); }
    },
  };
}

function scanRow(address, id, found) {
  const label = found.finding?.label;
  const overlay = found.artifacts.find((each) => each.name === "overlay.png");
  const image = h("img", { class: "thumb", alt: "", loading: "lazy", width: 56, height: 56 });
  const at = `${address}/scans/${found.scan}`;
  const source = overlay ? `${at}/artifacts/overlay.png` : found.kind === "picture" ? `${at}/picture` : null;
  image.classList.add("none");
  image.addEventListener("load", () => image.classList.remove("none"));
  if (source) picture(source).then((shown) => { image.src = shown; }, () => {});
  return h("li", {}, h("a", { class: `scan ${label || found.state}`, href: `#/batches/${id}/${found.scan}` },
    image,
    h("span", { class: "scan-name", title: found.path }, lastPart(found.path),
      lastPart(found.path) !== found.path && h("small", { class: "quiet" }, found.path)),
    h("span", { class: `verdict ${label || found.state}` }, label ? LABELS[label] : found.state),
    h("span", { class: "scan-probability" }, found.finding ? percent(found.finding.probability) : found.code ? lazySentence(found.code) : "")));
}

function leftOut(address, status, signal) {
  const list = h("ul", { class: "left-out" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "More");
  let next = "";
  async function load() {
    const page = await get(`${address}/left-out?limit=100${next ? `&cursor=${next}` : ""}`);
    if (signal.aborted) return;
    list.append(...page.items.map((line) => h("li", {}, h("span", { class: "path" }, line.path), h("span", { class: "quiet" }, lazySentence(line.code)))));
    next = page.next;
    more.hidden = !next;
  }
  return h("details", { class: "card", ontoggle: (event) => { if (event.target.open && !list.children.length) load(); } },
    h("summary", {}, `${many(status.left_out, "file")} left out`), list, more);
}

// All batches, newest first.

import { count, fill, h, many, when } from "./dom.js";
import { get } from "./server.js";

const WORDS = {
  accepted: "waiting", running: "running", completed: "done", cancelled: "cancelled", failed: "failed", abandoned: "never sent",
};

export async function batches(place, signal, cursor = "") {
  const list = h("div", {});
  const more = h("button", { type: "button", hidden: true }, "Older batches");
  fill(place, h("section", {}, h("h1", {}, "Batches"), list, h("p", {}, more)));
  let next = "";
  const load = async () => {
    const page = await get(`/v1/batches?limit=30${next ? `&cursor=${next}` : ""}`);
    if (signal.aborted) return;
    if (page.items.length) list.append(batchRows(page.items));
    else if (!next) fill(list, h("p", { class: "quiet" }, "There are none yet. ", h("a", { href: "#/" }, "Drop some scans.")));
    next = page.next;
    more.hidden = !next;
  };
  more.addEventListener("click", load);
  await load();
}

/** A list of batches with their bars. */
export function batchRows(items) {
  return h("ul", { class: "rows" }, items.map((status) =>
    h("li", {}, h("a", { class: "row", href: `#/batches/${status.id}` },
      h("span", { class: "row-name" }, status.label || "without a name"),
      chip(status),
      h("span", { class: "row-bar" }, bar(status)),
      h("span", { class: "row-figures" },
        many(status.scans, "scan"),
        status.counts.tumour > 0 && h("span", { class: "tumour-word" }, ` · ${count(status.counts.tumour)} with tumour`)),
      h("time", { class: "quiet", datetime: status.created }, when(status.created))))));
}

/** What state a batch is in, as a word. */
export function chip(status) {
  const word = status.cancelling ? "cancelling" : WORDS[status.state];
  return h("span", { class: `chip ${status.state}` }, word);
}

/** Scans done by finding, as one bar; what is not done yet is empty. */
export function bar(status) {
  const { tumour, no_tumour: clear, needs_review: review, failed, cancelled, skipped } = status.counts;
  const total = Math.max(status.scans, 1);
  const parts = [["tumour", tumour], ["review", review], ["clear", clear], ["failed", failed], ["cancelled", cancelled + skipped]];
  const done = parts.reduce((sum, [, number]) => sum + number, 0);
  const strip = h("span", { class: "bar", role: "img", "aria-label": `${count(done)} of ${many(status.scans, "scan")} done` });
  for (const [name, number] of parts) {
    if (!number) continue;
    const part = h("span", { class: `part ${name}`, title: `${count(number)} ${name}` });
    part.style.width = `${(100 * number) / total}%`;
    strip.append(part);
  }
  return strip;
}

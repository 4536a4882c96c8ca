// The start: drop scans, and what came of the last ones.

import { batchRows } from "./batches.js";
import { fill, h, many, say } from "./dom.js";
import { chosen, dropped, labelOf } from "./files.js";
import { get, submit } from "./server.js";

const OPTIONS = [
  ["classifier", "Network that judges", [["mobilenet", "MobileNet"], ["resnet50v2", "ResNet50V2"], ["both", "Both, and compare"]]],
  ["segment", "Draw the tumour", [["positive", "where one is found"], ["all", "in every scan"], ["none", "never"]]],
  ["profile", "Prepare slices", [["", "as each network was trained"], ["plain", "plain"], ["nlm-clahe", "denoised, with more contrast"]]],
];

export async function home(place, signal) {
  const progress = h("div", { class: "sending", hidden: true });
  const options = h("details", { class: "options" },
    h("summary", {}, "Options"),
    h("div", { class: "fields" }, OPTIONS.map(([name, label, choices]) =>
      h("label", {}, label,
        h("select", { name }, choices.map(([value, text]) => h("option", { value }, text)))))));
  const zone = dropZone((files) => send(files, options, progress));
  const recent = h("section", { class: "recent", "aria-labelledby": "recent-title" });
  fill(place,
    h("section", { class: "hero" },
      h("h1", {}, "Drop brain MR scans"),
      h("p", { class: "lead" }, "One picture or a whole archive. You get a verdict for each, with the tumour marked in red."),
      zone, progress, options),
    recent);
  const page = await get("/v1/batches?limit=6");
  if (!signal.aborted && page.items.length) {
    fill(recent, h("h2", { id: "recent-title" }, "Last batches"), batchRows(page.items),
      page.next && h("p", {}, h("a", { href: "#/batches" }, "All batches")));
  }
}

function dropZone(take) {
  const files = h("input", { type: "file", multiple: true, class: "visually-hidden", id: "files", tabIndex: -1 });
  const folder = h("input", { type: "file", class: "visually-hidden", id: "folder", tabIndex: -1, webkitdirectory: true });
  for (const input of [files, folder]) {
    input.addEventListener("change", () => { if (input.files.length) take(chosen(input.files)); });
  }
  const zone = h("div", { class: "drop", id: "drop" },
    scanDrawing(),
    h("p", { class: "drop-title" }, "Drop files or a folder here"),
    h("p", { class: "quiet" }, "PNG, JPEG, TIFF, BMP, WebP · DICOM · NIfTI · zip, tar"),
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "main", onclick: () => files.click() }, "Choose files"),
      h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder")),
    files, folder);
  const over = (on) => (event) => { event.preventDefault(); zone.classList.toggle("over", on); };
  zone.addEventListener("dragenter", over(true));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", async (event) => {
    over(false)(event);
    const found = await dropped(event.dataTransfer);
    if (found.length) take(found);
  });
  return zone;
}

function scanDrawing() {
  const image = h("img", { src: "/console/mark.svg", alt: "", width: 56, height: 56, class: "drop-mark" });
  return image;
}

async function send(files, options, progress) {
  const asked = Object.fromEntries([...options.querySelectorAll("select")].filter((s) => s.value).map((s) => [s.name, s.value]));
  asked.queue = files.length === 1 ? "urgent" : "normal";
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Sent" });
  const word = h("span", {}, `Sending ${many(files.length, "file")} …`);
  progress.hidden = false;
  fill(progress, word, bar);
  say(`Sending ${many(files.length, "file")}`);
  try {
    const fields = { options: asked, label: labelOf(files), key: crypto.randomUUID() };
    const batch = await submit(files, fields, (share) => {
      bar.value = share;
      if (share === 1) word.textContent = "Sent; putting it away …";
    });
    location.hash = `#/batches/${batch.id}`;
  } catch (error) {
    fill(progress, h("p", { class: "trouble", role: "alert" }, error.message));
  }
}

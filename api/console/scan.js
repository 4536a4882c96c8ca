// One scan: the verdict, the pictures, how large, why a person should look, and what to take away.

import { bytes, count, fill, h, lastPart, percent } from "./dom.js";
import { get, picture, save, sentence } from "./server.js";

export const LABELS = { tumour: "Tumour", no_tumour: "No tumour", needs_review: "Needs review" };
const HEADLINES = {
  tumour: "Tumour found", no_tumour: "No tumour found", needs_review: "A person should look",
};
const KINDS = { picture: "Picture", dicom: "DICOM series", nifti: "NIfTI volume" };
const FILES = {
  "mask.png": "Mask", "mask.nii.gz": "Mask (NIfTI)", "overlay.png": "Overlay", "report.json": "Report",
};

export async function scan(place, signal, id, name) {
  const address = `/v1/batches/${id}`;
  const found = await get(`${address}/scans/${name}`);
  fill(place, h("p", {}, h("a", { href: `#/batches/${id}` }, "← All scans of this batch")), await verdictCard(address, found, signal));
}

/** All that is known of a scan. */
export async function verdictCard(address, found, signal) {
  const at = `${address}/scans/${found.scan}`;
  const label = found.finding?.label || found.state;
  const pictures = await viewer(at, found, signal);
  return h("article", { class: `card verdict-card ${label}` },
    h("header", { class: "verdict-head" },
      h("p", { class: "quiet path" }, found.path),
      h("h1", { class: `headline ${label}` }, HEADLINES[label] || (found.state === "failed" ? "This scan could not be judged" : `The scan is ${found.state}`)),
      found.code && h("p", { class: "trouble" }, told(found.code)),
      found.finding && scale(found.finding),
      found.finding && found.finding.classifiers.length > 1 && h("ul", { class: "votes" }, found.finding.classifiers.map((each) =>
        h("li", {}, `${each.model}: ${percent(each.probability)} (threshold ${percent(each.threshold)})`)))),
    pictures,
    h("div", { class: "verdict-rest" },
      found.finding && found.finding.reasons.length > 0 && section("Why a person should look", found.finding.reasons.map((code) => h("li", { class: "reason" }, told(code)))),
      found.extents.length > 0 && extents(found),
      found.warnings.length > 0 && section("Mind", found.warnings.map((code) => h("li", { class: "warning" }, told(code)))),
      found.artifacts.length > 0 && h("div", { class: "buttons" }, found.artifacts.map((each) =>
        h("button", { type: "button", title: `${each.name}, ${bytes(each.size)}`, onclick: () => save(`${at}/artifacts/${each.name}`) },
          `↓ ${FILES[each.name] || each.name}`))),
      provenance(found)));
}

function told(code) {
  const text = h("span", {}, code);
  sentence(code).then((words) => { text.textContent = words; });
  return text;
}

const section = (title, items) => h("div", { class: "section" }, h("h2", {}, title), h("ul", {}, items));

function scale(finding) {
  const track = h("div", {
    class: `scale ${finding.label}`, role: "img",
    "aria-label": `Probability of a tumour ${percent(finding.probability)}, threshold ${percent(finding.threshold)}`,
  });
  const value = h("span", { class: "scale-value" });
  value.style.width = `${100 * finding.probability}%`;
  const tick = h("span", { class: "scale-tick" });
  tick.style.left = `${100 * finding.threshold}%`;
  track.append(value, tick);
  return h("div", { class: "probability" },
    h("p", {}, h("b", {}, percent(finding.probability)), " probability of a tumour ",
      h("span", { class: "quiet" }, `· threshold ${percent(finding.threshold)}`)),
    track);
}

function extents(found) {
  const volume = found.kind !== "picture";
  return h("div", { class: "section" }, h("h2", {}, "How large"),
    h("table", {}, h("tbody", {}, found.extents.map((each) => h("tr", {},
      h("th", { scope: "row" }, each.definition === "any" ? "All that is marked" : each.definition),
      h("td", {}, size(each, volume)))))));
}

function size(extent, volume) {
  const parts = [];
  if (extent.volume_mm3 !== null) parts.push(`${(extent.volume_mm3 / 1000).toFixed(2)} cm³`);
  if (extent.area_mm2 !== null) parts.push(`${count(Math.round(extent.area_mm2))} mm²${volume ? " in the largest slice" : ""}`);
  if (extent.diameter_mm !== null) parts.push(`${extent.diameter_mm.toFixed(1)} mm across`);
  parts.push(`${count(extent.pixels)} ${volume ? "voxels" : "pixels"}`);
  if (volume && extent.largest_slice !== null) parts.push(`largest in slice ${extent.largest_slice + 1}`);
  if (extent.components > 1) parts.push(`${extent.components} regions`);
  return parts.join(" · ");
}

async function viewer(at, found) {
  const overlay = found.artifacts.find((each) => each.name === "overlay.png");
  if (!overlay) return plainViewer(at, found);
  const marked = found.artifacts.some((each) => each.name.startsWith("mask"));
  const red = await picture(`${at}/artifacts/overlay.png`);
  const caption = marked ? "With the tumour in red" : "The scan";
  const figures = [h("figure", {}, h("a", { href: red, target: "_blank", rel: "noopener" },
    h("img", { src: red, alt: `${lastPart(found.path)}, ${caption.toLowerCase()}` })), h("figcaption", {}, caption))];
  if (marked && found.kind === "picture") {
    const plain = h("img", { alt: `${lastPart(found.path)}, as it was sent` });
    const figure = h("figure", { hidden: true }, plain, h("figcaption", {}, "As it was sent"));
    plain.addEventListener("load", () => { figure.hidden = false; });
    picture(`${at}/picture`).then((source) => { plain.src = source; }, () => figure.remove());
    figures.unshift(figure);
  }
  return h("div", { class: "viewer" }, figures);
}

/** The picture as it was sent, where nothing was drawn; where browsers cannot show it, that is said. */
function plainViewer(at, found) {
  const place = h("div", { class: "viewer none" }, h("p", { class: "quiet" }, "There is no picture to show."));
  if (found.kind !== "picture") return place;
  const image = h("img", { alt: `${lastPart(found.path)}, as it was sent` });
  image.addEventListener("load", () => {
    place.classList.remove("none");
    fill(place, h("figure", {}, image, h("figcaption", {}, "As it was sent")));
  });
  picture(`${at}/picture`).then((source) => { image.src = source; }, () => {});
  return place;
}

function provenance(found) {
  const lines = [
    ["Kind", `${KINDS[found.kind]}, ${count(found.files)} file${found.files === 1 ? "" : "s"}, ${count(found.slices)} slice${found.slices === 1 ? "" : "s"}`],
    ["Scan", found.scan],
    found.series_uid && ["Series UID", found.series_uid],
    found.engine && ["Engine", [found.engine, found.precision, found.processor].filter(Boolean).join(", ")],
    ...found.models.map((each) => [each.name, `${each.sha256.slice(0, 16)}…, prepared ${each.profile}`]),
  ].filter(Boolean);
  return h("details", { class: "provenance" }, h("summary", {}, "How it came about"),
    h("dl", {}, lines.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)])));
}

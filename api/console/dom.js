// Elements without markup in strings: text is always text, so nothing that a file is called becomes HTML.

/** Make an element: attributes (on… are listeners, `class`, data…), then children (elements or text). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Put new children in the place of the old ones. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** Tell people who listen instead of look. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9005 ? 0 : 1)} %`;
export const count = (number) => number.toLocaleString("en");

/** "1 scan", "2 scans". */
export const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

export function when(time) {
  const then = new Date(time);
  const minutes = (Date.now() - then) / 60000;
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${Math.floor(minutes)} min ago`;
  return then.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (size >= 1000 && step < units.length - 1) { size /= 1000; step += 1; }
  return `${step && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[step]}`;
}

/** The last part of a path, which people know their file by. */
export const lastPart = (path) => path.split("/").filter(Boolean).pop() || path;

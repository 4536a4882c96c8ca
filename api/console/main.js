// The console: which view stands, the token, light or dark.

import { fill, h } from "./dom.js";
import { home } from "./home.js";
import { batches } from "./batches.js";
import { batch } from "./batch.js";
import { scan } from "./scan.js";
import { onTokenNeeded, setToken, token } from "./server.js";

const main = document.getElementById("main");
let leaving = new AbortController();

const VIEWS = [
  [/^#?\/?$/, home],
  [/^#\/batches$/, batches],
  [/^#\/batches\/([0-9a-f-]{36})$/, batch],
  [/^#\/batches\/([0-9a-f-]{36})\/([0-9]+-[0-9a-f]{12})$/, scan],
];

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const [, view, parts] = VIEWS.map(([pattern, each]) => [pattern, each, pattern.exec(location.hash)]).find((each) => each[2])
    || [null, nowhere, []];
  const place = h("div", {});
  fill(main, place);
  window.scrollTo(0, 0);
  try {
    await view(place, leaving.signal, ...parts.slice(1));
  } catch (error) {
    if (!leaving.signal.aborted) fill(place, trouble(error));
  }
}

function nowhere(place) {
  fill(place, h("section", { class: "card" }, h("h1", {}, "There is no such page"), h("a", { href: "#/" }, "To the start")));
}

/** An error as people read it. */
export function trouble(error) {
  return h("section", { class: "card trouble", role: "alert" },
    h("h1", {}, error.status === 404 || error.status === 410 ? "It is not here" : "That did not work"),
    h("p", {}, error.message),
    error.incident && h("p", { class: "quiet" }, `Incident ${error.incident}: the server's log has more.`),
    h("p", {}, h("a", { href: "#/" }, "To the start")));
}

const dialog = document.getElementById("token-dialog");
const sign = document.getElementById("sign");
let asking = null;

function askToken() {
  asking ??= new Promise((done) => {
    setToken("");
    dialog.showModal();
    dialog.addEventListener("close", () => {
      setToken(document.getElementById("token").value.trim());
      document.getElementById("token").value = "";
      sign.hidden = !token();
      asking = null;
      done();
    }, { once: true });
  });
  return asking;
}

onTokenNeeded(askToken);
dialog.addEventListener("cancel", (event) => event.preventDefault());
sign.hidden = !token();
sign.addEventListener("click", async () => { await askToken(); show(); });

const root = document.documentElement;
const stored = localStorage.getItem("neurobatch-theme");
if (stored) root.dataset.theme = stored;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : !matchMedia("(prefers-color-scheme: light)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("neurobatch-theme", root.dataset.theme);
});

window.addEventListener("hashchange", () => { show(); main.focus({ preventScroll: true }); });
show();

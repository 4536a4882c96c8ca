// How the console speaks with the API: the token, problems (RFC 9457), uploads with progress.

const TOKEN = "neurobatch-token";
let codes = null;
let askForToken = async () => {};

export const token = () => sessionStorage.getItem(TOKEN);
export const setToken = (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN));
export const onTokenNeeded = (ask) => { askForToken = ask; };

/** What the server said is wrong. */
export class Problem extends Error {
  constructor(body, status) {
    const faults = (body.errors || []).map((fault) => `${fault.pointer.slice(1)}: ${fault.detail}`).join("; ");
    super([body.title, body.detail, faults].filter(Boolean).join(" "));
    this.code = body.code;
    this.status = status;
    this.incident = body.incident;
  }
}

const headers = (more = {}) => (token() ? { ...more, Authorization: `Bearer ${token()}` } : more);

async function ask(address, options = {}) {
  let reply;
  try {
    reply = await fetch(address, { ...options, headers: headers(options.headers) });
  } catch {
    throw new Problem({ title: "The server does not answer.", code: "server_unavailable" }, 0);
  }
  if (reply.status === 401) {
    await askForToken();
    return ask(address, options);
  }
  if (!reply.ok && reply.status !== 304) throw await problemOf(reply);
  return reply;
}

async function problemOf(reply) {
  try {
    return new Problem(await reply.json(), reply.status);
  } catch {
    return new Problem({ title: `The server answered ${reply.status}.` }, reply.status);
  }
}

export const get = async (address) => (await ask(address)).json();
export const post = async (address) => (await ask(address, { method: "POST" })).json();
export const remove = async (address) => { await ask(address, { method: "DELETE" }); };
export const blob = async (address) => (await ask(address)).blob();

/** Watch an address: calls `tell` with each new body, and ends when `tell` returns false or `signal` aborts. */
export async function watch(address, tell, signal) {
  let etag = "";
  let failures = 0;
  while (!signal.aborted) {
    try {
      const reply = await ask(address, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store", signal });
      failures = 0;
      if (reply.status === 200) {
        etag = reply.headers.get("ETag") || "";
        if (tell(await reply.json()) === false) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      if (error.status && error.status < 500) throw error;
      if (failures > 20) throw error;
    }
    await pause(document.hidden ? 4000 : Math.min(700 * (1 + failures), 5000), signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

/** Hand files over; `told` is called with the share that was sent. Returns the new batch. */
export function submit(files, fields, told) {
  const form = new FormData();
  form.append("options", JSON.stringify(fields.options));
  form.append("label", fields.label);
  for (const { file, path } of files) form.append("files", file, path);
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/batches");
    if (token()) request.setRequestHeader("Authorization", `Bearer ${token()}`);
    request.setRequestHeader("Idempotency-Key", fields.key);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) told(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* told below */ }
      if (request.status === 202) done(body);
      else fail(new Problem({ title: `The server answered ${request.status}.`, ...body }, request.status));
    });
    request.addEventListener("error", () => fail(new Problem({ title: "The connection was lost." }, 0)));
    request.send(form);
  });
}

/** The sentence of a stable code. */
export async function sentence(code) {
  codes ??= get("/v1/codes").then((list) => new Map(list.items.map((item) => [item.code, item.sentence])));
  return (await codes).get(code) || code;
}

/** An image address; with a token the bytes are fetched, since `<img>` sends none. */
export async function picture(address) {
  return token() ? URL.createObjectURL(await blob(address)) : address;
}

/** Save a file under the name that the server gives it. */
export async function save(address) {
  const joint = address.includes("?") ? "&" : "?";
  const link = document.createElement("a");
  if (token()) {
    const reply = await ask(address);
    const named = /filename\*=UTF-8''([^;]+)/.exec(reply.headers.get("Content-Disposition") || "");
    link.href = URL.createObjectURL(await reply.blob());
    link.download = named ? decodeURIComponent(named[1]) : "";
  } else {
    link.href = `${address}${joint}download=1`;
  }
  document.body.append(link);
  link.click();
  link.remove();
}

// The reference of the API, drawn from its OpenAPI document.

import { fill, h } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
const main = document.getElementById("main");

function typeOf(schema = {}) {
  if (schema.$ref) return h("a", { href: `#${schema.$ref.split("/").pop()}` }, schema.$ref.split("/").pop());
  if (schema.anyOf) return schema.anyOf.map((each, place) => [place > 0 && " or ", typeOf(each)]);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return [typeOf(schema.items), "[]"];
  return schema.const ?? [schema.type, schema.format].filter(Boolean).join(", ") ?? "any";
}

function table(rows) {
  return h("table", {}, h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, place) =>
    h(place ? "td" : "th", place ? {} : { scope: "row" }, cell))))));
}

// Backticks in a description are code.
const prose = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));

function operation(path, method, told) {
  const bodies = Object.entries(told.requestBody?.content || {});
  const replies = Object.entries(told.responses).filter(([status]) => status !== "default");
  return h("article", { class: "operation", id: told.operationId },
    h("h3", {}, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", {}, path), h("span", {}, told.summary)),
    told.description && h("p", {}, prose(told.description)),
    h("details", {}, h("summary", {}, "Parameters and answers"),
      table([
        ...(told.parameters || []).map((each) => [h("code", {}, each.name), each.in, typeOf(each.schema)]),
        ...bodies.map(([media, body]) => [h("code", {}, "body"), media, typeOf(body.schema)]),
        ...replies.map(([status, reply]) => [status, reply.description,
          Object.entries(reply.content || {}).map(([media, body]) => [media, " ", typeOf(body.schema)])]),
      ])));
}

const component = ([name, schema]) => h("article", { class: "operation", id: name },
  h("h3", {}, h("code", {}, name)), schema.description && h("p", {}, prose(schema.description)),
  schema.properties ? table(Object.entries(schema.properties).map(([field, each]) => [h("code", {}, field), typeOf(each)]))
    : h("p", {}, typeOf(schema)));

const reply = await fetch("/openapi.json");
const document_ = await reply.json();
fill(main,
  h("h1", {}, `${document_.info.title} ${document_.info.version}`),
  h("p", { class: "quiet" }, document_.info.description),
  h("section", { class: "card" }, h("h2", {}, "Addresses"), Object.entries(document_.paths).flatMap(([path, told]) =>
    METHODS.filter((method) => told[method]).map((method) => operation(path, method, told[method])))),
  h("section", { class: "card" }, h("h2", {}, "Records"), Object.entries(document_.components.schemas).map(component)));
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

// Made by `npm --prefix web run page` from web/src/page. Change it there.
import {
  paint
} from "./shared-painter.js";
import {
  addressOf,
  call,
  find,
  loadKinds,
  make,
  makeRow,
  onLanguage,
  showError,
  startLanguage,
  text,
  withQuery,
  withToken
} from "./shared-strokes.js";

// src/page/api.ts
var MAX_ANSWER = 2e4;
var description = await (await fetch("openapi.json")).json();
await Promise.all([
  startLanguage(new URL("i18n/", import.meta.url)),
  withToken(loadKinds).catch(showError)
]);
var images = Object.entries(description.paths).filter(([, endpoints]) => endpoints.post?.tags?.includes("images")).map(([path, endpoints]) => ({ path, parameters: [], ...endpoints.post }));
var chosen = () => images.find(({ path }) => path === find("kind").value) ?? images[0];
var choices = (schema) => schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
function showOptions() {
  find("options").replaceChildren(
    ...chosen().parameters.map(({ name, schema }) => {
      const id = `option-${name}`;
      const listed = choices(schema);
      const input = listed ? make(
        "select",
        { id, name },
        make("option", { value: "" }, text("api.default")),
        ...listed.map((one) => make("option", { value: one }, one))
      ) : make("input", {
        id,
        name,
        type: "number",
        min: schema.minimum,
        max: schema.maximum,
        placeholder: text("api.default"),
        step: schema.type === "integer" ? 1 : "any"
      });
      return make(
        "p",
        {},
        make("label", { htmlFor: id, title: schema.description ?? "" }, name),
        input
      );
    })
  );
  find("options").querySelector("[name=full]").value = "true";
  showCommand();
}
function endpoint() {
  const fields = [...find("options").querySelectorAll("input, select")];
  return withQuery(
    addressOf(chosen().path),
    Object.fromEntries(fields.map(({ name, value }) => [name, value || null]))
  );
}
function showCommand() {
  const name = find("image").files?.[0]?.name ?? "photo.jpg";
  find("shell").textContent = `curl --data-binary '@${name.replaceAll("'", "")}' '${endpoint()}'`;
}
async function send(event) {
  event.preventDefault();
  const start = performance.now();
  find("state").textContent = text("api.sending");
  find("answer").textContent = "";
  find("drawn").hidden = true;
  const file = find("image").files?.[0];
  if (!file) return;
  try {
    const answer = await call(endpoint(), null, { method: "POST", body: file });
    const bitmap = endpoint().searchParams.get("full") === "true" && await createImageBitmap(file).catch(() => null);
    if (bitmap) {
      const canvas = Object.assign(find("drawn"), {
        width: answer.width,
        height: answer.height,
        hidden: false
      });
      const ctx = canvas.getContext("2d");
      ctx.drawImage(bitmap, 0, 0, answer.width, answer.height);
      paint(ctx, answer, { unit: answer.width / canvas.clientWidth });
    }
    const lines = JSON.stringify(answer, null, 1);
    find("answer").textContent = lines.length > MAX_ANSWER ? `${lines.slice(0, MAX_ANSWER)}
…` : lines;
    find("state").textContent = text("api.answered", {
      ms: Math.round(performance.now() - start)
    });
  } catch (error) {
    const { code, message } = error;
    find("state").textContent = `${code}: ${message}`;
  }
}
var referred = (schema) => schema.$ref ? description.components.schemas[schema.$ref.split("/").at(-1) ?? ""] : schema;
function shapeOf(schema, indent = "") {
  const { type, properties, items, anyOf, enum: values } = referred(schema);
  if (anyOf) return `${shapeOf(anyOf[0], indent)} | null`;
  if (values) return values.map((value) => JSON.stringify(value)).join(" | ");
  if (items) return `[${shapeOf(items, indent)}, …]`;
  if (!properties) return [type ?? "any"].flat().join(" | ");
  const plain = Object.values(properties).map(referred).every((one) => !one.properties && !one.items && !one.anyOf);
  const members = Object.entries(properties).map(
    ([name, one]) => `"${name}": ${shapeOf(one, `${indent}  `)}`
  );
  if (plain && members.join(", ").length < 90) return `{${members.join(", ")}}`;
  return `{
${members.map((line) => `${indent}  ${line}`).join(",\n")}
${indent}}`;
}
function answerOf(responses) {
  return Object.entries(responses).flatMap(([status, { description: details, content = {} }]) => {
    const schema = content["application/json"]?.schema && referred(content["application/json"].schema);
    if (!schema || status === "422" || !(schema.properties || schema.items)) return [];
    return [
      make("p", {}, make("strong", {}, status), ` ${details}`),
      make("pre", { tabIndex: 0 }, shapeOf(schema))
    ];
  });
}
var MOST_LISTED = 12;
var listOf = (values) => values && values.length > MOST_LISTED ? `${values.slice(0, MOST_LISTED / 2).join(", ")}, … (${values.length})` : values?.join(", ");
function endpointRow(path, method, { description: details, summary, parameters = [], responses = {} }) {
  const title = [
    make("code", { className: "method" }, method.toUpperCase()),
    " ",
    make("code", {}, path)
  ];
  const what = make("p", {}, details ?? summary ?? "");
  const rows = parameters.filter((one) => one.in === "query").map(({ name, schema }) => {
    const range = listOf(schema.enum) ?? (schema.minimum === void 0 ? schema.type : `${schema.minimum} to ${schema.maximum}`);
    return makeRow(name, [range, schema.description ?? ""]);
  });
  const table = rows.length ? [make("table", {}, make("tbody", {}, ...rows))] : [];
  return make("details", {}, make("summary", {}, ...title), what, ...table, ...answerOf(responses));
}
find("kind").append(
  ...images.map(({ path }) => make("option", { value: path }, path.split("/").at(-1) ?? path))
);
find("kind").onchange = showOptions;
find("options").oninput = find("image").onchange = showCommand;
find("try").onsubmit = send;
find("endpoints").append(
  ...Object.entries(description.paths).flatMap(
    ([path, endpoints]) => Object.entries(endpoints).map(([method, one]) => endpointRow(path, method, one))
  )
);
onLanguage(showOptions);
document.documentElement.dataset.ready = "true";

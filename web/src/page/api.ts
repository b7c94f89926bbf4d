/** The page that documents the endpoints of /openapi.json, with a form to try one image. */

import { find, make, makeRow, onLanguage, showError, startLanguage, text } from "./common.js";
import { addressOf, call, withQuery, type ServerError } from "./endpoints.js";
import { loadKinds, type Frame, type Schema } from "./kinds.js";
import { paint } from "./painter.js";
import { withToken } from "./token.js";

const MAX_ANSWER = 20_000; // characters; browsers lay out longer texts slowly

type Endpoint = {
  tags?: string[];
  description?: string;
  summary?: string;
  parameters?: Parameter[];
  responses?: Responses;
};
type Responses = Record<
  string,
  { description: string; content?: Record<string, { schema: Json }> }
>;
type OpenApi = {
  paths: Record<string, Record<string, Endpoint>>;
  components: { schemas: Record<string, Json> };
};

const description: OpenApi = await (await fetch("openapi.json")).json();
// without the kinds nothing is drawn
await Promise.all([
  startLanguage(new URL("i18n/", import.meta.url)),
  withToken(loadKinds).catch(showError),
]);
const images = Object.entries(description.paths)
  .filter(([, endpoints]) => endpoints.post?.tags?.includes("images"))
  .map(([path, endpoints]) => ({ path, parameters: [], ...endpoints.post }));

type Parameter = { name: string; in: string; schema: Schema };

const chosen = (): { path: string; parameters: Parameter[] } =>
  images.find(({ path }) => path === find("kind").value) ?? images[0]!;

/** Return the allowed values of an option; null for a number. */
const choices = (schema: Parameter["schema"]): readonly string[] | null =>
  schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);

function showOptions() {
  find("options").replaceChildren(
    ...chosen().parameters.map(({ name, schema }) => {
      const id = `option-${name}`;
      const listed = choices(schema);
      const input = listed
        ? make(
            "select",
            { id, name },
            make("option", { value: "" }, text("api.default")),
            ...listed.map((one) => make("option", { value: one }, one)),
          )
        : make("input", {
            id,
            name,
            type: "number",
            min: schema.minimum,
            max: schema.maximum,
            placeholder: text("api.default"),
            step: schema.type === "integer" ? 1 : "any",
          });
      return make(
        "p",
        {},
        make("label", { htmlFor: id, title: schema.description ?? "" }, name),
        input,
      );
    }),
  );
  find("options").querySelector<HTMLSelectElement>("[name=full]")!.value = "true"; // which drawing requires
  showCommand();
}

/** Return the endpoint with the selected options. */
function endpoint() {
  const fields = [...find("options").querySelectorAll("input, select")] as HTMLInputElement[];
  return withQuery(
    addressOf(chosen().path),
    Object.fromEntries(fields.map(({ name, value }) => [name, value || null])),
  );
}

function showCommand() {
  const name = find("image").files?.[0]?.name ?? "photo.jpg";
  find("shell").textContent = `curl --data-binary '@${name.replaceAll("'", "")}' '${endpoint()}'`;
}

async function send(event: SubmitEvent) {
  event.preventDefault();
  const start = performance.now();
  find("state").textContent = text("api.sending");
  find("answer").textContent = "";
  find("drawn").hidden = true;
  const file = find("image").files?.[0];
  if (!file) return;
  try {
    const answer = await call<Frame>(endpoint(), null, { method: "POST", body: file });
    const bitmap =
      endpoint().searchParams.get("full") === "true" &&
      (await createImageBitmap(file).catch(() => null));
    if (bitmap) {
      // the answer has the fields that drawing requires
      const canvas = Object.assign(find<HTMLCanvasElement>("drawn"), {
        width: answer.width,
        height: answer.height,
        hidden: false,
      });
      const ctx = canvas.getContext("2d")!;
      ctx.drawImage(bitmap, 0, 0, answer.width, answer.height);
      paint(ctx, answer, { unit: answer.width / canvas.clientWidth });
    }
    const lines = JSON.stringify(answer, null, 1);
    find("answer").textContent =
      lines.length > MAX_ANSWER ? `${lines.slice(0, MAX_ANSWER)}\n…` : lines;
    find("state").textContent = text("api.answered", {
      ms: Math.round(performance.now() - start),
    });
  } catch (error) {
    const { code, message } = error as ServerError;
    find("state").textContent = `${code}: ${message}`;
  }
}

/** a schema */
type Json = {
  $ref?: string;
  type?: string | string[];
  properties?: Record<string, Json>;
  items?: Json;
  anyOf?: Json[];
  enum?: string[];
  description?: string;
};

/** Return a schema, or the one of the document to which it refers. */
const referred = (schema: Json): Json =>
  schema.$ref ? description.components.schemas[schema.$ref.split("/").at(-1) ?? ""]! : schema;

/** Return the structure of an answer as lines of text. */
function shapeOf(schema: Json, indent: string = ""): string {
  const { type, properties, items, anyOf, enum: values } = referred(schema);
  if (anyOf) return `${shapeOf(anyOf[0]!, indent)} | null`;
  if (values) return values.map((value) => JSON.stringify(value)).join(" | ");
  if (items) return `[${shapeOf(items, indent)}, …]`;
  if (!properties) return [type ?? "any"].flat().join(" | ");
  const plain = Object.values(properties)
    .map(referred)
    .every((one) => !one.properties && !one.items && !one.anyOf);
  const members = Object.entries(properties).map(
    ([name, one]) => `"${name}": ${shapeOf(one, `${indent}  `)}`,
  );
  if (plain && members.join(", ").length < 90) return `{${members.join(", ")}}`;
  return `{\n${members.map((line) => `${indent}  ${line}`).join(",\n")}\n${indent}}`;
}

function answerOf(responses: Responses) {
  return Object.entries(responses).flatMap(([status, { description: details, content = {} }]) => {
    const schema =
      content["application/json"]?.schema && referred(content["application/json"].schema);
    if (!schema || status === "422" || !(schema.properties || schema.items)) return [];
    return [
      make("p", {}, make("strong", {}, status), ` ${details}`),
      make("pre", { tabIndex: 0 }, shapeOf(schema)),
    ];
  });
}

const MOST_LISTED = 12;

/** Return the first few allowed values of a parameter as text. */
const listOf = (values?: readonly string[]) =>
  values && values.length > MOST_LISTED
    ? `${values.slice(0, MOST_LISTED / 2).join(", ")}, … (${values.length})`
    : values?.join(", ");

function endpointRow(
  path: string,
  method: string,
  { description: details, summary, parameters = [], responses = {} }: Endpoint,
) {
  const title = [
    make("code", { className: "method" }, method.toUpperCase()),
    " ",
    make("code", {}, path),
  ];
  const what = make("p", {}, details ?? summary ?? "");
  const rows = parameters
    .filter((one) => one.in === "query")
    .map(({ name, schema }) => {
      const range =
        listOf(schema.enum) ??
        (schema.minimum === undefined ? schema.type : `${schema.minimum} to ${schema.maximum}`);
      return makeRow(name, [range, schema.description ?? ""]);
    });
  const table = rows.length ? [make("table", {}, make("tbody", {}, ...rows))] : [];
  return make("details", {}, make("summary", {}, ...title), what, ...table, ...answerOf(responses));
}

find("kind").append(
  ...images.map(({ path }) => make("option", { value: path }, path.split("/").at(-1) ?? path)),
);
find("kind").onchange = showOptions;
find("options").oninput = find("image").onchange = showCommand;
find("try").onsubmit = send;
find("endpoints").append(
  ...Object.entries(description.paths).flatMap(([path, endpoints]) =>
    Object.entries(endpoints).map(([method, one]) => endpointRow(path, method, one)),
  ),
);
onLanguage(showOptions);
document.documentElement.dataset.ready = "true";

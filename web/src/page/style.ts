/** Settings of drawings: those that Python has too, and whether anything is drawn. */

import { DRAWING_STYLE, type DrawingStyle } from "../drawing-style.js";
import type { Schema } from "./kinds.js";

/** `drawing`: whether anything is drawn */
export interface Style extends DrawingStyle {
  readonly drawing: boolean;
}

/** Value of `colour` for a colour per instance. */
export const BY_INSTANCE = "instance";

/** JSON schema of each setting. */
export const STYLE_SCHEMAS: Readonly<Record<string, Schema>> = {
  drawing: { type: "boolean", description: "Draw detections.", default: true },
  ...DRAWING_STYLE,
  // gestures are computed on request only
  gestures: { ...DRAWING_STYLE.gestures, default: false },
};

export const USUAL_STYLE = Object.fromEntries(
  Object.entries(STYLE_SCHEMAS).map(([name, schema]) => [name, schema.default]),
) as unknown as Style;

/** Return a valid style; wrong values are replaced by the defaults. */
export function checkedStyle(given: Record<string, unknown>): Style {
  const right = Object.entries(given).filter(([name, value]) =>
    accepts(STYLE_SCHEMAS[name], value),
  );
  return { ...USUAL_STYLE, ...Object.fromEntries(right) };
}

/** Check whether a value is that of a setting or option. */
export function accepts(schema: Schema | undefined, value: unknown): boolean {
  if (!schema) return false;
  const { type, enum: values, minimum = -Infinity, maximum = Infinity, pattern } = schema;
  if (values) return values.includes(value as string);
  if (type === "boolean") return typeof value === "boolean";
  if (pattern) return typeof value === "string" && new RegExp(`^(?:${pattern})$`).test(value);
  return (
    typeof value === "number" &&
    value >= minimum &&
    value <= maximum &&
    (type === "number" || Number.isInteger(value))
  );
}

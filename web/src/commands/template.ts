// A template as a form: its parameters, their values, and the exact arguments that they make.
// The gateway decides; what is said here while somebody types is what it would say, as far as the schema tells.
import type { Command } from "../api/types";

/** What the schema tells of a parameter. */
export interface Property {
  type: "string" | "integer" | "number" | "boolean";
  "x-type"?: string;
  description?: string;
  default?: string | number | boolean;
  enum?: (string | number | boolean)[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  "x-allowed-paths"?: string[];
  "x-forbidden-paths"?: string[];
}

export interface Parameter {
  name: string;
  /** Whether somebody has to give it: it has no default. */
  required: boolean;
  property: Property;
}

/** The texts of parameters by their names; an empty one is not given. */
export type Values = Record<string, string>;

/** A piece of an argument: as the template has it, what was filled in, or the place of what is still to be. */
export interface Part {
  kind: "fixed" | "value" | "missing";
  text: string;
}

/** The parameters of a template: first what must be given, then in the order in which the command has them. */
export function parametersOf({ argv, parameters }: Pick<Command, "argv" | "parameters">): Parameter[] {
  const schema = parameters as { properties?: Record<string, Property>; required?: string[] };
  const places = argv.join("\n");
  const list = Object.entries(schema.properties ?? {}).map(([name, property]) => ({
    name,
    property,
    required: schema.required?.includes(name) ?? false,
  }));
  const place = ({ name }: Parameter) => places.indexOf(`{${name}}`);
  return list.sort((a, b) => Number(b.required) - Number(a.required) || place(a) - place(b));
}

/** What a form begins with. */
export function defaultsOf(parameters: Parameter[]): Values {
  return Object.fromEntries(parameters.map(({ name, required, property }) => [name, begin(required, property)]));
}

/** The values of a parameter, where there are only some. */
export function choicesOf({ property }: Parameter): string[] {
  if (property.enum) return property.enum.map(String);
  return property.type === "boolean" ? ["true", "false"] : [];
}

/** What is wrong with a value, as the gateway would say it; null where nothing is known to be. */
export function faultOf({ required, property }: Parameter, text: string): string | null {
  if (text === "") return emptyFault(required, property);
  if (property.enum) return property.enum.map(String).includes(text) ? null : "is none of the allowed values";
  if (property.type === "integer" || property.type === "number") return numberFault(property, text);
  if (property.type === "boolean") return text === "true" || text === "false" ? null : "must be true or false";
  return textFault(property, text);
}

/** The exact arguments that values make: one list of pieces each. An argument without its value is left out. */
export function argumentsOf({ argv }: Pick<Command, "argv">, parameters: Parameter[], values: Values): Part[][] {
  const known = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return argv.flatMap((argument) => {
    const parts = argument.split(PLACEHOLDER).map((text, at): Part | null => {
      const parameter = at % 2 === 1 ? known.get(text) : undefined;
      if (!parameter) return { kind: "fixed", text: at % 2 === 1 ? `{${text}}` : text };
      const value = values[text] ?? "";
      if (value !== "") return { kind: "value", text: value };
      return emptyFault(parameter.required, parameter.property) ? { kind: "missing", text } : null;
    });
    return parts.includes(null) ? [] : [(parts as Part[]).filter(({ text }) => text !== "")];
  });
}

/**
 * The values as they are sent. Numbers go as texts: "0.50" stays what stands in the preview. What was emptied, though it has a default, goes
 * as an empty text, or the gateway would fill the default in.
 */
export function sent(parameters: Parameter[], values: Values): Record<string, string | boolean> {
  const given = parameters.filter(({ name, property }) => values[name] || property.default !== undefined);
  return Object.fromEntries(
    given.map(({ name, property }) => {
      const text = values[name] ?? "";
      return [name, property.type === "boolean" && text !== "" ? text === "true" : text];
    }),
  );
}

/** The same run as a line for a shell. */
export function shellLine(name: string, parameters: Parameter[], values: Values, targets: string[]): string {
  const defaults = defaultsOf(parameters);
  const given = parameters.filter((parameter) => (values[parameter.name] ?? "") !== (defaults[parameter.name] ?? ""));
  const words = given.map((parameter) => `${parameter.name}=${values[parameter.name] ?? ""}`);
  const on = targets.flatMap((label) => ["--on", label]);
  return ["adit", "run", name, ...words, ...on, ...(targets.length > 1 ? [] : ["--follow"])].map(quoted).join(" ");
}

/** What is given to a form by its address: `#p.path=/etc&on=web-1&timeout=10`. */
export interface Wish {
  values: Values;
  targets: string[];
  timeout: string;
  /** The version that the values were given to before. */
  version: string;
}

/** Reads a wish from a fragment. It is a fragment and no query, so that no server's log has it. */
export function readWish(hash: string): Wish {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const values = [...query].filter(([key]) => key.startsWith("p.")).map(([key, value]) => [key.slice(2), value]);
  return {
    values: Object.fromEntries(values) as Values,
    targets: query.getAll("on").filter(Boolean),
    timeout: query.get("timeout") ?? "",
    version: query.get("version") ?? "",
  };
}

/** Writes a wish as a fragment; what is as it was anyway is left out. */
export function writeWish({ values, targets, timeout, version }: Partial<Wish>, defaults: Values = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values ?? {})) {
    if (value !== (defaults[name] ?? null)) query.set(`p.${name}`, value);
  }
  for (const label of targets ?? []) query.append("on", label);
  if (timeout) query.set("timeout", timeout);
  if (version) query.set("version", version);
  const text = query.toString();
  return text ? `#${text}` : "";
}

const PLACEHOLDER = /\{([A-Za-z_][\w-]*)\}/;
const INTEGER = /^(0|-?[1-9][0-9]*)$/;
const DECIMAL = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?$/;
const PLAIN_WORD = /^[A-Za-z0-9_@%+=:,./-]+$/;

function begin(required: boolean, property: Property): string {
  if (property.default !== undefined) return String(property.default);
  return property.type === "boolean" && required ? "false" : "";
}

function emptyFault(required: boolean, property: Property): string | null {
  if (required) return "is required";
  if (property.enum?.includes("")) return null;
  return (property.minLength ?? 0) > 0 ? "must not be empty" : null;
}

function numberFault(property: Property, text: string): string | null {
  const whole = property.type === "integer";
  if (!(whole ? INTEGER : DECIMAL).test(text))
    return whole ? "must be a whole number" : "must be a number, such as 0.5";
  const { minimum, maximum } = property;
  if (minimum !== undefined && Number(text) < minimum) return `must be at least ${minimum}`;
  if (maximum !== undefined && Number(text) > maximum) return `must be at most ${maximum}`;
  return null;
}

function textFault(property: Property, text: string): string | null {
  const characters = [...text].length;
  const { minLength, maxLength } = property;
  if (property["x-type"] === "path") {
    const fault = pathFault(property, text);
    if (fault) return fault;
  }
  if (minLength !== undefined && characters < minLength) return `must have at least ${minLength} characters`;
  if (maxLength !== undefined && characters > maxLength) return `must have at most ${maxLength} characters`;
  return property.pattern && !fits(property.pattern, text) ? "does not match the pattern as a whole" : null;
}

function pathFault(property: Property, path: string): string | null {
  if (!path.startsWith("/")) return "must be an absolute path, which begins with `/`";
  if (path.split("/").includes("..")) return "must not have `..` as a component of a path";
  const within = (folder: string) => folder === "/" || path === folder || path.startsWith(`${folder}/`);
  const allowed = property["x-allowed-paths"];
  if (allowed && !allowed.some(within)) return "lies outside of the allowed paths";
  return property["x-forbidden-paths"]?.some(within) ? "lies in a forbidden path" : null;
}

/** Whether a text fits; a pattern that this language does not know is for the gateway alone. */
function fits(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true;
  }
}

function quoted(word: string): string {
  return PLAIN_WORD.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

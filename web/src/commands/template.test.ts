import { expect, test } from "vitest";
import {
  argumentsOf,
  defaultsOf,
  faultOf,
  type Parameter,
  parametersOf,
  readWish,
  sent,
  shellLine,
  writeWish,
} from "./template";

const properties = {
  depth: { type: "integer", "x-type": "int", default: 3, minimum: 1, maximum: 10 },
  name: { type: "string", "x-type": "string", default: "*", minLength: 1, pattern: "^(?:[^/]+)$" },
  path: {
    type: "string",
    "x-type": "path",
    minLength: 1,
    "x-allowed-paths": ["/etc", "/tmp"],
    "x-forbidden-paths": ["/etc/ssh"],
  },
  unit: { type: "string", "x-type": "string", minLength: 0, maxLength: 4 },
  kind: { type: "string", "x-type": "enum", default: "f", enum: ["f", "d"] },
  deep: { type: "boolean", "x-type": "bool", default: false },
};
const command = {
  argv: [
    "/usr/bin/find",
    "{path}",
    "-maxdepth",
    "{depth}",
    "-type",
    "{kind}",
    "--unit={unit}",
    "--deep={deep}",
    "-name",
    "{name}",
  ],
  parameters: { properties, required: ["path"] } as never,
};
const parameters = parametersOf(command);
const named = (name: string) => parameters.find((one) => one.name === name) as Parameter;
const fault = (name: string, text: string) => faultOf(named(name), text);
const text = (values: Record<string, string>) =>
  argumentsOf(command, parameters, { ...defaultsOf(parameters), ...values }).map((parts) =>
    parts.map((part) => part.text).join(""),
  );

test("what must be given stands first, the rest as the command has it", () => {
  expect(parameters.map(({ name }) => name)).toEqual(["path", "depth", "kind", "unit", "deep", "name"]);
});

test("a value fills its place inside one argument, whatever it holds", () => {
  expect(text({ path: "/tmp/a b; rm" })[1]).toBe("/tmp/a b; rm");
  expect(text({ path: "/tmp", name: "{path}" }).at(-1)).toBe("{path}");
});

test("an argument without its value is left out, and one that waits for it is not", () => {
  expect(text({ path: "/tmp" })).not.toContain("--unit=");
  expect(text({ path: "/tmp", unit: "ssh" })).toContain("--unit=ssh");
  expect(argumentsOf(command, parameters, defaultsOf(parameters))[1]).toEqual([{ kind: "missing", text: "path" }]);
});

test("a number is held against its form and its range", () => {
  for (const good of ["1", "10"]) expect(fault("depth", good)).toBeNull();
  for (const bad of ["05", "1.5", "x", " 1", "+1"]) expect(fault("depth", bad)).toBe("must be a whole number");
  expect(fault("depth", "0")).toBe("must be at least 1");
  expect(fault("depth", "11")).toBe("must be at most 10");
});

test("a path is held against folders by its components", () => {
  for (const good of ["/tmp", "/tmp/x", "/etc/hosts"]) expect(fault("path", good)).toBeNull();
  expect(fault("path", "/tmpevil")).toBe("lies outside of the allowed paths");
  expect(fault("path", "/etc/ssh/key")).toBe("lies in a forbidden path");
  expect(fault("path", "tmp")).toMatch("absolute");
  expect(fault("path", "/tmp/../etc")).toMatch("`..`");
  expect(fault("path", "")).toBe("is required");
});

test("texts are counted in characters and matched whole", () => {
  expect(fault("unit", "😀😀😀😀")).toBeNull();
  expect(fault("unit", "abcde")).toBe("must have at most 4 characters");
  expect(fault("name", "a/b")).toBe("does not match the pattern as a whole");
  expect(fault("name", "")).toBe("must not be empty");
  expect(fault("kind", "l")).toBe("is none of the allowed values");
});

test("a pattern that this language does not know refuses nothing", () => {
  const one: Parameter = {
    name: "x",
    required: false,
    property: { type: "string", pattern: "^(?:(?i)[a-z&&[^b]]\\z)$" },
  };
  expect(faultOf(one, "b")).toBeNull();
});

test("values go as they stand, and one that was emptied goes empty", () => {
  const values = { ...defaultsOf(parameters), path: "/tmp", name: "", deep: "true" };
  expect(sent(parameters, values)).toEqual({ path: "/tmp", depth: "3", kind: "f", deep: true, name: "" });
});

test("a wish comes back from its address, and defaults are not in it", () => {
  const defaults = defaultsOf(parameters);
  const wish = {
    values: { ...defaults, path: "/tmp/a&b=c", unit: "", name: "" },
    targets: ["web-1", "a,b"],
    timeout: "5",
    version: "",
  };
  const hash = writeWish(wish, defaults);
  expect(hash).not.toContain("depth");
  const { values, ...rest } = readWish(hash);
  expect({ ...defaults, ...values }).toEqual(wish.values);
  expect(rest).toEqual({ targets: ["web-1", "a,b"], timeout: "5", version: "" });
  expect(writeWish({ values: defaults, targets: [] }, defaults)).toBe("");
});

test("the line for a shell quotes what a shell would read", () => {
  const values = { ...defaultsOf(parameters), path: "/tmp/it's" };
  expect(shellLine("find_files", parameters, values, ["vm"])).toBe(
    "adit run find_files 'path=/tmp/it'\\''s' --on vm --follow",
  );
});

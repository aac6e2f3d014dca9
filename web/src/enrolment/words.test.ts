import { expect, test } from "vitest";
import { readTags } from "./words";

test("tags are read with spaces or commas between", () => {
  expect(readTags(" env=prod, role=web=1 ")).toEqual({ env: "prod", role: "web=1" });
  expect(readTags("")).toEqual({});
});

test("a tag without a key or a value is none", () => {
  for (const text of ["env", "=prod", "env=", "env=prod web"]) expect(readTags(text)).toBeNull();
});

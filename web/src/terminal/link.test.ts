import { expect, test } from "vitest";
import { readLink } from "./link";

// BRW-35
test("only web addresses are links", () => {
  for (const text of [
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "vbscript:x",
    "not a link",
    " JaVaScRiPt:alert(1)",
  ]) {
    expect(readLink(text)).toBeNull();
  }
});

// BRW-35
test("a name before the host is refused", () => {
  expect(readLink("https://bank.example@evil.example/")).toBeNull();
  expect(readLink("https://a:b@evil.example/")).toBeNull();
});

// BRW-35
test("the real host is named", () => {
  expect(readLink("https://example.com:8443/x?y")).toEqual({
    url: "https://example.com:8443/x?y",
    host: "example.com:8443",
    plain: false,
  });
  expect(readLink("http://xn--e1afmkfd.example/")?.plain).toBe(true);
  expect(readLink("https://аpple.com/")?.host).toBe("xn--pple-43d.com");
});

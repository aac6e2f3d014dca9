import { expect, test } from "vitest";
import type { Instance, MachineTicket } from "../api/types";
import { among, counts, instanceNext, instanceStanding, peer, sessionStanding, ways, why } from "./words";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const before = (seconds: number) => new Date(NOW - seconds * 1000).toISOString();

test("dead is a state of instances, over one of sessions", () => {
  expect(instanceStanding({ status: "dead" })).toEqual({ tone: "bad", label: "Dead" });
  expect(sessionStanding({ status: "dead" })).toEqual({ tone: "off", label: "Over" });
});

test("a reason that is not known is shown as it came", () => {
  expect(why("admin_killed")).toBe("An operator ended it");
  expect(why("eaten")).toBe("eaten");
  expect(why(null)).toBe("");
});

test("whoever speaks for a machine is named with it", () => {
  expect(peer("web-1")).toBe("web-1");
  expect(peer("plugin-agent:web-1:backup")).toBe("backup for web-1");
});

test("the way to try first stands in front, and a direct one with its address", () => {
  const direct = { host: "2001:db8::1", port: 4433 };
  expect(ways({ strategies: ["tunnel", "direct"], preferred: "direct", direct })).toBe(
    "direct to [2001:db8::1]:4433, then tunnel",
  );
  expect(ways({ strategies: ["relay"] })).toBe("relay");
});

test("an instance says when it goes stale and when it is removed", () => {
  const instance = { status: "active", lastHeartbeat: before(60) } as Instance;
  expect(instanceNext(instance, NOW)).toBe("stale in 4 min without a heartbeat");
  const stale = { status: "stale", lastHeartbeat: before(600) } as Instance;
  expect(instanceNext(stale, NOW)).toBe("gets no tickets; removed in 50 min without a heartbeat");
});

test("a used ticket can be taken back while it may open its session", () => {
  const used = (seconds: number) => ({ status: "used", usedAt: before(seconds) }) as MachineTicket;
  expect(counts(used(30), undefined, NOW)).toBe(true);
  expect(counts(used(61), undefined, NOW)).toBe(false);
  expect(counts({ status: "expired" } as MachineTicket, undefined, NOW)).toBe(false);
});

test("parts are listed as they are said", () => {
  expect(among(["1 instance", "", "2 assignments", "1 live session"])).toBe(
    "1 instance, 2 assignments and 1 live session",
  );
  expect(among(["1 instance"])).toBe("1 instance");
  expect(among([])).toBe("");
});

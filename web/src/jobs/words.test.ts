import { expect, test } from "vitest";
import { again, agreed, filled, isOver, lasted, layerWord, outcome, STATES, stateWord } from "./words";

test("every state has a word, and most say that it is over", () => {
  expect(STATES.map(stateWord)).not.toContain(undefined);
  expect(STATES.filter((status) => !isOver({ status }))).toEqual(["awaiting_consent", "queued", "running"]);
  expect(stateWord("new")).toBe("new");
});

test("a reason goes before a signal, and a signal before a status", () => {
  const reason = { code: "job.timed_out", sentence: "Too long." };
  expect(outcome({ status: "timed_out", reason, signal: "KILL", exit_code: 1 })).toBe("Too long.");
  expect(outcome({ status: "failed", signal: "SEGV" })).toBe("The signal SIGSEGV ended it.");
  expect(outcome({ status: "failed", exit_code: 2 })).toBe("It ended with exit status 2.");
  expect(outcome({ status: "succeeded", exit_code: 0 })).toBe("It ended with exit status 0.");
  expect(outcome({ status: "running" })).toBe("");
});

test("who must agree and who did is a sentence", () => {
  expect(agreed({ consents: [], consents_needed: 1 })).toBe("Somebody else must agree before it runs.");
  expect(agreed({ consents: ["user:bob"], consents_needed: 2 })).toBe("2 others must agree before it runs; bob did.");
});

test("a length is as exact as it is short", () => {
  expect([0, 30, 1240, 61_000].map(lasted)).toEqual(["0 ms", "30 ms", "1.2 s", "1 min 1 s"]);
});

test("again leads to the form with all that was filled in", () => {
  const job = {
    command: "list_files",
    parameters: { path: "/etc", deep: true } as never,
    target: { id: "1", label: "vm" },
    timeout: 30,
    version: "ab",
  };
  expect(again([job, { ...job, target: { id: "2", label: "web" } }])).toBe(
    "/commands/list_files#p.path=%2Fetc&p.deep=true&on=vm&on=web&timeout=30&version=ab",
  );
  expect(filled(job)).toBe("path=/etc deep=true");
});

test("a layer is written as words", () => {
  expect(layerWord("no_new_privileges")).toBe("No new privileges");
});

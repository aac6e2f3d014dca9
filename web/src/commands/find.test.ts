import { expect, test } from "vitest";
import { found, grouped } from "./find";

const command = (name: string, category: string, description = "") => ({ name, category, description });
const ALL = [
  command("block_devices", "disk", "Lists disks."),
  command("disk_usage", "disk", "Shows how full file systems are."),
  command("list_files", "files", "Lists a folder."),
  command("nap", "", "Waits."),
  command("read_log", "logs", "Shows a file below /var/log."),
];
const names = (text: string) => found(ALL, text).map(({ name }) => name);

test("without a text all are there by category and name, what has no category last", () => {
  expect(names(" ")).toEqual(["block_devices", "disk_usage", "list_files", "read_log", "nap"]);
});

test("a name goes before a category, and a category before a description", () => {
  expect(names("disk")).toEqual(["disk_usage", "block_devices"]);
  expect(names("file")).toEqual(["list_files", "disk_usage", "read_log"]);
});

test("every word has to be there, and an underscore is a space", () => {
  expect(names("disk usage")).toEqual(["disk_usage"]);
  expect(names("disk_usage")).toEqual(["disk_usage"]);
  expect(names("disk folder")).toEqual([]);
});

test("what was found is grouped in the order in which it was found", () => {
  expect(grouped(found(ALL, "file")).map(([category]) => category)).toEqual(["files", "disk", "logs"]);
  expect(grouped([command("nap", "")])[0]?.[0]).toBe("other");
});

// What machines and terminals print is not trusted: nothing of it acts on the console, the clipboard or the person.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Adit } from "./adit.mjs";
import { Browser } from "./console.mjs";

const HOSTILE = "<img src=x onerror=\"window.hit=1;fetch('https://evil.example')\">";
let adit;
let browser;
let window;

before(async () => {
  adit = await Adit.start();
  browser = await Browser.start();
  window = await browser.window(adit);
  await window.signIn();
});

after(async () => {
  await browser?.close();
  await adit?.stop();
});

afterEach(() => adit.endSessions());

const sleepless = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));

/** Has the shell print bytes given in octal or hexadecimal escapes of printf. */
async function print(escapes) {
  await window.run(`clear; printf '${escapes}'; echo; echo printed=$((1+1))`);
  await window.shows("printed=2");
}

// BRW-30
test("what a machine says of itself is shown as text on every page", async () => {
  const { token } = await adit.api("POST", "/api/v1/enrolment-tokens", {});
  const enrol = {
    token,
    linkKey: Buffer.alloc(32, 9).toString("base64"),
    label: "odd-1",
    hostname: HOSTILE,
    os: HOSTILE,
    arch: HOSTILE,
  };
  const answer = await fetch(`${adit.url}/api/enroll`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(enrol),
  });
  // A gateway may refuse such names at the door; then nothing of them can be shown.
  if (answer.ok) {
    await window.open("/machines/odd-1");
    await window.page.getByRole("dialog").getByText(HOSTILE).first().waitFor();
  }
  const { id } = await adit.api("POST", "/api/v1/users", { name: "mallory", email: "m@example.net" });
  await adit.api("POST", `/api/v1/users/${id}/tokens`, { name: HOSTILE }).catch(() => {});
  for (const path of [
    "/machines",
    "/sessions",
    "/sessions?tab=past",
    "/recordings",
    `/access/people/${id}`,
    "/access/grants",
    "/audit",
    "/settings",
  ]) {
    await window.open(path);
    await window.page.getByRole("heading", { level: 1 }).first().waitFor();
    await sleepless(window.page);
    assert.equal(await window.page.evaluate(() => globalThis.hit), undefined, path);
    assert.equal(await window.page.locator("img").count(), 0, path);
  }
});

// BRW-30: a title is text, wherever it stands.
test("a title that a program sets is shown as text", async () => {
  await window.connect();
  await window.run(
    `clear; PROMPT_COMMAND=; printf '\\033]0;<img src=x onerror=window.hit=1>\\007'; echo titled=$((1+1))`,
  );
  await window.shows("titled=2");
  await window.page.getByRole("button", { name: "<img src=x onerror=window.hit=1>", exact: true }).waitFor();
  assert.equal(await window.page.evaluate(() => globalThis.hit), undefined);
});

// BRW-32
test("a program neither writes nor reads the clipboard", async () => {
  await window.connect();
  await window.page.evaluate(() => navigator.clipboard.writeText("mine"));
  const stolen = Buffer.from("stolen").toString("base64");
  await print(`\\033]52;c;${stolen}\\007\\033]52;c;?\\007`);
  await window.run("read -t 1 -n 40 answer; echo answer=[$answer]");
  await window.shows("answer=[]");
  assert.equal(await window.page.evaluate(() => navigator.clipboard.readText()), "mine");
});

// BRW-32
test("a program writes the clipboard where the person allowed it, and still can't read it", async () => {
  await window.open("/settings");
  await window.page.getByRole("checkbox", { name: /Programs may put text on the clipboard/ }).check();
  await window.connect();
  await window.page.evaluate(() => navigator.clipboard.writeText("mine"));
  const copied = Buffer.from("copied").toString("base64");
  await print(`\\033]52;c;${copied}\\007`);
  await window.page.waitForFunction(async () => (await navigator.clipboard.readText()) === "copied");
  await window.run("clear; printf '\\033]52;c;?\\007'; read -t 1 -n 40 answer; echo answer=[$answer]");
  await window.shows("answer=[]");
  await window.open("/settings");
  await window.page.getByRole("checkbox", { name: /Programs may put text on the clipboard/ }).uncheck();
});

// BRW-33
test("a watcher's terminal answers no question", async () => {
  await window.connect();
  const session = await window.session();
  const watcher = await browser.window(adit);
  const sent = [];
  watcher.page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(payload[0])));
  await watcher.signIn((await adit.person("wanda", "viewer")).link);
  await watcher.open(`/terminal/${session}?mode=view`);
  await watcher.live();
  await print("\\033[c\\033[>c\\033[6n\\033[21t\\033P$qm\\033\\\\\\033]10;?\\007\\005");
  await watcher.shows("printed=2");
  assert.ok(!sent.includes(2), "a frame of input left the watcher's window");
});

// BRW-33
test("a program can't have the title typed as a command", async () => {
  await window.connect();
  await window.run("clear; printf '\\033]0;touch hacked\\007\\033[21t'; read -t 1 -n 80 answer; echo answer=[$answer]");
  await window.shows("answer=[]");
});

const LINKS = [
  "javascript:alert(1)",
  "data:text/html,x",
  "file:///etc/passwd",
  "vbscript:x",
  "https://bank.example@evil.example/",
];

/** Clicks on the first cells of the line that reads `word`. */
async function clickLine(word) {
  const at = (await window.screen()).findIndex((row) => row.startsWith(word));
  assert.notEqual(at, -1, `${word} is not on the screen`);
  const screen = await window.page.locator(".pane:not(.hidden) .xterm-screen").boundingBox();
  const rows = await window.page.locator(".pane:not(.hidden) .xterm-accessibility-tree > div").count();
  const y = screen.y + (at + 0.5) * (screen.height / rows);
  await window.page.mouse.move(screen.x + 8, y);
  await window.page.mouse.move(screen.x + 14, y);
  await sleepless(window.page);
  await window.page.mouse.click(screen.x + 14, y);
}

// BRW-35
test("a link that is no web address opens nothing", async () => {
  await window.connect();
  for (const link of LINKS) {
    await print(`\\033]8;;${link}\\033\\\\lure here\\033]8;;\\033\\\\`);
    const pages = window.page.context().pages().length;
    await clickLine("lure");
    await sleepless(window.page);
    assert.equal(await window.page.getByRole("dialog").count(), 0, link);
    assert.equal(window.page.context().pages().length, pages, link);
  }
});

// BRW-35
test("a web link asks first, and names the host that it really leads to", async () => {
  await window.connect();
  await print("\\033]8;;https://evil.example/login\\033\\\\bank.example\\033]8;;\\033\\\\");
  await clickLine("bank");
  const question = window.page.getByRole("dialog", { name: "Open evil.example?" });
  await question.waitFor();
  await question.getByRole("button", { name: "Cancel" }).click();
  assert.equal(window.page.context().pages().length, 1);
});

// BRW-36
test("a paste that ends its own brackets reaches the shell as one paste", async () => {
  await window.connect();
  await window.run("bind 'set enable-bracketed-paste on'; clear; echo bracketed=$((1+1))");
  await window.shows("bracketed=2");
  await window.paste("echo safe \u001b[201~\necho $((40+2))own\n");
  await window.shows("echo safe");
  assert.ok(!(await window.screen()).join("\n").includes("42own"), "the pasted command ran");
  await window.page.keyboard.press("Control+C");
});

// BRW-36
test("lines for a program that knows no brackets are shown before they run", async () => {
  await window.connect();
  await window.run("bind 'set enable-bracketed-paste off'; clear; echo plain=$((1+1))");
  await window.shows("plain=2");
  await window.paste("echo one$((1))\necho two$((2))\n");
  const question = window.page.getByRole("dialog", { name: /Paste 3 lines/ });
  await question.getByText("echo two$((2))").waitFor();
  await question.getByRole("button", { name: "Cancel" }).click();
  await window.run("echo three$((3))");
  await window.shows("three3");
  assert.ok(!(await window.screen()).join("\n").includes("one1"));
});

// After all of the above: nothing left the origin.
test("no page asked another origin for anything", () => {
  assert.deepEqual(browser.foreign, []);
});

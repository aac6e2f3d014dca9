// Vetted commands in the console: found, filled in, run, watched, cancelled and run again.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Adit, Agent } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

const TEMPLATES = `
templates:
  nap:
    description: Waits, and writes nothing.
    category: own
    command: /usr/bin/sleep {seconds}
    parameters: {seconds: {type: int, default: 30, min_value: 1, max_value: 600}}
    timeout: 600
  paint: {category: own, command: "/usr/bin/printf %b {text}", parameters: {text: {type: string}}}
  count: {category: own, command: "/usr/bin/seq {n}", parameters: {n: {type: int, default: 100000}}}
  ticks: {category: own, command: "/usr/bin/vmstat -n -t 1 {n}", parameters: {n: {type: int, default: 8}}}
  wary: {category: own, command: "/usr/bin/printf %s {text}", parameters: {text: {type: string}}, approval: 1}
  warier: {category: own, command: "/usr/bin/printf %s {text}", parameters: {text: {type: string}}, approval: 2}
  kinds:
    description: Has a field of every kind, such as \`text\`.
    category: own
    command: /usr/bin/printf %s {text} -n{n} {loud} {mode} {level} --unit={unit} {path}
    parameters:
      text: {type: string, description: Any text., max_length: 40}
      n: {type: int, min_value: 1, max_value: 5, default: 2}
      loud: {type: bool, default: false}
      mode: {type: enum, allowed_values: [one, two, three]}
      level: {type: enum, allowed_values: [emergency, alert, critical, error, warning, notice, info], default: info}
      unit: {type: string, required: false}
      path: {type: path, required: false, allowed_paths: [/etc, /tmp], forbidden_paths: [/etc/ssh]}
    allow_network: true
`;

let adit;
let browser;
let window;
let second;

before(async () => {
  adit = await Adit.start();
  await mkdir(join(adit.data, "templates"), { recursive: true });
  await writeFile(join(adit.data, "templates", "own.yaml"), TEMPLATES);
  browser = await Browser.start();
  window = await browser.window(adit);
  await window.signIn();
  const { command } = await adit.api("POST", "/api/v1/enrolment-tokens", { label: "second" });
  second = await Agent.join(command);
  await until(async () => (await template("nap"))?.targets.length === 2);
});

after(async () => {
  await browser?.close();
  await second?.stop();
  await adit?.stop();
});

afterEach(async () => {
  await window.page.unrouteAll({ behavior: "wait" });
  for (const status of ["queued", "running"]) {
    const { items } = await adit.api("GET", `/jobs?status=${status}&limit=200`);
    for (const { job_id } of items) await fetch(`${adit.url}/jobs/${job_id}`, { method: "DELETE", headers: bearer() });
  }
});

const bearer = () => ({ authorization: `Bearer ${adit.token}` });
const button = (name) => window.page.getByRole("button", { name, exact: true });
const field = (name) => window.page.getByLabel(name, { exact: true });
/** The box of a machine, whose name begins with how it stands. */
const machine = (label) => window.page.getByRole("checkbox", { name: new RegExp(`(^|\\s)${label}$`) });
const output = () => window.page.getByRole("log", { name: "What it wrote" });
const row = (text) => window.page.getByRole("row").filter({ hasText: text });
const state = (word) => window.page.getByRole("status").getByText(word, { exact: true }).waitFor();
const argv = () => window.page.getByRole("list", { name: "Arguments" }).getByRole("listitem").allTextContents();

async function template(name) {
  const { items } = await adit.api("GET", "/commands");
  return items.find((one) => one.name === name);
}

/** Waits for what no event tells a test of: that the gateway has read a file, that a machine is there. */
async function until(holds) {
  for (let tries = 0; tries < 120; tries += 1) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error("it did not come about");
}

/** Runs a template by the API, and gives the job's id. */
async function start(command, parameters = {}, target = adit.machine) {
  const { job_id } = await adit.api("POST", "/execute", { command, parameters, target });
  return job_id;
}

/** The same, and waits for its end. */
async function ran(command, parameters, target) {
  const id = await start(command, parameters, target);
  await until(async () => (await adit.api("GET", `/jobs/${id}`)).ended_at);
  return id;
}

/** The id of the job that the address names. */
async function job() {
  await window.page.waitForURL(/\/ui\/jobs\/[0-9a-f-]{36}$/);
  return new URL(window.page.url()).pathname.split("/").at(-1);
}

async function picture(name, page = window.page) {
  if (!process.env.PICTURES) return;
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ]) {
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: `${process.env.PICTURES}/${name}-${width}.png` });
  }
  await page.setViewportSize({ width: 1200, height: 800 });
}

test("the list of jobs says what to do while there is none", async () => {
  await window.open("/jobs");
  await window.page.getByRole("heading", { name: "Nothing has been run yet" }).waitFor();
  await picture("jobs-empty");
  await window.page.getByRole("link", { name: "To the commands" }).click();
  await window.page.getByRole("heading", { level: 2, name: "own" }).waitFor();
});

// CMD-11, CMD-12, CMD-13
test("a command is found by keys, filled in, seen exactly, run, and its output read", async () => {
  const { page } = window;
  await window.open("/machines");
  await page.getByRole("navigation", { name: "Parts" }).getByRole("link", { name: "Commands" }).click();
  await page.getByRole("heading", { level: 2, name: "files" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("list file");
  await page.getByText("1 command found").waitFor({ state: "attached" });
  await picture("commands-found");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/ui/commands/list_files?q=list+file");
  await field("path").fill("/etc/apt");
  await field("size").check();
  await page.getByText("Has no network").waitFor();
  await page.getByText("Writes no file").waitFor();
  await page.getByText("Ended after 30 s", { exact: true }).waitFor();
  assert.deepEqual(await argv(), [
    "/usr/bin/ls",
    "-l",
    "--all",
    "--human-readable",
    "--time-style=long-iso",
    "--sort=size",
    "/etc/apt",
  ]);
  await picture("commands-form");
  await machine(adit.machine).check();
  await button(`Run on ${adit.machine}`).click();
  const id = await job();
  await state("Succeeded");
  await output().getByText("total").waitFor();
  await picture("job");
  const response = await fetch(`${adit.url}/jobs/${id}/output`, { headers: bearer() });
  assert.equal((await output().innerText()).trimEnd(), (await response.text()).trimEnd());
  const { argv: ranArgv, exit_code } = await adit.api("GET", `/jobs/${id}`);
  assert.deepEqual([ranArgv.at(-1), ranArgv.at(-2), exit_code], ["/etc/apt", "--sort=size", 0]);
  await page.getByText(/\d+ of \d+ layers enforced/).waitFor();
});

test("arrows walk what was found and lead back to the search", async () => {
  const { page } = window;
  await window.open("/commands?q=disk");
  const search = page.getByRole("searchbox", { name: "Find a command" });
  await page.getByRole("link", { name: /^disk_usage/ }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  assert.ok(await search.evaluate((element) => element === document.activeElement));
  await page.keyboard.press("ArrowDown");
  const second = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/ui\/commands\/[a-z_]+\?q=disk/);
  assert.match(second, new RegExp(await page.getByRole("heading", { level: 1 }).textContent()));
});

// CMD-11, CMD-4
test("every kind of parameter has its field, and the preview has what is typed in its one argument", async () => {
  const { page } = window;
  await window.open("/commands/kinds");
  await field("text").fill("a b; $(rm) {n}");
  await field("two").check();
  await page.getByRole("switch", { name: "loud" }).check();
  await page.getByLabel("level").selectOption("error");
  await page.getByText("1 to 5").waitFor();
  await page.getByText("Has the machine’s network").waitFor();
  const expected = ["/usr/bin/printf", "%s", "a b; $(rm) {n}", "-n2", "true", "two", "error"];
  assert.deepEqual(await argv(), expected);
  await page.getByLabel("unit").fill("ssh");
  assert.deepEqual(await argv(), [...expected, "--unit=ssh"]);
  await machine(adit.machine).check();
  await page.getByText("The same from a shell").click();
  await page
    .getByText(
      `adit run kinds 'text=a b; $(rm) {n}' mode=two loud=true level=error unit=ssh --on ${adit.machine} --follow`,
    )
    .waitFor();
  await picture("commands-kinds");
  await page.keyboard.press("Control+Enter");
  const ranArgv = (await adit.api("GET", `/jobs/${await job()}`)).argv;
  assert.deepEqual(ranArgv, [...expected, "--unit=ssh"]);
});

// CMD-12
test("a bad value is told at its field, while it is typed and by the gateway", async () => {
  const { page } = window;
  await window.open("/commands/nap");
  const seconds = field("seconds");
  await seconds.fill("700");
  await page.getByText("must be at most 600").waitFor();
  assert.equal(await seconds.getAttribute("aria-invalid"), "true");
  await seconds.fill("7");
  await page.getByText("must be at most 600").waitFor({ state: "detached" });
  await button("Run").click();
  await page.getByText("Choose a machine.").waitFor();

  await window.open("/commands/paint");
  await field("text").fill("-v");
  await machine(adit.machine).check();
  await button(`Run on ${adit.machine}`).click();
  await page.getByText("must not begin with - here").waitFor();
  await picture("commands-fault");
  assert.equal(new URL(page.url()).pathname, "/ui/commands/paint");
  assert.ok(await field("text").evaluate((element) => element === document.activeElement));
  await field("text").fill("v");
  await page.getByText("must not begin with - here").waitFor({ state: "detached" });

  await window.open("/commands/kinds");
  await window.page.getByLabel("path optional").fill("/etcetera");
  await field("n").fill("x");
  await machine(adit.machine).check();
  await button(`Run on ${adit.machine}`).click();
  for (const said of ["must be a whole number", "lies outside of the allowed paths"]) {
    await page.getByText(said).waitFor();
  }
  assert.equal(await page.getByText("is required").count(), 2);
});

test("what a wrong time limit would be is not sent", async () => {
  await window.open(`/commands/nap#on=${adit.machine}`);
  await window.page.getByLabel("End it sooner").fill("601");
  await window.page.getByText("A whole number from 1 to 600.").waitFor();
  await window.page.getByLabel("End it sooner").fill("1");
  await window.page.getByText("Ended after 1 s", { exact: true }).waitFor();
  await button(`Run on ${adit.machine}`).click();
  await job();
  await state("Timed out");
  await window.page.getByText("The job took longer than it may.").waitFor();
});

// CMD-13, CMD-33
test("a running job is cancelled, and says so", async () => {
  const { page } = window;
  const id = await start("nap", { seconds: 500 });
  await window.open(`/jobs/${id}`);
  await state("Running");
  await button("Cancel").click();
  const question = page.getByRole("dialog", { name: `Cancel nap on ${adit.machine}?` });
  await picture("job-cancel");
  await question.getByRole("button", { name: "Cancel nap" }).click();
  await state("Cancelled");
  await page.getByText("The job was cancelled.").waitFor();
  await page.getByText("It wrote nothing.").waitFor();
  assert.equal(await button("Cancel").count(), 0);
  assert.equal((await adit.api("GET", `/jobs/${id}`)).status, "cancelled");
});

test("a job is run again with what it was run with", async () => {
  const { page } = window;
  const id = await ran("nap", { seconds: 1 });
  await window.open(`/jobs/${id}`);
  await button("Run again").click();
  await page.waitForURL(/\/ui\/commands\/nap#/);
  assert.equal(await field("seconds").inputValue(), "1");
  assert.ok(await machine(adit.machine).isChecked());
  assert.ok(!(await machine("second").isChecked()));
  await page.keyboard.press("Control+Enter");
  assert.notEqual(await job(), id);
  await state("Succeeded");
});

test("the address of a form has what was filled in, and nothing of it goes to the gateway", async () => {
  const { page } = window;
  await window.open("/commands/kinds");
  await field("text").fill("kept & so on");
  await machine("second").check();
  await page.waitForURL(/#p\.text=kept.*on=second/);
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.reload();
  assert.equal(await field("text").inputValue(), "kept & so on");
  assert.ok(await machine("second").isChecked());
  assert.ok(asked.length > 0 && asked.every((url) => !new URL(url).search.includes("kept")));
});

// CMD-13
test("what a terminal would obey is shown, colours are followed, and error output is marked", async () => {
  const { page } = window;
  await window.open(
    `/jobs/${await ran("paint", { text: "\\033[31mred\\033[0m \\033[2J\\033]0;title\\007<b>x</b>\\rover\\n" })}`,
  );
  await output().getByText("<b>x</b>", { exact: false }).waitFor();
  assert.equal((await output().innerText()).trimEnd(), "red ␛[2J␛]0;title␇<b>x</b>␍over");
  const red = output().getByText("red", { exact: true });
  assert.equal(await red.evaluate((element) => getComputedStyle(element).color), "rgb(255, 123, 114)");
  assert.ok(!(await page.title()).includes("title ·"));
  assert.equal(await output().locator("b").count(), 0);
  await picture("job-harmless");
  await window.open(`/jobs/${await ran("read_file", { path: "/usr/lib" })}`);
  await output().getByRole("group", { name: "Error output" }).getByText("Is a directory").waitFor();
  await state("Failed");
  await page.getByText("It ended with exit status 1.").waitFor();
  await picture("job-failed");
});

// CMD-32
test("a layer that was missing says why, and output that is gone says so", async () => {
  const { page } = window;
  const id = await ran("paint", { text: "x" });
  const why = "This kernel has no Landlock.";
  await page.route(new RegExp(`/jobs/${id}$`), async (route) => {
    if (route.request().resourceType() === "document") return route.continue();
    const shown = await (await route.fetch()).json();
    shown.layers[0] = { name: "landlock", state: "missing", why };
    await route.fulfill({ json: shown });
  });
  const problem = { code: "recording.deleted", status: 410, detail: "This recording was deleted." };
  await page.route(/\/output\?offset=/, (route) =>
    route.fulfill({ status: 410, contentType: "application/problem+json", body: JSON.stringify(problem) }),
  );
  await window.open(`/jobs/${id}`);
  await page.getByText(why).waitFor();
  await page.getByText("Landlock is missing").waitFor();
  await page.getByText("This recording was deleted.").waitFor();
  await picture("job-missing");
});

test("many machines are searched, and all that were found are chosen at once", async () => {
  const { page } = window;
  await page.route(/\/commands$/, async (route) => {
    if (route.request().resourceType() === "document") return route.continue();
    const { items } = await (await route.fetch()).json();
    const targets = Array.from({ length: 240 }, (_, at) => `web-${String(at + 1).padStart(3, "0")}`);
    await route.fulfill({ json: { items: items.map((one) => ({ ...one, targets })) } });
  });
  await window.open("/commands/uptime");
  await page.getByText("140 more. Type to find one.").waitFor();
  await page.getByRole("searchbox", { name: "Find a machine or a tag" }).fill("web-12");
  await page.getByText("All 10 found").click();
  await page.getByText("10 machines chosen").waitFor();
  await machine("web-121").uncheck();
  await button("Run on 9 machines").waitFor();
  await picture("commands-machines");
});

// CMD-23
test("output that was not kept is told, and what was is read to its end and downloaded", async () => {
  const { page } = window;
  await window.open(`/jobs/${await ran("count", { n: 400000 })}`);
  await page.getByText("Of the standard output 2.6 MiB were written, and the first 1.0 MiB kept.").waitFor();
  await picture("job-truncated");
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download the output" }).click();
  const file = await download;
  assert.match(file.suggestedFilename(), new RegExp(`^count-${adit.machine}-[0-9a-f]{8}\\.txt$`));
  let size = 0;
  for await (const chunk of await file.createReadStream()) size += chunk.length;
  assert.equal(size, 1024 * 1024);
  await page.waitForFunction(() => document.querySelector("[role=log]").textContent.length >= 1024 * 1024);
});

// BEY-7
test("a job that is over has its receipt to download, and one that runs has none yet", async () => {
  const { page } = window;
  const link = page.getByRole("link", { name: "Download the receipt" });
  const running = await start("ticks", { n: 600 });
  await window.open(`/jobs/${running}`);
  await page.getByRole("heading", { name: "Receipt" }).waitFor();
  assert.equal(await link.count(), 0);
  const id = await ran("count", { n: 3 });
  await window.open(`/jobs/${id}`);
  const download = page.waitForEvent("download");
  await link.click();
  const file = await download;
  assert.equal(file.suggestedFilename(), `count-${id.slice(0, 8)}.receipt.jsonl`);
  let text = "";
  for await (const chunk of await file.createReadStream()) text += chunk;
  const { receipt, signature } = JSON.parse(text);
  assert.deepEqual([receipt.job, receipt.state, receipt.stdout.bytes], [id, "succeeded", 6]);
  assert.match(signature, /^[0-9a-f]{128}$/);
  await picture("job-receipt");
});

// CMD-13, CMD-21
test("output comes while the job runs, and goes on where it ended when the connection is lost", async () => {
  const { page } = window;
  const id = await start("ticks", { n: 14 });
  await window.open(`/jobs/${id}`);
  await page.getByText("Live", { exact: true }).waitFor();
  await page.waitForFunction(() => document.querySelector("[role=log]").textContent.split("\n").length > 4);
  await state("Running");
  const connections = [];
  page.on("request", (request) => request.url().includes(`${id}/output`) && connections.push(request.url()));
  await adit.killGateway();
  await page.getByText("Connection lost, trying again").waitFor();
  await state("Succeeded");
  const response = await fetch(`${adit.url}/jobs/${id}/output`, { headers: bearer() });
  assert.equal((await output().innerText()).trimEnd(), (await response.text()).trimEnd());
  assert.ok(connections.some((url) => Number(new URL(url).searchParams.get("offset")) > 0));
});

// CMD-12
test("a command runs on several machines, and each one's state and output are seen together", async () => {
  const { page } = window;
  await window.open("/commands/paint");
  await field("text").fill("both");
  await page.getByText("All 2", { exact: true }).click();
  await picture("commands-several");
  await button("Run on 2 machines").click();
  await page.waitForURL(/\/ui\/jobs\?ids=/);
  await page.getByRole("heading", { name: "paint on 2 machines" }).waitFor();
  await page.getByRole("status").getByText("2 succeeded").waitFor();
  await output().getByText("both").waitFor();
  await page.getByRole("button", { name: /^second/ }).click();
  await page.waitForURL(/show=/);
  await output().getByText("both").waitFor();
  await picture("jobs-together");
  await page.getByRole("link", { name: "All about this job" }).click();
  await page.getByRole("heading", { name: "paint on second" }).waitFor();
});

test("where one machine refuses, the others run, and that one can be tried again", async () => {
  const { page } = window;
  let refuses = true;
  await page.route(/\/execute$/, async (route) => {
    if (!refuses || route.request().postDataJSON().target !== "second") return route.continue();
    const problem = {
      code: "job.queue_full",
      title: "Too Many",
      status: 429,
      detail: "There are as many waiting jobs as this gateway keeps.",
    };
    await route.fulfill({ status: 429, contentType: "application/problem+json", body: JSON.stringify(problem) });
  });
  await window.open(`/commands/paint#p.text=x&on=${adit.machine}&on=second`);
  await button("Run on 2 machines").click();
  await page.getByText("Not started on 1 machine.").waitFor();
  await page.getByText("There are as many waiting jobs as this gateway keeps.").waitFor();
  await page.getByRole("link", { name: "See the 1 job that were started" }).waitFor();
  refuses = false;
  await button("Run on second").click();
  await page.waitForURL(/\/ui\/jobs\?ids=/);
  await page.getByRole("status").getByText("2 succeeded").waitFor();
});

test("a run that got no answer is sent again as the same wish, and makes one job", async () => {
  const { page } = window;
  let first = true;
  await page.route(/\/execute$/, async (route) => {
    if (!first) return route.continue();
    first = false;
    await route.fetch();
    await route.abort();
  });
  await window.open(`/commands/paint#p.text=only-once&on=${adit.machine}`);
  await button(`Run on ${adit.machine}`).click();
  await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor();
  await button(`Run on ${adit.machine}`).click();
  await job();
  const { items } = await adit.api("GET", "/jobs?command=paint");
  assert.equal(items.filter(({ parameters }) => parameters.text === "only-once").length, 1);
});

// CMD-13
test("the list changes by itself, is filtered by its address, and goes on at its end", async () => {
  const { page } = window;
  await ran("paint", { text: "first" });
  await window.open("/jobs");
  await row("text=first").waitFor();
  await page.evaluate(() => {
    globalThis.watched = true;
  });
  const id = await start("nap", { seconds: 444 });
  await row("seconds=444").getByText("Running").waitFor();
  await page.getByLabel("State").selectOption("running");
  await row("text=first").waitFor({ state: "detached" });
  await adit.api("DELETE", `/jobs/${id}`).catch(() => {});
  await row("seconds=444").waitFor({ state: "detached" });
  await page.getByRole("heading", { name: "No job is like that" }).waitFor();
  await button("Show all jobs").click();
  await row("seconds=444").getByText("Cancelled").waitFor();
  await picture("jobs");
  await page.getByLabel("Command", { exact: true }).selectOption("nap");
  await page.waitForURL("**/ui/jobs?command=nap");
  await row("text=first").waitFor({ state: "detached" });
  await page.getByLabel("Machine", { exact: true }).selectOption("second");
  await page.getByRole("heading", { name: "No job is like that" }).waitFor();
  assert.ok(await page.evaluate(() => globalThis.watched === true), "the page was loaded anew");
  // Pages of two, as the gateway would give them with a hundred times as many jobs.
  const { items } = await adit.api("GET", "/jobs?limit=200");
  await page.route(/\/jobs\?/, (route) =>
    route.continue({
      url: route
        .request()
        .url()
        .replace(/limit=\d+/, "limit=2"),
    }),
  );
  await window.open("/jobs");
  await page.getByRole("table", { name: "Jobs" }).waitFor();
  await page.waitForFunction(
    (all) => document.querySelector("[role=table]").ariaRowCount === String(all + 1),
    items.length,
  );
});

test("Ctrl-K finds a command", async () => {
  const { page } = window;
  await window.open("/machines");
  await page.getByRole("table").waitFor();
  await page.keyboard.press("Control+K");
  await page.keyboard.type("kernel_ver");
  await page.getByRole("option", { selected: true }).getByText("kernel_version").waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "kernel_version" }).waitFor();
});

test("what is not there says so, and what cannot be read comes when it can", async () => {
  const { page } = window;
  await window.open("/commands/no_such_thing");
  await page.getByRole("heading", { name: "This command is not there, or not yours to run" }).waitFor();
  await window.open("/jobs/00000000-0000-7000-8000-000000000000");
  await page.getByText("There is no such job, or you may not see it.").waitFor();
  for (const [path, pattern] of [
    ["/commands", /\/commands$/],
    ["/jobs", /\/jobs\?/],
  ]) {
    await page.route(
      (url) => pattern.test(url.href) && !url.pathname.startsWith("/ui/"),
      (route) => route.abort(),
    );
    await window.open(path);
    await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor();
    await page.unrouteAll({ behavior: "wait" });
    await button("Try again").click();
    await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor({ state: "detached" });
  }
});

// CMD-11
test("who may only look sees jobs, and no way to run or to cancel one", async () => {
  const id = await start("nap", { seconds: 400 });
  const other = await browser.window(adit);
  await other.signIn((await adit.person("vera", "viewer")).link);
  const rail = other.page.getByRole("navigation", { name: "Parts" });
  await rail.getByRole("link", { name: "Jobs" }).click();
  assert.equal(await rail.getByRole("link", { name: "Commands" }).count(), 0);
  await other.page.getByRole("row").filter({ hasText: "seconds=400" }).click();
  await other.page.waitForURL(`**/ui/jobs/${id}`);
  await other.page.getByRole("status").getByText("Running").waitFor();
  for (const name of ["Run again", "Cancel"]) {
    assert.equal(await other.page.getByRole("button", { name }).count(), 0, name);
  }
  await other.open("/commands/nap");
  await other.page.getByRole("heading", { name: /not yours to run/ }).waitFor();
  await other.page.context().close();
});

// CMD-11
test("others agree to a job that they see exactly, or refuse it; nobody agrees to their own", async () => {
  const [wanted, doubted] = [await start("wary", { text: "exactly-this" }), await start("warier", { text: "or-that" })];
  await window.open(`/jobs/${wanted}`);
  await state("Awaits consent");
  await window.page.getByText("Somebody else must agree before it runs.").waitFor();
  for (const name of ["Agree", "Refuse"]) assert.equal(await button(name).count(), 0, name);
  await button("Cancel").waitFor();

  await adit.api("POST", "/api/v1/roles", {
    name: "approver",
    capabilities: ["access:approve", "job:view"],
  });
  const other = await browser.window(adit);
  await other.signIn((await adit.person("cora", "approver")).link);
  const { page } = other;
  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  const answer = (name) => page.getByRole("dialog").getByRole("button", { name, exact: true }).click();
  const reads = (word) => page.getByRole("status").getByText(word, { exact: true }).waitFor();
  await other.open(`/jobs/${wanted}`);
  await page.getByRole("list", { name: "What runs" }).getByText("exactly-this", { exact: true }).waitFor();
  await picture("job-consent", page);
  assert.deepEqual(await seriousFaults(page), []);
  await press("Agree");
  await answer("Agree");
  await reads("Succeeded");

  await other.open(`/jobs/${doubted}`);
  await press("Agree");
  await answer("Agree");
  await page.getByText("2 others must agree before it runs; cora did.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Agree", exact: true }).count(), 0, "one word each");
  await picture("job-consented", page);
  await press("Refuse");
  await answer("Refuse");
  await reads("Cancelled");
  await page.context().close();
});

// CMD-11
test("who may only agree is led to what awaits that, and back to the list after the word", async () => {
  await adit.api("POST", "/api/v1/roles", { name: "consenter", capabilities: ["access:approve"] });
  const other = await browser.window(adit);
  await other.signIn((await adit.person("dora", "consenter")).link);
  const { page } = other;
  await page.getByRole("navigation", { name: "Parts" }).getByRole("link", { name: "Jobs" }).click();
  const id = await start("wary", { text: "for dora" });
  await page.getByRole("row").filter({ hasText: "text=for dora" }).click();
  await page.waitForURL(`**/ui/jobs/${id}`);
  await page.getByRole("button", { name: "Agree", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Agree", exact: true }).click();
  await page.waitForURL("**/ui/jobs");
  await page.getByRole("heading", { level: 1, name: "Jobs" }).waitFor();
  await until(async () => (await adit.api("GET", `/jobs/${id}`)).status === "succeeded");
  assert.equal(await page.getByRole("row").filter({ hasText: "for dora" }).count(), 0);
  await picture("jobs-consenter", page);
  await page.context().close();
});

// CMD-11, CMD-13
test("the pages have no serious fault, light and dark, wide and narrow", async () => {
  const { page } = window;
  const failed = await ran("read_file", { path: "/usr/lib" });
  const painted = await ran("paint", { text: "\\033[1;32mgreen\\033[0m \\033[2Jx\\n" });
  const running = await start("nap", { seconds: 300 });
  const paths = [
    "/commands",
    "/commands?q=disk",
    "/commands/kinds",
    `/commands/list_files#on=${adit.machine}`,
    "/commands/gone",
    "/jobs",
    "/jobs?status=lost",
    `/jobs/${failed}`,
    `/jobs/${painted}`,
    `/jobs/${running}`,
    `/jobs?ids=${failed},${running}`,
  ];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 844 });
      for (const [at, path] of paths.entries()) {
        await window.open(path);
        await page.getByRole("heading").first().waitFor();
        await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
        if (path.startsWith("/commands/kinds")) await page.getByRole("button", { name: /^Run/ }).click();
        assert.deepEqual(await seriousFaults(page), [], `${path} ${colorScheme} ${width}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
        if (process.env.PICTURES)
          await page.screenshot({ path: `${process.env.PICTURES}/page-${at}-${colorScheme}-${width}.png` });
      }
    }
  }
  assert.deepEqual(browser.errors, []);
  assert.deepEqual(browser.foreign, []);
});

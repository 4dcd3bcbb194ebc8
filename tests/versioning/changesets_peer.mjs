// The real changesets, kept warm: carries out the steps of many repositories and tells what each step left behind.
//   node changesets_peer.mjs NODE_MODULES CASES.json RESULTS.json
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, casesFile, resultsFile] = process.argv.slice(2);
const command = (name) => import(pathToFileURL(path.join(modules, "@changesets/cli/dist", `${name}.mjs`)));
const { version } = await command("version");
const { status } = await command("status");
const { pre } = await command("pre");

process.stdout.write = () => true;
process.stderr.write = () => true;

const RealDate = Date;
const at = (milliseconds) =>
  class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [milliseconds]));
    }
  };

function tree(root, below = "") {
  const found = {};
  for (const entry of fs.readdirSync(path.join(root, below), { withFileTypes: true })) {
    const name = below ? `${below}/${entry.name}` : entry.name;
    if (entry.name === ".git") continue;
    if (entry.isDirectory()) Object.assign(found, tree(root, name));
    else found[name] = fs.readFileSync(path.join(root, name), "latin1");
  }
  return found;
}

function git(root, ...given) {
  return spawnSync("git", given, { cwd: root, encoding: "utf8" }).stdout;
}

async function carryOut(root, step) {
  if (step.do === "write") {
    for (const [name, text] of Object.entries(step.files)) {
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      if (text === null) fs.rmSync(path.join(root, name), { force: true });
      else fs.writeFileSync(path.join(root, name), text, "latin1");
    }
  } else if (step.do === "git") {
    for (const given of step.commands) git(root, ...given);
  } else if (step.do === "version") {
    globalThis.Date = at(step.now);
    await version({ cwd: root, ...step.options });
  } else if (step.do === "pre") {
    await pre({ cwd: root, command: step.command, tag: step.tag });
  } else if (step.do === "status") {
    const output = path.join(root, "..", `${path.basename(root)}.status.json`);
    await status({ cwd: root, output, ...step.options });
    return fs.readFileSync(output, "utf8");
  }
  return null;
}

const results = [];
for (const each of JSON.parse(fs.readFileSync(casesFile, "utf8"))) {
  fs.mkdirSync(each.root, { recursive: true });
  const told = [];
  for (const step of each.steps) {
    const result = { code: 0, said: null, error: null };
    try {
      result.said = await carryOut(each.root, step);
    } catch (error) {
      result.code = error.code === undefined || typeof error.code !== "number" ? 1 : error.code;
      result.error = String(error.stack);
    }
    globalThis.Date = RealDate;
    if (step.do !== "write" && step.do !== "git") result.tree = tree(each.root);
    if (each.git) result.head = git(each.root, "log", "-1", "--format=%B%T");
    told.push(result);
  }
  results.push(told);
}
fs.writeFileSync(resultsFile, JSON.stringify(results));

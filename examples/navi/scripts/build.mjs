// Builds one package into its dist folder: `node ../../scripts/build.mjs`, run in the package's folder.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const name = basename(process.cwd());
const text = (...path) => readFileSync(join("..", ...path), "utf8");
const versionOf = (other) => JSON.parse(text(other, "package.json")).version;

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");

switch (name) {
  case "navi-core":
  case "navi-react":
    cpSync("src/index.js", "dist/index.js");
    break;
  case "navi-portal":
    cpSync("src/index.html", "dist/index.html");
    cpSync("../navi-core/dist/index.js", "dist/core.js");
    writeFileSync("dist/version.json", JSON.stringify({ version: versionOf(name) }));
    break;
  case "navi-loader": {
    const { EVENTS } = await import(new URL("../packages/navi-core/dist/index.js", import.meta.url));
    const values = { VERSION: versionOf(name), PORTAL: versionOf("navi-portal"), EVENTS };
    const source = text(name, "src", "loader.js");
    const code = source.replace(/\b(VERSION|PORTAL|EVENTS)\b(?![^*]*\*\/)/g, (word) => JSON.stringify(values[word]));
    writeFileSync("dist/navi-loader.js", code);
    break;
  }
  case "navi-js":
    cpSync("src/index.js", "dist/index.js");
    writeFileSync("dist/shared.js", text(name, "src", "shared.ts")); // it holds no types, so it is JavaScript as well
    break;
  default:
    throw new Error(`there is no build for ${name}`);
}

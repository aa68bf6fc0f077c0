// ES modules: which file a name means, what is in it, and what modules of other kinds export.
"use strict";

const path = require("path");
const { coded, systemError } = require("errors");
const builtins = require("builtins");
const process = require("process");
const cjs = require("module_cjs");

const IMPORT = new Set(["node", "import", "module-sync"]);
/** Exports of modules that are none of the engine's, until their turn comes: URL -> function that gives pairs. */
const pending = new Map();

function urlOf(file) {
  return "file://" + encodeURI(file).replace(/[?#]/g, encodeURIComponent);
}

function fileOf(url) {
  return decodeURIComponent(url.slice("file://".length).replace(/[?#].*$/, ""));
}

function notFound(what, from, kind = "module") {
  return coded(Error, "ERR_MODULE_NOT_FOUND", `Cannot find ${kind} '${what}' imported from ${from}`);
}

/** Resolves a name to a URL, as seen from a module or script. */
function resolve(name, base) {
  if (name.startsWith("node:")) {
    if (!builtins.has(name)) throw coded(Error, "ERR_UNKNOWN_BUILTIN_MODULE", `No such built-in module: ${name}`);
    return name;
  }
  if (name.startsWith("data:")) return name;
  if (builtins.has(name)) return "node:" + name;
  if (/^https?:/.test(name)) {
    throw coded(Error, "ERR_UNSUPPORTED_ESM_URL_SCHEME", "Only URLs with a scheme in: file, data, and node are supported by the default ESM loader. Received protocol 'https:'");
  }
  const from = base.startsWith("file:") ? fileOf(base) : base.startsWith("/") ? base : module.exports.referrer ?? process.cwd() + "/[eval]";
  let file;
  let query = "";
  if (name.startsWith("file:")) {
    file = fileOf(name);
  } else if (name.startsWith("./") || name.startsWith("../") || name.startsWith("/") || name === "." || name === "..") {
    const [, plain, rest] = /^([^?#]*)(.*)$/s.exec(name);
    query = rest;
    file = path.resolve(path.dirname(from), decodeURIComponent(plain));
  } else if (name.startsWith("#")) {
    file = cjs.fromImports(name, from, IMPORT);
  } else {
    const [own, subpath] = cjs.splitName(name);
    const inside = cjs.packageOf(from);
    if (inside?.data.name === own && inside.data.exports !== undefined) file = cjs.fromExports(inside.directory, inside.data, subpath, IMPORT);
    for (const directory of cjs.Module._nodeModulePaths(path.dirname(from))) {
      if (file !== undefined) break;
      const root = path.join(directory, own);
      if (cjs.kindOf(root) !== 1) continue;
      const data = cjs.packageAt(root);
      if (data?.exports !== undefined) file = cjs.fromExports(root, data, subpath, IMPORT);
      else if (subpath !== ".") file = path.join(root, subpath);
      else file = [data?.main, data?.main && data.main + ".js", data?.main && data.main + "/index.js", "index.js", "index.json"]
        .filter(Boolean).map((one) => path.resolve(root, one)).find((one) => cjs.kindOf(one) === 0);
    }
    if (file === undefined) throw notFound(own, from, "package");
  }
  const kind = cjs.kindOf(file);
  if (kind === 1) throw coded(Error, "ERR_UNSUPPORTED_DIR_IMPORT", `Directory import '${file}' is not supported resolving ES modules imported from ${from}`);
  if (kind !== 0) throw notFound(file, from);
  const real = host.realpath(file);
  return urlOf(typeof real === "string" ? real : file) + query;
}

/** Gives the source of an ES module, or the names that a module of another kind exports. */
function load(url, attributes) {
  if (url.startsWith("node:")) {
    const names = new Set(["default"]);
    const exported = builtins.load(url);
    if (exported !== null && (typeof exported === "object" || typeof exported === "function")) {
      for (const key of Object.keys(exported)) names.add(key);
    }
    pending.set(url, () => pairs(exported, names));
    return [...names];
  }
  if (url.startsWith("data:")) {
    const [, kind, base64, body] = /^data:([^,;]*)[^,]*?(;base64)?,(.*)$/s.exec(url) ?? [];
    const text = base64 ? require("buffer").Buffer.from(decodeURIComponent(body), "base64").toString() : decodeURIComponent(body ?? "");
    if (kind === "application/json") return json(url, text);
    return text;
  }
  const file = fileOf(url);
  if (path.extname(file) === ".json" || attributes?.type === "json") {
    if (attributes?.type !== "json") {
      throw coded(TypeError, "ERR_IMPORT_ASSERTION_TYPE_MISSING", `Module "${url}" needs an import attribute of "type: json"`);
    }
    return json(url, cjs.readText(file));
  }
  const extension = path.extname(file);
  if (![".js", ".mjs", ".cjs", ""].includes(extension)) {
    throw coded(TypeError, "ERR_UNKNOWN_FILE_EXTENSION", `Unknown file extension "${extension}" for ${file}`);
  }
  if (cjs.isEsm(file)) return cjs.readText(file).replace(/^#!/, "//");
  return commonjs(url, file);
}

function json(url, text) {
  pending.set(url, () => ["default", JSON.parse(text)]);
  return ["default"];
}

/** A CommonJS module must name its exports before it runs: they are guessed from its text, as node does. */
function commonjs(url, file) {
  const names = guessed(file, new Set());
  names.add("default");
  pending.set(url, () => pairs(cjs.Module._load(file, null, false), names));
  return [...names];
}

function guessed(file, seen) {
  const names = new Set();
  if (seen.has(file)) return names;
  seen.add(file);
  const text = cjs.readText(file);
  for (const match of text.matchAll(/(?:^|[^.\w$])(?:module\.)?exports\.([A-Za-z_$][\w$]*)\s*=[^=]/g)) names.add(match[1]);
  for (const match of text.matchAll(/Object\.defineProperty\(\s*(?:module\.)?exports\s*,\s*(['"])([A-Za-z_$][\w$]*)\1/g)) names.add(match[2]);
  const literal = /(?:^|[^.\w$])module\.exports\s*=\s*\{([^}]*)\}/.exec(text);
  for (const part of literal?.[1].split(",") ?? []) {
    const match = /^\s*(?:async\s+)?(?:(['"])([A-Za-z_$][\w$]*)\1|([A-Za-z_$][\w$]*))\s*(?:[:(]|$)/.exec(part);
    if (match) names.add(match[2] ?? match[3]);
  }
  const again = /(?:^|[^.\w$])module\.exports\s*=\s*require\(\s*(['"])(.+?)\1\s*\)/.exec(text);
  if (again) {
    try {
      const target = cjs.Module._resolveFilename(again[2], Object.assign(new cjs.Module(file), { filename: file }));
      if (!builtins.has(target) && path.extname(target) !== ".json") guessed(target, seen).forEach((name) => names.add(name));
    } catch {
      // Running the module says what is wrong with it.
    }
  }
  return names;
}

function pairs(exported, names) {
  const list = [];
  for (const name of names) {
    if (name === "default") list.push("default", exported);
    else list.push(name, exported?.[name]);
  }
  return list;
}

function evaluate(url) {
  const give = pending.get(url);
  pending.delete(url);
  return give ? give() : [];
}

function meta(about, url) {
  about.url = url;
  if (url.startsWith("file:")) {
    about.filename = fileOf(url);
    about.dirname = path.dirname(about.filename);
  }
  about.resolve = (name) => resolve(name, url);
}

host.setHooks({ resolve, load, evaluate, meta, rejection: process.rejection });

/** Gives what `require` of an ES module does. */
function requireFile(file, parent) {
  const url = urlOf(file);
  const names = host.requireModule(url);
  if (names === undefined) {
    throw coded(Error, "ERR_REQUIRE_ASYNC_MODULE",
      "require() cannot be used on an ESM graph with top-level await. Use import() instead. To see where the top-level await comes from, " +
      `use --experimental-print-required-tla.\n  From ${parent ?? "unknown"} \n  Requiring ${file} `);
  }
  if (names === null) {
    throw coded(Error, "ERR_REQUIRE_CYCLE_MODULE",
      `Cannot require() ES Module ${file} in a cycle.${parent ? ` (from ${parent})` : ""} A cycle involving require(esm) is not allowed to maintain ` +
      "invariants mandated by the ECMAScript specification. Try making at least part of the dependency in the graph lazily loaded.");
  }
  if (Object.hasOwn(names, "module.exports")) return names["module.exports"];
  if (!Object.hasOwn(names, "default") || Object.hasOwn(names, "__esModule")) return names;
  // What compilers made of `import` asks a module with `default` whether it has been compiled too: one that says so stands before it.
  const from = JSON.stringify(url);
  const facade = `export * from ${from}; export { default } from ${from}; export const __esModule = true;`;
  return host.requireModule("data:text/javascript," + encodeURIComponent(facade));
}

/** Waits for a module as the program's own: what it throws ends the program, and what it waits for must come. */
function whole(promise) {
  const { timers } = { timers: require("timers") };
  let settled = false;
  promise.then(
    () => (settled = true),
    (error) => {
      settled = true;
      process.uncaught(error);
    },
  );
  process.once("exit", () => {
    if (!settled) {
      host.write(2, "Warning: Detected unsettled top-level await\n");
      process.exitCode ??= 13;
    }
  });
  timers.drain();
}

function runFile(file) {
  whole(host.importModule(urlOf(file), urlOf(file)));
}

function runSource(source, name) {
  const url = urlOf(name);
  const plain = load;
  hooks.load = (asked, attributes) => (asked === url ? source : plain(asked, attributes));
  const find = resolve;
  hooks.resolve = (asked, base) => (asked === url ? url : find(asked, base));
  host.setHooks(hooks);
  whole(host.importModule(url, url));
}
const hooks = { resolve, load, evaluate, meta, rejection: process.rejection };

module.exports = { runFile, runSource, requireFile, urlOf, fileOf, resolve, referrer: undefined };

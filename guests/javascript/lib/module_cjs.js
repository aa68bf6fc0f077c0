// CommonJS: finding modules as node does, and running them.
"use strict";

const path = require("path");
const { coded, systemError, unavailable } = require("errors");
const builtins = require("builtins");
const process = require("process");

function kindOf(file) {
  const found = host.stat(file, true);
  if (typeof found === "number") return -1;
  return (found[2] & 0o170000) === 0o040000 ? 1 : 0;
}

function readText(file) {
  const text = host.readFile(file, true);
  if (typeof text === "number") throw systemError(text, "open", file);
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

const packages = new Map();

/** The package.json in a directory; undefined when there is none. */
function packageAt(directory) {
  let found = packages.get(directory);
  if (found === undefined) {
    const file = path.join(directory, "package.json");
    found = null;
    if (kindOf(file) === 0) {
      try {
        found = JSON.parse(readText(file));
      } catch (error) {
        error.message = `Error parsing ${file}: ${error.message}`;
        error.path = file;
        throw error;
      }
    }
    packages.set(directory, found);
  }
  return found ?? undefined;
}

/** What a package is may have changed since. */
function forgetPackages() {
  packages.clear();
}

/** The nearest package above a file. */
function packageOf(file) {
  for (let directory = path.dirname(file); ; directory = path.dirname(directory)) {
    if (path.basename(directory) !== "node_modules") {
      const found = packageAt(directory);
      if (found !== undefined) return { directory, data: found };
    }
    if (directory === path.dirname(directory)) return undefined;
  }
}

/** Chooses from `exports` or `imports`. */
function chosen(target, conditions, directory, star) {
  if (typeof target === "string") return path.resolve(directory, star === undefined ? target : target.replaceAll("*", star));
  if (Array.isArray(target)) {
    for (const one of target) {
      const found = chosen(one, conditions, directory, star);
      if (found !== undefined && found !== null) return found;
    }
    return undefined;
  }
  if (target === null) return null;
  if (typeof target === "object") {
    for (const [condition, one] of Object.entries(target)) {
      if (condition !== "default" && !conditions.has(condition)) continue;
      const found = chosen(one, conditions, directory, star);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function matched(table, key, conditions, directory) {
  if (Object.hasOwn(table, key) && !key.includes("*")) return chosen(table[key], conditions, directory);
  const patterns = Object.keys(table).filter((pattern) => pattern.includes("*"));
  patterns.sort((left, right) => right.indexOf("*") - left.indexOf("*"));
  for (const pattern of patterns) {
    const [head, tail] = pattern.split("*");
    if (key.startsWith(head) && key.endsWith(tail) && key.length >= pattern.length) {
      return chosen(table[pattern], conditions, directory, key.slice(head.length, key.length - tail.length));
    }
  }
  return undefined;
}

/** Resolves a name inside a package by its `exports`. Throws when the package does not give it. */
function fromExports(directory, data, subpath, conditions) {
  let table = data.exports;
  if (typeof table === "string" || Array.isArray(table) || !Object.keys(table).some((key) => key.startsWith("."))) table = { ".": table };
  const found = matched(table, subpath, conditions, directory);
  if (found === undefined || found === null) {
    const where = `${directory}/package.json`;
    throw subpath === "."
      ? coded(Error, "ERR_PACKAGE_PATH_NOT_EXPORTED", `No "exports" main defined in ${where}`)
      : coded(Error, "ERR_PACKAGE_PATH_NOT_EXPORTED", `Package subpath '${subpath}' is not defined by "exports" in ${where}`);
  }
  return found;
}

/** Resolves a name that begins with `#`. */
function fromImports(name, file, conditions) {
  const own = packageOf(file);
  const found = own?.data.imports && matched(own.data.imports, name, conditions, own.directory);
  if (!found) throw coded(TypeError, "ERR_PACKAGE_IMPORT_NOT_DEFINED", `Package import specifier "${name}" is not defined`);
  return found;
}

function splitName(name) {
  const parts = name.split("/");
  const count = name.startsWith("@") ? 2 : 1;
  return [parts.slice(0, count).join("/"), parts.length > count ? "./" + parts.slice(count).join("/") : "."];
}

const REQUIRE = new Set(["node", "require", "module-sync"]);

function asFile(file) {
  if (kindOf(file) === 0) return file;
  for (const extension of Object.keys(Module._extensions)) if (kindOf(file + extension) === 0) return file + extension;
  return undefined;
}

function asDirectory(directory) {
  if (kindOf(directory) !== 1) return undefined;
  const main = packageAt(directory)?.main;
  if (typeof main === "string" && main !== "") {
    const file = path.resolve(directory, main);
    const found = asFile(file) ?? asIndex(file);
    if (found !== undefined) return found;
  }
  return asIndex(directory);
}

function asIndex(directory) {
  return kindOf(directory) === 1 ? asFile(path.join(directory, "index")) : undefined;
}

/** What a module begins in: the function around its source. */
function compileFunction(source, file) {
  if (source.startsWith("#!")) source = "//" + source;
  return host.evaluate(`(function (exports, require, module, __filename, __dirname) {\n${source}\n})`, file, -1);
}

class Module {
  constructor(id = "", parent) {
    this.id = id;
    this.path = path.dirname(id);
    this.exports = {};
    this.filename = null;
    this.loaded = false;
    this.children = [];
    this.paths = [];
    Object.defineProperty(this, "parent", { value: parent, configurable: true, writable: true, enumerable: false });
    parent?.children?.push(this);
  }

  require(id) {
    if (typeof id !== "string") throw require("errors").invalidArgType("id", "string", id);
    if (id === "") throw require("errors").invalidArgValue("id", id, "must be a non-empty string");
    return Module._load(id, this, false);
  }

  makeRequire() {
    const own = this;
    const made = (id) => own.require(id);
    Object.defineProperty(made, "name", { value: "require" });
    made.resolve = (name, options) => Module._resolveFilename(name, own, false, options);
    made.resolve.paths = (name) => (builtins.has(name) ? null : name.startsWith(".") ? [own.path] : own.paths);
    made.main = process.mainModule;
    made.extensions = Module._extensions;
    made.cache = Module._cache;
    return made;
  }

  load(file) {
    this.filename = file;
    this.paths = Module._nodeModulePaths(path.dirname(file));
    const extension = path.extname(file);
    (Module._extensions[extension] ?? Module._extensions[".js"])(this, file);
    this.loaded = true;
  }

  _compile(source, file) {
    const made = compileFunction(source, file);
    return made.call(this.exports, this.exports, this.makeRequire(), this, file, path.dirname(file));
  }

  static _cache = Object.create(null);
  static _pathCache = Object.create(null);
  static globalPaths = [];
  static builtinModules = builtins.names;
  static isBuiltin = (name) => builtins.has(name);
  static Module = Module;

  static _nodeModulePaths(from) {
    const paths = [];
    for (let directory = path.resolve(from); ; directory = path.dirname(directory)) {
      if (path.basename(directory) !== "node_modules") paths.push(path.join(directory, "node_modules"));
      if (directory === path.dirname(directory)) return paths;
    }
  }

  static _extensions = {
    __proto__: null,
    ".js"(module, file) {
      // What a package says of its files is said of those that are called .js: of others, text tells.
      const extension = path.extname(file);
      const kind = extension === ".cjs" ? "commonjs" : extension === ".js" ? packageOf(file)?.data.type : undefined;
      if (kind === "module") return requireEsm(module, file);
      const source = readText(file);
      if (kind === undefined && looksLikeEsm(source, file)) return requireEsm(module, file);
      module._compile(source, file);
    },
    ".json"(module, file) {
      try {
        module.exports = JSON.parse(readText(file));
      } catch (error) {
        error.message = `${file}: ${error.message}`;
        throw error;
      }
    },
    ".node"(module, file) {
      throw unavailable(`the native addon ${file}`, "only JavaScript runs here");
    },
  };

  static _resolveFilename(name, parent, isMain, options) {
    if (builtins.has(name)) return name;
    const from = parent?.filename ?? path.join(process.cwd(), "noop.js");
    let found;
    if (name.startsWith("./") || name.startsWith("../") || name === "." || name === ".." || path.isAbsolute(name)) {
      const bases = options?.paths ?? [parent?.filename ? path.dirname(parent.filename) : process.cwd()];
      for (const base of bases) {
        const file = path.resolve(base, name);
        found = (/(^|\/)\.{0,2}\/?$/.test(name) ? undefined : asFile(file)) ?? asDirectory(file);
        if (found !== undefined) break;
      }
    } else if (name.startsWith("#")) {
      found = asFile(fromImports(name, from, REQUIRE));
    } else {
      const [base, subpath] = splitName(name);
      const own = packageOf(from);
      if (own?.data.name === base && own.data.exports !== undefined) found = fromExports(own.directory, own.data, subpath, REQUIRE);
      const paths = options?.paths?.flatMap((one) => Module._nodeModulePaths(one)) ?? Module._nodeModulePaths(path.dirname(from));
      for (const directory of paths) {
        if (found !== undefined) break;
        const root = path.join(directory, base);
        if (kindOf(root) === 1 && packageAt(root)?.exports !== undefined) found = fromExports(root, packageAt(root), subpath, REQUIRE);
        else found = asFile(path.join(directory, name)) ?? asDirectory(path.join(directory, name));
      }
    }
    if (found === undefined || kindOf(found) !== 0) {
      const stack = [];
      for (let one = parent; one?.filename; one = one.parent) stack.push(one.filename);
      let message = `Cannot find module '${name}'`;
      if (stack.length > 0) message += "\nRequire stack:\n- " + stack.join("\n- ");
      throw Object.assign(new Error(message), { code: "MODULE_NOT_FOUND", requireStack: stack });
    }
    const real = host.realpath(found);
    return typeof real === "string" ? real : found;
  }

  static _load(name, parent, isMain) {
    if (builtins.has(name)) return builtins.load(name);
    const file = Module._resolveFilename(name, parent, isMain);
    const cached = Module._cache[file];
    if (cached !== undefined) return cached.exports;
    const module = new Module(file, parent);
    if (isMain) {
      process.mainModule = module;
      module.id = ".";
    }
    Module._cache[file] = module;
    let failed = true;
    try {
      module.load(file);
      failed = false;
    } finally {
      if (failed) delete Module._cache[file];
    }
    return module.exports;
  }

  static createRequire(from) {
    const given = from instanceof URL || String(from).startsWith("file:") ? require("url").fileURLToPath(from) : String(from);
    const file = given.endsWith("/") ? given + "noop.js" : given;
    const module = new Module(file);
    module.filename = file;
    module.paths = Module._nodeModulePaths(path.dirname(file));
    return module.makeRequire();
  }

  static wrap(source) {
    return `(function (exports, require, module, __filename, __dirname) { ${source}\n});`;
  }

  static syncBuiltinESMExports() {}
  static findSourceMap() {}
  static register() {}
  static runMain() {}
}

function requireEsm(module, file) {
  module.exports = require("module_esm").requireFile(file, module.parent?.filename);
}
Module._extensions[".mjs"] = requireEsm;

/** Says whether a file is an ES module by its name and package. */
function isEsm(file) {
  const extension = path.extname(file);
  if (extension === ".mjs") return true;
  if (extension === ".cjs" || extension === ".json" || extension === ".node") return false;
  const { type } = packageOf(file)?.data ?? {};
  return type === "module" || (type === undefined && looksLikeEsm(readText(file), file));
}

/** Says whether code is none as a script, and some as a module. */
function looksLikeEsm(source, file) {
  if (!/^\s*(?:import|export)\b|\bimport\.meta\b|\bawait\b/m.test(source)) return false;
  try {
    compileFunction(source, file);
    return false;
  } catch {
    try {
      host.compileModule(source, `file://${encodeURI(file)}?as-module`);
      return true;
    } catch {
      return false;
    }
  }
}

/** Runs the program's own file. */
function runMain(file, checkOnly) {
  let found = asFile(file) ?? asDirectory(file);
  if (found === undefined) {
    const error = new Error(`Cannot find module '${file}'`);
    throw Object.assign(error, { code: "MODULE_NOT_FOUND", requireStack: [] });
  }
  const real = host.realpath(found);
  if (typeof real === "string") found = real;
  process.argv[1] = found;
  const esm = require("module_esm");
  if (checkOnly) return isEsm(found) ? host.compileModule(readText(found), esm.urlOf(found)) : compileFunction(readText(found), found);
  if (isEsm(found)) return esm.runFile(found);
  Module._load(found, null, true);
}

module.exports = { Module, runMain, compileFunction, packageAt, forgetPackages, packageOf, fromExports, fromImports, splitName, kindOf, readText, isEsm, looksLikeEsm };

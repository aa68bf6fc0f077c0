// The module `vm`, as far as one global object goes.
"use strict";

const { unavailable } = require("errors");

class Script {
  constructor(source, options) {
    this.source = String(source);
    this.file = (typeof options === "string" ? options : options?.filename) ?? "evalmachine.<anonymous>";
    host.evaluate(this.source, this.file, 1, true);
  }
  runInThisContext() {
    return host.evaluate(this.source, this.file, 1);
  }
  runInContext(context) {
    // Names of the context are looked up first, and set there when they are there.
    const scope = new Proxy(context, { has: () => true, get: (target, name) => (name === Symbol.unscopables ? undefined : name in target ? target[name] : globalThis[name]) });
    return new Function("scope", "source", "with (scope) { return eval(source); }").call(context, scope, this.source);
  }
  runInNewContext(context = {}) {
    return this.runInContext(context);
  }
}

const contexts = new WeakSet();
const createContext = (context = {}) => (contexts.add(context), context);

module.exports = {
  Script,
  createContext,
  isContext: (context) => contexts.has(context),
  runInThisContext: (source, options) => new Script(source, options).runInThisContext(),
  runInContext: (source, context, options) => new Script(source, options).runInContext(context),
  runInNewContext: (source, context, options) => new Script(source, options).runInContext(createContext(context)),
  compileFunction: (source, names = []) => new Function(...names, source),
  measureMemory: () => Promise.reject(unavailable("vm.measureMemory")),
};

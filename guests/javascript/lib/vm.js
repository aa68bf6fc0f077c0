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
    // Names of the context are looked up first, and names that the program makes up are set there.
    const own = ["eval", "scopeOfTheContext", "sourceOfTheScript"];
    const scope = new Proxy(context, {
      has: (_, name) => !own.includes(name),
      get: (target, name) => {
        if (name === Symbol.unscopables) return undefined;
        if (name in target) return target[name];
        if (name in globalThis) return globalThis[name];
        throw new ReferenceError(`${String(name)} is not defined`);
      },
    });
    const run = new Function("scopeOfTheContext", "sourceOfTheScript", "with (scopeOfTheContext) { return eval(sourceOfTheScript); }");
    return run.call(scope, scope, this.source);
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

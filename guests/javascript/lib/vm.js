// The module `vm`, as far as one global object goes.
"use strict";

const { unavailable } = require("errors");

/** What every context has: the language's own, and nothing of node's. */
const LANGUAGE = new Set([
  "AggregateError", "Array", "ArrayBuffer", "Atomics", "BigInt", "BigInt64Array", "BigUint64Array", "Boolean", "DataView", "Date", "Error",
  "EvalError", "FinalizationRegistry", "Float32Array", "Float64Array", "Function", "Infinity", "Int16Array", "Int32Array", "Int8Array", "Intl",
  "Iterator", "JSON", "Map", "Math", "NaN", "Number", "Object", "Promise", "Proxy", "RangeError", "ReferenceError", "Reflect", "RegExp", "Set",
  "SharedArrayBuffer", "String", "Symbol", "SyntaxError", "TypeError", "URIError", "Uint16Array", "Uint32Array", "Uint8Array",
  "Uint8ClampedArray", "WeakMap", "WeakRef", "WeakSet", "console", "decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape",
  "isFinite", "isNaN", "parseFloat", "parseInt", "undefined", "unescape",
]);

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
    const { source } = this;
    const own = ["eval", "scopeOfTheContext", "sourceOfTheScript"];
    const scope = new Proxy(context, {
      has: (_, name) => !own.includes(name),
      get: (target, name) => {
        if (name === Symbol.unscopables) return undefined;
        if (name in target) return target[name];
        if (name === "globalThis") return context;
        if (LANGUAGE.has(name)) return globalThis[name];
        // `typeof` of a name that is nowhere is no error. That it is what asks can't be seen from here, only read.
        if (source.includes(`typeof ${String(name)}`) || source.includes(`typeof(${String(name)}`)) return undefined;
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

// What V8's call sites can tell and the engine's can't: programs that write stack traces of their own ask for all of it.
// A frame here does not know the `this` of its call, so that it says what V8 says of strict code.
"use strict";

const missing = {
  getThis: () => undefined,
  getTypeName: () => null,
  getMethodName: () => null,
  getEvalOrigin: () => undefined,
  getPromiseIndex: () => null,
  getScriptHash: () => "",
  getPosition: () => 0,
  isToplevel: () => true,
  isEval: () => false,
  isAsync: () => false,
  isPromiseAll: () => false,
  getScriptNameOrSourceURL() {
    return this.getFileName();
  },
  getEnclosingLineNumber() {
    return this.getLineNumber();
  },
  getEnclosingColumnNumber() {
    return this.getColumnNumber();
  },
  toString() {
    const name = this.getFunctionName();
    const file = this.getFileName() ?? "<anonymous>";
    const line = this.getLineNumber();
    const place = this.isNative() ? "native" : line === null ? file : `${file}:${line}:${this.getColumnNumber()}`;
    return name ? `${this.isConstructor() ? "new " : ""}${name} (${place})` : place;
  },
};

const prototype = host.callSitePrototype();
for (const [name, value] of Object.entries(missing)) Object.defineProperty(prototype, name, { value, writable: true, configurable: true });

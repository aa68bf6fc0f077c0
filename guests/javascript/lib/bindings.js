// What node's own files ask of the program around them, over our host functions: `internalBinding`.
"use strict";

const { system } = require("errors");

const noop = () => {};
const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);
const classOf = (value) => (value !== null && (typeof value === "object" || typeof value === "function") ? host.className(value) : undefined);
const is = (...names) => (value) => names.includes(classOf(value));
const symbols = new Map();

/** Symbols that parts of node share; which there are is decided by who asks. */
function shared(kind) {
  return new Proxy({}, {
    get(_, name) {
      if (typeof name === "symbol") return undefined;
      const key = `${kind}.${name}`;
      if (!symbols.has(key)) symbols.set(key, Symbol(name));
      return symbols.get(key);
    },
  });
}

const types = {
  isExternal: () => false,
  isDate: is("Date"),
  isArgumentsObject: (value) => is("Arguments")(value) || (typeof value === "object" && value !== null && tag(value) === "Arguments" && !Array.isArray(value)),
  isBigIntObject: is("BigInt"),
  isBooleanObject: is("Boolean"),
  isNumberObject: is("Number"),
  isStringObject: is("String"),
  isSymbolObject: is("Symbol"),
  isBoxedPrimitive: is("BigInt", "Boolean", "Number", "String", "Symbol"),
  isNativeError: is("Error"),
  isRegExp: is("RegExp"),
  isAsyncFunction: (value) => typeof value === "function" && /^async\b/.test(Function.prototype.toString.call(value)) && tag(value) !== "GeneratorFunction",
  isGeneratorFunction: (value) => typeof value === "function" && (tag(value) === "GeneratorFunction" || tag(value) === "AsyncGeneratorFunction"),
  isGeneratorObject: is("Generator", "AsyncGenerator"),
  isPromise: is("Promise"),
  isMap: is("Map"),
  isSet: is("Set"),
  isMapIterator: is("Map Iterator"),
  isSetIterator: is("Set Iterator"),
  isWeakMap: is("WeakMap"),
  isWeakSet: is("WeakSet"),
  isArrayBuffer: is("ArrayBuffer"),
  isDataView: is("DataView"),
  isSharedArrayBuffer: is("SharedArrayBuffer"),
  isAnyArrayBuffer: is("ArrayBuffer", "SharedArrayBuffer"),
  isProxy: (value) => (typeof value === "object" || typeof value === "function") && value !== null && host.proxyParts(value) !== undefined,
  isModuleNamespaceObject: is("Module"),
  isCryptoKey: () => false,
  isKeyObject: () => false,
  isEventTarget: () => false,
};

const previewed = (iterator, isIterator) => {
  const found = host.iteratorEntries(iterator);
  if (found !== undefined) {
    const [pairs, ...entries] = found;
    return isIterator ? [entries, pairs] : entries;
  }
  if (types.isMap(iterator)) return isIterator ? [[...Map.prototype.entries.call(iterator)].flat(), true] : [...iterator].flat();
  if (types.isSet(iterator)) return isIterator ? [[...iterator], false] : [...iterator];
  return isIterator ? [[], false] : [];
};

/** Gives [line, column, file] of the code that called a function of the library. */
function getCallerLocation() {
  for (const line of new Error().stack.split("\n").slice(1)) {
    const found = /\(?(?:file:\/\/)?([^ ()]+):(\d+):(\d+)\)?$/.exec(line);
    if (found) return [Number(found[2]), Number(found[3]), found[1]];
  }
}

const util = {
  constants: {
    kPending: 0, kFulfilled: 1, kRejected: 2, kExiting: 0, kExitCode: 1, kHasExitCode: 2,
    ALL_PROPERTIES: 0, ONLY_WRITABLE: 1, ONLY_ENUMERABLE: 2, ONLY_CONFIGURABLE: 4, SKIP_STRINGS: 8, SKIP_SYMBOLS: 16,
    kDisallowCloneAndTransfer: 0, kTransferable: 1, kCloneable: 2,
  },
  privateSymbols: shared("private"),
  shouldAbortOnUncaughtToggle: [0],
  getPromiseDetails: (promise) => {
    const [state, result] = host.promiseState(promise);
    return state === 0 ? [state, undefined] : [state, result];
  },
  getProxyDetails: (value, both = true) => {
    const parts = typeof value === "object" || typeof value === "function" ? value && host.proxyParts(value) : undefined;
    return parts === undefined || parts === null ? undefined : both ? parts : parts[0];
  },
  getCallerLocation,
  previewEntries: previewed,
  getOwnNonIndexProperties: (value, filter) =>
    Reflect.ownKeys(value).filter((key) => {
      if (typeof key === "string" && /^(0|[1-9]\d*)$/.test(key) && Number(key) < 2 ** 32 - 1) return false;
      if (typeof key === "symbol" && (filter & 16) !== 0) return false;
      return (filter & 2) === 0 || Object.prototype.propertyIsEnumerable.call(value, key);
    }),
  getConstructorName: (value) => {
    for (let object = value; object !== null; object = Object.getPrototypeOf(object)) {
      const found = Object.getOwnPropertyDescriptor(object, "constructor");
      if (found && typeof found.value === "function" && found.value.name !== "") return found.value.name;
    }
    return "";
  },
  getExternalValue: () => 0n,
  sleep: (ms) => host.sleep(ms),
  isInsideNodeModules: () => false,
  defineLazyProperties(target, id, keys, enumerable = true) {
    for (const key of keys) {
      Object.defineProperty(target, key, {
        configurable: true,
        enumerable,
        get() {
          const value = require(id)[key];
          Object.defineProperty(target, key, { value, configurable: true, enumerable, writable: true });
          return value;
        },
        set(value) {
          Object.defineProperty(target, key, { value, configurable: true, enumerable, writable: true });
        },
      });
    }
  },
  guessHandleType: (fd) => {
    const found = host.stat(fd);
    if (typeof found === "number") return "INVALID";
    const kind = found[2] & 0o170000;
    return kind === 0o010000 ? "PIPE" : kind === 0o020000 && host.isatty(fd) ? "TTY" : "FILE";
  },
  toUSVString: (text) => text.toWellFormed(),
  getSystemErrorName: (number) => system[-number]?.[0],
  isConstructor: (value) => {
    try {
      Reflect.construct(Object, [], value);
      return true;
    } catch {
      return false;
    }
  },
  parseEnv: (text) => {
    const found = {};
    for (const line of text.split("\n")) {
      const match = /^\s*(?:export\s+)?([\w.-]+)\s*=\s*(.*?)\s*$/.exec(line);
      if (match) found[match[1]] = match[2].replace(/^(['"`])(.*)\1$/, "$2");
    }
    return found;
  },
  getCallSites: () => [],
  getCallSite: () => [],
  arrayBufferViewHasBuffer: () => true,
  isArrayBufferDetached: (buffer) => buffer.detached,
  WeakReference: class WeakReference {
    constructor(value) {
      this.value = value;
    }
    get() {
      return this.value;
    }
    incRef() {}
    decRef() {}
  },
};

const errors = {
  setPrepareStackTraceCallback: noop,
  setGetSourceMapErrorSource: noop,
  setSourceMapsEnabled: noop,
  setMaybeCacheGeneratedSourceMap: noop,
  setEnhanceStackForFatalException: noop,
  noSideEffectsToString: String,
  triggerUncaughtException: (error) => require("process").uncaught(error),
  exitCodes: { kNoFailure: 0, kGenericUserError: 1, kUnsettledTopLevelAwait: 13 },
  kNoFailure: 0,
  kGenericUserError: 1,
};

const uv = new Map(Object.entries(system).map(([number, [name, words]]) => [-Number(number), [name, words]]));
const uvBinding = {
  errname: (number) => uv.get(number)?.[0] ?? `Unknown system error ${number}`,
  getErrorMap: () => uv,
  getErrorMessage: (number) => uv.get(number)?.[1] ?? `Unknown system error ${number}`,
};
for (const [number, [name]] of uv) uvBinding[`UV_${name}`] = number;
Object.assign(uvBinding, { UV_EOF: -4095, UV_ENOSYS: -38, UV_EAI_MEMORY: -3006 });

const signals = {
  SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGILL: 4, SIGTRAP: 5, SIGABRT: 6, SIGIOT: 6, SIGBUS: 7, SIGFPE: 8, SIGKILL: 9, SIGUSR1: 10,
  SIGSEGV: 11, SIGUSR2: 12, SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGCHLD: 17, SIGSTKFLT: 16, SIGCONT: 18, SIGSTOP: 19, SIGTSTP: 20,
  SIGTTIN: 21, SIGTTOU: 22, SIGURG: 23, SIGXCPU: 24, SIGXFSZ: 25, SIGVTALRM: 26, SIGPROF: 27, SIGWINCH: 28, SIGIO: 29, SIGPOLL: 29,
  SIGPWR: 30, SIGSYS: 31,
};
const errnos = {};
for (const [number, [name]] of Object.entries(system)) errnos[name] = Number(number);
const fs = {
  UV_FS_SYMLINK_DIR: 1, UV_FS_SYMLINK_JUNCTION: 2, O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2, UV_DIRENT_UNKNOWN: 0, UV_DIRENT_FILE: 1,
  UV_DIRENT_DIR: 2, UV_DIRENT_LINK: 3, UV_DIRENT_FIFO: 4, UV_DIRENT_SOCKET: 5, UV_DIRENT_CHAR: 6, UV_DIRENT_BLOCK: 7,
  S_IFMT: 61440, S_IFREG: 32768, S_IFDIR: 16384, S_IFCHR: 8192, S_IFBLK: 24576, S_IFIFO: 4096, S_IFLNK: 40960, S_IFSOCK: 49152,
  O_CREAT: 64, O_EXCL: 128, UV_FS_O_FILEMAP: 0, O_NOCTTY: 256, O_TRUNC: 512, O_APPEND: 1024, O_DIRECTORY: 65536, O_NOATIME: 262144,
  O_NOFOLLOW: 131072, O_SYNC: 1052672, O_DSYNC: 4096, O_DIRECT: 16384, O_NONBLOCK: 2048, S_IRWXU: 448, S_IRUSR: 256, S_IWUSR: 128,
  S_IXUSR: 64, S_IRWXG: 56, S_IRGRP: 32, S_IWGRP: 16, S_IXGRP: 8, S_IRWXO: 7, S_IROTH: 4, S_IWOTH: 2, S_IXOTH: 1, F_OK: 0, R_OK: 4,
  W_OK: 2, X_OK: 1, UV_FS_COPYFILE_EXCL: 1, COPYFILE_EXCL: 1, UV_FS_COPYFILE_FICLONE: 2, COPYFILE_FICLONE: 2,
  UV_FS_COPYFILE_FICLONE_FORCE: 4, COPYFILE_FICLONE_FORCE: 4,
};
const constants = {
  os: {
    UV_UDP_REUSEADDR: 4,
    dlopen: { RTLD_LAZY: 1, RTLD_NOW: 2, RTLD_GLOBAL: 256, RTLD_LOCAL: 0 },
    errno: errnos,
    signals,
    priority: { PRIORITY_LOW: 19, PRIORITY_BELOW_NORMAL: 10, PRIORITY_NORMAL: 0, PRIORITY_ABOVE_NORMAL: -7, PRIORITY_HIGH: -14, PRIORITY_HIGHEST: -20 },
  },
  fs,
  crypto: {},
  get zlib() {
    return require("zlib_binding").constants;
  },
  trace: { TRACE_EVENT_PHASE_BEGIN: 66, TRACE_EVENT_PHASE_END: 69, TRACE_EVENT_PHASE_COUNTER: 67 },
  internal: { EXTENSIONLESS_FORMAT_JAVASCRIPT: 0, EXTENSIONLESS_FORMAT_WASM: 1 },
};

const options = Object.assign(Object.create(null), Object.fromEntries([
  ["--stack-trace-limit", 10], ["--unhandled-rejections", "throw"], ["--warnings", true], ["--pending-deprecation", false],
  ["--no-deprecation", false], ["--preserve-symlinks", false], ["--experimental-eventsource", false], ["--verify-base-objects", false],
  ["--test-only", false], ["--test", false], ["--test-name-pattern", []], ["--test-reporter", []], ["--test-reporter-destination", []],
  ["--experimental-test-coverage", false], ["--test-concurrency", 0], ["--test-timeout", 0], ["--watch", false], ["--icu-data-dir", ""],
]));

const lazyBindings = {
  blob: () => require("blob_binding"),
  buffer: () => require("buffer_binding"),
  encoding_binding: () => require("buffer_binding").encoding,
  string_decoder: () => ({ encodings: ["ascii", "utf8", "base64", "utf16le", "latin1", "hex", "buffer", "base64url"] }),
  url: () => require("url_binding"),
  zlib: () => require("zlib_binding"),
};

const known = {
  types,
  util,
  errors,
  uv: uvBinding,
  constants,
  config: {
    hasIntl: false, hasSmallICU: false, hasInspector: false, hasOpenSSL: false, fipsMode: false, hasTracing: false, hasNodeOptions: true,
    noBrowserGlobals: false, isDebugBuild: false, bits: 32, hasDtrace: false, getDefaultLocale: () => "en-US",
  },
  symbols: shared("symbol"),
  messaging: {
    MessageChannel: class MessageChannel {}, MessagePort: class MessagePort {}, JSTransferable: class {}, setDeserializerCreateFunction: noop,
    get DOMException() {
      return require("dom_exception").DOMException;
    },
    structuredClone: (value, transfer) => require("clone").structuredClone(value, transfer), exposeLazyDOMExceptionProperty: noop,
  },
  trace_events: {
    trace: noop, isTraceCategoryEnabled: () => false, setTraceCategoryStateUpdateHandler: noop, available: false,
    getCategoryEnabledBuffer: () => new Uint8Array(1),
  },
  async_wrap: {
    setupHooks: noop, setCallbackTrampoline: noop, registerDestroyHook: noop, async_hook_fields: new Uint32Array(16),
    async_id_fields: new Float64Array(16), async_ids_stack: new Float64Array(32), execution_async_resources: [], pushAsyncContext: noop,
    popAsyncContext: () => false, clearAsyncIdStack: noop, executionAsyncResource: noop, setPromiseHooks: noop, getPromiseHooks: () => [],
    constants: {
      kInit: 0, kBefore: 1, kAfter: 2, kDestroy: 3, kPromiseResolve: 4, kTotals: 5, kCheck: 6, kStackLength: 7, kUsesExecutionAsyncResource: 8,
      kExecutionAsyncId: 0, kTriggerAsyncId: 1, kAsyncIdCounter: 2, kDefaultTriggerAsyncId: 3,
    },
    Providers: {},
  },
  task_queue: { tickInfo: [0, 0], runMicrotasks: () => host.runJobs(), setTickCallback: noop, enqueueMicrotask: queueMicrotask, promiseRejectEvents: {}, setPromiseRejectCallback: noop },
  credentials: { safeGetenv: (name) => require("process").env[name], implementsPosixCredentials: true },
  options: {
    getCLIOptionsValues: () => options, getOptionValue: (name) => options[name], getEmbedderOptions: () => ({}), envSettings: {}, types: {},
    shouldNotRegisterESMLoader: true, noGlobalSearchPaths: false,
  },
  mksnapshot: { setSerializeCallback: noop, setDeserializeCallback: noop, setDeserializeMainFunction: noop, isBuildingSnapshotBuffer: [0], runEmbedderPreload: noop, compileSerializeMain: noop, anonymousMainPath: "__node_anonymous_main" },
  performance: { now: () => Number(host.monotonic()) / 1e6, constants: {}, observerCounts: [], milestones: [] },
  builtins: { builtinIds: [], natives: {}, hasCachedBuiltins: () => true, compileFunction: noop },
  permission: { has: () => true },
  worker: { isMainThread: true, isInternalThread: false, ownsProcessState: true, threadId: 0 },
  report: { shouldReportOnUncaughtException: () => false },
  process_methods: { setEmitWarningSync: noop, hrtime: noop, hrtimeBigInt: noop, loadEnvFile: noop },
  timers: { setupTimers: noop, scheduleTimer: noop, toggleTimerRef: noop, toggleImmediateRef: noop, getLibuvNow: () => Number(host.monotonic()) / 1e6, immediateInfo: new Uint32Array(3), timerInfo: new Int32Array(1) },
  inspector: {},
  contextify: { constants: { measureMemory: {} }, startSigintWatchdog: noop, stopSigintWatchdog: noop, watchdogHasPendingSigint: () => false },
  module_wrap: { ModuleWrap: class {}, kInstantiated: 2, kEvaluated: 4, kErrored: 5 },
  fs: { statValues: new Float64Array(36), bigintStatValues: new BigInt64Array(36), internalModuleStat: noop },
  heap_utils: {},
  stream_wrap: { WriteWrap: class {}, ShutdownWrap: class {}, kReadBytesOrError: 0, kLastWriteWasAsync: 1, streamBaseState: new Int32Array(5) },
  v8: {},
  symbol: {},
};

/** Gives what a file of node asks of the program around it. */
function internalBinding(name) {
  if (!(name in known) && name in lazyBindings) known[name] = lazyBindings[name]();
  if (!(name in known)) throw new Error(`No such binding: ${name}`);
  return known[name];
}

module.exports = { internalBinding, signals, constants, options };

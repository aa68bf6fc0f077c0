// Parsing of URLs by the WHATWG's rules, in the form that node's URL asks for: the text, and where its parts begin and end.
// https://url.spec.whatwg.org/#url-parsing
"use strict";

const { coded } = require("errors");

const SPECIAL = { "http:": 80, "https:": 443, "ws:": 80, "wss:": 443, "ftp:": 21, "file:": null };
// The kinds that node numbers: http, not special, https, ws, ftp, wss, file.
const TYPES = { "http:": 0, "https:": 2, "ws:": 3, "ftp:": 4, "wss:": 5, "file:": 6 };
const components = new Uint32Array(9);
const NONE = 0xffffffff;

const percent = (set) => (text) => {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code > 0x7e || code < 0x20 || set.includes(character)) {
      out += [...new Uint8Array(host.encode(character.isWellFormed() ? character : "\ufffd", "utf8"))].map((byte) => "%" + byte.toString(16).toUpperCase().padStart(2, "0")).join("");
    } else out += character;
  }
  return out;
};
const inFragment = percent(' "<>`');
const inQuery = percent(' "#<>');
const inSpecialQuery = percent(" \"#<>'");
const inPath = percent(' "#<>?`{}^');
const inUser = percent(' "#<>?`{}/:;=@[\\]^|');
const inOpaque = percent("");

function ipv4(host_) {
  const parts = host_.split(".");
  if (parts.at(-1) === "" && parts.length > 1) parts.pop();
  const isNumber = (part) => /^\d+$/.test(part) || /^0[xX][0-9a-fA-F]*$/.test(part);
  if (!isNumber(parts.at(-1))) return undefined;
  if (parts.length > 4) return null;
  const numbers = [];
  for (const part of parts) {
    if (!isNumber(part)) return null;
    const number = /^0[xX]/.test(part) ? parseInt(part.slice(2) || "0", 16) : part.length > 1 && part[0] === "0" ? (/^[0-7]+$/.test(part) ? parseInt(part, 8) : NaN) : Number(part);
    if (Number.isNaN(number)) return null;
    numbers.push(number);
  }
  const last = numbers.pop();
  if (numbers.some((number) => number > 255) || last >= 256 ** (4 - numbers.length)) return null;
  let value = last;
  numbers.forEach((number, index) => (value += number * 256 ** (3 - index)));
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

function ipv6(text) {
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (embedded) {
    const four = embedded[2].split(".").map(Number);
    if (four.some((part) => part > 255)) return null;
    text = embedded[1] + ((four[0] << 8) | four[1]).toString(16) + ":" + ((four[2] << 8) | four[3]).toString(16);
  }
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const pieces = (half) => (half === "" ? [] : half.split(":"));
  const [left, right] = [pieces(halves[0]), pieces(halves[1] ?? "")];
  if (![...left, ...right].every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return null;
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...left, ...Array(halves.length === 1 ? 0 : missing).fill("0"), ...right].map((part) => parseInt(part, 16));
  let [best, bestLength] = [-1, 1];
  for (let index = 0; index < 8; index++) {
    let length = 0;
    while (index + length < 8 && all[index + length] === 0) length++;
    if (length > bestLength) [best, bestLength] = [index, length];
  }
  const words = all.map((part) => part.toString(16));
  if (best < 0) return `[${words.join(":")}]`;
  return `[${words.slice(0, best).join(":")}::${words.slice(best + bestLength).join(":")}]`;
}

function hostOf(text, special) {
  if (text.startsWith("[")) return text.endsWith("]") ? ipv6(text.slice(1, -1)) : null;
  if (!special) return /[\0\t\n\r #/:<>?@[\\\]^|]/.test(text) ? null : inOpaque(text);
  let name;
  try {
    name = decodeURIComponent(text.replace(/%(?![0-9a-fA-F]{2})/g, "%25"));
  } catch {
    return null;
  }
  name = require("punycode").toASCII(name.normalize("NFKC").toLowerCase());
  if (name === "" || /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/.test(name)) return null;
  return ipv4(name) === undefined ? name : ipv4(name);
}

function segmentsOf(path, special, base, isFile) {
  const out = base ?? [];
  const parts = (special ? path.replace(/\\/g, "/") : path).split("/");
  parts.forEach((part, index) => {
    const last = index === parts.length - 1;
    const plain = part.replace(/%2e/gi, ".");
    if (plain === "..") {
      if (!(isFile && out.length === 1 && /^[a-zA-Z]:$/.test(out[0]))) out.pop();
      if (last) out.push("");
    } else if (plain === ".") {
      if (last) out.push("");
    } else out.push(inPath(isFile && out.length === 0 && /^[a-zA-Z][:|]$/.test(part) ? part[0] + ":" : part));
  });
  return out;
}

/** Takes a URL apart; null when it is none. */
function take(input, base) {
  const text = input.replace(/^[\0-\x20]+|[\0-\x20]+$/g, "").replace(/[\t\n\r]/g, "");
  const url = { protocol: "", user: "", password: "", host: null, port: "", path: [], opaque: null, query: null, fragment: null };
  let rest = text;
  const hash = rest.indexOf("#");
  if (hash >= 0) {
    url.fragment = inFragment(rest.slice(hash + 1));
    rest = rest.slice(0, hash);
  }
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(rest);
  if (scheme) {
    url.protocol = scheme[1].toLowerCase() + ":";
    rest = rest.slice(scheme[0].length);
  } else if (!base) return null;
  const special = (scheme ? url.protocol : base.protocol) in SPECIAL;
  const slashes = special ? /^[/\\]*/ : /^\/*/;
  const relative = !scheme || (special && base?.protocol === url.protocol && url.protocol !== "file:" && !/^[/\\]{1}/.test(rest) && base.opaque === null && false);
  const takeQuery = () => {
    const mark = rest.indexOf("?");
    if (mark < 0) return false;
    url.query = (special ? inSpecialQuery : inQuery)(rest.slice(mark + 1));
    rest = rest.slice(0, mark);
    return true;
  };
  const hasQuery = takeQuery();
  const isFile = (scheme ? url.protocol : base.protocol) === "file:";
  const authority = (body) => {
    const end = body.search(special ? /[/\\]/ : /\//);
    let own = end < 0 ? body : body.slice(0, end);
    const tail = end < 0 ? "" : body.slice(end + 1);
    const at = own.lastIndexOf("@");
    if (at >= 0) {
      const [user, ...password] = own.slice(0, at).split(":");
      url.user = inUser(user);
      url.password = inUser(password.join(":"));
      own = own.slice(at + 1);
      if (own === "") return false;
    }
    const port = /:(\d*)$/.exec(own);
    if (port && !/\[[^\]]*$/.test(own)) {
      own = own.slice(0, port.index);
      if (port[1] !== "") {
        if (Number(port[1]) > 65535) return false;
        url.port = Number(port[1]) === SPECIAL[url.protocol] ? "" : String(Number(port[1]));
      }
    } else if (/:[^\]]*$/.test(own) && !own.startsWith("[")) return false;
    if (isFile) {
      url.host = own === "" || own.toLowerCase() === "localhost" ? "" : hostOf(own, true);
      if (/^[a-zA-Z][:|]$/.test(own)) (url.host = ""), (url.path = segmentsOf(own + (end < 0 ? "" : "/" + tail), true, [], true));
    } else if (own === "") {
      if (special || at >= 0 || url.port !== "") return false;
      url.host = "";
    } else url.host = hostOf(own, special);
    if (url.host === null) return false;
    if (url.path.length === 0) url.path = end < 0 ? (special ? [""] : []) : segmentsOf(tail, special, [], isFile);
    return true;
  };
  if (!scheme) {
    if (base.opaque !== null) {
      if (rest !== "" || hasQuery || hash < 0) return null;
      return { ...base, fragment: url.fragment };
    }
    url.protocol = base.protocol;
    if ((special ? /^[/\\]{2}/ : /^\/\//).test(rest)) return authority(rest.slice(2).replace(special && !isFile ? slashes : /^(?!)/, "")) ? url : null;
    Object.assign(url, { user: base.user, password: base.password, host: base.host, port: base.port });
    if ((special ? /^[/\\]/ : /^\//).test(rest)) url.path = segmentsOf(rest.slice(1), special, [], isFile);
    else if (rest === "") {
      url.path = [...base.path];
      if (!hasQuery) url.query = base.query;
    } else url.path = segmentsOf(rest, special, base.path.slice(0, -1), isFile);
    return url;
  }
  if (isFile) {
    if (/^[/\\]{2}/.test(rest)) return authority(rest.slice(2)) ? url : null;
    url.host = "";
    const from = base?.protocol === "file:" && !/^[/\\]/.test(rest) ? base.path.slice(0, -1) : [];
    url.path = segmentsOf(rest.replace(/^[/\\]/, ""), true, from, true);
    return url;
  }
  if (special) {
    if (base?.protocol === url.protocol && !/^[/\\]/.test(rest)) return take(text.slice(scheme[0].length), base);
    return authority(rest.replace(slashes, "")) ? url : null;
  }
  if (rest.startsWith("//")) return authority(rest.slice(2)) ? url : null;
  if (rest.startsWith("/")) url.path = segmentsOf(rest.slice(1), false, [], false);
  else url.opaque = inOpaque(rest);
  return url;
}

/** Writes a URL, and where its parts are. */
function write(url) {
  let text = url.protocol;
  const protocolEnd = text.length;
  let userEnd = protocolEnd;
  let hostStart = protocolEnd;
  let hostEnd = protocolEnd;
  if (url.host !== null) {
    text += "//";
    text += url.user;
    userEnd = text.length;
    if (url.password !== "") text += ":" + url.password;
    hostStart = text.length;
    if (url.user !== "" || url.password !== "") text += "@";
    text += url.host;
    hostEnd = text.length;
    if (url.port !== "") text += ":" + url.port;
  } else if (url.opaque === null && url.path.length > 1 && url.path[0] === "") text += "/.";
  const pathStart = text.length;
  text += url.opaque ?? (url.path.length > 0 ? "/" + url.path.join("/") : "");
  const searchStart = url.query === null ? NONE : text.length;
  if (url.query !== null) text += "?" + url.query;
  const hashStart = url.fragment === null ? NONE : text.length;
  if (url.fragment !== null) text += "#" + url.fragment;
  components.set([protocolEnd, userEnd, hostStart, hostEnd, url.port === "" ? NONE : Number(url.port), pathStart, searchStart, hashStart, TYPES[url.protocol] ?? 1]);
  return text;
}

function parsed(input, base) {
  let from;
  if (base !== undefined) {
    from = take(`${base}`);
    if (from === null) return null;
  }
  return take(`${input}`, from);
}

function parse(input, base, raise) {
  const url = parsed(input, base);
  if (url !== null) return write(url);
  if (raise) {
    const error = coded(TypeError, "ERR_INVALID_URL", "Invalid URL");
    error.input = `${input}`;
    if (base !== undefined) error.base = `${base}`;
    throw error;
  }
}

// The numbers that node's setters give: protocol, host, hostname, port, username, password, pathname, search, hash, href.
const SETTERS = [
  (url, value) => {
    const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):?/.exec(value);
    if (!scheme) return;
    const protocol = scheme[1].toLowerCase() + ":";
    if (protocol in SPECIAL !== url.protocol in SPECIAL) return;
    url.protocol = protocol;
    if (Number(url.port) === SPECIAL[protocol]) url.port = "";
  },
  (url, value) => replaceHost(url, value, true),
  (url, value) => replaceHost(url, value, false),
  (url, value) => {
    if (value === "") url.port = "";
    const digits = /^\d+/.exec(value);
    if (digits && Number(digits[0]) < 65536) url.port = Number(digits[0]) === SPECIAL[url.protocol] ? "" : String(Number(digits[0]));
  },
  (url, value) => void (url.host && (url.user = inUser(value))),
  (url, value) => void (url.host && (url.password = inUser(value))),
  (url, value) => {
    if (url.opaque === null) url.path = segmentsOf(value.replace(url.protocol in SPECIAL ? /^[/\\]/ : /^\//, ""), url.protocol in SPECIAL, [], url.protocol === "file:");
  },
  (url, value) => (url.query = value === "" ? null : (url.protocol in SPECIAL ? inSpecialQuery : inQuery)(value.replace(/^\?/, ""))),
  (url, value) => (url.fragment = value === "" ? null : inFragment(value.replace(/^#/, ""))),
];

function replaceHost(url, value, withPort) {
  const other = take(`${url.protocol}//${value.replace(/[/?#].*$/, "")}`);
  if (other === null || url.opaque !== null) return;
  url.host = other.host;
  if (withPort && /:\d+$/.test(value)) url.port = other.port;
}

function update(href, action, value) {
  if (action === 9) return parse(value, undefined, false) ?? false;
  const url = take(href);
  SETTERS[action](url, `${value}`);
  return write(url);
}

module.exports = {
  urlUpdateActions: { kProtocol: 0, kHost: 1, kHostname: 2, kPort: 3, kUsername: 4, kPassword: 5, kPathname: 6, kSearch: 7, kHash: 8, kHref: 9 },
  urlComponents: components,
  parse,
  canParse: (input, base) => parsed(input, base) !== null,
  update,
  domainToASCII: (name) => hostOf(name, true) ?? "",
  domainToUnicode: (name) => require("punycode").toUnicode(hostOf(name, true) ?? ""),
  format(href, hash, unicode, search, auth) {
    const url = take(href);
    if (!hash) url.fragment = null;
    if (!search) url.query = null;
    if (!auth) url.user = url.password = "";
    if (unicode && url.host) url.host = require("punycode").toUnicode(url.host);
    return write(url);
  },
  getOrCreateList: () => undefined,
  pathToFileURL(path, windows, base) {
    return parse("file://" + encodeURI(path).replace(/[?#]/g, encodeURIComponent), undefined, true);
  },
};

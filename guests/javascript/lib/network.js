// Modules of the network: there is none in the sandbox, and whoever uses one is told so.
"use strict";

const { coded } = require("errors");

const made = new Map();
const CLASSES = {
  http: ["Agent", "Server", "ClientRequest", "IncomingMessage", "ServerResponse", "OutgoingMessage"], https: ["Agent", "Server"],
  net: ["Socket", "Server", "Stream", "BlockList"], tls: ["TLSSocket", "Server"], dgram: ["Socket"], http2: [], dns: ["Resolver"],
  "dns/promises": ["Resolver"], cluster: [], inspector: ["Session"],
};
const FUNCTIONS = {
  http: ["request", "get", "createServer"], https: ["request", "get", "createServer"], net: ["connect", "createConnection", "createServer"],
  tls: ["connect", "createServer"], dgram: ["createSocket"], dns: ["lookup", "resolve", "resolve4", "resolve6", "reverse"],
  "dns/promises": ["lookup", "resolve", "resolve4", "resolve6", "reverse"], http2: ["connect", "createServer", "createSecureServer"],
  cluster: ["fork", "setupPrimary"], inspector: ["open", "url"],
};

function refused(what) {
  return coded(Error, "ERR_NO_NETWORK", `${what}: this sandbox has no network`);
}

function module_(name) {
  if (made.has(name)) return made.get(name);
  const exported = {};
  for (const one of FUNCTIONS[name]) {
    exported[one] = { [one]() { throw refused(`${name}.${one}`); } }[one];
  }
  for (const one of CLASSES[name]) {
    exported[one] = { [one]: class extends require("events") { constructor() { super(); if (one !== "Agent" && one !== "BlockList") throw refused(`${name}.${one}`); } } }[one];
  }
  if (name === "http") {
    exported.METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    exported.STATUS_CODES = { 200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 418: "I'm a Teapot", 422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable" };
  }
  if (name === "http" || name === "https") exported.globalAgent = new exported.Agent();
  if (name === "net") {
    exported.isIPv4 = (text) => /^(\d{1,3}\.){3}\d{1,3}$/.test(text) && text.split(".").every((part) => part < 256 && String(Number(part)) === part);
    exported.isIPv6 = (text) => /^[0-9a-fA-F:.]+$/.test(text) && text.includes(":") && text.split("::").length <= 2;
    exported.isIP = (text) => (exported.isIPv4(text) ? 4 : exported.isIPv6(text) ? 6 : 0);
  }
  if (name === "cluster") Object.assign(exported, { isPrimary: true, isMaster: true, isWorker: false, workers: {} });
  if (name === "dns") exported.promises = module_("dns/promises");
  made.set(name, exported);
  return exported;
}

/** `fetch` as it fails without a network. */
async function fetch(input) {
  const url = String(input?.url ?? input);
  if (url.startsWith("data:")) {
    const { Response } = require("fetch_types");
    const [, kind, base64, body] = /^data:([^,;]*)[^,]*?(;base64)?,(.*)$/s.exec(url) ?? [];
    const bytes = require("buffer").Buffer.from(decodeURIComponent(body ?? ""), base64 ? "base64" : "utf8");
    return new Response(bytes, { headers: { "content-type": kind || "text/plain" } });
  }
  throw new TypeError("fetch failed", { cause: refused(`fetch ${url}`) });
}

module.exports = { module: module_, fetch };

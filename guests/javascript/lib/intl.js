// American English, which is what node speaks without settings: numbers, dates and comparing text.
"use strict";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

function formatNumber(value, options = {}) {
  const { style = "decimal", currency = "USD", useGrouping = true } = options;
  if (typeof value === "bigint") return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  if (Number.isNaN(value)) return "NaN";
  const money = style === "currency";
  const least = options.minimumFractionDigits ?? (money ? 2 : 0);
  const most = options.maximumFractionDigits ?? Math.max(least, money ? 2 : style === "percent" ? 0 : 3);
  const number = Math.abs(style === "percent" ? value * 100 : value);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  if (!Number.isFinite(number)) return `${sign}∞`;
  let [whole, part = ""] = number.toFixed(Math.min(most, 20)).split(".");
  while (part.length > least && part.endsWith("0")) part = part.slice(0, -1);
  if (useGrouping) whole = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const text = part === "" ? whole : `${whole}.${part}`;
  const symbol = { USD: "$", EUR: "€", GBP: "£", JPY: "¥" }[currency] ?? `${currency} `;
  return `${sign}${money ? symbol : ""}${text}${style === "percent" ? "%" : ""}`;
}

function dateText(date, options) {
  const utc = options?.timeZone === "UTC";
  const get = (name) => (utc ? date[`getUTC${name}`]() : date[`get${name}`]());
  const { weekday, year, month, day } = options ?? {};
  if (options?.dateStyle || month === "long" || month === "short" || weekday) {
    const style = options?.dateStyle;
    const long = style === "long" || style === "full" || month === "long";
    const name = long ? MONTHS[get("Month")] : MONTHS[get("Month")].slice(0, 3);
    if (style === "short") return `${get("Month") + 1}/${get("Date")}/${String(get("FullYear")).slice(-2)}`;
    const parts = [];
    const dayName = DAYS[get("Day")];
    if (style === "full" || weekday) parts.push(style === "full" || weekday === "long" ? dayName : dayName.slice(0, 3));
    const middle = [month || style ? name : "", day || style ? get("Date") : ""].filter((part) => part !== "").join(" ");
    if (middle) parts.push(middle);
    if (year || style) parts.push(get("FullYear"));
    return parts.join(", ");
  }
  const two = (value, how) => (how === "2-digit" ? String(value).padStart(2, "0") : value);
  const parts = [];
  const any = year || month || day;
  if (!any || month) parts.push(two(get("Month") + 1, month));
  if (!any || day) parts.push(two(get("Date"), day));
  if (!any || year) parts.push(year === "2-digit" ? String(get("FullYear")).slice(-2) : get("FullYear"));
  return parts.join("/");
}

function timeText(date, options) {
  const utc = options?.timeZone === "UTC";
  const get = (name) => (utc ? date[`getUTC${name}`]() : date[`get${name}`]());
  const hour12 = options?.hour12 ?? true;
  const hours = get("Hours");
  const shown = hour12 ? hours % 12 || 12 : hours;
  const two = (value) => String(value).padStart(2, "0");
  const seconds = options?.timeStyle === "short" || (options?.hour && !options?.second) ? "" : `:${two(get("Seconds"))}`;
  const first = options?.hour === "2-digit" || !hour12 ? two(shown) : shown;
  return `${first}:${two(get("Minutes"))}${seconds}${hour12 ? ` ${hours < 12 ? "AM" : "PM"}` : ""}`;
}

function compare(left, right, options = {}) {
  const key = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const [a, b] = [String(left), String(right)];
  if (options.numeric) {
    const pieces = (text) => key(text).match(/\d+|\D+/g) ?? [];
    const [one, other] = [pieces(a), pieces(b)];
    for (let index = 0; index < Math.min(one.length, other.length); index++) {
      const numbers = /^\d/.test(one[index]) && /^\d/.test(other[index]) ? Number(one[index]) - Number(other[index]) : 0;
      if (numbers !== 0) return Math.sign(numbers);
      if (one[index] !== other[index]) return one[index] < other[index] ? -1 : 1;
    }
    if (one.length !== other.length) return one.length - other.length;
  }
  const rank = (text) => [...key(text)].map((character) => (/[\p{L}]/u.test(character) ? "2" : /\d/.test(character) ? "1" : "0") + character).join("");
  if (rank(a) !== rank(b)) return rank(a) < rank(b) ? -1 : 1;
  if (options.sensitivity === "base" || options.sensitivity === "accent" || a === b) return 0;
  const accents = (text) => text.normalize("NFD").toLowerCase();
  if (accents(a) !== accents(b)) return accents(a) < accents(b) ? -1 : 1;
  // Small letters come before large ones.
  return a < b ? 1 : -1;
}

class Format {
  constructor(locale, options = {}) {
    this.options = options;
  }
  resolvedOptions() {
    return { locale: "en-US", numberingSystem: "latn", timeZone: "UTC", ...this.options };
  }
}
class NumberFormat extends Format {
  format = (value) => formatNumber(typeof value === "bigint" ? value : Number(value), this.options);
}
class DateTimeFormat extends Format {
  format = (value = new Date()) => {
    const date = new Date(value);
    const { options } = this;
    const wantsTime = options.hour || options.minute || options.second || options.timeStyle;
    const wantsDate = options.year || options.month || options.day || options.weekday || options.dateStyle || !wantsTime;
    return [wantsDate && dateText(date, options), wantsTime && timeText(date, options)].filter(Boolean).join(", ");
  };
}
class Collator extends Format {
  compare = (left, right) => compare(left, right, this.options);
}
class PluralRules extends Format {
  select(number) {
    if (this.options.type !== "ordinal") return number === 1 ? "one" : "other";
    const [ten, hundred] = [number % 10, number % 100];
    return ten === 1 && hundred !== 11 ? "one" : ten === 2 && hundred !== 12 ? "two" : ten === 3 && hundred !== 13 ? "few" : "other";
  }
}
class ListFormat extends Format {
  format(list) {
    const words = [...list];
    const link = this.options.type === "disjunction" ? "or" : "and";
    return words.length < 3 ? words.join(` ${link} `) : `${words.slice(0, -1).join(", ")}, ${link} ${words.at(-1)}`;
  }
}
class RelativeTimeFormat extends Format {
  format(value, unit) {
    const name = unit.replace(/s$/, "") + (Math.abs(value) === 1 ? "" : "s");
    return value < 0 || Object.is(value, -0) ? `${formatNumber(-value)} ${name} ago` : `in ${formatNumber(value)} ${name}`;
  }
}
class Segmenter extends Format {
  segment(text) {
    return [...text].map((segment, index) => ({ segment, index, input: text }));
  }
}

const legacy = Symbol("IntlLegacyConstructedSymbol");

/** What was there before classes may be called without `new`; on an object that inherits from it, it leaves what it makes there. */
function callable(made, inherits) {
  const called = new Proxy(made, {
    apply(_, self, args) {
      const format = new called(...args);
      if (!inherits || !(self instanceof called)) return format;
      return Object.defineProperty(self, legacy, { value: format });
    },
  });
  Object.defineProperty(made.prototype, "constructor", { value: called });
  return called;
}

const Intl = {
  NumberFormat: callable(NumberFormat, true), DateTimeFormat: callable(DateTimeFormat, true), Collator: callable(Collator, false), PluralRules, ListFormat, RelativeTimeFormat, Segmenter, getCanonicalLocales: (list) => [list].flat(), supportedValuesOf: () => [],
};
Object.defineProperty(Intl, Symbol.toStringTag, { value: "Intl" });

module.exports = {
  Intl,
  methods: {
    Number: { toLocaleString(locale, options) { return formatNumber(Number(this), options); } },
    BigInt: { toLocaleString() { return formatNumber(BigInt(this)); } },
    Date: {
      toLocaleString(locale, options) { return options && Object.keys(options).some((key) => key !== "timeZone") ? new DateTimeFormat(locale, options).format(this) : `${dateText(this, options)}, ${timeText(this, options)}`; },
      toLocaleDateString(locale, options) { return dateText(this, options); },
      toLocaleTimeString(locale, options) { return timeText(this, options); },
    },
    String: { localeCompare(other, locale, options) { return compare(this, other, options); } },
  },
};

// Figures as people read them, and elements whose text is only ever text.

const NOTHING = "–";

function count(number) {
  return Math.round(number).toLocaleString("en-US");
}

function shortCount(number) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size * 0.9995) {
      const value = number / size;
      return (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0)) + unit;
    }
  }
  return number.toFixed(0);
}

function rate(perSecond) {
  if (!(perSecond > 0)) return "0";
  if (perSecond < 1) return perSecond.toFixed(2);
  return perSecond < 100 ? perSecond.toFixed(1) : count(perSecond);
}

function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  if (value < 0.0995) return (value >= 0.00005 && value < 0.00995 ? (value * 1000).toFixed(1) : (value * 1000).toFixed(0)) + " ms";
  if (value < 99.5) return (value < 9.995 ? value.toFixed(2) : value.toFixed(1)) + " s";
  return spanOfTime(value);
}

function spanOfTime(value) {
  const whole = Math.round(value), two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return (value < 9.95 ? value.toFixed(1) : whole) + " s";
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d ${two(Math.floor((whole % 86400) / 3600))}h`;
}

function money(usd) {
  if (usd === null || usd === undefined || Number.isNaN(usd)) return "?";
  if (usd === 0) return "$0";
  if (usd < 0.0001) return "<$0.0001";
  if (usd < 0.1) return "$" + usd.toFixed(4);
  if (usd < 1) return "$" + usd.toFixed(3);
  return "$" + usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

// Characters without a shape of their own: controls, escape sequences, bidi overrides, tags. Joiners stay: scripts need them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udfff]/u;
const EACH_UNSEEN = new RegExp(UNSEEN.source, "gu");

function spelled(char) {
  const code = char.codePointAt(0);
  if (code < 0x100) return "\\x" + code.toString(16).padStart(2, "0");
  return code < 0x10000 ? "\\u" + code.toString(16).padStart(4, "0") : "\\U" + code.toString(16).padStart(8, "0");
}

// Someone else's text as nodes: what can't be seen is spelled out, so that it can't lie about what stands there.
function visible(text) {
  text = String(text);
  if (!UNSEEN.test(text)) return [text];
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(EACH_UNSEEN)) {
    if (found.index > from) nodes.push(text.slice(from, found.index));
    nodes.push(el("span", { class: "esc" }, spelled(found[0])));
    from = found.index + found[0].length;
    if (nodes.length > 4000) break;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

function plain(text) {
  return String(text).replace(EACH_UNSEEN, spelled);
}

// An element. `attributes`: `on` holds listeners, `vars` CSS custom properties and lengths; all else are attributes.
function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A name that someone chose, apart from what stands around it, whichever way it is written.
function named(text) {
  return el("bdi", {}, visible(text));
}

const STATUS_COLOURS = {
  ok: "var(--ok)", error: "var(--bad)", timeout: "var(--warn)", cancelled: "var(--cancelled)", skipped: "var(--skipped)",
  stopped: "var(--cancelled)",
};

function dot(status) {
  return el("i", { class: "dot", vars: { "--c": STATUS_COLOURS[status] || "var(--faint)" } });
}

function sectionHead(title, text) {
  return el("div", { class: "section-head" }, el("h2", {}, title), text ? el("p", {}, text) : null);
}

function emptyState(title, ...text) {
  return el("div", { class: "empty" }, el("b", {}, title), el("p", {}, ...text));
}

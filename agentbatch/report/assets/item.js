// One item: what became of it, its timeline, its output, and what its steps gave.

const SPAN_COLOURS = { item: "var(--soft)", group: "var(--group)", agent: "var(--agent)", chat: "var(--accent)", tool: "var(--tool)" };
const MOST_SPANS_DRAWN = 300;

class ItemSheet {
  constructor(data, rows, places) {
    Object.assign(this, { data, rows, places });
    this.dialog = document.getElementById("item");
    this.texts = new Unpacked("texts", data.table.textBlockSize);
    this.timelines = new Unpacked("timelines", data.table.timelineBlockSize);
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.close(); });
    this.dialog.addEventListener("close", () => setHash(""));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.step = () => null;
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.go(by);
  }

  go(by) {
    const row = this.step(by);
    if (row !== null) this.open(row);
  }

  close() {
    this.dialog.close();
  }

  async open(row) {
    this.row = row;
    const [texts, timeline] = await Promise.all([
      this.texts.at(row), this.places[row] ? this.timelines.at(this.places[row] - 1) : null,
    ]);
    if (this.row !== row) return;  // another was asked for in the meantime
    this.dialog.replaceChildren(this.head(row), this.body(row, texts, timeline));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector(".sheet").focus({ preventScroll: true });
    setHash("item=" + encodeURIComponent(this.rows.id[row]));
  }

  head(row) {
    const status = this.data.statuses[this.rows.status[row]];
    const button = (text, label, act) => el("button", { type: "button", class: "quiet", "aria-label": label, title: label, on: { click: act } }, text);
    return el("div", { class: "sheet-head" },
      el("h2", { id: "item-title" }, named(this.rows.id[row])),
      el("span", { class: "pill", vars: { "--c": STATUS_COLOURS[status] } }, dot(status), status),
      el("span", { class: "steps" }, button("←", "Item before (left arrow)", () => this.go(-1)), button("→", "Next item (right arrow)", () => this.go(1)), button("Close", "Close (Esc)", () => this.close())));
  }

  body(row, [line, trace, output, error, steps], timeline) {
    return el("div", { class: "sheet", tabindex: "-1" },
      error ? fault(error, this.data.meanings) : null,
      this.facts(row),
      el("div", {}, el("h3", {}, "Timeline"), timeline ? waterfall(timeline, this.data) : noTimeline(steps, this.data)),
      output ? el("div", {}, el("h3", {}, "Output"), textBlock(output, line)) : null,
      this.inputs(timeline),
      steps.length ? el("div", {}, el("h3", {}, "Steps"), steps.map((step) => stepDetails(step, line))) : null,
      el("p", { class: "ids" }, `Line ${count(line)} of the results`, trace ? [", trace ", el("span", { class: "mono" }, visible(trace))] : null));
  }

  facts(row) {
    const { rows } = this;
    const fact = (name, value, more) => el("div", {}, el("dt", {}, name), el("dd", {}, value, more ? el("small", {}, more) : null));
    const began = rows.start[row], origin = this.data.run.course.start_s;
    return el("dl", { class: "facts" },
      fact("Work", seconds(rows.work[row])),
      fact("Queue", seconds(rows.queued[row])),
      fact("Cost", money(rows.cost[row])),
      fact("Tokens", shortCount(rows.tokens[row]), `${shortCount(rows.in[row])} in, ${shortCount(rows.out[row])} out${rows.cut[row] ? "; cut by max_tokens" : ""}`),
      fact("Requests", count(rows.requests[row]), Number.isNaN(began) || origin === null ? null : `began ${seconds(Math.max(0, began + this.data.table.origin - origin))} in`));
  }

  inputs(timeline) {
    const calls = timeline ? timeline[2].filter((span) => span[11] && span[11].said) : [];
    if (!calls.length) {
      return el("div", {}, el("h3", {}, "Input"), el("p", { class: "soft" }, "Inputs are not in the results. The prompts, as they were sent, are in the traces of a run whose config says ", el("span", { class: "mono" }, "trace: {content: true}"), "."));
    }
    const asked = calls[0][11].said.filter(([role]) => role !== "assistant");
    return el("div", {}, el("h3", {}, "Input"), asked.map(turn),
      calls.length > 1 ? el("p", { class: "cut" }, `This is what the first of ${count(calls.length)} calls was asked. The others stand in the timeline: choose one.`) : null);
  }
}

function setHash(hash) {
  try {
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  } catch {
    // a page from a file may not be allowed to
  }
}

function fault([type, message, agent, http], meanings) {
  return el("div", { class: "fault" }, el("b", {}, named(type)), agent || http ? el("span", { class: "soft" }, agent ? [" in ", named(agent)] : null, http ? ` · HTTP ${http}` : null) : null,
    el("p", { dir: "auto" }, visible(message)), meanings && meanings[type] ? el("p", { class: "soft" }, meanings[type]) : null);
}

function textBlock([text, length, isJson], line) {
  return [
    el("pre", { class: isJson ? "text" : "text prose", dir: "auto", tabindex: "0" }, visible(text)),
    length ? el("p", { class: "cut" }, `The first ${count(text.length)} of ${count(length)} characters; all of it is in line ${count(line)} of the results.`) : null,
  ];
}

function stepDetails([path, isFlow, status, queued, work, attempts, given, made, cost, output, error], line) {
  const figures = isFlow ? [] : [attempts ? plural(attempts, "request") : null, given + made ? `${shortCount(given)} in, ${shortCount(made)} out` : null, cost ? money(cost) : null];
  const facts = [status === "skipped" ? "left out" : seconds(work / 1e4), queued > 10000 && queued > work / 20 ? `queued ${seconds(queued / 1e4)}` : null, ...figures].filter(Boolean).join(" · ");
  const content = [error ? fault(error) : null, output === 1 ? el("p", { class: "soft" }, "Its output is the item's.") : output ? textBlock(output, line) : null];
  if (!content.some(Boolean)) content.push(el("p", { class: "soft" }, isFlow ? "A group: its members stand below." : "It gave no output."));
  return el("details", { open: Boolean(error) && !isFlow }, el("summary", {}, el("span", { class: "name" }, dot(status), " ", named(path)), el("span", { class: "soft" }, facts)), ...content);
}

// Without a trace nobody knows when a step began: lengths only.
function noTimeline(steps, data) {
  const timed = steps.filter(([, isFlow, status]) => !isFlow && status !== "skipped");
  const why = data.traces ? "This item has no trace." : "There are no traces beside the results.";
  if (!timed.length) return emptyState("No timeline", why);
  const most = Math.max(...timed.map((step) => step[3] + step[4]), 1);
  const rows = timed.map(([path, , status, queued, work]) => el("div", { class: "span-row" },
    el("span", { class: "who" }, named(path)),
    el("span", { class: "track" }, bar("queue", 0, queued / most), bar("", queued / most, work / most, status === "ok" ? "var(--accent)" : STATUS_COLOURS[status])),
    el("span", { class: "took" }, seconds(work / 1e4))));
  return el("div", {}, el("div", { class: "fall" }, rows), el("p", { class: "cut" }, `${why} These are lengths, hatched while it queued; when each began is not known.`));
}

function bar(name, from, length, colour) {
  if (!(length > 0) && name) return null;
  return el("i", { class: name, vars: { left: from * 100 + "%", width: length * 100 + "%", "--c": colour || "transparent" } });
}

function waterfall([unit, leftOut, spans], data) {
  const decoded = spans.map(([kind, name, parent, start, length, status, queued, attempt, given, made, cost, more]) => ({
    kind: data.spanKinds[kind], name, parent, start, length, status: data.spanStatuses[status || 0], queued: queued || 0, attempt, given, made, cost, more: more || {},
  }));
  const ordered = inTreeOrder(decoded), origin = decoded.reduce((least, span) => Math.min(least, span.kind === "chat" ? span.start - span.queued : span.start), 0);
  const total = decoded.reduce((most, span) => Math.max(most, span.start + span.length), 1) - origin;
  const scale = { origin, total, unit: unit / 1e6 };
  const body = el("div", {}), drawTo = (end) => body.replaceChildren(...ordered.slice(0, end).map((span) => spanRow(span, scale)));
  drawTo(MOST_SPANS_DRAWN);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((at) => el("span", { vars: { left: at * 100 + "%" } }, at ? seconds(at * total * scale.unit) : "0"));
  const all = ordered.length > MOST_SPANS_DRAWN ? el("p", { class: "cut" }, el("button", { type: "button", class: "link", vars: { "max-width": "none" }, on: { click: (event) => { drawTo(ordered.length); event.target.closest("p").remove(); } } }, `Show all ${count(ordered.length)} spans`)) : null;
  const key = (colour, text, hatch) => el("span", {}, el("i", { class: hatch ? "hatch" : "", vars: { "--c": colour } }), text);
  const kinds = new Set(decoded.map((span) => span.kind));
  return el("div", {},
    el("div", { class: "fall" }, el("div", { class: "fall-axis" }, el("span", {}, ""), el("div", { class: "ticks" }, ticks), el("span", {})), body),
    el("div", { class: "legend keys" }, kinds.has("chat") ? key("var(--accent)", "model call") : null, kinds.has("tool") ? key("var(--tool)", "tool") : null,
      decoded.some((span) => span.error || span.status === "error" || span.status === "timeout") ? key("var(--bad)", "failed") : null,
      decoded.some((span) => span.kind === "chat" && span.queued) ? key("var(--faint)", "queued", true) : null,
      decoded.some((span) => span.more.waits) ? key("var(--warn)", "waiting to retry", true) : null),
    leftOut ? el("p", { class: "cut" }, `${plural(leftOut, "later span")} of this item are only in the trace file.`) : null, all);
}

// Children under their parents, each by its beginning; how deep it lies and what it used with all below it.
function inTreeOrder(spans) {
  const children = spans.map(() => []), roots = [];
  spans.forEach((span, place) => (span.parent >= 0 ? children[span.parent] : roots).push(place));
  const ordered = [], waiting = roots.reverse().map((place) => [place, 0]);
  while (waiting.length) {
    const [place, depth] = waiting.pop();
    spans[place].depth = depth;
    spans[place].label = shortName(spans[place], spans[spans[place].parent]);
    ordered.push(spans[place]);
    for (const child of children[place].reverse()) waiting.push([child, depth + 1]);
  }
  for (const span of ordered.toReversed()) {
    span.usedIn = (span.usedIn || 0) + (span.given || 0);
    span.usedOut = (span.usedOut || 0) + (span.made || 0);
    span.paid = (span.paid || 0) + (span.cost || 0);
    if (span.parent >= 0) {
      const parent = spans[span.parent];
      parent.usedIn = (parent.usedIn || 0) + span.usedIn;
      parent.usedOut = (parent.usedOut || 0) + span.usedOut;
      parent.paid = (parent.paid || 0) + span.paid;
    }
  }
  return ordered;
}

// What a step is called under its parent: `writer` in `refine[2]`, whose path is `refine[2].writer`.
function shortName(span, parent) {
  if (span.kind === "item") return "item";
  const path = span.more.path || span.name, above = parent && (parent.more.path || parent.name);
  return above && path.startsWith(above + ".") ? path.slice(above.length + 1) : path;
}

function spanRow(span, { origin, total, unit }) {
  const at = (time) => (time - origin) / total, leaf = span.kind === "chat" || span.kind === "tool";
  const failed = span.status === "error" || span.status === "timeout";
  const colour = failed && leaf ? "var(--bad)" : span.status === "cancelled" || span.status === "stopped" ? "var(--cancelled)" : SPAN_COLOURS[span.kind];
  const bars = [
    leaf && span.queued ? bar("queue", at(span.start - span.queued), span.queued / total) : null,
    bar(span.kind === "item" || span.kind === "group" ? "thin" : span.kind === "agent" ? "mid" : "", at(span.start), span.length / total, colour),
    ...(span.more.waits || []).map(([from, length]) => bar("wait", at(from), Math.min(length, span.start + span.length - from) / total)),
  ];
  const details = el("div", { class: "more", hidden: true });
  const small = [span.attempt > 1 ? `attempt ${span.attempt}` : null, span.more.cached ? "from the cache" : null, span.more.recalled ? "paid before" : null, failed && span.more.error ? span.more.error[0] : span.status !== "ok" && span.status !== "error" ? span.status : null].filter(Boolean).join(", ");
  const row = el("button", {
    type: "button", class: "span-row", "aria-expanded": "false", "data-kind": span.kind, vars: { "--depth": Math.min(span.depth, 12) },
    on: { click: () => {
      if (!details.childNodes.length) details.append(...spanFacts(span, unit));
      details.hidden = !details.hidden;
      row.setAttribute("aria-expanded", String(!details.hidden));
    } },
  },
  el("span", { class: "who" }, named(span.label), small ? el("small", { vars: failed ? { color: "var(--bad)" } : {} }, visible(small)) : null),
  el("span", { class: "track" }, bars),
  el("span", { class: "took" }, span.status === "skipped" ? "left out" : seconds(span.length * unit)));
  return el("div", {}, row, details);
}

function spanFacts(span, unit) {
  const { more } = span, fact = (name, value) => (value === null || value === undefined || value === "" ? null : el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  const kinds = { item: "item", group: "group", agent: "agent", chat: "model call", tool: "tool call" };
  const facts = el("dl", {},
    fact("what", kinds[span.kind]), fact("status", span.status), fact("began", "at " + seconds(Math.max(0, span.start) * unit)),
    fact("took", seconds(span.length * unit)), fact("queued", span.queued ? seconds(span.queued * unit) : null), fact("attempt", span.kind === "chat" ? span.attempt : null),
    fact("tokens", span.usedIn + span.usedOut ? `${count(span.usedIn)} in, ${count(span.usedOut)} out` : null), fact("cost", span.usedIn + span.usedOut ? (span.kind === "chat" && span.cost === undefined ? "?" : money(span.kind === "chat" ? span.cost : span.paid)) : null),
    fact("HTTP status", more.http), fact("ended because of", more.finish ? visible(more.finish) : null), more.request ? el("div", { class: "long" }, el("dt", {}, "request id"), el("dd", { class: "mono" }, visible(more.request))) : null,
    fact("waited to retry", more.waits ? more.waits.map(([, length]) => seconds(length * unit)).join(", ") : null),
    fact("billing", more.possibly_billed ? "may have been billed" : null));
  return [facts, more.error ? fault(more.error) : null,
    more.said ? el("div", {}, more.said.map(turn)) : null,
    ...["arguments", "result"].map((name) => (more[name] ? turn([name, more[name]]) : null))].filter(Boolean);
}

function turn([role, text, length]) {
  return el("div", { class: "turn" }, el("span", {}, visible(role)), el("pre", { class: "text", dir: "auto" }, visible(text)),
    length ? el("p", { class: "cut" }, `The first ${count(text.length)} of ${count(length)} characters.`) : null);
}

// Two runs side by side.

function showComparison(section, data, open) {
  const { run, other, comparison } = data;
  section.append(sectionHead("Compared", [named(run.name), " beside ", named(other.name), ", the run before it. ", `${count(comparison.common)} items are in both.`]));
  section.append(flips(comparison, open));
  const perItem = (one) => (one.items && one.cost !== null ? one.cost / one.items : null);
  const okShare = (one) => (one.items ? (one.items - one.failed) / one.items : null);
  const percent = (value) => (value === null ? NOTHING : (value * 100).toFixed(value > 0.9995 || value === 0 ? 0 : 1) + " %");
  const rows = [
    ["items that succeeded", okShare, percent, 1, points],
    ["time", (one) => one.seconds, spanOfTime, -1],
    ["items per second", (one) => (one.seconds ? one.items / one.seconds : null), rate, 1],
    ["cost", (one) => one.cost, money, -1],
    ["cost of an item", perItem, money, -1],
    ["tokens in", (one) => one.inputTokens, shortCount, -1],
    ["tokens out", (one) => one.outputTokens, shortCount, -1],
    ["requests", (one) => one.requests, count, -1],
    ["time of an item, p50", (one) => one.work.p50, seconds, -1],
    ["time of an item, p95", (one) => one.work.p95, seconds, -1],
  ].map(([title, of, format, good, change = delta]) => ({ title, before: of(other), now: of(run), format, good, change }));
  section.append(measures([
    { title: "", class: "name", of: (row) => row.title },
    { title: named(other.name), label: "before", class: "num", of: (row) => shown(row.before, row.format) },
    { title: named(run.name), label: "now", class: "num strong", of: (row) => shown(row.now, row.format) },
    { title: "change", label: "change", class: "num", of: (row) => row.change(row.before, row.now, row.good) },
  ], [{ title: "The whole run", rows }]));
  section.append(el("div", { class: "sub" }, shareTable(run, other)));
  const checks = checkTable(run, other), times = boundTable(run, other);
  if (checks) section.append(el("div", { class: "sub" }, el("h3", {}, "Checks"), checks));
  if (times) section.append(el("div", { class: "sub" }, el("h3", {}, "Where the time went"), times));
}

// Each row of this run or of the other with its counterpart, by name: those of this run first.
function byName(now, before, name) {
  const old = new Map(before.map((row) => [name(row), row])), here = new Set(now.map(name));
  return [...now.map((row) => ({ name: name(row), now: row, before: old.get(name(row)) })), ...before.filter((row) => !here.has(name(row))).map((row) => ({ name: name(row), now: null, before: row }))];
}

function checkTable(run, other) {
  const passed = (one) => (one && one.passed + one.failed ? one.passed / (one.passed + one.failed) : null);
  const mean = (one) => (one ? one.mean : null);
  const asShare = (value) => share(value, 1);
  return measures([
    { title: "", class: "name", of: (row) => named(row.name) },
    { title: named(other.name), label: "before", class: "num", of: (row) => shown(passed(row.before), asShare) },
    { title: named(run.name), label: "now", class: "num strong", of: (row) => shown(passed(row.now), asShare) },
    { title: "passed", label: "passed", class: "num", of: (row) => points(passed(row.before), passed(row.now)) },
    { title: "mean score", label: "mean score", class: "num", of: (row) => [shown(mean(row.now), (value) => value.toFixed(3)), " ", delta(mean(row.before), mean(row.now), 1)] },
  ], [{ title: "", rows: byName(run.checks, other.checks, (row) => row.name) }]);
}

function boundTable(run, other) {
  const part = (one) => (one ? one.share : 0);
  const rows = byName(run.boundBy, other.boundBy, (row) => row.words).filter((row) => Math.max(part(row.now), part(row.before)) >= 0.005);
  if (!run.boundBy.length || !other.boundBy.length) return null;
  return measures([
    { title: "", class: "name", of: (row) => named(row.name) },
    { title: named(other.name), label: "before", class: "num", of: (row) => share(part(row.before), 1) },
    { title: named(run.name), label: "now", class: "num strong", of: (row) => share(part(row.now), 1) },
    { title: "change", label: "change", class: "num", of: (row) => el("span", { class: "delta same" }, Math.abs(part(row.now) - part(row.before)) < 0.0005 ? "=" : `${part(row.now) > part(row.before) ? "+" : "−"}${(Math.abs(part(row.now) - part(row.before)) * 100).toFixed(1)} points`) },
  ], [{ title: "", rows }]);
}

function shown(value, format) {
  return value === null || value === undefined ? NOTHING : format(value);
}

// How much more or less, in per cent; `good` is 1 where more is better, -1 where less is.
function delta(before, now, good) {
  if (before === null || now === null || before === undefined || now === undefined) return el("span", { class: "delta same" }, NOTHING);
  if (!before) return el("span", { class: "delta same" }, now ? "new" : "=");
  const change = (now - before) / before;
  if (Math.abs(change) < 0.0005) return el("span", { class: "delta same" }, "=");
  const text = (change > 0 ? "+" : "−") + (Math.abs(change) < 9.995 ? (Math.abs(change) * 100).toFixed(Math.abs(change) < 0.0995 ? 1 : 0) + " %" : "×" + (now / before).toFixed(0));
  const tone = Math.abs(change) < 0.02 ? "same" : change * good > 0 ? "better" : "worse";
  return el("span", { class: "delta " + tone }, text);
}

// The change of a share, in points of a hundred.
function points(before, now) {
  const change = ((now ?? 0) - (before ?? 0)) * 100;
  if (before === null || now === null || Math.abs(change) < 0.05) return delta(1, 1, 1);
  return el("span", { class: "delta " + (change > 0 ? "better" : "worse") }, `${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(1)} points`);
}

function shareTable(run, other) {
  const pairs = (now, before) => {
    const old = new Map(before.map((row) => [row.name + "\n" + row.provider, row]));
    return before.length ? now.filter((row) => row.work.count).map((row) => ({ now: row, before: old.get(row.name + "\n" + row.provider) || null })) : [];
  };
  const pair = (title, of, format, more) => ({
    title, label: title, class: "num " + (more || ""),
    of: (row) => [el("div", {}, shown(of(row.now), format)), row.before ? delta(of(row.before), of(row.now), -1) : el("span", { class: "delta same" }, "new")],
  });
  return measures([
    { title: "", class: "name", of: (row) => nameCell(row.now) },
    pair("p50", (row) => row.work.p50, seconds), pair("p95", (row) => row.work.p95, seconds),
    pair("cost", (row) => row.cost_usd, money), pair("tokens in", (row) => row.input_tokens, shortCount, "wide"),
    pair("tokens out", (row) => row.output_tokens, shortCount, "wide"), pair("failed", (row) => row.failed, count),
  ], [{ title: "Agents", rows: pairs(run.agents, other.agents) }, { title: "Models", rows: pairs(run.models, other.models) }]);
}

function flips(comparison, open) {
  const list = (title, text, listed, colour) => el("div", {},
    el("div", { class: "many", vars: { color: listed.count ? colour : "var(--faint)" } }, count(listed.count)),
    el("h3", {}, title), el("p", {}, text),
    listed.count ? el("div", { class: "list" }, listed.ids.map((id) => el("button", { type: "button", class: "link", on: { click: () => open(id) } }, named(id))), listed.count > listed.ids.length ? el("span", { class: "faint" }, `and ${count(listed.count - listed.ids.length)} more`) : null) : null);
  const absent = comparison.missing;
  return el("div", { class: "flips" },
    list("now fail", "They succeeded before.", comparison.broken, "var(--bad)"),
    list("now succeed", "They failed before.", comparison.mended, "var(--ok)"),
    list("other outputs", `Succeeded both times, with another output; ${count(comparison.same)} gave the same.`, comparison.changed, "var(--ink)"),
    comparison.added.count ? list("only here", "The other run has no such item.", comparison.added, "var(--ink)") : null,
    absent.count ? el("div", {}, el("div", { class: "many" }, count(absent.count)), el("h3", {}, "only there"), el("p", {}, "This run has no such item."), el("div", { class: "list soft" }, absent.ids.slice(0, 100).map((id) => named(id)))) : null);
}

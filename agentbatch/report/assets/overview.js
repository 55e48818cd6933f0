// Everything above the table of items: the outcome, the course of the run, latency, cost, errors.

function showOutcome(data) {
  const { counts, items } = data.run;
  const statuses = data.statuses.filter((status) => counts[status]);
  if (statuses.length > 1) {
    document.getElementById("outcome").append(
      el("div", { class: "outcome", "aria-hidden": "true" }, statuses.map((status) => el("i", { vars: { "--c": STATUS_COLOURS[status], flex: `${counts[status] / items} 1 0` } }))),
      el("div", { class: "legend" }, statuses.map((status) => el("span", {}, dot(status), status, el("b", {}, count(counts[status]))))),
    );
  }
  if (data.notes.length) document.getElementById("notes").append(el("ul", { class: "notes" }, data.notes.map((note) => el("li", {}, visible(note)))));
}

// Who fails, who is slow, who is dear: the three answers that most people open a report for.
function showWorst(data) {
  const { agents, models } = data.run;
  const most = (rows, of) => rows.reduce((best, row) => (of(row) > (best ? of(best) : 0) ? row : best), null);
  const failing = most(agents, (row) => row.failed), slow = agents.length > 1 && most(agents, (row) => row.work.p95 || 0);
  const priced = models.length > 1 ? models : agents, dear = priced.length > 1 && most(priced, (row) => row.cost_usd || 0);
  const told = [
    failing && ["#errors", failing.name, ` failed ${count(failing.failed)} times`],
    slow && ["#latency", slow.name, ` is the slowest: p95 ${seconds(slow.work.p95)}`],
    dear && ["#cost", dear.name, ` costs the most: ${money(dear.cost_usd)}`],
  ].filter(Boolean);
  if (told.length) document.getElementById("worst").append(el("ul", { class: "worst" }, told.map(([href, name, text]) => el("li", {}, el("a", { href }, named(name)), text))));
}

function peak(numbers) {
  return numbers.reduce((most, number) => Math.max(most, number), 0);
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function showTime(section, data) {
  const { course, seconds: active, marks } = data.run;
  section.append(sectionHead("Over time", course.stretches.length > 1 ? "The run was continued; the pauses between its sittings are cut out." : ""));
  if (!course.stretches.length) {
    section.append(emptyState("Nothing has happened yet", "Once items end, their course over time stands here."));
    return;
  }
  const cursor = new Cursor(marks), traced = course.stretches.some((one) => peak(one.calls) > 0);
  const most = (numbers) => `${level(peak(numbers))} at most`;
  const ended = (what) => () => `${rate(what / active)} on average`;
  section.append(new Lane(course, {
    title: "Done per second", cursor,
    series: [
      traced && { name: "calls", colour: "var(--accent)", of: (one) => one.calls, area: true, rest: ended(sum(course.stretches.map((one) => sum(one.calls))) * course.slice_s) },
      { name: "items", colour: "var(--ok)", of: (one) => one.items, area: !traced, rest: ended(data.run.items) },
    ].filter(Boolean),
  }).element);
  section.append(new Lane(course, {
    title: "In flight", cursor,
    series: [
      traced && { name: "calls", colour: "var(--accent)", of: (one) => one.calls_in_flight, area: true, rest: most },
      { name: "items", colour: "var(--ok)", of: (one) => one.items_in_flight, area: !traced, rest: most },
      traced && { name: "waiting to retry", colour: "var(--warn)", of: (one) => one.waiting, area: true, rest: most },
    ].filter(Boolean),
  }).element);
  showFailures(section, course, cursor, traced);
  showMarks(section, course, marks);
  showBounds(section, data);
}

// What is marked in the charts, in words: cool-downs summed up, limits as they changed.
function showMarks(section, course, marks) {
  if (!marks.length) return;
  const rests = new Map();
  for (const mark of marks.filter((one) => one.seconds)) {
    const before = rests.get(mark.words) || [0, 0];
    rests.set(mark.words, [before[0] + 1, before[1] + mark.seconds]);
  }
  const changes = marks.filter((one) => !one.seconds);
  section.append(el("ul", { class: "marks" },
    [...rests].map(([words, [times, total]]) => el("li", {}, el("i", { class: "swatch rest" }), named(words), ` ${plural(times, "time")}, ${seconds(total)} together`)),
    changes.slice(0, 12).map((mark) => el("li", {}, el("i", { class: "swatch change" }), named(mark.words), ` at ${seconds(mark.at_s - course.start_s)}`)),
    changes.length > 12 ? el("li", {}, `and ${count(changes.length - 12)} more changes of limits`) : null));
}

// What the run waited for, as shares of its time.
function showBounds(section, data) {
  const told = data.run.boundBy.filter((one) => one.share >= 0.005);
  if (!told.length) return;
  section.append(el("div", { class: "sub" },
    el("h3", {}, "Where the time went"),
    el("p", {}, "Looked at ten times a second: a limit with a queue before it, else what was on its way."),
    measures([
      { title: "", class: "name", of: (row) => named(row.words) },
      { title: "", class: "bar-cell", of: (row) => el("div", { class: "meter", role: "img", "aria-label": share(row.share, 1) }, el("i", { vars: { width: row.share * 100 + "%" } })) },
      { title: "share", label: "share", class: "num strong", of: (row) => share(row.share, 1) },
      { title: "time", label: "time", class: "num", of: (row) => seconds(row.seconds) },
    ], [{ title: "", rows: told }])));
}

function showChecks(section, data) {
  const { checks } = data.run;
  section.append(sectionHead("Checks", "Items that passed, of those that were checked; one that failed before it could be is not passed."));
  section.append(measures([
    { title: "", class: "name", of: (row) => named(row.name) },
    { title: "", class: "bar-cell", of: (row) => el("div", { class: "meter", role: "img", "aria-label": share(row.passed, row.passed + row.failed) }, el("i", { vars: { width: (row.passed / (row.passed + row.failed || 1)) * 100 + "%" } })) },
    { title: "share", label: "share", class: "num strong", of: (row) => share(row.passed, row.passed + row.failed) },
    { title: "passed", label: "passed", class: "num", of: (row) => count(row.passed) },
    { title: "failed", label: "failed", class: "num", of: (row) => count(row.failed) },
    { title: "mean score", label: "mean score", class: "num", of: (row) => (row.mean === null ? NOTHING : row.mean.toFixed(3)) },
    checks.some((row) => row.wanted) && { title: "threshold", label: "threshold", class: "threshold", of: threshold },
  ].filter(Boolean), [{ title: "", rows: checks }]));
}

function threshold(row) {
  if (!row.wanted) return NOTHING;
  return el("span", { class: row.met ? "better" : "worse" }, `${row.met ? "met" : "missed"}: ${row.wanted}`);
}

function showFailures(section, course, cursor, traced) {
  if (!traced) return;
  const total = (type) => sum(course.stretches.flatMap((one) => one.failures[type] || []));
  const types = [...new Set(course.stretches.flatMap((one) => Object.keys(one.failures)))].sort((a, b) => total(b) - total(a));
  if (!types.length) {
    section.append(el("p", { class: "soft", vars: { "margin-top": "20px" } }, "No attempt failed: nothing was refused, nothing was tried twice."));
    return;
  }
  section.append(new Lane(course, {
    title: "Failed attempts", cursor, height: 96, format: count,
    series: types.map((type, place) => ({ name: type, colour: failureColour(type, place), of: (one) => one.failures[type] || one.items.map(() => 0), bars: true, rest: (numbers) => count(sum(numbers)) })),
  }).element);
}

// A table whose rows are grouped: first agents, then models.
function measures(columns, groups) {
  if (!groups.some((group) => group.rows.length)) return null;
  const head = el("thead", {}, el("tr", {}, columns.map((column) => el("th", { class: column.class, scope: "col" }, column.title))));
  return el("table", { class: "measures" }, head, groups.filter((group) => group.rows.length).map((group) => el("tbody", {},
    group.title ? el("tr", { class: "part" }, el("td", { colspan: columns.length }, el("h3", {}, group.title))) : null,
    group.rows.map((row) => el("tr", {}, columns.map((column) => el("td", { class: column.class, "data-label": column.label }, column.of(row))))),
    group.foot)));
}

function nameCell(row) {
  return [named(row.name), row.provider && row.provider !== row.name ? el("small", {}, visible(row.provider)) : null];
}

function showLatency(section, data) {
  const { agents, models } = data.run;
  const timed = (rows) => rows.filter((row) => row.work.count);
  section.append(sectionHead("Latency", "Seconds of work; waiting for a permit or for the rate limit is the queue, and counted apart. The marks stand at p50 and p95."));
  if (!timed(agents).length && !timed(models).length) {
    section.append(emptyState("Nothing to measure", "No agent has run to its end, or the results leave agents out (output: {include: [agents]})."));
    return;
  }
  const axis = new SpreadAxis([...agents, ...models].map((row) => row.work), data.binsPerDecade);
  const time = (title, of, more) => ({ title, label: title, class: "num " + (more || ""), of: (row) => seconds(of(row)) });
  const columns = [
    { title: "", class: "name", of: nameCell },
    { title: "", class: "spread", of: (row) => axis.draw(row.work) },
    time("p50", (row) => row.work.p50, "strong"), time("p95", (row) => row.work.p95, "strong"), time("p99", (row) => row.work.p99),
    time("longest", (row) => row.work.longest, "wide"), time("queue p95", (row) => row.queue.p95),
  ];
  const foot = () => el("tr", { class: "axis" }, el("td", {}), el("td", { class: "spread" }, axis.ticks()), el("td", { colspan: 5 }));
  section.append(measures(columns, [
    { title: "Agents, from first work to end", rows: timed(agents), foot: timed(models).length ? null : foot() },
    { title: "Models, one successful attempt", rows: timed(models), foot: foot() },
  ]));
}

function share(part, whole) {
  if (!whole) return "";
  const percent = (part / whole) * 100;
  return (percent >= 99.95 || percent === 0 ? percent.toFixed(0) : percent < 0.1 ? "<0.1" : percent.toFixed(1)) + " %";
}

function showCost(section, data) {
  const { agents, models, cost } = data.run;
  const total = (rows) => sum(rows.map((row) => row.cost_usd || 0));
  section.append(sectionHead("Cost and tokens", costText(data.run)));
  const used = agents.filter((row) => row.attempts || row.input_tokens || row.output_tokens), all = [...used, ...models];
  if (!all.length) {
    section.append(emptyState("No model was asked", "There are no calls in this run to pay for."));
    return;
  }
  const columns = (rows) => {
    const priced = total(rows) > 0, by = priced ? (row) => row.cost_usd || 0 : (row) => row.input_tokens + row.output_tokens;
    const whole = sum(rows.map(by));
    return { by, whole };
  };
  const bars = new Map();
  for (const rows of [used, models]) {
    const { by, whole } = columns(rows);
    for (const row of rows) bars.set(row, [by(row), whole]);
  }
  section.append(measures([
    { title: "", class: "name", of: nameCell },
    { title: cost ? "share of cost" : "share of tokens", class: "bar-cell", of: (row) => el("div", { class: "meter", role: "img", "aria-label": share(...bars.get(row)) }, el("i", { vars: { width: (bars.get(row)[1] ? (bars.get(row)[0] / bars.get(row)[1]) * 100 : 0) + "%" } })) },
    { title: "", label: "share", class: "num soft", of: (row) => share(...bars.get(row)) },
    { title: "cost", label: "cost", class: "num strong", of: (row) => money(row.cost_usd) },
    { title: "tokens in", label: "tokens in", class: "num", of: (row) => shortCount(row.input_tokens) },
    { title: "out", label: "out", class: "num", of: (row) => shortCount(row.output_tokens) },
    { title: "calls", label: "calls", class: "num desk", of: (row) => count(row.attempts) },
    { title: "retries", label: "retries", class: "num wide", of: (row) => (row.retries === null ? NOTHING : count(row.retries)) },
  ], [{ title: "Agents", rows: used }, { title: "Models", rows: models }]));
}

function costText(run) {
  if (run.cost === null) return "No price is known for these models: set price: on the model, or read the tokens.";
  if (run.unpriced) return `${plural(run.unpriced, "item")} used a model without a known price, so this is not all.`;
  return run.cost ? "What was paid for, failed and superseded items included." : "";
}

function showErrors(section, data, open, filter) {
  const { errors, refusals, items, failed } = data.run;
  section.append(sectionHead("Errors", failed ? `${count(failed)} of ${plural(items, "item")} failed, by type.` : ""));
  if (!errors.length) {
    section.append(emptyState(items ? "No item failed" : "No items yet", refusals.length ? `${plural(sum(refusals.map((one) => one.count)), "attempt")} failed on the way, and another attempt mended each.` : ""));
  } else {
    section.append(el("div", { class: "kinds" }, errors.map((group) => errorKind(group, items, data, open, filter))));
  }
  if (refusals.length) section.append(refusalTable(refusals));
}

function errorKind(group, items, data, open, filter) {
  return el("article", { class: "kind" },
    el("div", { class: "many" }, count(group.count), el("small", {}, share(group.count, items))),
    el("div", {},
      el("h3", {}, named(group.type)),
      data.meanings[group.type] ? el("p", {}, data.meanings[group.type]) : null,
      el("ul", { class: "examples" }, group.examples.map((one) => el("li", {},
        el("button", { type: "button", class: "link", on: { click: () => open(one.id) } }, named(one.id)),
        el("span", { class: "said" }, one.agent ? el("span", { class: "soft" }, named(one.agent), ": ") : null, named(one.message.slice(0, 400)), one.http_status ? el("span", { class: "soft" }, ` (HTTP ${one.http_status})`) : null)))),
      el("p", { vars: { "margin-top": "10px" } }, el("button", { type: "button", class: "link", on: { click: () => filter(group.type) } }, group.count === 1 ? "Show it in the table" : "Show all in the table"))));
}

function refusalTable(refusals) {
  return el("div", { class: "sub" },
    el("h3", {}, "Failed attempts"),
    el("p", {}, "Every request that failed, whether or not a later attempt of the same call succeeded."),
    measures([
      { title: "", class: "name", of: (row) => named(row.type) },
      { title: "model", label: "model", class: "", of: (row) => named(row.model) },
      { title: "the latest said", label: "the latest said", class: "mono wide", of: (row) => named(row.message.slice(0, 160)) },
      { title: "attempts", label: "attempts", class: "num strong", of: (row) => count(row.count) },
    ], [{ title: "", rows: refusals }]));
}

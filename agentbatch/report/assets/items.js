// The table of items: found, sorted, and drawn only where it is looked at.

const COLUMNS = [
  { key: "id", title: "Item", class: "id" },
  { key: "status", title: "Status", class: "state" },
  { key: "excerpt", title: "Output", class: "out" },
  { key: "tokens", title: "Tokens", class: "tokens num" },
  { key: "cost", title: "Cost", class: "money num" },
  { key: "work", title: "Time", class: "time num" },
];

class ItemTable {
  constructor(section, data, rows, dead, open) {
    Object.assign(this, { data, rows, open });
    this.live = new Uint32Array(rows.total - dead.length);
    const gone = new Set(dead);
    for (let row = 0, at = 0; row < rows.total; row++) if (!gone.has(row)) this.live[at++] = row;
    this.order = this.live;
    this.statuses = new Set();
    this.errorType = 0;
    this.words = "";
    this.sort = { key: "file", down: false };
    this.active = 0;
    this.build(section);
    this.refresh();
  }

  build(section) {
    const { total, rows } = this.data.table;
    section.append(sectionHead("Items", rows < total ? `A sample of ${count(rows)} out of ${count(total)}.` : ""));
    if (!this.live.length) {
      section.append(emptyState("No items", "The results file has no lines yet. Run the batch, then make this page again."));
      return;
    }
    section.append(this.tools());
    this.head = el("div", { class: "cells grid-head", role: "row" }, COLUMNS.map((column) => this.headCell(column)));
    this.spacer = el("div", { class: "spacer", role: "rowgroup" });
    this.scroller = el("div", { class: "scroller", on: { scroll: () => this.draw() } }, this.spacer);
    this.frame = el("div", {
      class: "grid-frame", role: "grid", tabindex: "0", "aria-label": "Items", "aria-colcount": COLUMNS.length,
      on: { keydown: (event) => this.key(event) },
    }, this.head, this.scroller);
    this.nothing = el("div", { class: "empty", hidden: true }, el("b", {}, "Nothing fits"), el("p", {}, "No item has this text and status. ", el("button", { type: "button", class: "link", on: { click: () => this.reset() } }, "Show all items")));
    this.shownCount = el("span", { role: "status" });
    section.append(this.frame, this.nothing, el("div", { class: "grid-foot" }, this.shownCount,
      el("span", { class: "keys-hint" }, el("kbd", {}, "↑"), " ", el("kbd", {}, "↓"), " move   ", el("kbd", {}, "Enter"), " opens   ", el("kbd", {}, "/"), " finds")));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.closest("dialog")) return;
      event.preventDefault();
      this.search.focus();
    });
  }

  headCell(column) {
    return el("div", { role: "columnheader", class: column.class.includes("num") ? "num" : "", "data-key": column.key },
      el("button", { type: "button", on: { click: () => this.sortBy(column.key) } }, column.title));
  }

  tools() {
    let timer = 0;
    this.search = el("input", {
      type: "search", placeholder: "Find an id, an output, an error", "aria-label": "Find items", autocomplete: "off", spellcheck: "false",
      on: { input: () => { clearTimeout(timer); timer = setTimeout(() => { this.words = this.search.value.trim().toLowerCase(); this.refresh(); }, this.live.length > 20000 ? 160 : 40); },
        keydown: (event) => { if (event.key === "ArrowDown") { event.preventDefault(); this.frame.focus(); } } },
    });
    const numbers = this.data.statuses.map((_, code) => this.live.reduce((sum, row) => sum + (this.rows.status[row] === code ? 1 : 0), 0));
    const present = this.data.statuses.map((status, code) => [status, code]).filter(([, code]) => numbers[code]);
    this.chips = present.map(([status, code]) => el("button", {
      type: "button", class: "chip", "aria-pressed": "false", "data-code": code, on: { click: () => this.toggle(code) },
    }, dot(status), status, el("b", {}, count(numbers[code]))));
    const types = this.data.errorTypes;
    this.errorSelect = types.length > 1 ? el("select", { "aria-label": "Error type", on: { change: () => { this.errorType = Number(this.errorSelect.value); this.refresh(); } } },
      el("option", { value: 0 }, "any error"), types.map((type, place) => el("option", { value: place + 1 }, plain(type)))) : null;
    this.sortSelect = el("select", { "aria-label": "Sort by", on: { change: () => { const [key, down] = this.sortSelect.value.split(" "); this.sort = { key, down: down === "down" }; this.refresh(); } } },
      [["file up", "as they ended"], ["work down", "slowest first"], ["work up", "fastest first"], ["queued down", "queued longest"], ["cost down", "dearest first"], ["tokens down", "most tokens"], ["start up", "as they began"], ["id up", "by id"], ["id down", "by id, down"], ["status up", "by status"], ["status down", "failed first"], ["excerpt up", "by output"], ["excerpt down", "by output, down"], ["cost up", "cheapest first"], ["tokens up", "fewest tokens"]].map(([value, title]) => el("option", { value }, title)));
    return el("div", { class: "tools" }, this.search, present.length > 1 ? el("div", { class: "chips", role: "group", "aria-label": "Status" }, this.chips) : null, this.errorSelect, this.sortSelect);
  }

  toggle(code) {
    if (!this.statuses.delete(code)) this.statuses.add(code);
    this.refresh();
  }

  reset() {
    this.statuses.clear();
    this.errorType = 0;
    this.words = this.search.value = "";
    this.refresh();
    this.frame.focus();
  }

  filterError(type) {
    this.statuses.clear();
    this.words = this.search.value = "";
    this.errorType = this.data.errorTypes.indexOf(type) + 1;
    this.refresh();
    document.getElementById("items").scrollIntoView();
    this.frame.focus({ preventScroll: true });
  }

  sortBy(key) {
    const down = this.sort.key === key ? !this.sort.down : key === "work" || key === "cost" || key === "tokens";
    this.sort = { key, down };
    this.refresh();
  }

  refresh() {
    if (!this.frame) return;
    this.order = this.sorted(this.found());
    this.active = 0;
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(this.statuses.has(Number(chip.dataset.code))));
    if (this.errorSelect) this.errorSelect.value = String(this.errorType);
    this.sortSelect.value = `${this.sort.key} ${this.sort.down ? "down" : "up"}`;
    for (const cell of this.head.children) {
      if (cell.dataset.key === this.sort.key) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    const all = this.order.length === this.live.length;
    this.shownCount.textContent = all ? plural(this.live.length, "item") : `${count(this.order.length)} of ${plural(this.live.length, "item")}`;
    this.frame.hidden = !this.order.length;
    this.nothing.hidden = this.order.length > 0;
    this.scroller.scrollTop = 0;
    this.frame.setAttribute("aria-rowcount", this.order.length + 1);
    this.draw(true);
  }

  found() {
    const { rows, statuses, errorType, words } = this;
    if (!statuses.size && !errorType && !words) return this.live;
    return this.live.filter((row) => (!statuses.size || statuses.has(rows.status[row])) && (!errorType || rows.error[row] === errorType)
      && (!words || rows.id[row].toLowerCase().includes(words) || rows.excerpt[row].toLowerCase().includes(words)));
  }

  sorted(found) {
    const { key, down } = this.sort, sign = down ? -1 : 1;
    if (key === "file") return found;
    const column = this.rows[key];
    const compare = key === "id" ? new Intl.Collator("en", { numeric: true }).compare : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const last = (value) => value !== value || value === "";
    return Array.from(found).sort((a, b) => {
      const one = column[a], two = column[b];
      if (last(one) || last(two)) return last(one) - last(two) || a - b;  // what is unknown comes last, whichever way
      return sign * compare(one, two) || a - b;
    });
  }

  rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 44;
  }

  draw(anew) {
    if (this.frame.hidden) return;
    const height = this.rowHeight(), length = this.order.length;
    this.scroller.classList.toggle("few", length * height < 640);
    this.spacer.style.height = length * height + "px";
    const view = this.scroller.clientHeight || 640, top = this.scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / height) - 8), last = Math.min(length, Math.ceil((top + view) / height) + 8);
    if (!anew && this.drawn && this.drawn.first === first && this.drawn.last === last && this.drawn.height === height) return;
    this.drawn = { first, last, height };
    const nodes = [];
    for (let place = first; place < last; place++) nodes.push(this.rowNode(place, height));
    this.spacer.replaceChildren(...nodes);
    this.mark();
  }

  rowNode(place, height) {
    const row = this.order[place], { rows } = this, status = this.data.statuses[rows.status[row]];
    const failed = status !== "ok" && status !== "skipped";
    const cell = (column, ...content) => el("div", { class: column, role: "gridcell" }, ...content);
    return el("div", {
      class: "row cells", role: "row", id: "row-" + place, "aria-rowindex": place + 2, vars: { transform: `translateY(${place * height}px)` },
      on: { click: () => { this.active = place; this.mark(); this.openActive(); } },
    },
    cell("id", named(rows.id[row])),
    cell("state", dot(status), failed && rows.error[row] ? plain(this.data.errorTypes[rows.error[row] - 1]) : status),
    cell(failed ? "out said" : "out", rows.excerpt[row] ? named(rows.excerpt[row]) : el("span", { class: "faint" }, status === "skipped" ? "left out by a condition" : "no output")),
    cell("tokens num", shortCount(rows.tokens[row])), cell("money num", money(rows.cost[row])), cell("time num", seconds(rows.work[row])));
  }

  mark() {
    for (const node of this.spacer.children) {
      const chosen = node.id === "row-" + this.active;
      node.setAttribute("aria-selected", String(chosen));
    }
    this.frame.setAttribute("aria-activedescendant", "row-" + this.active);
  }

  key(event) {
    if (event.target !== this.frame) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight()) - 1), end = this.order.length - 1;
    const to = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: end, j: this.active + 1, k: this.active - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.moveTo(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.openActive();
    }
  }

  moveTo(place) {
    this.active = Math.max(0, Math.min(this.order.length - 1, place));
    const height = this.rowHeight(), top = this.active * height, view = this.scroller.clientHeight;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + height > this.scroller.scrollTop + view) this.scroller.scrollTop = top + height - view;
    this.draw();
    this.mark();
  }

  openActive() {
    this.open(this.order[this.active]);
  }

  // Another step from the opened item, in the order of the table; its row, or null at either end.
  step(by) {
    const to = this.active + by;
    if (to < 0 || to >= this.order.length) return null;
    this.moveTo(to);
    return this.order[to];
  }

  // The row of an item by its id; the table then stands at it.
  rowOf(id) {
    const row = this.live.findLast((one) => this.rows.id[one] === id);
    if (row === undefined) return null;
    let place = this.order.indexOf(row);
    if (place < 0) {
      this.statuses.clear();
      this.errorType = 0;
      this.words = this.search.value = "";
      this.refresh();
      place = this.order.indexOf(row);
    }
    this.moveTo(place);
    return row;
  }
}

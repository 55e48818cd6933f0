// Small charts, drawn as SVG at the width they have.

const FAILURE_COLOURS = {
  rate_limited: "#d39a2c", overloaded: "#b06f24", server: "#c65a4a", connection: "#8f3f3a", timeout: "#7f68a8",
  bad_response: "#5b83ad",
};
const OTHER_FAILURES = ["#6b8f71", "#a3628c", "#8b867c", "#4f8a8b", "#a08a4a"];

function failureColour(type, place) {
  return FAILURE_COLOURS[type] || OTHER_FAILURES[place % OTHER_FAILURES.length];
}

// A round number at or above `most`, so that the axis ends in one.
function niceTop(most) {
  if (!(most > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= most * 0.999) * size;
}

const TIME_STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
  172800, 604800,
];

function clock(value, step) {
  if (value === 0) return "0";
  if (step < 1) return value.toFixed(step < 0.1 ? 2 : 1) + " s";
  if (value < 60) return Math.round(value) + " s";
  if (value < 3600) return value % 60 === 0 ? value / 60 + " min" : `${Math.floor(value / 60)}:${String(Math.round(value % 60)).padStart(2, "0")}`;
  return value % 3600 === 0 ? value / 3600 + " h" : `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)}`;
}

// Where slices of time stand: the stretches of a run side by side, with a gap for each pause between them.
class TimeScale {
  constructor(course, width) {
    const gap = 36, stretches = course.stretches;
    this.course = course;
    this.slices = stretches.reduce((sum, one) => sum + one.items.length, 0);
    this.perSlice = Math.max(1, width - gap * (stretches.length - 1)) / this.slices;
    this.parts = [];
    let x = 0, first = 0;
    for (const stretch of stretches) {
      this.parts.push({ stretch, x, first, length: stretch.items.length });
      x += stretch.items.length * this.perSlice + gap;
      first += stretch.items.length;
    }
    this.gap = gap;
  }

  // The slice under a place on the screen.
  at(x) {
    for (const part of this.parts) {
      const slice = Math.floor((x - part.x) / this.perSlice);
      if (slice < part.length) return part.first + Math.max(0, slice);
    }
    return this.slices - 1;
  }

  // Where a moment of Unix time stands; null where the run paused.
  xOf(time) {
    const part = this.parts.findLast((one) => one.stretch.start_s <= time) || this.parts[0];
    const slices = (time - part.stretch.start_s) / this.course.slice_s;
    return slices > part.length + 1 ? null : part.x + Math.min(part.length, Math.max(0, slices)) * this.perSlice;
  }

  x(slice) {
    const part = this.partOf(slice);
    return part.x + (slice - part.first + 0.5) * this.perSlice;
  }

  partOf(slice) {
    return this.parts.findLast((part) => part.first <= slice);
  }

  // Seconds since the run's start, pauses included.
  secondsAt(slice) {
    const part = this.partOf(slice);
    return part.stretch.start_s - this.course.start_s + (slice - part.first) * this.course.slice_s;
  }
}

// An average of few things has a decimal, of many none.
function level(number) {
  return number < 9.95 ? String(Number(number.toFixed(number < 1 ? 2 : 1))) : count(number);
}

// One lane of the charts over time. `series`: {name, colour, of: stretch -> numbers, area, bars}.
class Lane {
  constructor(course, { title, series, height = 132, format = level, cursor }) {
    Object.assign(this, { course, series, height, format, cursor });
    this.readout = el("span", { class: "at" });
    this.values = series.map((one) => el("b", {}, ""));
    const legend = series.map((one, place) => el("span", {}, el("i", { class: "dot", vars: { "--c": one.colour } }), visible(one.name), this.values[place]));
    this.svg = svg("svg", {
      height, tabindex: "0", role: "img", "aria-label": `${title}. ${this.spoken()}`,
      on: {
        pointermove: (event) => this.point(event), pointerdown: (event) => this.point(event),
        pointerleave: () => cursor.move(null), blur: () => cursor.move(null), keydown: (event) => this.key(event),
      },
    });
    this.element = el("figure", { class: "lane" },
      el("figcaption", { class: "lane-head" }, el("h3", {}, title), el("div", { class: "legend" }, legend), this.readout), this.svg);
    cursor.lanes.push(this);
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  numbers(one) {
    return this.course.stretches.flatMap((stretch) => one.of(stretch));
  }

  spoken() {
    return this.series.map((one) => `${one.name}: at most ${this.format(Math.max(0, ...this.numbers(one)))}`).join(", ");
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    if (this.scale) this.cursor.move(this.scale.at(event.clientX - box.left));
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!step || !this.scale) return;
    event.preventDefault();
    const now = this.cursor.slice ?? (step > 0 ? -1 : this.scale.slices);
    this.cursor.move(Math.min(this.scale.slices - 1, Math.max(0, now + step)));
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    this.scale = new TimeScale(this.course, width);
    const bottom = this.height - 20, all = this.series.map((one) => this.numbers(one));
    const stacked = this.series.some((one) => one.bars);
    const peaks = stacked ? all[0].map((_, slice) => all.reduce((sum, numbers) => sum + numbers[slice], 0)) : all.flat();
    const top = niceTop(peaks.reduce((most, number) => Math.max(most, number), 0));
    const y = (value) => bottom - (value / top) * (bottom - 14);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    const grid = this.grid(width, top, y), isText = (node) => node.tagName === "text";
    this.svg.replaceChildren(
      ...this.marks(bottom), ...grid.filter((node) => !isText(node)),
      ...(stacked ? this.bars(all, y) : this.curves(all, y, bottom)), ...grid.filter(isText));
    this.line = svg("line", { class: "cursor", y1: 8, y2: bottom, visibility: "hidden" });
    this.svg.append(this.line);
    this.show(this.cursor.slice);
  }

  // Cool-downs as bands, limits that changed as lines.
  marks(bottom) {
    return this.cursor.marks.flatMap((mark) => {
      const x = this.scale.xOf(mark.at_s), end = this.scale.xOf(mark.at_s + mark.seconds);
      if (x === null) return [];
      const title = svg("title", {}, plain(mark.words));
      if (!mark.seconds) return [svg("line", { class: "change", x1: x, x2: x, y1: 8, y2: bottom }, title)];
      return [svg("rect", { class: "rest", x, y: 8, width: Math.max(2, (end ?? x) - x), height: bottom - 8 }, title)];
    });
  }

  grid(width, top, y) {
    const nodes = [];
    const whole = this.series.some((one) => one.bars);
    for (const value of whole ? [0, top] : [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      nodes.push(svg("line", { class: "grid", x1: 0, x2: width, y1: at, y2: at }));
      if (value) nodes.push(svg("text", { x: 0, y: at - 4 }, shortCount(value).length < 4 && value < 10 ? String(Number(value.toFixed(2))) : shortCount(value)));
    }
    return [...nodes, ...this.times(width), ...this.breaks()];
  }

  times(width) {
    const { course, scale } = this, total = scale.slices * course.slice_s;
    const step = TIME_STEPS.find((one) => total / one <= Math.max(2, width / 110)) || 604800;
    const nodes = [];
    const part = scale.parts[0];
    for (let value = 0; value <= part.length * course.slice_s; value += step) {
      const x = part.x + (value / course.slice_s) * scale.perSlice;
      if (x > width - 24) break;
      nodes.push(svg("text", { x: value ? x : 0, y: this.height - 4, "text-anchor": value ? "middle" : "start" }, clock(Math.round(value * 1000) / 1000, step)));
    }
    return nodes;
  }

  breaks() {
    return this.scale.parts.slice(1).flatMap((part, place) => {
      const before = this.scale.parts[place];
      const idle = part.stretch.start_s - (before.stretch.start_s + before.length * this.course.slice_s);
      const x = Math.round(part.x - this.scale.gap / 2) + 0.5;
      return [
        svg("line", { class: "break", x1: x, x2: x, y1: 8, y2: this.height - 20 }),
        svg("text", { x, y: this.height - 4, "text-anchor": "middle" }, `${spanOfTime(idle)} idle`),
      ];
    });
  }

  curves(all, y, bottom) {
    return this.series.flatMap((one, place) => this.scale.parts.flatMap((part) => {
      const numbers = all[place].slice(part.first, part.first + part.length);
      const points = numbers.map((number, slice) => `${(part.x + (slice + 0.5) * this.scale.perSlice).toFixed(1)},${y(number).toFixed(1)}`);
      points.unshift(`${part.x.toFixed(1)},${y(numbers[0]).toFixed(1)}`);
      points.push(`${(part.x + part.length * this.scale.perSlice).toFixed(1)},${y(numbers[numbers.length - 1]).toFixed(1)}`);
      const path = "M" + points.join("L");
      const first = points[0].split(",")[0], last = points[points.length - 1].split(",")[0];
      return [
        one.area ? svg("path", { class: "area", d: `${path}L${last},${bottom}L${first},${bottom}Z`, vars: { fill: one.colour } }) : null,
        svg("path", { class: "curve", d: path, vars: { stroke: one.colour } }),
      ].filter(Boolean);
    }));
  }

  bars(all, y) {
    const nodes = [], width = Math.max(1, this.scale.perSlice - (this.scale.perSlice > 3 ? 1 : 0));
    for (let slice = 0; slice < this.scale.slices; slice++) {
      let below = 0;
      this.series.forEach((one, place) => {
        const value = all[place][slice];
        if (!value) return;
        const topY = y(below + value), height = Math.max(1, y(below) - topY);
        nodes.push(svg("rect", { x: (this.scale.x(slice) - width / 2).toFixed(1), y: topY.toFixed(1), width: width.toFixed(1), height: height.toFixed(1), vars: { fill: one.colour } }));
        below += value;
      });
    }
    return nodes;
  }

  show(slice) {
    if (!this.scale || !this.line) return;
    this.line.setAttribute("visibility", slice === null ? "hidden" : "visible");
    if (slice !== null) {
      const x = Math.round(this.scale.x(slice)) + 0.5;
      this.line.setAttribute("x1", x);
      this.line.setAttribute("x2", x);
    }
    this.series.forEach((one, place) => {
      const numbers = this.numbers(one);
      this.values[place].textContent = slice === null ? (one.rest ? one.rest(numbers) : "") : this.format(numbers[slice]);
    });
    this.readout.textContent = slice === null ? "" : [...this.marked(slice), "at " + seconds(this.scale.secondsAt(slice))].join(" · ");
  }

  // What is marked within a slice, in words.
  marked(slice) {
    const begin = this.course.start_s + this.scale.secondsAt(slice), end = begin + this.course.slice_s;
    return this.cursor.marks.filter((mark) => mark.at_s < end && mark.at_s + mark.seconds >= begin).slice(0, 3).map((mark) => plain(mark.words));
  }
}

// One moment of time under the pointer, the same in all lanes.
class Cursor {
  constructor(marks = []) {
    this.marks = marks;
    this.lanes = [];
    this.slice = null;
  }

  move(slice) {
    if (slice === this.slice) return;
    this.slice = slice;
    for (const lane of this.lanes) lane.show(slice);
  }
}

// How durations are spread, on an axis of times that all rows of a table share.
class SpreadAxis {
  constructor(spreads, perDecade) {
    this.perDecade = perDecade;
    const filledOnes = spreads.filter((one) => one.count);
    this.first = Math.min(...filledOnes.map((one) => one.first_bin)) - 1;
    this.last = Math.max(...filledOnes.map((one) => one.first_bin + one.bins.length)) + 1;
    if (this.last - this.first < perDecade) this.last = this.first + perDecade;
  }

  at(value) {
    return ((Math.log10(Math.max(value, 1e-6)) * this.perDecade - this.first) / (this.last - this.first)) * 1000;
  }

  draw(spread) {
    const width = 1000 / (this.last - this.first), most = Math.max(...spread.bins);
    const bins = spread.bins.map((number, place) => {
      if (!number) return null;
      const height = Math.max(1, (number / most) * 30);
      return svg("rect", { class: "bin", x: (spread.first_bin + place - this.first) * width + width * 0.06, y: 34 - height, width: width * 0.88, height });
    });
    const mark = (name, value) => svg("line", { class: name, x1: this.at(value), x2: this.at(value), y1: 0, y2: 36, "vector-effect": "non-scaling-stroke" });
    const spoken = `half within ${seconds(spread.p50)}, 95 % within ${seconds(spread.p95)}`;
    return svg("svg", { viewBox: "0 0 1000 36", preserveAspectRatio: "none", role: "img", "aria-label": spoken },
      svg("line", { class: "base", x1: 0, x2: 1000, y1: 34.5, y2: 34.5, "vector-effect": "non-scaling-stroke" }), bins, mark("mark50", spread.p50), mark("mark95", spread.p95));
  }

  ticks() {
    const values = [];
    for (let power = -6; power < 7; power++) values.push(10 ** power);
    const inside = values.filter((value) => this.at(value) >= 0 && this.at(value) <= 1000);
    return el("div", { class: "ticks", vars: { height: "16px" } }, inside.map((value) => el("span", { class: "faint", vars: { left: this.at(value) / 10 + "%", top: "0", "font-size": "12px", transform: "translateX(-50%)" } }, seconds(value))));
  }
}

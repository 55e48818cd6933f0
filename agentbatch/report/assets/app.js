// Puts the page together: what is small at once, the table when its rows are unpacked.

const THEMES = ["auto", "light", "dark"];

function startTheme() {
  const button = document.getElementById("theme"), name = document.getElementById("theme-name");
  let theme = "auto";
  try {
    theme = localStorage.getItem("agentbatch-theme") || "auto";
  } catch {
    // a page from a file may have no storage
  }
  const apply = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    name.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", `Colours: ${theme}. Change`);
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    apply();
    try {
      localStorage.setItem("agentbatch-theme", theme);
    } catch {
      // as above
    }
  });
  if (!THEMES.includes(theme)) theme = "auto";
  apply();
  button.hidden = false;
}

function section(id) {
  const found = document.getElementById(id);
  found.hidden = false;
  return found;
}

function showFigures(data, openId, filterError) {
  if (data.comparison) {
    showComparison(section("comparison"), data, openId);
    document.getElementById("to-comparison").hidden = false;
  }
  if (data.run.checks.length) {
    showChecks(section("checks"), data);
    document.getElementById("to-checks").hidden = false;
  }
  showTime(section("time"), data);
  showLatency(section("latency"), data);
  showCost(section("cost"), data);
  showErrors(section("errors"), data, openId, filterError);
  document.getElementById("nav").hidden = false;
}

async function start() {
  startTheme();
  const data = await unpack("run-0");
  let table = null, sheet = null;
  const openId = (id) => {
    const row = table && table.rowOf(id);
    if (row !== null && row !== undefined) sheet.open(row);
  };
  showOutcome(data);
  showWorst(data);
  if (data.run.items) showFigures(data, openId, (type) => table && table.filterError(type));
  const items = section("items"), loading = el("p", { class: "soft", role: "status" }, "Unpacking the items");
  items.append(loading);
  const rows = await readRows(data.table, (done, total) => { loading.textContent = `Unpacking the items: ${count(done)} of ${count(total)}`; });
  const { places, dead } = await unpack("places-0");
  loading.remove();
  sheet = new ItemSheet(data, rows, places);
  table = new ItemTable(items, data, rows, dead, (row) => sheet.open(row));
  sheet.step = (by) => table.step(by);
  const wanted = /^#item=(.+)$/.exec(location.hash);
  if (wanted) openId(decodeURIComponent(wanted[1]));
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  const note = el("p", { class: "note", role: "alert" }, `This browser can't show the charts and the table: ${error.message}. A browser of 2023 or later can.`);
  document.getElementById("notes").append(note);
});

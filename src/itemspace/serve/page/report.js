// What was measured of this Space, with intervals; the same numbers as drawings, as tables, and as the file they came from.

import { reach, whiskers } from "./chart.js";
import { Latest } from "./api.js";
import { fill, h, segmented } from "./dom.js";
import { count, metric, signed, words } from "./format.js";
import { choice, empty, failure, notes } from "./parts.js";

const ALL = "all";
const FIRST = ["search", "recommendation"];

export function mount(root, ctx, params) {
  const latest = new Latest();
  const state = { of: params.get("of") ?? "", as: params.get("as") === "table" ? "table" : "charts", metric: params.get("metric") ?? "" };
  const body = h("div", { class: "report" }, h("p", { class: "faint" }, "Loading the report…"));
  root.append(h("h1", { class: "sr-only" }, `Report of ${ctx.space.name}`), body);
  let reports = {};

  async function ask() {
    ctx.busy(true);
    try {
      const answer = await latest.run((signal) => ctx.calls.report(signal));
      if (answer !== undefined) { reports = named(answer); draw(); }
    } catch (error) {
      if (error.status === 404) fill(body, none(error, ctx));
      else fill(body, failure(error, ctx, ask));
    }
    ctx.busy(false);
  }

  function set(change) {
    Object.assign(state, change);
    ctx.note({ of: state.of, as: state.as === "charts" ? "" : state.as, metric: state.metric, item: null });
    draw();
  }

  function draw() {
    const names = Object.keys(reports);
    if (!names.length) return fill(body, none(null, ctx));
    if (!names.includes(state.of)) state.of = names[0];
    const report = reports[state.of];
    const focused = body.contains(document.activeElement) ? document.activeElement.closest("[role=radiogroup]")?.getAttribute("aria-label") : null;
    fill(body,
      h("div", { class: "row between bar" },
        names.length > 1 ? segmented("Report", names.map((value) => ({ value, text: words(value) })), state.of, (of) => set({ of, metric: "" })) : h("span"),
        h("div", { class: "row tools" }, segmented("Show as", [{ value: "charts", text: "Charts" }, { value: "table", text: "Table" }], state.as, (as) => set({ as })),
          h("button", { type: "button", class: "small", on: { click: () => download(state.of, report) } }, "Download JSON"))),
      h("h2", { class: "report-title" }, report.title), headline(report), notes([...stale(report), ...(report.notes ?? [])]),
      state.as === "table" ? every(report) : [overview(report), compared(report), sliced(report, state.metric, (chosen) => set({ metric: chosen }))],
      provenance(report.provenance));
    if (focused) body.querySelector(`[role=radiogroup][aria-label="${focused}"] [aria-checked=true]`)?.focus();
  }

  ask();
  return { update() {}, destroy() { latest.stop(); } };
}

/** Reports by name, the main ones first. */
function named(answer) {
  const place = ([name]) => (FIRST.indexOf(name) + 9) % 9;
  return Object.fromEntries(Object.entries(answer.reports).sort((a, b) => place(a) - place(b)));
}

function none(error, { space }) {
  return empty("No report yet", error?.message ? String(error.message).split("\n")[0] : "This Space was not measured.",
    h("pre", null, `itemspace evaluate ${space.name}.space`), "It measures search on judged queries and recommendations on held-out events, whichever the Space was built with.");
}

const metrics = (report) => [...new Set([...(report.primary ?? []), ...report.measures.map((m) => m.metric)])];
const arms = (report) => [...new Set(report.measures.map((m) => m.arm))];
const whole = (report) => report.measures.filter((m) => m.slice === ALL);

/** What to say where the Space has changed since. */
function stale(report) {
  return report.provenance?.kept?.stale ? ["Measured of an earlier state of this Space; measure again to be sure: itemspace evaluate."] : [];
}

/** One sentence: who leads on the first metric, and whether that can be told from chance. */
function headline(report) {
  const first = metrics(report)[0];
  const rows = whole(report).filter((m) => m.metric === first).sort((a, b) => b.value - a.value);
  if (!rows.length) return null;
  const [best] = rows;
  const about = (report.comparisons ?? []).filter((c) => c.metric === first && c.slice === ALL);
  const found = about.find((c) => c.arm === best.arm) ?? about.find((c) => c.baseline === best.arm && c.arm === rows[1]?.arm);
  const sure = found && found.p_holm < 0.05 && (found.low > 0 || found.high < 0);
  const over = found?.arm === best.arm ? found.baseline : found?.arm;
  const next = found ? ` That is ${metric(Math.abs(found.difference))} above ${over}, ${sure ? "more than chance explains" : "which chance could explain"}.` : "";
  return h("p", { class: "lead" }, h("strong", null, best.arm), ` leads on ${first} with ${metric(best.value)}.${next}`);
}

function marksOf(rows, order, label = (m) => m.arm) {
  return rows.map((m) => ({
    label: label(m), value: m.value, low: m.low, high: m.high, series: order.indexOf(m.arm) % 8,
    hint: `${m.arm}, ${m.metric}: ${metric(m.value)}${Number.isFinite(m.low) ? `, 95% interval ${metric(m.low)} to ${metric(m.high)}` : ""}, n ${count(m.n)}`,
  }));
}

function overview(report) {
  const order = arms(report);
  const cards = metrics(report).map((name) => {
    const rows = whole(report).filter((m) => m.metric === name);
    if (!rows.length) return null;
    const marks = marksOf(rows, order);
    return h("section", { class: "card" }, h("h3", null, name), whiskers(marks, reach(marks), `${name} by arm`));
  });
  return h("section", { "aria-label": "Results" }, h("p", { class: "faint" }, "Lines are 95% intervals over the requests."), h("div", { class: "cards" }, cards));
}

function compared(report) {
  const rows = (report.comparisons ?? []).filter((c) => c.slice === ALL);
  if (!rows.length) return null;
  return h("section", null, h("h2", null, `Against ${rows[0].baseline}`),
    h("p", { class: "faint gap" }, "The same requests on both sides; p corrected for the number of comparisons."),
    scroll("Comparisons", ["arm", "metric", "difference", "95% interval", "p", "better / worse"], rows.map((c) => {
      const sure = c.p_holm < 0.05 && (c.low > 0 || c.high < 0);
      return [c.arm, c.metric, h("span", { class: sure ? (c.difference > 0 ? "good" : "bad") : null }, signed(c.difference)),
        `${metric(c.low)} to ${metric(c.high)}`, c.p_holm < 0.001 ? "<.001" : metric(c.p_holm, 3), `${count(c.wins)} / ${count(c.losses)}`];
    }), 2));
}

function sliced(report, chosen, pick) {
  const names = [...new Set(report.measures.filter((m) => m.slice !== ALL).map((m) => m.slice))];
  if (!names.length) return null;
  const known = metrics(report).filter((name) => report.measures.some((m) => m.metric === name && m.slice !== ALL));
  const shown = known.includes(chosen) ? chosen : known[0];
  const order = arms(report);
  const cards = names.map((name) => {
    const rows = report.measures.filter((m) => m.slice === name && m.metric === shown);
    const ends = reach(rows);
    const labels = [...new Set(rows.map((m) => m.label))];
    return h("section", { class: "card" }, h("h3", null, words(name)), labels.map((label, i) => {
      const mine = rows.filter((m) => m.label === label);
      return h("div", { class: "slice" }, h("h4", null, label, h("span", { class: "faint" }, ` n ${count(Math.max(...mine.map((m) => m.n)))}`)),
        whiskers(marksOf(mine, order), ends, `${shown} where ${name} is ${label}`, i === labels.length - 1));
    }));
  });
  return h("section", { class: "slices" }, h("div", { class: "row between" }, h("h2", null, "By slice"),
    choice("Metric", known.map((value) => ({ value, text: value })), shown, pick)), h("div", { class: "cards" }, cards));
}

function every(report) {
  return scroll("Every number", ["metric", "arm", "slice", "value", "95% interval", "n"], report.measures.map((m) => [
    m.metric, m.arm, m.slice === ALL ? "" : `${words(m.slice)}: ${m.label}`, metric(m.value),
    Number.isFinite(m.low) ? `${metric(m.low)} to ${metric(m.high)}` : "", count(m.n)]), 3);
}

function scroll(label, heads, rows, from) {
  const side = (i) => (i >= from ? "n" : null);
  return h("div", { class: "scroll card", tabindex: "0", role: "region", "aria-label": label }, h("table", null,
    h("thead", null, h("tr", null, heads.map((head, i) => h("th", { scope: "col", class: side(i) }, head)))),
    h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell, i) => h("td", { class: side(i) }, cell)))))));
}

function provenance(facts) {
  const entries = Object.entries(facts ?? {});
  if (!entries.length) return null;
  return h("section", null, h("h2", null, "Where it came from"), h("dl", { class: "fields" }, entries.map(([name, value]) => [
    h("dt", null, words(name)), h("dd", null, said(value))])));
}

function said(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.map(said).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return Object.entries(value).map(([name, inner]) => `${words(name)} ${said(inner)}`).join(", ");
  return typeof value === "number" && Number.isInteger(value) && value > 9999 ? count(value) : String(value);
}

function download(name, report) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(report, null, 1)], { type: "application/json" }));
  const anchor = h("a", { href: url, download: `report-${name.replace(/[^\w-]+/g, "-")}.json`, hidden: true });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Every published system of the field: where it stands, and the verdict on each of its claims in three places.

import { Latest } from "./api.js";
import { button, debounced, fill, h } from "./dom.js";
import { count, metric, words } from "./format.js";
import { choice, empty, failure } from "./parts.js";

const PLACES = [["positive", "positive world"], ["null", "null world"], ["real", "real data"]];
const ORDER = ["measured", "stale", "unfinished", "built, not measured", "not built"];
const KEYS = ["q", "family", "state"];
let api;

export function mount(root, ctx, params) {
  const latest = new Latest();
  api = ctx.api;
  const state = Object.fromEntries(KEYS.map((key) => [key, params.get(key) ?? ""]));
  let open = params.get("open");
  let rows = [];
  const find = h("input", {
    type: "search", class: "wide", value: state.q, placeholder: "Name, title, claim or family", "aria-label": "Only systems with",
    data: { slash: "" }, on: { input: () => { state.q = find.value; soon(); } },
  });
  const picks = h("div", { class: "row tools" });
  const told = h("p", { class: "told", role: "status" }, "Loading…");
  const summary = h("div", { class: "states", role: "group", "aria-label": "Only systems in this state" });
  const list = h("div", { class: "systems" });
  root.append(h("h1", null, "Gallery"), h("p", { class: "lead-in" },
    "Published systems, built from the same parts. A verdict is computed from values per seed against a least effect stated "
    + "beforehand; a comparison must hold where it has to (positive world), fail where it has to (null world), and then counts "
    + "on real data, whichever way it comes out."),
  summary, h("div", { class: "row between bar" }, h("div", { class: "ask-box small-ask" }, find), picks), told, list);
  const soon = debounced(() => draw(), 100);

  async function ask() {
    ctx.busy(true);
    try {
      const answer = await latest.run((signal) => ctx.api.systems(signal));
      if (answer !== undefined) { rows = answer.systems ?? answer; draw(); }
    } catch (error) {
      told.textContent = "";
      fill(list, failure(error, ctx, ask));
    }
    ctx.busy(false);
  }

  function set(change) { Object.assign(state, change); draw(); }

  function draw() {
    ctx.note({ ...state, open });
    const asked = state.q.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const bare = rows.filter((row) => (!state.family || row.family === state.family) && asked.every((word) => text(row).includes(word)));
    drawStates(bare);
    const shown = bare.filter((row) => !state.state || row.state === state.state);
    const families = [...new Set(rows.map((row) => row.family))].sort();
    const options = [{ value: "", text: "all" }, ...families.map((value) => ({ value, text: words(value) }))];
    fill(picks, choice("Family", options, state.family, (family) => set({ family })));
    told.textContent = shown.length === rows.length ? `${count(rows.length)} systems` : `${count(shown.length)} of ${count(rows.length)} systems`;
    if (!shown.length) {
      const every = () => { find.value = ""; set({ q: "", family: "", state: "" }); };
      fill(list, rows.length ? empty("No system matches", button("Show all", every, { class: "strong" }))
        : empty("No systems are listed", "This server was started without the gallery."));
      return;
    }
    fill(list, h("ul", null, ranked(shown).map((row) => system(row, row.slug === open, (now) => { open = now ? row.slug : null; ctx.note({ ...state, open }); }))));
  }

  function drawStates(bare) {
    const focused = summary.contains(document.activeElement) ? document.activeElement.dataset.state : null;
    const names = ORDER.filter((name) => rows.some((row) => row.state === name));
    fill(summary, ["", ...names].map((name) => {
      const size = name ? bare.filter((row) => row.state === name).length : bare.length;
      return button([h("strong", null, count(size)), h("span", null, name || "all")], () => set({ state: name }), {
        class: "state-pick", "aria-pressed": String(state.state === name), data: { state: name },
      });
    }));
    if (focused !== null) summary.querySelector(`[data-state="${focused}"]`)?.focus();
  }

  ask();
  return {
    update(now) {
      const given = Object.fromEntries(KEYS.map((key) => [key, now.get(key) ?? ""]));
      if (KEYS.every((key) => given[key] === state[key])) return;
      Object.assign(state, given);
      find.value = state.q;
      draw();
    },
    destroy() { latest.stop(); soon.stop(); },
  };
}

function text(row) {
  row.told ??= [row.slug, row.title, row.family, words(row.family), row.state, ...(row.finding?.claims ?? []).map((claim) => claim.text)].join(" ").toLowerCase();
  return row.told;
}

/** What was measured comes first; within a state, the order of the list. */
function ranked(rows) {
  const at = (row) => (ORDER.indexOf(row.state) + ORDER.length) % ORDER.length;
  return [...rows].sort((a, b) => at(a) - at(b) || a.n - b.n);
}

function system(row, open, toggled) {
  const claims = row.finding?.claims ?? [];
  const head = [
    h("span", { class: "sys-name" }, row.title, h("span", { class: "sys-about" },
      h("span", { class: "mono" }, row.slug), " · ", words(row.family), row.finding?.year ? ` · ${row.finding.year}` : "")),
    h("span", { class: "sys-verdicts" }, tally(claims, row.verdicts)),
    h("span", { class: `badge ${row.state.split(/[ ,]/)[0]}` }, row.state)];
  if (!claims.length) return h("li", { class: "system" }, h("div", { class: "sys-head" }, head), source(row));
  const body = h("div", { class: "sys-body" });
  const moved = () => {
    if (details.open && !body.hasChildNodes()) fill(body, measured(row));
    if (details.open !== open) { open = details.open; toggled(open); }
  };
  const details = h("details", { on: { toggle: moved } }, h("summary", { class: "sys-head" }, head), body);
  if (open) { fill(body, measured(row)); details.open = true; }
  return h("li", { class: "system" }, details);
}

/** How the claims came out on real data, in few words. */
function tally(claims, verdicts) {
  const short = (claims.length ? claims.map((claim) => claim.verdict) : verdicts ?? []).map((verdict) => String(verdict).split(" (")[0]);
  const sizes = new Map();
  for (const verdict of short) sizes.set(verdict, (sizes.get(verdict) ?? 0) + 1);
  return [...sizes].map(([verdict, size]) => h("span", { class: `verdict ${kind(verdict)}` }, `${size} ${verdict}`));
}

const kind = (verdict) => ({ held: "good", "not held": "bad", "too close to call": "close" })[verdict] ?? "none";

function measured(row) {
  const { finding } = row;
  return [
    row.state === "stale" ? h("p", { class: "warned" }, "Measured with code that has changed since; the verdicts may no longer hold.") : null,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Claims of ${row.slug}` }, h("table", { class: "claims" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Claim"), PLACES.map(([, name]) => h("th", { scope: "col" }, name)))),
      h("tbody", null, finding.claims.map((claim) => h("tr", null,
        h("th", { scope: "row" }, claim.text, h("span", { class: "faint bar-asked" }, claim.bar),
          claim.state !== "result" ? h("span", { class: "bar-asked" }, claim.state) : null),
        PLACES.map(([place]) => h("td", null, verdict(claim.places?.[place])))))))),
    h("p", { class: "faint" }, [finding.measured ? `Measured ${finding.measured}` : null, finding.code ? `code ${finding.code}` : null,
      finding.hardware?.processor ? `${finding.hardware.processor}, ${finding.hardware.cores} cores` : null].filter(Boolean).join("; "), ". "),
    source(row),
  ];
}

function verdict(found) {
  if (!found) return h("span", { class: "faint" }, "–");
  const wide = Number.isFinite(found.low) && found.low !== found.high ? `, ${metric(found.low)} to ${metric(found.high)}` : "";
  const more = [Number.isFinite(found.mean) ? metric(found.mean) + wide : null, found.why].filter(Boolean);
  return [h("span", { class: `verdict ${kind(found.verdict)}` }, found.verdict),
    more.map((text) => h("span", { class: "faint range-told" }, text))];
}

/** The file that builds it, shown on asking. */
function source(row) {
  if (!row.source) return null;
  const shown = h("pre", { class: "sys-code", tabindex: "0", hidden: true, "aria-label": `Source of ${row.slug}` });
  const toggle = button("Source", async () => {
    if (!shown.textContent) {
      try {
        shown.textContent = (await api.source(row.slug)).text;
      } catch (error) {
        shown.textContent = error.message;
      }
    }
    shown.hidden = !shown.hidden;
    toggle.setAttribute("aria-expanded", String(!shown.hidden));
  }, { "aria-expanded": "false" });
  return h("div", { class: "sys-source" }, toggle, " ", h("span", { class: "mono faint" }, row.source), shown);
}

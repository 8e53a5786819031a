// The filter panel: check lists, ranges and switches made from the kinds of the columns. All of them write the filter text.

import { debounced, fill, fresh, h } from "./dom.js";
import { count, number, words } from "./format.js";
import { kindOf } from "./parts.js";
import { clauseOf, parse, toggled, withClause } from "./where.js";

const FIRST = 6;
const MOST = 10;

/** The columns the panel offers: those the Space shows, then those it counts by default. */
export function facetColumns(space) {
  const kinds = ["category", "boolean", "number", "list", "time"];
  return [...new Set([...space.shown, ...space.facets])].filter((name) => kinds.includes(kindOf(space, name))).slice(0, MOST);
}

/** change(clauses) is called with the new clauses when someone touches a filter. */
export function filterPanel(space, change) {
  let clauses = [];
  const act = (made) => { clauses = made; change(made); };
  const groups = facetColumns(space).map((name, i) => {
    const kind = kindOf(space, name);
    const make = kind === "number" || kind === "time" ? ranges : kind === "boolean" ? flag : checks;
    return make(name, kind, i < 6, () => clauses, act);
  });
  const root = h("div", { class: "filters blank" }, groups.map((group) => group.root));
  return {
    root,
    columns: groups.map((group) => group.name),
    draw(facets, now) {
      // Shown with its first counts, so that it does not grow under the eye.
      if (facets) root.classList.remove("blank");
      clauses = now;
      for (const group of groups) {
        const focused = group.root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
        group.draw(facets?.[group.name], clauseOf(now, group.name));
        if (focused) group.root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
      }
    },
  };
}

function frame(name, open, ...inside) {
  const mark = h("span", { class: "facet-mark", hidden: true }, "filtered");
  const root = h("details", { class: "facet", open }, h("summary", null, h("span", null, words(name)), mark), inside);
  return { root, mark };
}

/** Check lists of a category or list column. */
function checks(name, kind, open, now, act) {
  const list = h("ul", { class: "checks" });
  const more = h("button", { type: "button", class: "small plain", hidden: true, data: { key: "more" }, on: { click: () => { all = !all; show(); } } });
  const { root, mark } = frame(name, open, list, more);
  const clauseKind = kind === "list" ? "has" : "in";
  let all = false;
  let rows = [];
  let most = 0;

  function show() {
    if (!rows.length) fill(list, h("li", { class: "faint" }, "none"));
    else fill(list, rows.slice(0, all ? rows.length : FIRST).map(({ value, label, amount, on }) => {
      const id = fresh("check");
      return h("li", null,
        h("input", {
          type: "checkbox", id, checked: on, data: { key: `value-${label}` },
          on: { change: (event) => act(toggled(now(), name, clauseKind, value, event.target.checked)) },
        }),
        h("label", { for: id }, h("span", { class: "check-label" }, label),
          h("span", { class: "check-count" }, amount === null ? "" : count(amount))));
    }));
    // The list keeps the height it once had, so that the groups below stay where they are while one types.
    most = Math.max(most, Math.min(rows.length, FIRST));
    list.style.setProperty("--rows", String(all ? rows.length : most));
    more.hidden = rows.length <= FIRST;
    more.textContent = all ? "Fewer" : `${rows.length - FIRST} more`;
    more.setAttribute("aria-label", `${more.textContent} values of ${words(name)}`);
  }

  return {
    name, root,
    draw(facet, clause) {
      const chosen = new Set(clause?.kind === clauseKind ? clause.values : []);
      if (facet) rows = facet.map((entry) => valueOf(entry, name, chosen));
      else rows = rows.map((row) => ({ ...row, on: chosen.has(row.value) }));
      const there = new Set(rows.map((row) => row.value));
      rows = [...[...chosen].filter((value) => !there.has(value)).map((value) => ({ value, label: String(value), amount: facet ? 0 : null, on: true })), ...rows];
      mark.hidden = chosen.size === 0;
      show();
    },
  };
}

/** A facet's value as the filter text it adds stands for it. */
function valueOf(entry, name, chosen) {
  const clause = entry.where ? clauseOf(parse(entry.where), name) : undefined;
  const value = clause?.values?.[0] ?? entry.value;
  return { value, label: String(entry.value), amount: entry.count, on: chosen.has(value) };
}

/** Any, yes or no. */
function flag(name, kind, open, now, act) {
  const options = [["", "any"], ["true", "yes"], ["false", "no"]];
  const group = fresh("flag");
  const counts = {};
  const inputs = {};
  const list = h("div", { class: "flags", role: "radiogroup", "aria-label": words(name) }, options.map(([value, text]) => {
    counts[value] = h("span", { class: "check-count" });
    inputs[value] = h("input", {
      type: "radio", name: group, value, data: { key: `flag-${value}` },
      on: { change: () => act(withClause(now(), name, value === "" ? null : { kind: "flag", column: name, value: value === "true" })) },
    });
    return h("label", null, inputs[value], h("span", null, text), counts[value]);
  }));
  const { root, mark } = frame(name, open, list);
  return {
    name, root,
    draw(facet, clause) {
      const chosen = clause?.kind === "flag" ? String(clause.value) : "";
      inputs[chosen].checked = true;
      mark.hidden = chosen === "";
      if (facet) {
        for (const value of ["true", "false"]) {
          const entry = facet.find((e) => String(e.value).toLowerCase() === value);
          counts[value].textContent = entry ? count(entry.count) : "0";
        }
      }
    },
  };
}

/** Two ends, and the ranges the Space counts. */
function ranges(name, kind, open, now, act) {
  const list = h("ul", { class: "ranges" });
  const typed = debounced(() => {
    const ends = [low.value, high.value].map((text) => (text.trim() === "" ? null : kind === "number" ? Number(text) : text));
    if (ends.some((end) => kind === "number" && end !== null && !Number.isFinite(end))) return;
    const none = ends[0] === null && ends[1] === null;
    act(withClause(now(), name, none ? null : { kind: "range", column: name, low: ends[0], high: ends[1], lowOpen: false, highOpen: false }));
  }, 350);
  const end = (text) => h("input", {
    type: kind === "number" ? "number" : "text", step: "any", placeholder: text, "aria-label": `${words(name)}: ${text === "from" ? "at least" : "at most"}`,
    inputmode: kind === "number" ? "decimal" : null, data: { key: text }, on: { input: typed, change: () => typed.now() },
  });
  const [low, high] = [end("from"), end("to")];
  const { root, mark } = frame(name, open, h("div", { class: "ends" }, low, h("span", { "aria-hidden": "true" }, "–"), high), list);
  let rows = [];
  let most = 0;
  return {
    name, root,
    draw(facet, clause) {
      const mine = clause?.kind === "range" ? clause : null;
      for (const [input, value] of [[low, mine?.low], [high, mine?.high]]) {
        if (document.activeElement !== input) input.value = value ?? "";
      }
      mark.hidden = mine === null;
      if (facet) rows = facet.map((entry) => ({ ...entry, clause: clauseOf(parse(entry.where ?? entry.value), name) })).filter((row) => row.clause?.kind === "range");
      const peak = Math.max(1, ...rows.map((row) => row.count));
      most = Math.max(most, rows.length);
      list.style.setProperty("--rows", String(most));
      fill(list, rows.map((row) => {
        const on = mine !== null && same(mine, row.clause);
        return h("li", null, h("button", {
          type: "button", class: "range", "aria-pressed": String(on), data: { key: row.value },
          on: { click: () => act(withClause(now(), name, on ? null : row.clause)) },
        }, h("span", { class: "range-bar", css: { width: `${(100 * row.count) / peak}%` } }),
        h("span", { class: "range-label" }, spanned(row.clause)), h("span", { class: "check-count" }, count(row.count))));
      }));
    },
  };
}

const same = (a, b) => a.low === b.low && a.high === b.high && a.lowOpen === b.lowOpen && a.highOpen === b.highOpen;
const shown = (end) => (typeof end === "number" ? number(end) : String(end).slice(0, 10));

function spanned({ low, high }) {
  if (low === null) return `under ${shown(high)}`;
  if (high === null) return `${shown(low)} and more`;
  return `${shown(low)} – ${shown(high)}`;
}

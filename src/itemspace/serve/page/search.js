// Search as one types: suggestions, filters with counts, sorting, and why each item came.

import { Latest } from "./api.js";
import { combobox } from "./combobox.js";
import { debounced, fill, h } from "./dom.js";
import { filterPanel } from "./filters.js";
import { count, plural, took, words } from "./format.js";
import { adder, choice, empty, failure, kindOf, notes, opener, placeholder, row, titleOf, wanted } from "./parts.js";
import { clauseOf, parse, without, write } from "./where.js";
import { whyFound } from "./why.js";

const PAGE = 20;
const KEYS = ["q", "where", "sort", "by", "per"];

export function mount(root, ctx, params) {
  const state = Object.fromEntries(KEYS.map((key) => [key, params.get(key) ?? ""]));
  const latest = new Latest();
  const page = frame(root, ctx, state, { typed, filtered, edited, chosen });
  let offset = 0;

  const soon = debounced(() => ask(), 110);
  function typed(text) { state.q = text; soon(); }
  function chosen(key, value) { state[key] = value; ask(); }
  function filtered(clauses) {
    state.where = write(clauses);
    page.where.value = state.where;
    page.panel.draw(null, clauses);
    ask();
  }
  function edited(text, now) {
    state.where = text.trim();
    page.panel.draw(null, parse(state.where));
    if (now) { soon.stop(); ask(); } else soon();
  }

  async function ask(more = false) {
    soon.stop();
    if (!more) ctx.note({ ...state, item: new URLSearchParams(location.hash.split("?")[1] ?? "").get("item") });
    page.waiting(true);
    try {
      const answer = await latest.run((signal) => asked(ctx, state, page.panel.columns, more ? offset : 0, signal));
      if (answer === undefined) return;
      offset = (more ? offset : 0) + answer.hits.length;
      page.show(answer, state, { more, offset, next: () => ask(true) });
    } catch (error) {
      page.fail(error, state, () => ask(more));
    }
    page.waiting(false);
  }

  ask();
  if (!state.q && document.activeElement === document.body) requestAnimationFrame(() => page.input.focus({ preventScroll: true }));
  return {
    update(now) {
      const given = Object.fromEntries(KEYS.map((key) => [key, now.get(key) ?? ""]));
      if (KEYS.every((key) => given[key] === state[key])) return;
      Object.assign(state, given);
      page.take(state);
      ask();
    },
    destroy() { latest.stop(); soon.stop(); },
  };
}

/** The search, and beside it the counts of each filtered column as they would be without its own filter. */
async function asked(ctx, state, columns, offset, signal) {
  const { space, calls } = ctx;
  const clauses = parse(state.where);
  const own = offset ? [] : columns.filter((name) => clauseOf(clauses, name));
  const blank = state.q.trim() === "";
  const [answer, ...counted] = await Promise.all([
    calls.search({
      query: state.q, k: PAGE, offset, where: state.where, by: blank ? "" : state.by, facets: offset ? undefined : columns,
      sort: state.sort ? [state.sort] : undefined, group_by: state.per, columns: wanted(space), explain: true,
    }, signal),
    ...own.map((name) => calls.facets({ query: state.q, where: without(clauses, name), facets: [name] }, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    })),
  ]);
  own.forEach((name, i) => { if (counted[i]) answer.facets[name] = counted[i].facets[name]; });
  return answer;
}

/** Everything on the page that stays while answers come and go. */
function frame(root, ctx, state, act) {
  const { space } = ctx;
  const input = h("input", {
    type: "search", class: "ask", id: "q", placeholder: `Search ${count(space.items)} items`, value: state.q, "aria-label": "Search", data: { slash: "" },
    enterkeyhint: "search", maxlength: 2000, on: { input: () => act.typed(input.value) },
  });
  const box = combobox(input, {
    source: async (prefix, signal) => {
      const { suggestions } = await ctx.calls.autocomplete({ prefix, k: 7 }, signal);
      return suggestions.map((s) => ({ text: s.text, detail: s.kind === "query" ? "search" : "item", value: s }));
    },
    pick: (option) => { input.value = option.text; act.typed(option.text); },
    enter: () => act.chosen("q", input.value),
  });
  const where = h("input", {
    type: "text", id: "where", class: "mono", value: state.where, placeholder: example(space), spellcheck: "false", autocapitalize: "off", autocomplete: "off",
    "aria-describedby": "where-problem",
    on: { input: () => act.edited(where.value, false), keydown: (event) => { if (event.key === "Enter") act.edited(where.value, true); } },
  });
  const problem = h("p", { class: "problem", id: "where-problem", role: "alert" });
  const clear = h("button", { type: "button", class: "quiet small", on: { click: () => { where.value = ""; act.edited("", true); where.focus(); } } }, "Clear");
  const panel = filterPanel(space, act.filtered);
  const told = h("p", { class: "told" }, "Searching…");
  const results = h("div", { class: "results", "aria-busy": "true" }, placeholder(6));
  const selects = h("div", { class: "row tools" });
  const folded = matchMedia("(max-width: 780px)").matches;
  const filters = h("details", { class: "filter-fold", open: !folded }, h("summary", null, "Filters"), panel.root);

  function drawSelects() {
    fill(selects, choice("Sort", sorts(space), state.sort, (value) => act.chosen("sort", value)),
      ways(space).length > 1 ? choice("Using", [{ value: "", text: "automatic" }, ...ways(space)], state.by, (value) => act.chosen("by", value)) : null,
      groups(space).length ? choice("One per", [{ value: "", text: "item" }, ...groups(space)], state.per, (value) => act.chosen("per", value)) : null);
  }
  drawSelects();
  panel.draw(null, parse(state.where));
  root.append(
    h("h1", { class: "sr-only" }, `Search ${space.name}`),
    h("div", { class: "search-top" },
      h("div", { class: "ask-box", role: "search" }, input, h("kbd", { "aria-hidden": "true" }, "/"), box.list),
      h("div", { class: "where-box" }, h("label", { for: "where" }, "Filter"), where, clear), problem),
    h("div", { class: "with-side" }, h("aside", { "aria-label": "Filters" }, filters),
      h("section", { "aria-label": "Results" }, h("div", { class: "row between bar" }, told, selects), results)));

  let list = null;
  return {
    input, where, panel,
    take(now) {
      input.value = now.q;
      where.value = now.where;
      drawSelects();
      panel.draw(null, parse(now.where));
    },
    waiting(on) {
      ctx.busy(on);
      results.setAttribute("aria-busy", String(on));
    },
    show(answer, now, { more, offset, next }) {
      problem.textContent = "";
      where.removeAttribute("aria-invalid");
      if (!more) {
        panel.draw(answer.facets ?? {}, parse(now.where));
        told.textContent = `${plural(answer.total ?? offset, now.per ? "group" : "item")} · ${took(answer.took_ms)}`;
        ctx.announce(`${plural(answer.total ?? offset, "result")}`);
      }
      const rows = answer.hits.map((hit, i) => found(ctx, hit, now, offset - answer.hits.length + i + 1));
      const last = offset < answer.total && answer.hits.length ? h("button", { type: "button", class: "more", on: { click: next } }, `Show ${Math.min(PAGE, answer.total - offset)} more of ${count(answer.total)}`) : null;
      if (more) {
        results.querySelector(".more")?.remove();
        list.append(...rows);
        if (last) results.append(last);
        rows[0]?.querySelector("a").focus({ preventScroll: true });
        return;
      }
      list = h("ol", { class: now.q.trim() ? "hits asked" : "hits" }, rows);
      if (rows.length) fill(results, notes(answer.notes), list, last);
      else fill(results, notes(answer.notes), nothing(now, () => { where.value = ""; act.edited("", true); }, () => { input.value = ""; act.chosen("q", ""); }));
    },
    fail(error, now, again) {
      if (list === null) panel.draw({}, parse(now.where));
      const filter = now.where && [400, 422].includes(error.status) && /filter|schema|where/i.test(`${error.type} ${error.message}`);
      if (filter) {
        problem.textContent = error.message;
        where.setAttribute("aria-invalid", "true");
        told.textContent = list === null ? "" : "Filter not applied";
        if (list === null) fill(results, empty("The filter cannot be read", "Change it above, or clear it."));
      } else {
        told.textContent = "";
        list = null;
        fill(results, failure(error, ctx, again));
      }
    },
  };
}

function found(ctx, hit, state, rank) {
  const title = titleOf(ctx.space, hit.item, hit.fields);
  const asked = state.q.trim();
  const why = opener("Why", title, async () => {
    if (!asked) return [h("p", { class: "faint" }, "Nothing was asked: items are listed by how often they were chosen.")];
    const answer = await ctx.calls.explain({ item: hit.item, query: asked });
    return whyFound(answer, state.where || state.sort || state.per ? "Ranks among all items, before filter, sorting and grouping." : null);
  });
  return row(ctx, hit, { query: asked, rank, actions: [why.button, ctx.space.recommends ? adder(ctx, hit.item, title) : null].filter(Boolean), below: why.panel });
}

function nothing(state, dropFilter, dropQuery) {
  return empty("Nothing matches",
    state.where ? (state.q.trim() ? "No item matches both the words and the filter." : "No item matches the filter.") : "No item shares a word with this, and none is close in meaning.",
    h("div", { class: "row" },
      state.where ? h("button", { type: "button", class: "strong", on: { click: dropFilter } }, "Clear the filter") : null,
      state.q ? h("button", { type: "button", class: state.where ? "quiet" : "strong", on: { click: dropQuery } }, "Clear the words") : null));
}

function sorts(space) {
  const out = [{ value: "", text: "relevance" }];
  for (const { name, kind } of space.columns) {
    if (kind === "number") out.push({ value: name, text: `${words(name)}, low to high` }, { value: `-${name}`, text: `${words(name)}, high to low` });
    if (kind === "time") out.push({ value: `-${name}`, text: `${words(name)}, newest first` }, { value: name, text: `${words(name)}, oldest first` });
  }
  return out;
}

const ways = (space) => (space.retrievers ?? []).filter((name) => name !== "browse").map((name) => ({ value: name, text: name }));
const groups = (space) => space.columns.filter(({ kind }) => kind === "category").map(({ name }) => ({ value: name, text: words(name) }));

/** A filter that fits this Space, as a hint in the empty box. */
function example(space) {
  const of = (kind) => space.columns.find((column) => column.kind === kind)?.name;
  const price = space.shown.find((name) => kindOf(space, name) === "number") ?? of("number");
  const parts = [price ? `${price} < 80` : null, of("boolean")].filter(Boolean);
  return parts.length ? `for example: ${parts.join(" and ")}` : "a filter over the columns";
}

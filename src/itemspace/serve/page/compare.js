// Two representations side by side: what both find, what only one does, and how far each item moves.

import { Latest } from "./api.js";
import { combobox } from "./combobox.js";
import { debounced, fill, h, s, segmented } from "./dom.js";
import { plural, took } from "./format.js";
import { choice, empty, facts, failure, placeholder, titleOf, wanted } from "./parts.js";

const K = 15;
const KEYS = ["about", "q", "of", "left", "right"];

export function mount(root, ctx, params) {
  const latest = new Latest();
  const state = settled(ctx, Object.fromEntries(KEYS.map((key) => [key, params.get(key) ?? ""])));
  const page = frame(root, ctx, state, (change, wait) => {
    Object.assign(state, settled(ctx, { ...state, ...change }));
    if (wait) soon(); else { soon.stop(); ask(); }
  });
  const soon = debounced(() => ask(), 150);

  async function ask() {
    ctx.note({ ...state, item: new URLSearchParams(location.hash.split("?")[1] ?? "").get("item") });
    page.sides(state);
    const missing = state.about === "item" ? !state.of : !state.q.trim();
    if (missing || !state.left || !state.right) { latest.stop(); return page.wanting(state); }
    ctx.busy(true);
    try {
      const answers = await latest.run((signal) => Promise.all([state.left, state.right].map((by) => one(ctx, state, by, signal))));
      if (answers === undefined) return;
      page.show(answers, state);
    } catch (error) {
      page.fail(error, ask);
    }
    ctx.busy(false);
  }

  ask();
  return {
    update(now) {
      const given = settled(ctx, Object.fromEntries(KEYS.map((key) => [key, now.get(key) ?? ""])));
      if (KEYS.every((key) => given[key] === state[key])) return;
      Object.assign(state, given);
      page.take(state);
      ask();
    },
    destroy() { latest.stop(); soon.stop(); },
  };
}

/** The ways there are to ask, for a query or for an item. */
function ways(space, about) {
  return about === "item" ? space.similar_by ?? [] : (space.retrievers ?? []).filter((name) => name !== "browse");
}

/** A state whose two sides exist and differ where they can. */
function settled({ space }, state) {
  const about = state.about === "item" ? "item" : "query";
  const there = ways(space, about);
  const preferred = about === "item" ? ["text", "behavior"] : ["lexical", "dense", "hybrid"];
  const order = [...preferred.filter((name) => there.includes(name)), ...there];
  const left = there.includes(state.left) ? state.left : order[0] ?? "";
  const right = there.includes(state.right) ? state.right : order.find((name) => name !== left) ?? left;
  return { ...state, about, left, right };
}

function one({ calls, space }, state, by, signal) {
  const columns = wanted(space);
  if (state.about === "item") return calls.similar({ item: state.of, by, k: K, columns }, signal);
  return calls.search({ query: state.q, by, k: K, columns }, signal);
}

function frame(root, ctx, state, change) {
  const { space } = ctx;
  const query = h("input", { type: "search", class: "wide", value: state.q, placeholder: "A query for both sides", "aria-label": "Query", data: { slash: "" }, maxlength: 2000, on: { input: () => change({ q: query.value }, true) } });
  const item = h("input", { type: "search", class: "wide", value: state.of, placeholder: "Find the item to compare around", "aria-label": "Item" });
  const box = combobox(item, {
    label: "Items",
    source: async (text, signal) => (await ctx.calls.search({ query: text, k: 8, columns: wanted(space) }, signal)).hits
      .map((hit) => ({ text: titleOf(space, hit.item, hit.fields), detail: hit.item, value: hit.item })),
    pick: (option) => { item.value = option.text; change({ of: option.value }); },
    enter: (text) => change({ of: text.trim() }),
  });
  const queryBox = h("div", { class: "ask-box small-ask" }, query);
  const itemBox = h("div", { class: "ask-box small-ask" }, item, box.list);
  const about = segmented("Compare by", [{ value: "query", text: "for a query" }, { value: "item", text: "around an item" }], state.about,
    (value) => change({ about: value, left: "", right: "" }));
  const picks = h("div", { class: "row picks" });
  const told = h("p", { class: "told", role: "status" });
  const results = h("div", { class: "results" });
  root.append(h("h1", { class: "sr-only" }, `Compare representations of ${space.name}`),
    h("div", { class: "bar stack" }, h("div", { class: "row" }, h("span", { class: "faint" }, "Compare"), about), queryBox, itemBox, picks, told), results);

  return {
    take(now) { query.value = now.q; item.value = now.of; about.show(now.about); },
    sides(now) {
      queryBox.hidden = now.about === "item";
      itemBox.hidden = now.about !== "item";
      const options = ways(space, now.about).map((value) => ({ value, text: value }));
      fill(picks, choice("Left", options, now.left, (left) => change({ left })), choice("Right", options, now.right, (right) => change({ right })),
        h("button", { type: "button", class: "quiet small", on: { click: () => change({ left: now.right, right: now.left }) } }, "Swap"));
      if (!results.hasChildNodes()) fill(results, placeholder(4));
    },
    wanting(now) {
      told.textContent = "";
      if (!now.left) return fill(results, empty("Nothing to compare", "This Space has one representation, or none for this. Build it with a text encoder and with interactions to have several."));
      fill(results, empty(now.about === "item" ? "Choose an item" : "Type a query", now.about === "item"
        ? `Both sides then show what is like it, by ${now.left} and by ${now.right}.`
        : `Both sides then answer it, by ${now.left} and by ${now.right}. Items found by both are joined by a line.`));
    },
    show([left, right], now) {
      const [a, b] = [left, right].map((answer) => new Map(answer.hits.map((hit, i) => [hit.item, i + 1])));
      const shared = [...a.keys()].filter((name) => b.has(name));
      const size = Math.max(a.size, b.size);
      const moved = shared.reduce((sum, name) => sum + Math.abs(a.get(name) - b.get(name)), 0);
      told.textContent = size === 0 ? "" : `${shared.length} of ${size} found by both${shared.length ? `; a shared item moves ${(moved / shared.length).toFixed(1)} places on average` : ""}.`;
      if (!size) return fill(results, empty("Nothing matches", "Neither side finds an item. Try other words."));
      const wires = s("svg", { class: "wires", "aria-hidden": "true" });
      const columns = h("div", { class: "sides" },
        side(ctx, now.left, left, b, now.right, "left"), wires, side(ctx, now.right, right, a, now.left, "right"));
      fill(results, columns);
      for (const type of ["mouseover", "focusin"]) columns.addEventListener(type, (event) => light(columns, event.target.closest("[data-item]")?.dataset.item));
      for (const type of ["mouseleave", "focusout"]) columns.addEventListener(type, () => light(columns, null));
      draw(columns, wires, shared);
      new ResizeObserver(() => draw(columns, wires, shared)).observe(columns);
    },
    fail(error, again) { told.textContent = ""; fill(results, failure(error, ctx, again)); },
  };
}

/** One ranking; `other` says where the same items stand on the other side. */
function side(ctx, name, answer, other, otherName, place) {
  const rows = answer.hits.map((hit, i) => {
    const there = other.get(hit.item);
    const move = there === undefined ? h("span", { class: "move only" }, `not in ${otherName}`)
      : there === i + 1 ? h("span", { class: "move same" }, `also #${there}`)
        : h("span", { class: "move both" }, `#${there} in ${otherName} `, h("span", { class: "step" }, there > i + 1 ? `· ${there - i - 1} down` : `· ${i + 1 - there} up`));
    return h("li", { class: there === undefined ? "side-hit alone" : "side-hit shared", data: { item: hit.item } },
      h("span", { class: "hit-rank", "aria-hidden": "true" }, i + 1),
      h("div", { class: "hit-main" }, h("h3", { class: "hit-title" }, h("a", { href: ctx.itemHref(hit.item) }, titleOf(ctx.space, hit.item, hit.fields))),
        facts(ctx.space, hit.item, hit.fields), move));
  });
  return h("section", { class: `side side-${place}`, "aria-label": `${place}: ${name}` },
    h("div", { class: "row between side-head" }, h("h2", null, name), h("span", { class: "faint" }, answer.took_ms === undefined ? plural(rows.length, "item") : took(answer.took_ms))),
    rows.length ? h("ol", null, rows) : h("p", { class: "faint" }, "Finds nothing for this."));
}

function light(columns, item) {
  for (const element of columns.querySelectorAll("[data-item]")) element.classList.toggle("lit", item !== null && item !== undefined && element.dataset.item === item);
}

/** A line between the two places of every shared item. */
function draw(columns, wires, shared) {
  const box = wires.getBoundingClientRect();
  if (box.width === 0) return;
  const at = (place, item) => {
    const row = columns.querySelector(`.side-${place} [data-item="${CSS.escape(item)}"]`).getBoundingClientRect();
    return row.top - box.top + row.height / 2;
  };
  wires.replaceChildren(...shared.map((item) => {
    const [y0, y1] = [at("left", item), at("right", item)];
    return s("path", { d: `M0 ${y0} C${box.width / 2} ${y0} ${box.width / 2} ${y1} ${box.width} ${y1}`, "data-item": item });
  }));
}

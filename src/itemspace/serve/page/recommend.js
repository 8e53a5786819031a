// Recommendations for a history one builds by hand, or for a known user; each says which chosen item spoke for it.

import { Latest } from "./api.js";
import { combobox } from "./combobox.js";
import { fill, h, segmented } from "./dom.js";
import { plural, took } from "./format.js";
import { adder, empty, failure, notes, placeholder, row, titleOf, wanted } from "./parts.js";
import { whyRecommended } from "./why.js";

const K = 20;
const FROM = { history: "the whole history", text: "words of the last", behavior: "behavior around the last", image: "image of the last", sid: "code of the last" };

export function mount(root, ctx, params) {
  const { space, history } = ctx;
  if (!space.recommends && !(space.similar_by ?? []).length) {
    root.append(empty("Nothing to recommend from", "This Space was built without events and without vectors.", "Build it with interactions to recommend: itemspace build items.parquet --interactions log.parquet"));
    return {};
  }
  const state = { user: params.get("user") ?? "", from: params.get("from") ?? (space.recommends ? "history" : space.similar_by[0]) };
  const latest = new Latest();
  adopt(history, params.get("history"));
  const page = frame(root, ctx, state, {
    user(value) { state.user = value; ask(); },
    from(value) { state.from = value; ask(); },
  });

  const noted = () => ctx.note({
    history: history.items.map(encodeURIComponent).join(","), user: state.user, from: state.from === "history" ? "" : state.from,
    item: new URLSearchParams(location.hash.split("?")[1] ?? "").get("item"),
  });
  async function ask() {
    noted();
    page.history();
    page.waiting(true);
    try {
      const answer = await latest.run((signal) => asked(ctx, state, signal));
      if (answer === undefined) return;
      if (answer === null) page.wanting();
      else page.show(answer, state);
    } catch (error) {
      page.fail(error, ask);
    }
    page.waiting(false);
  }

  history.addEventListener("change", ask);
  ask();
  named(ctx).then((changed) => { if (changed) page.history(); });
  return {
    update(now) {
      const given = { user: now.get("user") ?? "", from: now.get("from") ?? "history" };
      const moved = adopt(history, now.get("history"));
      if (!moved && given.user === state.user && given.from === state.from) return;
      Object.assign(state, given);
      page.take(state);
      if (!moved) ask();
    },
    destroy() { latest.stop(); history.removeEventListener("change", ask); },
  };
}

/** Take over the history a link carries; whether it differed. */
function adopt(history, text) {
  if (text === null) return false;
  const items = text.split(",").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  if (items.join("\n") === history.items.join("\n")) return false;
  history.set([...new Set(items)]);
  return true;
}

/** Learn what the items of a history from a link are called. */
async function named({ calls, history, space }) {
  const unknown = history.items.filter((item) => history.title(item) === item);
  if (!unknown.length) return false;
  try {
    const answer = await calls.items({ items: unknown, columns: wanted(space) });
    for (const { item, fields } of answer.items) history.call(item, titleOf(space, item, fields));
    return true;
  } catch {
    return false;
  }
}

async function asked({ calls, history, space }, state, signal) {
  const columns = wanted(space);
  const last = history.items.at(-1);
  if (state.from !== "history" && last) return calls.similar({ item: last, by: state.from, k: K, columns }, signal);
  if (!space.recommends) return null;
  return calls.recommend({
    history: history.items.length || !state.user ? history.items : undefined, user: history.items.length ? undefined : state.user,
    k: K, explain: true, columns,
  }, signal);
}

function frame(root, ctx, state, act) {
  const { space, history } = ctx;
  const list = h("ol", { class: "chosen", "aria-label": "History, oldest first" });
  const clear = h("button", { type: "button", class: "quiet small", on: { click: () => { history.clear(); ctx.announce("History cleared."); find.focus(); } } }, "Clear all");
  const find = h("input", { type: "search", id: "find", class: "wide", placeholder: "Find an item to add", "aria-label": "Find an item to add to the history", data: { slash: "" } });
  const box = combobox(find, {
    label: "Items",
    source: async (query, signal) => {
      const answer = await ctx.calls.search({ query, k: 8, columns: wanted(space) }, signal);
      return answer.hits.map((hit) => ({ text: titleOf(space, hit.item, hit.fields), detail: hit.item, value: hit.item }));
    },
    pick: (option) => { find.value = ""; history.add(option.value, option.text); ctx.announce(`Added ${option.text}.`); },
  });
  const user = h("input", { type: "text", id: "user", class: "wide", value: state.user, placeholder: "a user ID of the log", autocomplete: "off", spellcheck: "false" });
  const userForm = h("form", { class: "row", on: { submit: (event) => { event.preventDefault(); act.user(user.value.trim()); } } }, user,
    h("button", { type: "submit", class: "quiet" }, "Show"));
  const userNote = h("p", { class: "faint" }, "Used while the history is empty.");
  const ways = [...(space.recommends ? ["history"] : []), ...(space.similar_by ?? [])];
  const from = segmented("Recommend from", ways.map((value) => ({ value, text: FROM[value] ?? value })), state.from, act.from);
  const told = h("p", { class: "told" }, "Asking…");
  const results = h("div", { class: "results" }, placeholder(6));
  root.append(
    h("h1", { class: "sr-only" }, `Recommendations from ${space.name}`),
    h("div", { class: "with-side history-side" },
      h("aside", { "aria-label": "History" },
        h("div", { class: "row between" }, h("h2", null, "History"), clear),
        h("div", { class: "ask-box small-ask" }, find, box.list),
        list,
        h("h2", null, h("label", { for: "user" }, "Known user")), userForm, userNote),
      h("section", { "aria-label": "Recommendations" },
        h("div", { class: "bar stack" }, ways.length > 1 ? h("div", { class: "row" }, h("span", { class: "faint" }, "From"), from) : null, told),
        results)));

  function chip(item, i) {
    const title = history.title(item);
    const move = (by) => {
      history.move(item, by);
      list.querySelector(`[data-item="${CSS.escape(item)}"] [data-move="${by}"]`)?.focus();
      ctx.announce(`${title} is now number ${history.items.indexOf(item) + 1} of ${history.items.length}.`);
    };
    const take = () => {
      const at = history.items.indexOf(item);
      history.remove(item);
      (list.querySelectorAll("[data-take]")[Math.min(at, history.items.length - 1)] ?? find).focus();
      ctx.announce(`Removed ${title}.`);
    };
    const arrow = (by, text, off) => h("button", { type: "button", class: "icon", disabled: off, data: { move: by }, "aria-label": `Move ${text}: ${title}`, title: `Move ${text}`, on: { click: () => move(by) } }, by < 0 ? "↑" : "↓");
    return h("li", {
      class: "chip", data: { item }, draggable: "true",
      on: {
        dragstart: (event) => { event.dataTransfer.setData("text/plain", item); event.dataTransfer.effectAllowed = "move"; },
        dragover: (event) => event.preventDefault(),
        drop: (event) => {
          event.preventDefault();
          const moved = event.dataTransfer.getData("text/plain");
          if (history.has(moved)) history.move(moved, history.items.indexOf(item) - history.items.indexOf(moved));
        },
      },
    },
    h("span", { class: "chip-at", "aria-hidden": "true" }, i + 1),
    h("a", { class: "chip-title", href: ctx.itemHref(item) }, title),
    arrow(-1, "earlier", i === 0), arrow(1, "later", i === history.items.length - 1),
    h("button", { type: "button", class: "icon", data: { take: "" }, "aria-label": `Remove: ${title}`, title: "Remove", on: { click: take } }, "×"));
  }

  return {
    take(now) { user.value = now.user; from.show(now.from); },
    history: redraw,
    waiting(on) { ctx.busy(on); results.setAttribute("aria-busy", String(on)); },
    show(answer, now) {
      const size = history.items.length;
      const similar = now.from !== "history" && size > 0;
      const about = similar ? `Like ${history.title(history.items.at(-1))}` : size ? `For ${plural(size, "chosen item")}` : now.user ? `For user ${now.user}` : "Popular with everyone";
      told.textContent = answer.took_ms === undefined ? about : `${about} · ${took(answer.took_ms)}`;
      const start = !size && !now.user ? h("p", { class: "lead-in" }, "Add items you like, here or in Search. The list follows each one at once.") : null;
      const rows = answer.hits.map((hit, i) => {
        const title = titleOf(space, hit.item, hit.fields);
        return row(ctx, hit, { rank: i + 1, actions: [adder(ctx, hit.item, title)], below: whyRecommended(ctx, hit.because) });
      });
      fill(results, start, start ? null : notes(answer.notes), rows.length ? h("ol", { class: "hits" }, rows) : empty("Nothing to recommend", "No other item goes with this history. Add another, or choose a different source above."));
      ctx.announce(`${about}: ${plural(rows.length, "recommendation")}.`);
    },
    wanting() {
      told.textContent = "";
      fill(results, empty("Choose an item", "This Space knows no events, so it shows what is like the last item chosen. Find one on the left."));
    },
    fail(error, again) {
      told.textContent = "";
      fill(results, failure(error, ctx, again));
    },
  };

  function redraw() {
    for (const anchor of results.querySelectorAll("[data-because]")) anchor.textContent = history.title(anchor.dataset.because);
    clear.hidden = history.items.length === 0;
    fill(list, history.items.map(chip), history.items.length ? null : h("li", { class: "faint" }, "Empty. Choose something."));
  }
}

// One item: everything known of it, and what is like it. A drawer over any view; the address names it.

import { Latest } from "./api.js";
import { fill, h, link, segmented } from "./dom.js";
import { told, words } from "./format.js";
import { adder, facts, failure, titleColumn, titleOf, wanted } from "./parts.js";

const BY = { text: "by words", behavior: "by behavior", image: "by image", sid: "by code" };
const HIDDEN = new Set(["vector", "image", "audio"]);
const latest = new Latest();
const around = new Latest();
let shown = null;

/** Show the item in the drawer, or close the drawer where `id` is null. */
export async function openItem(drawer, ctx, id) {
  if (!drawer.dataset.ready) prepare(drawer);
  if (id === null) {
    shown = null;
    if (drawer.open) drawer.close();
    return;
  }
  if (shown?.id === id && shown.ctx === ctx && drawer.open) return;
  shown = { ctx, id };
  const title = h("h2", { id: "item-title", tabindex: "-1" }, ctx.history?.title(id) ?? id);
  const body = h("div", { class: "drawer-body" }, h("p", { class: "faint" }, "Loading…"));
  fill(drawer, h("div", { class: "drawer-head" }, title,
    h("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: () => drawer.close() } }, "Close")), body);
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  title.focus();
  try {
    const answer = await latest.run((signal) => ctx.calls.item(id, signal));
    if (answer) draw(ctx, id, answer.fields, title, body);
  } catch (error) {
    fill(body, failure(error, ctx));
  }
}

function prepare(drawer) {
  drawer.dataset.ready = "yes";
  drawer.addEventListener("close", () => {
    latest.stop();
    around.stop();
    const closed = shown;
    shown = null;
    closed?.ctx.hide();
  });
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });
}

function draw(ctx, id, fields, title, body) {
  const { space } = ctx;
  const name = titleOf(space, id, fields);
  title.textContent = name;
  const rows = space.columns.filter(({ name: column, kind }) => column !== titleColumn(space) && kind !== "id" && !HIDDEN.has(kind))
    .map(({ name: column, kind }) => [column, kind, fields[column]])
    .filter(([column, kind, value]) => told(kind, value, column) !== null);
  const long = rows.filter(([, kind]) => kind === "text");
  const short = rows.filter(([, kind]) => kind !== "text");
  fill(body,
    h("p", { class: "faint mono" }, id),
    h("div", { class: "row" }, space.recommends ? adder(ctx, id, name) : null,
      h("a", { class: "button small", href: ctx.href("compare", { about: "item", of: id }) }, "Compare what is similar")),
    long.map(([, kind, value]) => h("p", { class: "prose" }, told(kind, value))),
    h("dl", { class: "fields" }, short.map(([column, kind, value]) => [
      h("dt", null, words(column)),
      h("dd", null, kind === "url" ? link(value) : kind === "boolean" ? (value ? "yes" : "no") : told(kind, value, column)),
    ])),
    similar(ctx, id));
}

function similar(ctx, id) {
  const ways = ctx.space.similar_by ?? [];
  if (!ways.length) return null;
  const list = h("ol", { class: "likes", "aria-live": "polite" });
  async function load(by) {
    list.classList.add("fading");
    try {
      const answer = await around.run((signal) => ctx.calls.similar({ item: id, by, k: 8, columns: wanted(ctx.space) }, signal));
      if (!answer) return;
      document.dispatchEvent(new CustomEvent("similar", { detail: answer.hits.map((hit) => hit.item) }));
      fill(list, answer.hits.map((hit) => h("li", { data: { item: hit.item } },
        h("a", { href: ctx.itemHref(hit.item) }, titleOf(ctx.space, hit.item, hit.fields)), facts(ctx.space, hit.item, hit.fields))),
      answer.hits.length ? null : h("li", { class: "faint" }, "Nothing is known to be like it in this way."));
    } catch (error) {
      fill(list, h("li", { class: "problem" }, error.message));
    }
    list.classList.remove("fading");
  }
  const from = ways.includes("text") ? "text" : ways[0];
  load(from);
  return h("section", { "aria-label": "Similar items" },
    h("div", { class: "row between" }, h("h3", null, "Similar items"),
      ways.length > 1 ? segmented("Similar by", ways.map((value) => ({ value, text: BY[value] ?? `by ${value}` })), from, load) : null),
    list);
}


// The catalogue as a map: near items are alike. Colors from a category; the same items as a table for who cannot use a map.

import { Latest } from "./api.js";
import { fill, h, segmented } from "./dom.js";
import { clip, count, plural, words } from "./format.js";
import { MapView } from "./mapview.js";
import { choice, empty, failure } from "./parts.js";

const COLORS = 12;
const ROWS = 50;
const TRIES = 60;
const OTHER = "other";

export function mount(root, ctx, params) {
  const { space } = ctx;
  const columns = space.columns.filter(({ kind }) => kind === "category").map(({ name }) => name);
  const first = space.shown.find((name) => columns.includes(name)) ?? columns[0] ?? "";
  const state = { color: columns.includes(params.get("color")) ? params.get("color") : first, as: params.get("as") === "table" ? "table" : "map", item: params.get("item") };
  const latest = new Latest();
  let data = null;
  let again = 0;
  let rowOf = new Map();

  const canvas = h("canvas", {
    id: "map", tabindex: "0", role: "application", "aria-describedby": "map-keys",
    "aria-label": `Map of the items of ${space.name}`,
  });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Colors" });
  const told = h("p", { class: "told" }, "Loading the map…");
  const stage = h("div", { class: "stage" }, canvas, tip, h("div", { class: "zoom" },
    ["+", "−", "Fit"].map((text, i) => h("button", {
      type: "button", class: "icon", "aria-label": ["Zoom in", "Zoom out", "Show everything"][i],
      on: { click: () => (i === 2 ? view.fit() : view.zoom(i ? 1 / 1.6 : 1.6, canvas.clientWidth / 2, canvas.clientHeight / 2)) },
    }, text))));
  const table = h("div", { class: "map-table" });
  const message = h("div");
  const made = h("span");
  const body = h("div", { class: "map-body" }, stage, legend);
  const view = new MapView(canvas, { over, pick: (row) => ctx.show(data.points.item[row]) });
  root.append(h("h1", { class: "sr-only" }, `Map of ${space.name}`),
    h("div", { class: "row between bar" }, told, h("div", { class: "row tools" },
      columns.length > 1 ? choice("Color by", columns.map((value) => ({ value, text: words(value) })), state.color, (color) => { state.color = color; ask(); }) : null,
      segmented("Show as", [{ value: "map", text: "Map" }, { value: "table", text: "Table" }], state.as, (as) => { state.as = as; note(); swap(); }))),
    message, body, table,
    h("p", { class: "faint keys", id: "map-keys" }, "Drag or use arrow keys to move, scroll or + and − to zoom, 0 to see everything; Enter opens the item in the middle. ", made));

  const note = () => ctx.note({ color: state.color === first ? "" : state.color, as: state.as === "map" ? "" : state.as, item: state.item });

  function swap() {
    body.hidden = state.as === "table";
    table.hidden = !body.hidden;
    root.querySelector(".keys").hidden = body.hidden;
    if (data && !table.hidden) drawTable();
    if (data && !body.hidden) view.resize();
  }

  /** A map is made when it is first asked for, which may take longer than one request: then it is asked for again. */
  async function ask(tries = 0) {
    note();
    ctx.busy(true);
    clearTimeout(again);
    try {
      const answer = await latest.run((signal) => ctx.calls.map(state.color, signal));
      if (answer !== undefined) take(answer);
    } catch (error) {
      if ([503, 504].includes(error.status) && tries < TRIES) {
        told.textContent = "The map is being made; it shows when it is ready.";
        again = setTimeout(() => ask(tries + 1), 2000);
        return;
      }
      told.textContent = "";
      body.hidden = table.hidden = true;
      fill(message, failure(error, ctx, () => ask()));
    }
    ctx.busy(false);
  }

  function take(answer) {
    data = { ...answer, ...grouped(answer) };
    rowOf = new Map(answer.points.item.map((item, row) => [item, row]));
    const n = answer.points.x.length;
    told.textContent = plural(n, "item");
    made.textContent = answer.note ? `${answer.note[0].toUpperCase()}${answer.note.slice(1)}.` : "";
    fill(message, n ? null : empty("Nothing to draw", "This Space has no items with vectors."));
    canvas.setAttribute("aria-label", `Map of ${plural(n, "item")} of ${space.name}`);
    view.take(answer.points.x, answer.points.y, data.group, data.names.length);
    drawLegend(new Set());
    paint();
    mark(state.item);
    swap();
  }

  function paint() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(name).trim();
    view.paint((data?.names ?? []).map((_, i) => named(data.rest === i ? "--c-rest" : `--c${i % COLORS}`)), named("--ink"), named("--surface"));
  }

  function over(row, x, y) {
    tip.hidden = row < 0;
    if (row < 0) return;
    fill(tip, h("strong", null, clip(data.points.label[row] ?? data.points.item[row], 70)), h("span", null, data.names[data.group[row]]));
    const wide = stage.clientWidth;
    tip.style.transform = `translate(${Math.max(8, Math.min(x + 14, wide - tip.offsetWidth - 8))}px, ${Math.max(8, y - tip.offsetHeight - 12)}px)`;
    if (view.keyed) ctx.announce(`${data.points.label[row]}, ${data.names[data.group[row]]}`);
  }

  function drawLegend(hidden) {
    const shown = data.names.map((_, i) => !hidden.has(i));
    view.show(shown);
    fill(legend, data.names.map((name, i) => h("button", {
      type: "button", class: "legend-item", "aria-pressed": String(shown[i]), data: { at: i },
      on: {
        click: () => {
          const next = new Set(hidden);
          if (!next.delete(i)) next.add(i);
          drawLegend(next);
          legend.querySelector(`[data-at="${i}"]`).focus();
        },
      },
    }, h("span", { class: "swatch", css: { background: data.rest === i ? "var(--c-rest)" : `var(--c${i % COLORS})` } }),
    h("span", { class: "legend-name" }, name), h("span", { class: "check-count" }, count(data.sizes[i])))),
    h("div", { class: "row" },
      h("button", { type: "button", class: "small quiet", disabled: !hidden.size, on: { click: () => drawLegend(new Set()) } }, "Show all"),
      h("button", { type: "button", class: "small quiet", disabled: hidden.size === data.names.length, on: { click: () => drawLegend(new Set(data.names.keys())) } }, "Hide all")));
  }

  function mark(item, like = []) {
    const row = item === null ? undefined : rowOf.get(item);
    view.mark(like.map((name) => rowOf.get(name)).filter((found) => found !== undefined), row ?? null);
  }

  let from = 0;
  let text = "";
  function drawTable() {
    const asked = text.toLowerCase();
    data.order ??= inOrder(data);
    const rows = data.order.filter((row) => !asked || String(data.points.label[row]).toLowerCase().includes(asked) || String(data.points.item[row]).toLowerCase().includes(asked)
      || data.names[data.group[row]].toLowerCase().includes(asked));
    from = Math.max(0, Math.min(from, Math.floor((rows.length - 1) / ROWS) * ROWS));
    if (!table.hasChildNodes()) {
      const input = h("input", { type: "search", placeholder: "Only rows with", "aria-label": "Only rows with", on: { input: () => { text = input.value; from = 0; drawTable(); } } });
      table.append(h("div", { class: "row between" }, input, h("div", { class: "row pager" })), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Items of the map" }));
    }
    const turn = (by) => { from += by; drawTable(); };
    fill(table.querySelector(".pager"),
      h("span", { class: "faint", role: "status" }, rows.length ? `${count(from + 1)} to ${count(Math.min(from + ROWS, rows.length))} of ${count(rows.length)}` : "none"),
      h("button", { type: "button", class: "small", disabled: from === 0, on: { click: () => turn(-ROWS) } }, "Before"),
      h("button", { type: "button", class: "small", disabled: from + ROWS >= rows.length, on: { click: () => turn(ROWS) } }, "After"));
    fill(table.querySelector(".scroll"), h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Item"), h("th", { scope: "col" }, state.color ? words(state.color) : "color"), h("th", { scope: "col" }, "ID"))),
      h("tbody", null, rows.slice(from, from + ROWS).map((row) => h("tr", null,
        h("td", null, h("a", { href: ctx.itemHref(data.points.item[row]) }, data.points.label[row] ?? data.points.item[row])),
        h("td", null, data.names[data.group[row]]), h("td", { class: "mono faint" }, data.points.item[row]))))));
  }

  const themed = () => paint();
  const liked = (event) => mark(state.item, event.detail);
  document.addEventListener("themechange", themed);
  document.addEventListener("similar", liked);
  swap();
  paint();
  ask();
  return {
    update(now) {
      state.item = now.get("item");
      if (data) mark(state.item);
      const color = columns.includes(now.get("color")) ? now.get("color") : first;
      if (color !== state.color) { state.color = color; ask(); }
    },
    destroy() {
      clearTimeout(again);
      latest.stop();
      view.close();
      document.removeEventListener("themechange", themed);
      document.removeEventListener("similar", liked);
    },
  };
}

/** Colors to at most twelve groups, most frequent first; what is left over, or has no color, is the rest. */
function grouped({ points, colors }) {
  const n = points.x.length;
  const codes = points.color ?? new Array(n).fill(-1);
  const sizes = new Array(colors?.length ?? 0).fill(0);
  for (const code of codes) if (code >= 0) sizes[code] += 1;
  const ranked = [...sizes.keys()].filter((code) => sizes[code] > 0 && colors[code] !== OTHER).sort((a, b) => sizes[b] - sizes[a]).slice(0, COLORS);
  const place = new Map(ranked.map((code, i) => [code, i]));
  const names = ranked.map((code) => String(colors[code]));
  const group = codes.map((code) => place.get(code) ?? ranked.length);
  const rest = group.includes(ranked.length) ? ranked.length : -1;
  if (rest >= 0) names.push(ranked.length ? OTHER : "items");
  const counted = names.map(() => 0);
  for (const g of group) counted[g] += 1;
  return { group, names, rest, sizes: counted };
}

/** Rows by color, then by label: the order of the table. */
function inOrder({ points, group }) {
  const labels = points.item.map((item, row) => String(points.label?.[row] ?? item).toLowerCase());
  return [...labels.keys()].sort((a, b) => group[a] - group[b] || (labels[a] < labels[b] ? -1 : labels[a] > labels[b] ? 1 : a - b));
}

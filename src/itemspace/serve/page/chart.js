// Dots with whiskers, as a list that also reads well: label, drawing, value. No numbers are only in a drawing.

import { h } from "./dom.js";
import { metric } from "./format.js";

/** Ends of an axis that hold all values and intervals; it starts at 0 where that wastes little. */
export function reach(rows) {
  const all = rows.flatMap(({ value, low, high }) => [value, low, high]).filter(Number.isFinite);
  if (!all.length) return [0, 1];
  let [low, high] = [Math.min(...all), Math.max(...all)];
  const bounded = low >= 0 && high <= 1;
  if (low === high) return bounded ? [0, 1] : [Math.min(0, 1.25 * low), Math.max(0, 1.25 * high)];
  if (low >= 0 && low < 0.6 * high) low = 0;
  const room = (high - low) * 0.06;
  return [low === 0 ? 0 : Math.max(low - room, bounded ? 0 : -Infinity), bounded ? Math.min(1, high + room) : high + room];
}

/** rows: [{ label, value, low, high, n, series, hint }] on one axis. */
export function whiskers(rows, [low, high], about, axis = true) {
  const at = (value) => `${(100 * (value - low)) / (high - low)}%`;
  const zero = () => (low < 0 && high > 0 ? h("span", { class: "zero", css: { left: at(0) } }) : null);
  return h("div", { class: "whiskers" },
    h("ul", { "aria-label": about }, rows.map((row) => {
      const sure = Number.isFinite(row.low) && Number.isFinite(row.high);
      return h("li", { title: row.hint },
        h("span", { class: "w-label" }, row.label),
        h("span", { class: `w-track series-${row.series ?? 0}`, "aria-hidden": "true" }, zero(),
          sure ? h("span", { class: "w-line", css: { left: at(row.low), width: `${(100 * (row.high - row.low)) / (high - low)}%` } }) : null,
          Number.isFinite(row.value) ? h("span", { class: "w-dot", css: { left: at(row.value) } }) : null),
        h("span", { class: "w-value" }, metric(row.value),
          sure ? h("span", { class: "sr-only" }, `, 95% interval ${metric(row.low)} to ${metric(row.high)}`) : null));
    })),
    !axis ? null : h("div", { class: "w-axis", "aria-hidden": "true" }, h("span"), h("span", { class: "w-ends" }, h("span", null, metric(low, 2)), h("span", null, metric(high, 2))), h("span")));
}

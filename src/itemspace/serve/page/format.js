// Values as people read them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });

export const count = (value) => (Number.isFinite(value) ? whole.format(value) : "–");
export const number = (value) => (Number.isFinite(value) ? exact.format(value) : String(value));
export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many ?? one + "s"}`;
export const words = (name) => String(name).replaceAll("_", " ");
export const clip = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1).trimEnd()}…`);

export function took(milliseconds) {
  if (!Number.isFinite(milliseconds)) return "";
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

/** A score or metric: ".0897", "1.000", "12.4"; "–" where there is none. */
export function metric(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 10) return new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 }).format(value);
  return value.toFixed(digits).replace(/^(-?)0\./, "$1.");
}

export const signed = (value, digits = 4) => (value > 0 ? `+${metric(value, digits)}` : metric(value, digits));

/** One value of a column as text; null where there is nothing to say. */
export function told(kind, value, name) {
  if (value === null || value === undefined || value === "") return null;
  if (Array.isArray(value)) return value.length ? value.map((entry) => told(kind, entry, name)).join(", ") : null;
  if (kind === "boolean" || typeof value === "boolean") return value ? words(name) : `not ${words(name)}`;
  if (kind === "time") return String(value).replace(/T00:00:00(\.0+)?(Z|\+00:00)?$/, "").replace("T", " ");
  if (typeof value === "number") {
    return /price|cost/.test(String(name).toLowerCase()) ? value.toFixed(2) : number(value);
  }
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

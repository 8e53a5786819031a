// The filter text is the one state of all filters: check lists read it and write it. What they do not understand stays as typed.
//
// A filter is a list of clauses joined by `and`:
//   { kind: "in", column, values }                     brand = 'Acme', brand in ('A', 'B')
//   { kind: "has", column, values }                    'red' in colors, ('red' in colors or 'blue' in colors)
//   { kind: "range", column, low, high, lowOpen, highOpen }   price >= 10 and price < 20, price between 10 and 20
//   { kind: "flag", column, value }                    in_stock, not in_stock
//   { kind: "other", text }                            anything else

const TOKEN = /\s+|`(?:[^`]|``)+`|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*|<=|>=|<>|!=|==|[=<>(),[\]]/uy;
const ESCAPED = { n: "\n", t: "\t", r: "\r" };
const RESERVED = new Set("and or not in is null between contains starts with true false like".split(" "));

function tokens(source) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (!match) return null;
    if (match[0].trim() !== "") found.push({ ...read(match[0]), at, end: TOKEN.lastIndex });
  }
  return found;
}

function read(text) {
  const first = text[0];
  if (first === "'" || first === '"') {
    const value = text.slice(1, -1).replace(/\\(.)|(''|"")/gs, (_, escaped, doubled) => (doubled ? doubled[0] : ESCAPED[escaped] ?? escaped));
    return { kind: "value", text, value };
  }
  if (first === "`") return { kind: "name", text, value: text.slice(1, -1).replaceAll("``", "`") };
  if (/[\d.+-]/.test(first)) return { kind: "value", text, value: Number(text) };
  if (/[\p{L}_]/u.test(first)) {
    const word = text.toLowerCase();
    return RESERVED.has(word) ? { kind: "word", text: word } : { kind: "name", text, value: text };
  }
  return { kind: "symbol", text };
}

/** The clauses of a filter text. */
export function parse(source) {
  const found = tokens(source);
  if (found === null) return [{ kind: "other", text: source.trim() }];
  if (found.length === 0) return [];
  const parts = split(found, "and");
  if (split(found, "or").length > 1 || parts.some((part) => part.length === 0)) return merged([single(found, source)]);
  return merged(parts.map((part) => single(part, source)));
}

/** Tokens split at a word outside parentheses; the `and` of a `between` does not count. */
function split(found, word) {
  const parts = [[]];
  let depth = 0;
  let between = false;
  for (const token of found) {
    if (token.text === "(" || token.text === "[") depth += 1;
    else if (token.text === ")" || token.text === "]") depth -= 1;
    if (depth === 0 && token.kind === "word" && token.text === "between") between = true;
    if (depth === 0 && token.kind === "word" && token.text === word && !(word === "and" && between)) parts.push([]);
    else {
      if (token.kind === "word" && token.text === "and") between = false;
      parts.at(-1).push(token);
    }
  }
  return parts;
}

function single(part, source) {
  const inner = unwrapped(part);
  const told = simple(inner) ?? either(inner);
  return told ?? { kind: "other", text: source.slice(part[0].at, part.at(-1).end) };
}

function unwrapped(part) {
  if (part.length < 3 || part[0].text !== "(" || part.at(-1).text !== ")") return part;
  let depth = 0;
  for (const [i, token] of part.entries()) {
    depth += (token.text === "(") - (token.text === ")");
    if (depth === 0 && i < part.length - 1) return part;
  }
  return part.slice(1, -1);
}

const shape = (part) => part.map((t) => (t.kind === "name" ? "N" : t.kind === "value" ? "V" : t.text)).join(" ");

function simple(part) {
  const is = shape(part);
  const [a, b, c] = part;
  if (is === "N") return { kind: "flag", column: a.value, value: true };
  if (is === "not N") return { kind: "flag", column: b.value, value: false };
  if (/^N ==? (true|false)$/.test(is)) return { kind: "flag", column: a.value, value: c.text === "true" };
  if (/^N ==? V$/.test(is)) return { kind: "in", column: a.value, values: [c.value] };
  if (is === "V in N") return { kind: "has", column: c.value, values: [a.value] };
  if (is === "N contains V" && typeof c.value === "number") return { kind: "has", column: a.value, values: [c.value] };
  if (/^N in [([] V(?: , V)* [)\]]$/.test(is)) {
    return { kind: "in", column: a.value, values: part.filter((t, i) => i > 2 && t.kind === "value").map((t) => t.value) };
  }
  if (is === "N between V and V") return range(a.value, { low: c.value, high: part[4].value });
  if (/^N (<|<=|>|>=) V$/.test(is)) {
    return b.text[0] === ">" ? range(a.value, { low: c.value, lowOpen: b.text === ">" }) : range(a.value, { high: c.value, highOpen: b.text === "<" });
  }
  return null;
}

function range(column, { low = null, high = null, lowOpen = false, highOpen = false }) {
  return { kind: "range", column, low, high, lowOpen, highOpen };
}

/** `'red' in colors or 'blue' in colors` as one clause. */
function either(part) {
  const parts = split(part, "or").map(simple);
  if (parts.length < 2 || parts.some((p) => !p || (p.kind !== "has" && p.kind !== "in"))) return null;
  const [{ kind, column }] = parts;
  if (parts.some((p) => p.kind !== kind || p.column !== column)) return null;
  return { kind, column, values: [...new Set(parts.flatMap((p) => p.values))] };
}

/** Two halves of one range become one clause; a second clause of a kind that cannot be merged stays as text. */
function merged(clauses) {
  const out = [];
  for (const clause of clauses) {
    const before = clause.kind === "other" ? undefined : out.find((c) => c.column === clause.column && c.kind !== "other");
    if (before === undefined) out.push(clause);
    else if (before.kind === "range" && clause.kind === "range" && before.low === null && clause.high === null) {
      Object.assign(before, { low: clause.low, lowOpen: clause.lowOpen });
    } else if (before.kind === "range" && clause.kind === "range" && before.high === null && clause.low === null) {
      Object.assign(before, { high: clause.high, highOpen: clause.highOpen });
    } else out.push({ kind: "other", text: write([clause]) });
  }
  return out;
}

/** A column's name as a filter spells it. */
export function named(column) {
  const plain = /^[\p{L}_][\p{L}\p{N}_]*$/u.test(column) && !RESERVED.has(column.toLowerCase());
  return plain ? column : `\`${column.replaceAll("`", "``")}\``;
}

/** A value as a filter spells it. */
export function quoted(value) {
  if (typeof value !== "string") return String(value);
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r")}'`;
}

function spelled(clause) {
  const name = clause.column === undefined ? "" : named(clause.column);
  if (clause.kind === "in") {
    return clause.values.length === 1 ? `${name} = ${quoted(clause.values[0])}` : `${name} in (${clause.values.map(quoted).join(", ")})`;
  }
  if (clause.kind === "has") {
    const each = clause.values.map((value) => `${quoted(value)} in ${name}`);
    return each.length === 1 ? each[0] : `(${each.join(" or ")})`;
  }
  if (clause.kind === "flag") return clause.value ? name : `not ${name}`;
  if (clause.kind === "range") {
    const ends = [];
    if (clause.low !== null) ends.push(`${name} ${clause.lowOpen ? ">" : ">="} ${quoted(clause.low)}`);
    if (clause.high !== null) ends.push(`${name} ${clause.highOpen ? "<" : "<="} ${quoted(clause.high)}`);
    return ends.join(" and ");
  }
  return clause.text;
}

/** The filter text of clauses. */
export function write(clauses) {
  const several = clauses.length > 1;
  return clauses.map((clause) => {
    const text = spelled(clause);
    const loose = several && clause.kind === "other" && split(tokens(text) ?? [], "or").length > 1;
    return loose ? `(${text})` : text;
  }).filter(Boolean).join(" and ");
}

/** The clause of a column, or undefined. */
export const clauseOf = (clauses, column) => clauses.find((c) => c.kind !== "other" && c.column === column);

/** The same clauses with `clause` in the place of its column's; null takes the column's clause away. */
export function withClause(clauses, column, clause) {
  const at = clauses.findIndex((c) => c.kind !== "other" && c.column === column);
  const out = [...clauses];
  if (at >= 0) out.splice(at, 1, ...(clause ? [clause] : []));
  else if (clause) out.push(clause);
  return out;
}

/** A check list's value switched on or off. */
export function toggled(clauses, column, kind, value, on) {
  const before = clauseOf(clauses, column);
  const values = before?.kind === kind ? before.values.filter((v) => v !== value) : [];
  if (on) values.push(value);
  return withClause(clauses, column, values.length ? { kind, column, values } : null);
}

/** The filter without a column's clause: what the counts of that column's check list are counted under. */
export const without = (clauses, column) => write(withClause(clauses, column, null));

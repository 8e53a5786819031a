// The HTTP contract, and nothing else. Addresses are relative to the page, so it works under any path prefix.

const KEY = "itemspace.key";

/** An answer that was an error: `status` (0 where the server could not be reached), `type`, `requestId`. */
export class ApiError extends Error {
  constructor(message, status, type, requestId) {
    super(message);
    Object.assign(this, { status, type, requestId });
  }
}

export class Api extends EventTarget {
  constructor() {
    super();
    this.base = new URL("v1/", document.baseURI);
    this.state = "wait";
  }

  get key() {
    try { return sessionStorage.getItem(KEY) ?? ""; } catch { return ""; }
  }

  /** Kept for this tab only, and sent as a header. */
  set key(value) {
    try {
      if (value) sessionStorage.setItem(KEY, value);
      else sessionStorage.removeItem(KEY);
    } catch { /* without storage the key is asked for again */ }
  }

  /** state: "wait", "open", "key" (the server wants one), "busy" (it said: later), "lost" (it does not answer). */
  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  async ask(method, path, body, signal) {
    const headers = { Accept: "application/json" };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(new URL(path, this.base), {
        method, headers, signal, cache: "no-store", credentials: "same-origin", redirect: "error",
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.become("lost");
      throw new ApiError("The server does not answer.", 0, "unreachable");
    }
    const text = await response.text();
    let answer;
    try { answer = JSON.parse(text); } catch { answer = null; }
    if (response.ok && answer !== null) {
      this.become("open");
      return answer;
    }
    this.become({ 401: "key", 403: "key", 429: "busy", 503: "busy" }[response.status] ?? "open");
    const told = answer?.error ?? {};
    const said = typeof told === "string" ? told : told.message;
    throw new ApiError(said ?? `The server answered ${response.status}.`, response.status, told.type, told.request_id);
  }

  get(path, signal) { return this.ask("GET", path, undefined, signal); }

  post(path, body, signal) {
    const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== null && value !== ""));
    if ("query" in body) given.query = body.query;
    return this.ask("POST", path, given, signal);
  }

  /** The calls of one Space. */
  space(name) {
    const at = (verb) => `spaces/${encodeURIComponent(name)}/${verb}`;
    const calls = {};
    for (const verb of ["search", "recommend", "similar", "facets", "autocomplete", "explain"]) {
      calls[verb] = (body, signal) => this.post(at(verb), body, signal);
    }
    calls.item = (id, signal) => this.get(at(`items/${encodeURIComponent(id)}`), signal);
    calls.items = (body, signal) => this.post(at("items/get"), body, signal);
    calls.map = (color, signal) => this.get(at("map") + (color ? `?color=${encodeURIComponent(color)}` : ""), signal);
    calls.report = (signal) => this.get(at("report"), signal);
    return calls;
  }

  spaces(signal) { return this.get("spaces", signal); }
  systems(signal) { return this.get("systems", signal); }
  source(slug, signal) { return this.get(`systems/${encodeURIComponent(slug)}/source`, signal); }
}

/** One question at a time: asking again aborts the one before, and a stale answer is never shown. */
export class Latest {
  #controller = null;

  async run(ask) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      const answer = await ask(controller.signal);
      return controller.signal.aborted ? undefined : answer;
    } catch (error) {
      if (controller.signal.aborted || error.name === "AbortError") return undefined;
      throw error;
    }
  }

  stop() { this.#controller?.abort(); }
}

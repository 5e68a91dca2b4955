// Requests to the service. What it refuses is a `Problem`; where nobody answers, `Unreachable`.

import { Problem, Unreachable } from "./advice.js";
import { hex } from "./address.js";
import { Lines, frame } from "./wire.js";

const FRAME = "application/vnd.farpeek.frame";

/** What a gateway says of a node that is not there now. */
const AWAY = ["unknown-node", "node-offline", "service-unreachable", "broker-unreachable"];

/** @typedef {"wait" | "nowait"} Mode */
/** @typedef {{ method?: string, body?: string, accept?: string, signal?: AbortSignal, headers?: Record<string, string> }} Options */

export class Api {
  /**
   * @param {URL} base
   * @param {() => string | null} token
   * @param {(error: unknown) => void} heard is told how each request went; null is well
   */
  constructor(base, token, heard) {
    this.base = base;
    this.token = token;
    this.heard = heard;
  }

  /**
   * @param {string} path
   * @param {Options} [options]
   * @returns {Promise<Response>}
   */
  async ask(path, options = {}) {
    const { method, body, accept = "application/json", signal, headers = {} } = options;
    /** @type {Record<string, string>} */
    const sent = { Accept: `${accept}, application/problem+json`, ...headers };
    const token = this.token();
    // In a header, because addresses end up in logs and histories.
    if (token) sent.Authorization = `Bearer ${token}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(new URL(path, this.base), {
        method: method ?? (body === undefined ? "GET" : "POST"),
        body,
        signal,
        headers: sent,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw this.failed(new Unreachable("nobody answers"));
    }
    if (response.status === 502) throw this.failed(new Unreachable("the service is away"));
    if (!response.ok) {
      const problem = await problemOf(response);
      throw this.failed(AWAY.includes(problem.slug) ? new Unreachable(problem.message) : problem);
    }
    this.heard(null);
    return response;
  }

  /**
   * @param {unknown} error
   * @returns {unknown}
   */
  failed(error) {
    this.heard(error);
    return error;
  }

  /**
   * @param {string} path
   * @param {unknown} [body]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async json(path, body, signal) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return (await this.ask(path, { body: text, signal })).json();
  }

  /**
   * Read regions at once.
   * @param {string} target
   * @param {readonly [bigint, number][]} regions
   * @param {Mode} mode
   * @param {AbortSignal} [signal]
   */
  async readv(target, regions, mode, signal) {
    const body = JSON.stringify({
      addresses: regions.map(([address]) => hex(address)),
      lengths: regions.map(([, length]) => length),
      mode,
    });
    const path = `v1/targets/${target}/readv`;
    const response = await this.ask(path, { body, accept: FRAME, signal });
    return frame(await response.arrayBuffer());
  }

  /**
   * All items of a list that may come in several answers.
   * @param {string} path
   * @param {string} name
   * @param {AbortSignal} [signal]
   * @returns {Promise<any[]>}
   */
  async list(path, name, signal) {
    /** @type {any[]} */
    const found = [];
    let from = "";
    do {
      const more = from && `${path.includes("?") ? "&" : "?"}from=${from}`;
      const answer = await this.json(path + more, undefined, signal);
      found.push(...answer[name]);
      from = answer.truncated && answer.next !== undefined ? String(answer.next) : "";
    } while (from);
    return found;
  }

  /**
   * The lines of an answer, as they come.
   * @param {string} path
   * @param {string} body
   * @param {AbortSignal} signal
   */
  async *lines(path, body, signal) {
    const response = await this.ask(path, { body, accept: "application/x-ndjson", signal });
    const lines = new Lines();
    for await (const part of parts(response)) {
      for (const line of lines.add(part)) if (line) yield JSON.parse(line);
    }
  }
}

/**
 * The body of an answer in parts, as they come; whoever stops early ends the request.
 * @param {Response} response
 */
export async function* parts(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {Response} response */
async function problemOf(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Not the service's own words: the status has to do.
  }
  return new Problem(body, response.status);
}

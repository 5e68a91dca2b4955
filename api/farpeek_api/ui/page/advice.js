// What went wrong, for people: what happened, and what can be done about it.

import { line, safe } from "./hostile.js";

/**
 * @typedef {object} Advice
 * @property {string} title what happened
 * @property {string} detail this time
 * @property {string} cure what can be done
 * @property {boolean} retry whether the same may succeed later
 */

/** The service says no (RFC 9457); `slug` is the name of the problem. */
export class Problem extends Error {
  /**
   * @param {any} body
   * @param {number} status
   */
  constructor(body, status) {
    super(typeof body?.detail === "string" ? body.detail : `status ${status}`);
    this.body = body ?? {};
    this.status = status;
    this.slug = String(body?.type ?? "").replace("urn:farpeek:problem:", "");
  }
}

/** Nobody answers. */
export class Unreachable extends Error {}

/** @type {Record<string, [string, string]>} */
const KNOWN = {
  unauthenticated: [
    "The service does not know this token",
    "It may be wrong, or may have expired. Give another one; what is on the screen stays.",
  ],
  "access-denied": ["The kernel refuses", "See the service's page for what the doctor finds and for cures."],
  "target-exited": ["The process has ended", "Its memory is gone. What is shown is what was read last."],
  "no-such-target": ["The service no longer holds this process", "Choose it again from the list of processes."],
  "no-such-process": ["There is no such process any more", "It has ended since it was listed."],
  "target-changed": ["It executes another program by now", "Addresses of the old one mean nothing any more; look at the map again."],
  "target-stuck": ["Its threads hang in the kernel", "Read without waiting, or wait for whatever holds its pages."],
  deadline: ["It took too long", "Read without waiting: what is not in memory is then shown as a gap."],
  "too-busy": ["The service is busy", "Too much is under way. It will be tried again; fewer live views help."],
  "too-large": ["That is more than one request may ask for", "Choose a smaller range."],
  unsupported: ["It cannot be done here", "This kernel, or the service's privileges, do not provide it."],
  "shutting-down": ["The service stops", "This page goes on by itself when it is back."],
  "file-remote": ["The file is on a filesystem that could hang", "Its symbols are left out."],
  internal: ["The service made a mistake", "Its log has the request's id. Please report it."],
};

/**
 * @param {unknown} error
 * @returns {Advice}
 */
export function advice(error) {
  if (error instanceof Unreachable) {
    return {
      title: "The service does not answer",
      detail: "Nothing is lost: what is on the screen stays.",
      cure: "Is farpeek running? This page tries again by itself.",
      retry: true,
    };
  }
  if (!(error instanceof Problem)) {
    const detail = line(error instanceof Error ? error.message : String(error));
    return { title: "That cannot be done", detail, cure: "", retry: false };
  }
  const { body, slug } = error;
  if (slug === "forbidden") return forbidden(body, error.message);
  const [title, cure] = KNOWN[slug] ?? [line(body.title ?? "The service refuses"), ""];
  const hint = typeof body.hint === "string" ? line(body.hint) : cure;
  const gate = typeof body.gate === "string" ? ` (gate: ${line(body.gate)})` : "";
  const retry = body.retryable === true || error.status === 429 || error.status === 503;
  return { title, detail: line(error.message) + gate, cure: hint, retry };
}

/**
 * A link of which some makes no sense.
 * @param {readonly string[]} odd
 * @returns {Advice}
 */
export function brokenLink(odd) {
  return {
    title: "This link is broken",
    detail: `What cannot be understood was left out: ${odd.slice(0, 4).map((each) => `“${safe(each, 64)}”`).join(", ")}.`,
    cure: "Ask whoever gave it to you for another one, or choose a process.",
    retry: false,
  };
}

/**
 * @param {any} body
 * @param {string} detail
 * @returns {Advice}
 */
function forbidden(body, detail) {
  const verb = typeof body.verb === "string" ? `You lack the verb “${line(body.verb)}”. ` : "";
  const rule = typeof body.rule === "string" ? `The rule: ${line(body.rule)}.` : "";
  return {
    title: "The policy does not allow it",
    detail: line(detail),
    cure: `${verb}${rule}`.trim() || "Ask whoever runs the service.",
    retry: false,
  };
}

/**
 * How a process ended, to be put behind its name.
 * @param {{ code: number | null, signal: string | null, core_dumped: boolean } | null} exit
 */
export function howItEnded(exit) {
  if (!exit) return "has exited";
  if (exit.signal !== null) {
    return `was ended by ${line(exit.signal)}${exit.core_dumped ? ", and left a core" : ""}`;
  }
  return `has exited with status ${exit.code}`;
}

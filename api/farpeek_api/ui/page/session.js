// Everything that the views share: who asks, what the service said last, which targets there are.

import { Api } from "./api.js";
import { Problem, Unreachable, advice } from "./advice.js";
import { Store } from "./dom.js";
import { Events } from "./events.js";
import { secretIn } from "./fragment.js";
import { mappingFrom } from "./kinds.js";
import { Stream } from "./stream.js";
import { keepToken, keptToken } from "./token.js";

/** @typedef {"connecting" | "connected" | "away"} Connection */

export class Session {
  constructor() {
    /** @type {Store<Connection>} */
    this.connection = new Store(/** @type {Connection} */ ("connecting"));
    /** @type {Store<string | null>} why a token is wanted; null if none is */
    this.wantsToken = new Store(/** @type {string | null} */ (null));
    /** @type {Store<ReadonlyMap<string, any>>} what is known of targets, by id */
    this.targets = new Store(/** @type {ReadonlyMap<string, any>} */ (new Map()));
    /** @type {Store<import("./advice.js").Advice | null>} what went wrong last */
    this.notice = new Store(/** @type {import("./advice.js").Advice | null} */ (null));
    /** @type {Store<number>} goes up when answers may be others: after a loss, a restart, a new token */
    this.round = new Store(0);
    this.lost = false;
    this.token = keptToken();
    const base = new URL(".", document.baseURI);
    /** @type {string | null} which node of a fleet it is about, behind a gateway */
    this.node = /\/v1\/nodes\/([a-z0-9-]{1,63})\/$/.exec(base.pathname)?.[1] ?? null;
    this.api = new Api(base, () => this.token, (error) => this.heard(error));
    this.stream = new Stream(this.api);
    this.events = new Events(this.api, (event) => this.told(event), (is) => this.connected(is));
  }

  /** Begin: by the secret of the fragment, if there is one. */
  async start() {
    const secret = secretIn(location.hash);
    if (secret) {
      const fields = new URLSearchParams(location.hash.slice(1));
      fields.delete("secret");
      // At once, so that it is in no history and on no screen.
      history.replaceState(null, "", `#${fields}`);
      try {
        const { token } = await this.api.json("ui-session", { secret });
        this.keep(token);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (!this.token) return this.wantsToken.set(error.message);
      }
    }
    void this.events.start();
  }

  /** @param {string} token */
  use(token) {
    this.keep(token);
    this.wantsToken.set(null);
    void this.events.start();
    this.round.set(this.round.value + 1);
  }

  /** @param {string} token */
  keep(token) {
    this.token = token;
    keepToken(token);
  }

  /** @param {unknown} error of a request; null if it went well */
  heard(error) {
    if (error === null) {
      if (this.connection.value === "connected") return;
      // Events tell best whether it is there; who may not have them goes by other answers.
      if (!this.events.again()) this.connection.set("connected");
      return;
    }
    if (error instanceof Unreachable) this.connection.set("away");
    if (error instanceof Problem && error.status === 401) {
      // Without a token, it has been said already why there is none, if that is known.
      this.wantsToken.set(this.token ? error.message : (this.wantsToken.value ?? ""));
    }
  }

  /** @param {boolean} is */
  connected(is) {
    this.connection.set(is ? "connected" : "away");
    if (is && this.lost) this.round.set(this.round.value + 1);
    this.lost = !is;
  }

  /** @param {import("./wire.js").ServerEvent} event */
  told({ kind, data }) {
    if (kind === "lost") return this.round.set(this.round.value + 1);
    if (!data.target) return;
    const known = new Map(this.targets.value);
    if (kind === "released") known.delete(data.target.id);
    else known.set(data.target.id, { ...known.get(data.target.id), ...data.target });
    this.targets.set(known);
  }

  /** @param {readonly any[]} targets */
  learn(targets) {
    const known = new Map(this.targets.value);
    for (const each of targets) known.set(each.id, each);
    this.targets.set(known);
  }

  /** @param {unknown} error */
  fail(error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    // The token's form, and the word on top, say these by themselves.
    if (error instanceof Unreachable || (error instanceof Problem && error.status === 401)) return;
    this.notice.set(advice(error));
  }

  /**
   * Have a process held.
   * @param {{ pid: number, start_time?: string }} process as it was listed
   */
  async register({ pid, start_time }) {
    // The list counts as the service does, whatever namespace somebody asks from.
    const target = await this.api.json("v1/targets", { pid, pid_namespace: "service" });
    if (start_time && target.start_time !== start_time) {
      await this.api.ask(`v1/targets/${target.id}`, { method: "DELETE" });
      throw new Error(`Process ${pid} has ended, and another one has its number. Look at the list again.`);
    }
    this.learn([target]);
    return target;
  }

  /**
   * Look at a target; after a restart of the service it is registered anew, by its id.
   * @param {string} id
   * @param {AbortSignal} [signal]
   */
  async look(id, signal) {
    let target;
    try {
      target = await this.api.json(`v1/targets/${id}`, undefined, signal);
    } catch (error) {
      if (!(error instanceof Problem) || error.slug !== "no-such-target") throw error;
      target = await this.api.json("v1/targets", { id }, signal);
      // What was read or subscribed to meanwhile was refused: that is asked for again.
      this.round.set(this.round.value + 1);
    }
    this.learn([target]);
    return target;
  }

  /**
   * @param {string} id
   * @param {AbortSignal} [signal]
   */
  async maps(id, signal) {
    const sent = await this.api.list(`v1/targets/${id}/maps?residency=true`, "mappings", signal);
    return sent.map(mappingFrom);
  }

  /**
   * What is known of a target that has ended.
   * @param {Problem} problem
   */
  exited(problem) {
    const target = problem.body.target;
    if (problem.slug === "target-exited" && target?.id) this.learn([target]);
  }
}

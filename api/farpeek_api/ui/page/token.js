// Who asks: the token, which somebody gives once, and which stays for as long as the tab is there.

import { html, useState } from "./dom.js";

const KEPT = "farpeek.token";

/** The token of this tab; all nodes behind a gateway have the same. */
export function keptToken() {
  return sessionStorage.getItem(KEPT);
}

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

/**
 * Asks for the token.
 * @param {{ why: string, title: string, about: string, where: any, onGiven: (token: string) => void }} props `why` is empty where nothing was wrong yet
 */
export function Token({ why, title, about, where, onGiven }) {
  const [token, setToken] = useState("");
  return html`<form class="token ${why ? "" : "token-first"}" aria-labelledby="token-title" onSubmit=${(/** @type {Event} */ event) => {
    event.preventDefault();
    if (token.trim()) onGiven(token.trim());
  }}>
    <h1 id="token-title">${why ? "A token is wanted again" : title}</h1>
    ${!why && html`<p>${about}</p>`}
    ${why && html`<p class="why" role="alert">${why}</p>`}
    <p>${where}</p>
    <div class="token-line">
      <input type="password" aria-label="Token" autocomplete="off" spellcheck="false" autofocus value=${token}
        onInput=${(/** @type {any} */ event) => setToken(event.target.value)} />
      <button class="primary" disabled=${!token.trim()}>Use this token</button>
    </div>
    <p class="hint">It is kept until this tab is closed, and sent to this service alone.</p>
  </form>`;
}

export function Mark() {
  return html`<svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true"><rect class="mark-ground" width="32" height="32" rx="7" /><g class="mark-bars">
    <rect x="7" y="8" width="4" height="16" rx="1" /><rect x="14" y="8" width="11" height="4" rx="1" opacity=".55" />
    <rect x="14" y="14" width="7" height="4" rx="1" /><rect x="14" y="20" width="11" height="4" rx="1" opacity=".55" /></g></svg>`;
}

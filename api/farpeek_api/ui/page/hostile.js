// Text that a target chose (names, paths, command lines, what memory says), made harmless for eyes.
//
// Preact makes text nodes of it, so it is never markup. What is left are characters that are not
// shown as themselves: controls, marks that turn the direction of what follows, signs without width.

const ODD =
  // eslint-disable-next-line no-control-regex -- exactly these are looked for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff]|[\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;

/** @typedef {{ text: string, odd: string | null }} Part `odd` says which character is meant. */

const LONGEST = 4096;

/**
 * Take a name apart into what is shown as it is, and symbols that stand for single characters. A backslash is
 * doubled, as by the commands: so what is shown stands for one name only.
 * @param {string} text
 * @param {number} [most] characters; behind them an ellipsis says that there is more
 * @returns {Part[]}
 */
export function parts(text, most = LONGEST) {
  return pieces(text.replaceAll("\\", "\\\\"), most);
}

/**
 * @param {string} text
 * @param {number} most
 * @returns {Part[]}
 */
function pieces(text, most) {
  /** @type {Part[]} */
  const found = [];
  let plain = "";
  let count = 0;
  for (const character of text) {
    count += 1;
    if (count > most) {
      plain += "…";
      break;
    }
    if (!ODD.test(character)) {
      plain += character;
      continue;
    }
    if (plain) found.push({ text: plain, odd: null });
    plain = "";
    const code = character.codePointAt(0) ?? 0;
    found.push({ text: symbol(code), odd: `U+${code.toString(16).toUpperCase().padStart(4, "0")}` });
  }
  if (plain) found.push({ text: plain, odd: null });
  return found;
}

/**
 * The same as one text, for where no element can be: titles, labels, announcements.
 * @param {string} text
 * @param {number} [most]
 */
export function safe(text, most = LONGEST) {
  return parts(text, most).map((part) => part.text).join("");
}

/**
 * A sentence of the service's own, in which a backslash may stand.
 * @param {string} text
 */
export function line(text) {
  return pieces(text, LONGEST).map((part) => part.text).join("");
}

/** @param {number} code */
function symbol(code) {
  // As the commands escape them: not every font has pictures of controls.
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

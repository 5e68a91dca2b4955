// How the page's modules and their tests are written, beyond what TypeScript sees.
import { createRequire } from "node:module";

// From where `make page-tools` puts it: nothing is installed beside this file.
const js = createRequire(new URL("../../build/npm/package.json", import.meta.url))("@eslint/js");

/** TypeScript knows which names there are. */
const KNOWN_ELSEWHERE = { "no-undef": "off", "no-unused-vars": "off" };

const LIBRARIES = ["preact", "hooks", "htm", "uplot"].map((name) => `api/farpeek_api/ui/page/${name}.js`);

export default [
  { ignores: ["**", "!api/", "!api/farpeek_api/", "!api/farpeek_api/ui/", "!api/farpeek_api/ui/page/", "!api/farpeek_api/ui/page/*.js", "!tests/", "!tests/page/", "!tests/page/*.mjs", ...LIBRARIES] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...KNOWN_ELSEWHERE,
      "no-misleading-character-class": ["error", { allowEscape: true }],
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-constructor-return": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-promise-executor-return": "error",
      "no-self-compare": "error",
      "no-shadow-restricted-names": "error",
      "no-template-curly-in-string": "error",
      "no-unmodified-loop-condition": "error",
      "no-unreachable-loop": "error",
      "no-useless-assignment": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  // Tests say names that they do not use where they show a shape.
  { files: ["tests/page/*.mjs"], rules: { "no-unused-vars": ["error", { argsIgnorePattern: "^_" }] } },
];

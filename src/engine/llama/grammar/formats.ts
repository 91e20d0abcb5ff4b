/** Texts of the formats that JSON Schema names, as grammars. `hex` is a rule of rules.ts. */

const DAY = `(("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))`;
const DATE = `[12] [0-9]{3} "-" ${DAY}`;
const HOURS = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
const TIME = `${HOURS} ":" [0-5] [0-9] ("." [0-9]{1,9})? ("Z" | [+-] ${HOURS})`;
const BYTE = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9]? [0-9])';
const LABEL = '[a-zA-Z0-9] ("-"? [a-zA-Z0-9]){0,30}';
const HOST = `(${LABEL} "."){1,4} [a-zA-Z]{2,10}`;

/** Of the formats that JSON Schema names, those whose grammar is exact or within them. */
export const FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  'date-time': `${DATE} "T" ${TIME}`,
  uuid: 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
  ipv4: `${BYTE} ("." ${BYTE}){3}`,
  hostname: HOST,
  email: `[a-zA-Z0-9] ([._+-]? [a-zA-Z0-9]){0,30} "@" ${HOST}`,
};

/** CSV by RFC 4180 and nothing beyond: a second reading of what crayon accepts. */

/** Records by the names of the first line, or why it is no such file. Empty lines are none. */
export function strictCsv(text: string): Array<Record<string, string>> | string {
  const rows: string[][] = [];
  let at = 0;
  while (at < text.length) {
    const row: string[] = [];
    for (;;) {
      let field = '';
      if (text[at] === '"') {
        for (at++; ; at++) {
          if (at >= text.length) return 'a quote that is not closed';
          if (text[at] !== '"') field += text[at];
          else if (text[at + 1] === '"') field += text[at++];
          else break;
        }
        at++;
      } else {
        while (at < text.length && !/[,\r\n]/.test(text[at]!)) field += text[at++];
        if (field.includes('"')) return 'a quote within a field';
      }
      row.push(field);
      if (text[at] !== ',') break;
      at++;
    }
    if (at < text.length && !/[\r\n]/.test(text[at]!)) return 'more behind a closing quote';
    if (text.startsWith('\r\n', at)) at += 2;
    else at++;
    if (row.length > 1 || row[0] !== '') rows.push(row);
  }
  const [names, ...records] = rows;
  if (names === undefined) return [];
  const named = names.filter((name) => name !== '');
  if (new Set(named).size !== named.length) return 'a column twice';
  const short = records.find((row) => row.length !== names.length);
  if (short !== undefined) return `a line of ${short.length} fields under ${names.length} names`;
  return records.map((row) =>
    Object.fromEntries(row.map((field, i) => [names[i]!, field]).filter(([name]) => name !== '')),
  );
}

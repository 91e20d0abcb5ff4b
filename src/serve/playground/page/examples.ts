/** Pasted or dropped text as the records of POST /v1/customizations: JSON lines, a JSON list, or plain lines. */

export interface PastedExamples {
  records: unknown[];
  /** What is wrong with the first line that cannot be read; null where all can. */
  problem: string | null;
}

/**
 * A line that begins with `{` is a record as it stands. Any other is a prompt, or a prompt and its answer with a tab between, as they come out of
 * a spreadsheet. The answer gets the space before it that records have (lm-evaluation-harness's target delimiter).
 */
export function pastedExamples(text: string): PastedExamples {
  const whole = text.trim();
  if (whole.startsWith('[')) {
    const list = parsed(whole);
    if (Array.isArray(list)) return { records: list, problem: null };
  }
  const records: unknown[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    if (line.trimStart().startsWith('{')) {
      const record = parsed(line);
      if (record === undefined) return { records, problem: `Line ${i + 1} begins like JSON and is not.` };
      records.push(record);
    } else {
      const [prompt, ...answer] = line.split('\t');
      records.push(answer.length === 0 ? { prompt } : { prompt, completion: ` ${answer.join('\t').trim()}` });
    }
  }
  return { records, problem: null };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

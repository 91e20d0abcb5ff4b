/**
 * The files of a bench run's directory as JSON values with the place that an error about them names. What they mean is
 * checked in bench; that they are there, readable and JSON is checked here.
 */

import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { readError } from '../../files/errors.js';
import { readSmallFile } from '../../files/io.js';
import { decodeUtf8 } from '../../files/json.js';
import { entriesOf, exists, isDirectory } from '../../files/paths.js';

/** V8 holds a text of at most 512 MiB. */
const MAX_BYTES = 500 * 2 ** 20;

export interface JsonFile {
  path: string;
  /** file name without its extension */
  name: string;
  value: unknown;
}

export interface JsonLines {
  path: string;
  records: Array<{ line: number; value: unknown }>;
}

export interface RunFiles {
  dir: string;
  manifest: JsonFile;
  cells: JsonFile[];
  load: JsonFile[];
  /** names below answers/ that have a file */
  answered: Set<string>;
}

/**
 * Reads the manifest, the cells and the load results of a run, in the order of their names. Answers are read one file at a
 * time with `readAnswerLines`.
 *
 * @throws CrayonError `file-not-found` when `dir` holds no run, `json-invalid` with file and line
 */
export function readRunFiles(dir: string): RunFiles {
  if (!exists(dir)) throw new CrayonError('file-not-found', `${dir}: no such directory`);
  if (!isDirectory(dir)) {
    throw new CrayonError('file-unreadable', `${dir}: expected the directory of a bench run, found a file`);
  }
  const manifest = join(dir, 'run.json');
  if (!exists(manifest)) {
    throw new CrayonError('file-not-found', `${dir}: has no run.json`, {
      hint: 'Give the directory that was the --out of `crayon bench`.',
    });
  }
  const readAll = (folder: string) => namesIn(join(dir, folder), '.json').map((n) => readOne(join(dir, folder, n)));
  return {
    dir,
    manifest: readOne(manifest),
    cells: readAll('cells'),
    load: readAll('load'),
    answered: new Set(namesIn(join(dir, 'answers'), '.jsonl').map((name) => name.slice(0, -'.jsonl'.length))),
  };
}

/** @throws CrayonError `json-invalid` naming the first line that is no JSON, or that the file ends within */
export function readAnswerLines(dir: string, name: string): JsonLines {
  const path = join(dir, 'answers', `${name}.jsonl`);
  const text = decodeUtf8(readSmallFile(path, MAX_BYTES), path);
  const lines = text.split('\n');
  const records: JsonLines['records'] = [];
  for (const [i, content] of lines.entries()) {
    if (content.trim() === '') continue;
    try {
      records.push({ line: i + 1, value: JSON.parse(content) });
    } catch (error) {
      const cut = i === lines.length - 1; // every line that was written whole ends with a line feed
      const what = cut ? 'the file ends within this line' : 'not valid JSON';
      throw new CrayonError('json-invalid', `${path}:${i + 1}: ${what} (${messageOf(error)})`, {
        hint: 'The file was damaged after it was written. Run the bench again: it repeats the cells that are missing.',
        cause: error,
      });
    }
  }
  return { path, records };
}

/** Names of the regular files below a folder, sorted; none where there is no folder. Temporary files start with a dot. */
function namesIn(folder: string, extension: string): string[] {
  try {
    if (!exists(folder)) return [];
    return entriesOf(folder)
      .filter((name) => name.endsWith(extension) && !name.startsWith('.'))
      .sort();
  } catch (error) {
    throw readError(folder, error);
  }
}

function readOne(path: string): JsonFile {
  const text = decodeUtf8(readSmallFile(path, MAX_BYTES), path);
  const name = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1, path.lastIndexOf('.'));
  try {
    return { path, name, value: JSON.parse(text) };
  } catch (error) {
    const line = lineOfError(text, messageOf(error));
    throw new CrayonError('json-invalid', `${path}:${line}: not valid JSON (${messageOf(error)})`, {
      hint: 'The file was cut short or edited by hand. Remove it and run the bench again: it repeats what is missing.',
      cause: error,
    });
  }
}

/** V8 names a position, except where the text ends too early: then it is the last line. */
function lineOfError(text: string, message: string): number {
  const position = /position (\d+)/.exec(message)?.[1];
  return text.slice(0, position === undefined ? text.length : Number(position)).split('\n').length;
}

/** V8 quotes the text around the fault; what is in it must not move the cursor of a terminal. */
function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\p{Cc}/gu, '\ufffd');
}

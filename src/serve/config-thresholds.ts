/** Writes calibrated thresholds, and weights where there are some, into a copy of the configuration, with all of its comments and its order kept. */

import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { isMap, isNode } from 'yaml';
import { CrayonError } from '../core/errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { exists } from '../files/io.js';
import { readYamlDocument } from '../files/yaml.js';
import { PATH_KEYS } from './config.js';

/** Begins the comment lines that calibration writes, and by which it finds them the next time. */
const MARK = ' crayon calibrate: ';

export interface ThresholdsToWrite {
  thresholds: Readonly<Record<string, number | null>>;
  /** of `routing.correctness`, by their keys there; without them that section stays as it is */
  weights?: Readonly<Record<string, number>> | null;
  /** of `routing.correctness_map`; null with weights takes an earlier one away */
  map?: ReadonlyArray<readonly [number, number]> | null;
  /** of `routing.correctness_shift`; weights without one take an earlier one away */
  shift?: number;
  /** of `routing.success` and `routing.server_success`; null takes earlier ones away, absent leaves them */
  rates?: readonly number[] | null;
  serverRates?: readonly number[] | null;
  /** of `routing.server_shift`; weights without one take an earlier one away */
  serverShift?: number;
  /** of `clusters`, that the rates are of: a path; null takes an earlier one away, absent leaves it */
  clusters?: string | null;
  /** of `routing.confidence`, that the cuts are of; absent leaves it as it is */
  measure?: string;
  /** sentences that say where they come from, one line each */
  remarks: readonly string[];
  /** replace an existing file that is not `from` itself */
  force: boolean;
}

/**
 * @param from the configuration that was calibrated
 * @param out where the copy goes; relative paths in it are made to start at its folder
 * @throws CrayonError `output-exists`, `yaml-invalid`, `write-failed`
 */
export function writeThresholds(
  from: string,
  out: string,
  {
    thresholds,
    weights = null,
    map = null,
    shift = 0,
    serverShift = 0,
    measure,
    remarks,
    force,
    ...counted
  }: ThresholdsToWrite,
): void {
  refuseExisting(out, force);
  const { document } = readYamlDocument(from);
  ensureMap(['routing']);
  if (Object.keys(thresholds).length > 0) ensureMap(['routing', 'thresholds']);
  for (const [name, value] of Object.entries(thresholds)) document.setIn(['routing', 'thresholds', name], value);
  // The weights belong together, on one line; earlier ones go with all their keys.
  if (weights !== null) document.setIn(['routing', 'correctness'], document.createNode(weights, { flow: true }));
  // Map and shifts belong to the weights that they were fitted to.
  if (weights !== null) {
    for (const key of ['correctness_map', 'correctness_shift', 'server_shift']) document.deleteIn(['routing', key]);
  }
  if (shift !== 0) document.setIn(['routing', 'correctness_shift'], shift);
  if (map !== null) document.setIn(['routing', 'correctness_map'], document.createNode(map, { flow: true }));
  if (serverShift !== 0) document.setIn(['routing', 'server_shift'], serverShift);
  setRates('success', counted.rates);
  setRates('server_success', counted.serverRates);
  if (measure !== undefined) {
    ensureMap(['routing', 'confidence']);
    document.setIn(['routing', 'confidence', 'measure'], measure);
  }
  const node = document.getIn(['routing', 'thresholds'], true);
  if (isNode(node)) {
    const kept = (node.commentBefore ?? '').split('\n').filter((line) => line !== '' && !line.startsWith(MARK));
    node.commentBefore = [...remarks.map((remark) => MARK + remark), ...kept].join('\n');
  }
  for (const key of PATH_KEYS) {
    const value = document.get(key);
    if (typeof value === 'string' && value !== '' && !isAbsolute(value)) document.set(key, moved(value));
  }
  if (counted.clusters === null) document.delete('clusters');
  else if (counted.clusters !== undefined)
    document.set('clusters', fromFolder(resolve(dirname(out)), counted.clusters));
  // The line by which an editor finds the schema holds a path too.
  const text = document
    .toString({ lineWidth: 0 })
    .replace(/^(# yaml-language-server: \$schema=)(?!\/|\w+:)(.+)$/m, (_, head, path) => head + moved(path));
  writeFileAtomic(out, text);

  function setRates(key: string, rates: readonly number[] | null | undefined): void {
    if (rates === undefined) return;
    if (rates === null) document.deleteIn(['routing', key]);
    else document.setIn(['routing', key], document.createNode(rates, { flow: true }));
  }

  /** A key that stands without a value is no map that a key could be set in. */
  function ensureMap(path: string[]): void {
    if (!isMap(document.getIn(path, true))) document.setIn(path, document.createNode({}));
  }

  /** A path that started at the folder of `from`, from that of `out`. */
  function moved(path: string): string {
    const [before, after] = [resolve(dirname(from)), resolve(dirname(out))];
    return before === after ? path : fromFolder(after, resolve(before, path));
  }
}

/** A path as a file in that folder names it. */
function fromFolder(folder: string, path: string): string {
  return relative(folder, resolve(path)).split(sep).join('/') || '.';
}

/** Before hours of work: would `writeThresholds` refuse? */
export function refuseExisting(out: string, force: boolean): void {
  if (force || !exists(out)) return;
  throw new CrayonError('output-exists', `${out}: exists already`, {
    hint: 'Give --force to replace it, or another --out.',
  });
}

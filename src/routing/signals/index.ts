/** All routing signals, in the order in which the rule asks them. A new one is a file beside this and a line in `LISTED`. */

import type * as z from 'zod';
import { advantage } from './advantage.js';
import { complexity } from './complexity.js';
import { confidence } from './confidence.js';
import { correctness } from './correctness.js';
import { gain } from './gain.js';
import { scope } from './scope.js';
import { type Evidence, type Signal, STAGES, type Stage } from './signal.js';
import { success } from './success.js';

const LISTED = [scope, success, advantage, complexity, confidence, correctness, gain] as const;

type Listed = (typeof LISTED)[number];
export type SignalName = Listed['name'];
/** Those that are read off a query, and are not made of others. */
export type RecordedSignal = Exclude<Listed, { madeOf: unknown }>['name'];
type KeysOf<T> = T extends unknown ? keyof T : never;
type Companion = KeysOf<Extract<Listed, { also: object }>['also']>;

export const SIGNALS: readonly Signal<SignalName>[] = LISTED;
export const RECORDED_SIGNALS = SIGNALS.filter(({ madeOf }) => madeOf === undefined).map(
  ({ name }) => name as RecordedSignal,
);

export function signalNamed(name: SignalName): Signal<SignalName> {
  return SIGNALS.find((signal) => signal.name === name)!;
}

/** Signals of one query with what is told beside them; absent ones were not needed. */
export type SignalValues = Partial<Record<SignalName | Companion, number>>;
/** The names of these, in order. */
export const VALUE_NAMES = SIGNALS.flatMap(({ name, also = {} }) => [name, ...Object.keys(also)]) as Array<
  SignalName | Companion
>;

/** The routing cuts. Null or absent switches a signal off. */
export type Thresholds = { [Name in SignalName]?: number | null };

/** Something for each signal. */
export function bySignal<T>(of: (signal: Signal<SignalName>) => T): Record<SignalName, T> {
  return Object.fromEntries(SIGNALS.map((signal) => [signal.name, of(signal)])) as Record<SignalName, T>;
}

export const NO_THRESHOLDS: Readonly<Record<SignalName, null>> = bySignal(() => null);

/** Cuts that send nothing and still have every signal computed and told. */
export const OPEN_THRESHOLDS: Thresholds = bySignal(({ sendsNothing }) => sendsNothing);

/** The keys of `routing.thresholds`, for a schema of zod. */
export const THRESHOLD_SHAPE = bySignal(({ threshold, description }) =>
  threshold.nullable().default(null).describe(description),
) satisfies Record<SignalName, z.ZodType>;

/** The signals of a calibration record. */
export function recordedSignals<T>(of: (name: RecordedSignal) => T): Record<RecordedSignal, T> {
  return Object.fromEntries(RECORDED_SIGNALS.map((name) => [name, of(name)])) as Record<RecordedSignal, T>;
}

/**
 * Reads every signal of these stages, cut or not.
 *
 * @returns null where the query has none, the configuration says nothing to make it of, or its stage is another
 */
export function readSignals(
  evidence: Omit<Evidence, 'signals'>,
  stages: readonly Stage[] = STAGES,
): Record<SignalName | Companion, number | null> {
  const values = Object.fromEntries(VALUE_NAMES.map((name): [string, number | null] => [name, null]));
  for (const signal of SIGNALS) {
    if (!stages.includes(signal.stage)) continue;
    const parts = signal.madeOf === undefined ? [] : signal.madeOf(evidence.config);
    if (parts === null || parts.some((part) => values[part] === null)) continue;
    Object.assign(values, signal.read({ ...evidence, signals: values }));
  }
  return values as Record<SignalName | Companion, number | null>;
}

/** The cells of the live run: who answers a user's test, with which cuts, and where. */

import { cellKey } from '../run-directory.js';
import type { BenchConfig } from '../settings.js';
import type { Cell } from '../types.js';
import type { PlannedUser } from '../users.js';
import type { NetworkName } from './network/networks.js';
import type { BenchLive } from './settings.js';

/** Whose thresholds route. */
export type Cuts = BenchLive['thresholds'][number];

/** Where a device's server stands. */
export interface Place {
  network: NetworkName;
  device: string;
}
export const HOME: Place = { network: 'loopback', device: 'default' };
export const isHome = ({ network, device }: Place) => network === HOME.network && device === HOME.device;

/** One cell: the server alone, or a device with or without the user's blend, alone or routing. */
export interface LivePlan extends Pick<Cell, 'key' | 'strategy'> {
  table: 'hybrid' | 'conditions';
  place: Place;
  /** null: the server alone answers */
  device: { blended: boolean; cuts: Cuts | null } | null;
}

export const ARMS = [
  { name: 'neither', blended: false, routed: false },
  { name: 'blending alone', blended: true, routed: false },
  { name: 'hybrid alone', blended: false, routed: true },
  { name: 'both', blended: true, routed: true },
] as const;

/** Users whose test goes through the router. */
export function liveUsers<T extends { info: PlannedUser['info'] }>({ live }: BenchConfig, users: readonly T[]): T[] {
  if (live === undefined) return [];
  return users.filter(({ info }) => live.users?.includes(info.name) ?? true);
}

export function hybridName(share: number, cuts: Cuts = 'user'): string {
  return `hybrid-${cuts === 'user' ? 'live' : cuts}@${Math.round(100 * share)}`;
}

/**
 * The cells of one user, in the order in which they are made. Conditions change one thing at a time: all arms at home and on
 * each device; over each network those that use it.
 */
export function planLiveCells({ id, info }: Pick<PlannedUser, 'id' | 'info'>, live: BenchLive): LivePlan[] {
  const hybrid = (strategy: string, device: LivePlan['device']): LivePlan => ({
    key: cellKey(id, strategy),
    strategy,
    table: 'hybrid',
    place: HOME,
    device,
  });
  const main = [
    hybrid('edge-live', { blended: true, cuts: null }),
    hybrid('server-live', null),
    ...live.thresholds.map((cuts) => hybrid(hybridName(live.share, cuts), { blended: true, cuts })),
  ];
  const { conditions } = live;
  if (conditions === null || conditions.users?.includes(info.name) === false) return main;
  const at = (place: Place, arms: ReadonlyArray<(typeof ARMS)[number]>): LivePlan[] =>
    arms.map(({ name, blended, routed }) => ({
      key: cellKey(id, name, { ...place }),
      strategy: name,
      table: 'conditions',
      place,
      device: { blended, cuts: routed ? 'user' : null },
    }));
  const networks = conditions.networks.filter((network) => network !== HOME.network);
  const devices = conditions.devices.filter((device) => device !== HOME.device);
  const routed = ARMS.filter((arm) => arm.routed);
  return [
    ...main,
    ...at(HOME, ARMS),
    ...networks.flatMap((network) => at({ ...HOME, network }, routed)),
    ...devices.flatMap((device) => at({ ...HOME, device }, ARMS)),
  ];
}

/**
 * For `node --import`: counts the calls of this process that change something below a directory, and at one of them kills the process or lets the
 * call fail. CHAOS holds {dir, log?, at?, how?, koffi?} as JSON.
 *
 * how: `before` and `after` kill at call `at`, `partial` in the middle of its write; an errno lets it fail: EIO once, ENOSPC and EROFS
 * from then on, as a full or read-only disk does.
 */

import fs from 'node:fs';
import Module, { syncBuiltinESMExports } from 'node:module';

const { dir, log, at = -1, how = 'before', koffi = true } = JSON.parse(process.env.CHAOS ?? '{}');
const { appendFileSync, writeSync } = fs;

/** Calls that need room, and those that a full disk lets through. */
const GROWING = [
  'openSync',
  'writeSync',
  'mkdirSync',
  'mkdtempSync',
  'writeFileSync',
  'appendFileSync',
  'linkSync',
  'copyFileSync',
];
const OTHERS = ['renameSync', 'rmSync', 'rmdirSync', 'unlinkSync', 'fsyncSync', 'ftruncateSync', 'utimesSync'];

let count = 0;
let depth = 0;

const die = () => {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
};

function refusal(name, code) {
  return Object.assign(new Error(`${code}: injected, ${name}`), { code, errno: -1, syscall: name.replace('Sync', '') });
}

/** Runs one call as what the order says. */
function ordered(name, what, args, call) {
  if (depth > 0) return call(...args);
  depth++;
  try {
    count++;
    if (log !== undefined) appendFileSync(log, `${JSON.stringify({ count, name, what })}\n`);
    const isAt = count === at;
    if (isAt && how === 'before') die();
    if (isAt && how === 'partial' && name === 'writeSync' && typeof args[1] !== 'string') {
      writeSync(args[0], args[1], args[2] ?? 0, (args[3] ?? args[1].byteLength - (args[2] ?? 0)) >> 1);
      die();
    }
    if (isAt && how === 'EIO') throw refusal(name, how);
    if (count >= at && at > 0 && (how === 'EROFS' || (how === 'ENOSPC' && GROWING.includes(name))))
      throw refusal(name, how);
    const result = call(...args);
    if (isAt && ['after', 'partial'].includes(how)) die();
    return result;
  } finally {
    depth--;
  }
}

const isReading = (name, [, flags]) => name === 'openSync' && [undefined, 'r', fs.constants.O_RDONLY].includes(flags);
/** Descriptors of files below the directory. */
const ours = new Set();
const isOurs = ([target]) => (typeof target === 'number' ? ours.has(target) : String(target).startsWith(dir));

for (const name of [...GROWING, ...OTHERS]) {
  const real = fs[name].bind(fs);
  fs[name] = (...args) => {
    if (!isOurs(args) || isReading(name, args)) return real(...args);
    const what = args.slice(0, 2).filter((arg) => typeof arg === 'string' && arg.startsWith(dir));
    const result = ordered(name, what.map((path) => path.slice(dir.length + 1)).join(' '), args, real);
    if (name === 'openSync') ours.add(result);
    return result;
  };
}
const { closeSync } = fs;
fs.closeSync = (fd) => {
  ours.delete(fd);
  closeSync(fd);
};
syncBuiltinESMExports();

// The exchange of names is no call of node:fs.
const load = Module._load;
Module._load = function (name, ...rest) {
  if (name !== 'koffi') return load.call(this, name, ...rest);
  if (!koffi) throw new Error('not installed');
  const real = load.call(this, name, ...rest);
  return {
    load: (...libraries) => {
      const library = real.load(...libraries);
      return {
        func: (prototype) => {
          const call = library.func(prototype);
          return (...args) =>
            ordered(
              'exchange',
              args
                .filter((arg) => typeof arg === 'string')
                .map((path) => path.slice(dir.length + 1))
                .join(' '),
              args,
              call,
            );
        },
      };
    },
  };
};

/** Messages of HTTP as bytes on a wire: request or status line, header fields, a body of JSON or of server-sent events; lengths and chunks right or wrong. */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { mutateJson, type Words } from './json.js';
import { ODD_TEXTS, oneIn, pick } from './odd.js';

interface Message {
  start: string;
  headers: Array<[name: string, value: string]>;
  body: Buffer;
}

function takeApart(bytes: Buffer): Message {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
  const [start = '', ...lines] = head.split('\r\n');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
  });
  return { start, headers, body: end === -1 ? Buffer.alloc(0) : bytes.subarray(end + 4) };
}

function putTogether({ start, headers, body }: Message): Buffer {
  const lines = [start, ...headers.map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

const setHeader = (message: Message, name: string, value: string | null) => {
  message.headers = message.headers.filter(([known]) => known.toLowerCase() !== name);
  if (value !== null) message.headers.push([name, value]);
};

const METHODS = ['GET', 'POST', 'HEAD', 'DELETE', 'PUT', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT', 'get', 'X', ''];
const HEADERS = [
  ...[
    'content-type',
    'content-length',
    'content-encoding',
    'transfer-encoding',
    'expect',
    'connection',
    'upgrade',
    'host',
  ],
  ...[
    'authorization',
    'x-crayon-mode',
    'origin',
    'accept',
    'user-agent',
    'x-request-id',
    'cookie',
    'accept-encoding',
    'retry-after',
  ],
];
const VALUES = [
  ...[
    'application/json',
    'text/event-stream',
    'text/plain',
    'application/json; charset=utf-16',
    'chunked',
    'gzip',
    '0',
    '-1',
    '5',
    '1e3',
  ],
  ...[
    '99999999999999999999',
    '100-continue',
    'close',
    'keep-alive',
    'websocket',
    'localhost',
    'evil.example',
    '[::1]:80',
    '127.0.0.1',
  ],
  ...[
    'Bearer x',
    'prefer_on_device',
    'ONLY_IN_CLOUD',
    'http://evil.example',
    '*/*',
    'é',
    'chunked, chunked',
    'identity',
    '1, 1',
    '',
  ],
];
const MODES = [
  '/v1/models/',
  '/v1/models/%ff',
  '/v1/customizations/x',
  '/health?x=1',
  '//x/health',
  '/v1/../health',
  '*',
  '/%00',
  '/v1/chat/completions/',
];

/** @param words of the JSON bodies */
export function mutateHttp(bytes: Buffer, random: Random, words: Words): Buffer {
  const message = takeApart(bytes);
  const { headers } = message;
  switch (random.int(12)) {
    case 0:
      return mutateBytes(bytes, random);
    case 1:
      headers.push([
        pick(random, HEADERS),
        oneIn(random, 3) ? pick(random, ODD_TEXTS).replace(/[\r\n]/g, ' ') : pick(random, VALUES),
      ]);
      break;
    case 2:
      if (headers.length > 0) pick(random, headers)[1] = pick(random, VALUES);
      break;
    case 3:
      if (headers.length > 0) headers.splice(random.int(headers.length), 1);
      break;
    case 4: {
      const parts = message.start.split(' ');
      if (!message.start.startsWith('HTTP/') && oneIn(random, 2)) parts[0] = pick(random, METHODS);
      else
        parts[1] = oneIn(random, 2)
          ? pick(random, MODES)
          : `${parts[1]}${pick(random, ['/', '?a=b', '%', '#', '\t', '/x', '0'])}`;
      message.start = parts.join(' ');
      break;
    }
    case 5: {
      const cut = random.int(message.body.length + 1); // in chunks, whole or broken
      const pieces = [message.body.subarray(0, cut), message.body.subarray(cut), Buffer.alloc(0)];
      setHeader(message, 'content-length', oneIn(random, 6) ? '3' : null);
      setHeader(message, 'transfer-encoding', 'chunked');
      const size = (n: number) => (oneIn(random, 12) ? pick(random, ['ffffffff', '-1', 'g', '', '0']) : n.toString(16));
      message.body = Buffer.concat(
        pieces.map((piece) => Buffer.concat([Buffer.from(`${size(piece.length)}\r\n`), piece, Buffer.from('\r\n')])),
      );
      break;
    }
    case 6:
      return Buffer.concat([bytes, bytes]); // one behind the other
    default: {
      message.body = mutateBody(message, random, words);
      if (!oneIn(random, 12) && headers.some(([name]) => name.toLowerCase() === 'content-length'))
        setHeader(message, 'content-length', String(message.body.length));
    }
  }
  return putTogether(message);
}

/** JSON as JSON; of server-sent events one event's data, or their lines. */
function mutateBody({ body }: Message, random: Random, words: Words): Buffer {
  const text = body.toString('utf8');
  if (!/^data:/m.test(text)) return mutateJson(body, random, words);
  const events = text.split('\n\n');
  const at = random.int(events.length);
  switch (random.int(6)) {
    case 0:
      events.splice(at, 1);
      break;
    case 1:
      events.splice(
        at,
        0,
        pick(random, [
          events[at]!,
          ': comment',
          'event: error\ndata: {"error":{"message":"x"}}',
          'data:',
          'data: [DONE]',
          'id: 1',
          'retry: 0',
          'data: 1\ndata: 2',
        ]),
      );
      break;
    case 2:
      return Buffer.from(events.join(pick(random, ['\r\n\r\n', '\n', '\r\r', '\n\n\n'])));
    default:
      events[at] = events[at]!.replace(
        /^data: (.*)$/m,
        (_, json: string) => `data: ${mutateJson(Buffer.from(json), random, words)}`,
      );
  }
  return Buffer.from(events.join('\n\n'));
}

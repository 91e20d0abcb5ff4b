/**
 * GET / and what it needs: the playground, a page in which the server is tried. Its files are everybody's, as they say nothing of
 * this server; what it then asks goes to the API, with the key where one is needed.
 */

import { isLoopback } from '../../core/loopback.js';
import { sha256 } from '../../files/digest.js';
import type { Handler } from '../http/call.js';

/** The parts that are compiled. */
export interface PageFiles {
  script: string;
  style: string;
}

/** Asked once, at the first request. */
export type PageSource = () => Promise<PageFiles>;

/** Whether there is one: where nothing is said, only for this machine and where nobody would have to type a key. */
export function hasPlayground(config: { playground: boolean | null; host: string }, key: string | null): boolean {
  return config.playground ?? (key === null && isLoopback(config.host));
}

/** What the route's row says of it in metrics. */
export const PLAYGROUND = 'playground';

/** Nothing from elsewhere, nothing inline, in nobody's frame; a page that cannot be made to run text as code. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // Kept, and asked about each time: a server of another version has another page.
  'cache-control': 'no-cache',
};

const HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>crayon playground</title>
<link rel="icon" href="/playground/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/playground/page.css">
<script type="module" src="/playground/page.js"></script>
</head>
<body>
<div id="page"></div>
<noscript>The playground is a script: without one, the API is at /v1.</noscript>
</body>
</html>
`;

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#b83b09"/>
<path d="M9 23l2-6L20.5 7.5a2.4 2.4 0 0 1 3.400 0l.6.6a2.4 2.4 0 0 1 0 3.400L15 21z" fill="#fff"/></svg>
`;

interface PageRoute {
  name: typeof PLAYGROUND;
  isPublic: true;
  always: true;
  GET: Handler;
}

/** Rows for the table of routes; none where there is no page. */
export function playgroundRoutes(source: PageSource | null): Record<string, PageRoute> {
  if (source === null) return {};
  let made: Promise<PageFiles> | null = null;
  const files = () => {
    made ??= source().catch((error: unknown) => {
      made = null; // the next request tries again
      throw error;
    });
    return made;
  };
  const row = (type: string, text: () => string | Promise<string>): PageRoute => {
    const GET: Handler = async ({ request }) => answer(request, type, await text());
    return { name: PLAYGROUND, isPublic: true, always: true, GET };
  };
  return {
    '/': row('text/html; charset=utf-8', () => HTML),
    '/playground/page.js': row('text/javascript; charset=utf-8', async () => (await files()).script),
    '/playground/page.css': row('text/css; charset=utf-8', async () => (await files()).style),
    '/playground/icon.svg': row('image/svg+xml', () => ICON),
  };
}

/** The text, or 304 where the browser has it already (RFC 9110, 13.1.2). */
function answer({ headers }: Request, type: string, text: string): Response {
  const etag = `"${sha256(text).slice(0, 32)}"`;
  const kept = (headers.get('if-none-match') ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  if (kept.includes(etag) || kept.includes('*'))
    return new Response(null, { status: 304, headers: { ...HEADERS, etag } });
  return new Response(text, { headers: { ...HEADERS, 'content-type': type, etag } });
}

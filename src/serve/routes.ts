/** Every route of the server, in one table. */

import { setAdapterScales } from './customizations/adapter-routes.js';
import {
  createCustomization,
  deleteCustomization,
  listCustomizations,
  showCustomization,
} from './customizations/routes.js';
import { readJsonBody, readJsonList } from './http/body.js';
import type { Call } from './http/call.js';
import { HttpError } from './http/error.js';
import type { AppSettings } from './http/settings.js';
import { embeddingResponse, parseEmbeddingRequest } from './openai/embedding.js';
import { CHAT, COMPLETION, generate } from './openai/generate.js';
import { modelCards, resolveModel } from './openai/models.js';
import type { ServeParts } from './parts.js';

export interface RouteContext {
  call: Call;
  parts: ServeParts | null;
  settings: AppSettings;
  /** seconds since 1970, of the server's start */
  created: number;
}

type Ready = RouteContext & { parts: ServeParts };
type Handler = (context: Ready) => Response | Promise<Response>;

export interface Route {
  /** answered without the key */
  isPublic: boolean;
  /** refused with 503 while the model is loading */
  needsModel: boolean;
  handle(context: RouteContext): Response | Promise<Response>;
}

interface Entry {
  /** for the metrics */
  name: string;
  methods: Record<string, Handler>;
  isPublic?: boolean;
  /** answers while the model is loading too */
  always?: (context: RouteContext) => Response | Promise<Response>;
}

const health: Entry = {
  name: 'health',
  methods: { GET: () => Response.json({ status: 'ok' }) },
  isPublic: true,
};

/** A path that ends in `/*` takes one more part, which may hold anything but a slash. */
const TABLE: Record<string, Entry> = {
  '/health': health,
  '/v1/health': health,
  '/v1/models': {
    name: 'models',
    isPublic: true,
    methods: {
      GET: ({ call, parts, created }) =>
        Response.json({ object: 'list', data: modelCards(parts, created, call.isAuthorised) }),
    },
  },
  '/v1/models/*': {
    name: 'models',
    methods: {
      GET: ({ call, parts, created }) => {
        const card = modelCards(parts, created, true).find(({ id }) => id === call.param);
        if (card !== undefined) return Response.json(card);
        resolveModel(call.param, parts).release(); // throws the right 404
        throw new Error('a model that resolves has a card');
      },
    },
  },
  '/v1/chat/completions': {
    name: 'chat',
    methods: { POST: ({ call, parts, settings }) => generate(CHAT, call, parts, settings) },
  },
  '/v1/completions': {
    name: 'completions',
    methods: { POST: ({ call, parts, settings }) => generate(COMPLETION, call, parts, settings) },
  },
  '/v1/embeddings': { name: 'embeddings', methods: { POST: embeddings } },
  '/metrics': {
    name: 'metrics',
    methods: { GET: metrics },
    always: metrics,
  },
  '/lora-adapters': {
    name: 'lora-adapters',
    methods: {
      GET: ({ parts }) => Response.json(parts.adapters.list()),
      POST: async ({ call, parts, settings }) => {
        setAdapterScales(await readJsonList(call.request, settings.limits.bodyBytes), parts.adapters);
        return Response.json({ success: true });
      },
    },
  },
  '/v1/customizations': {
    name: 'customizations',
    methods: {
      GET: ({ parts }) => listCustomizations(parts),
      POST: async ({ call, parts, settings }) =>
        createCustomization(call, await readJsonBody(call.request, settings.limits.bodyBytes), parts),
    },
  },
  '/v1/customizations/*': {
    name: 'customizations',
    methods: {
      GET: ({ call, parts }) => showCustomization(call, parts),
      DELETE: ({ call, parts }) => deleteCustomization(call, parts),
    },
  },
};

/**
 * The route of a request; notes its name and the path's last part in the call.
 *
 * @throws HttpError 404 for an unknown path, 405 with Allow for a method it does not have
 */
export function findRoute(call: Call): Route {
  const { pathname } = call.url;
  const method = call.request.method === 'HEAD' ? 'GET' : call.request.method;
  const exact = Object.hasOwn(TABLE, pathname) ? TABLE[pathname] : undefined;
  const entry = exact ?? parametric(pathname, call);
  if (entry === undefined) {
    throw new HttpError(404, `Unknown path: ${pathname.slice(0, 100)}.`, { code: 'unknown_url' });
  }
  call.route = entry.name;
  const handler = Object.hasOwn(entry.methods, method) ? entry.methods[method] : undefined;
  if (handler === undefined) {
    const allow = Object.keys(entry.methods).flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name]));
    throw new HttpError(405, `${call.request.method.slice(0, 16)} is not allowed here, only ${allow.join(', ')}.`, {
      code: 'method_not_allowed',
      headers: { allow: allow.join(', ') },
    });
  }
  const { always } = entry;
  return {
    isPublic: entry.isPublic === true,
    needsModel: always === undefined,
    handle: always ?? ((context) => handler(context as Ready)),
  };
}

function parametric(pathname: string, call: Call): Entry | undefined {
  const slash = pathname.lastIndexOf('/');
  const entry = TABLE[`${pathname.slice(0, slash)}/*`];
  if (entry === undefined || slash === pathname.length - 1) return undefined;
  try {
    call.param = decodeURIComponent(pathname.slice(slash + 1));
  } catch {
    return undefined; // a broken percent sign names nothing
  }
  return entry;
}

async function metrics({ settings }: RouteContext): Promise<Response> {
  const text = await settings.metrics.text();
  return new Response(text, { headers: { 'content-type': settings.metrics.contentType } });
}

async function embeddings({ call, parts, settings }: Ready): Promise<Response> {
  const body = await readJsonBody(call.request, settings.limits.bodyBytes);
  const { embedder } = parts;
  if (embedder === null) {
    throw new HttpError(400, 'This model’s embedding cannot be read.', { code: 'no_embedding' });
  }
  const request = parseEmbeddingRequest(body, embedder.d);
  resolveModel(request.model, parts).release();
  const embedded = request.inputs.map((text) => embedder.embed(text));
  const tokens = embedded.reduce((sum, one) => sum + one.tokens, 0);
  call.record.promptTokens = tokens;
  return Response.json(
    embeddingResponse(
      request,
      embedded.map(({ vector }) => vector),
      tokens,
    ),
  );
}

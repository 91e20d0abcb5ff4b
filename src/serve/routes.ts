/** Every route of the server, in one table. */

import { nearestName } from '../core/format.js';
import { CRAYON_VERSION } from '../files/package.js';
import {
  createCustomization,
  deleteCustomization,
  listCustomizations,
  rollBackCustomization,
  setAdapterScales,
  showCustomization,
} from './customizations/routes.js';
import { crayonFacts } from './facts.js';
import { withJson, withJsonList } from './http/body.js';
import { compose, type Handler, type Middleware } from './http/call.js';
import { HttpError } from './http/error.js';
import { dispatch, findRoute, type Route, type RouteTable } from './http/table.js';
import { ollamaError } from './ollama/answer.js';
import { ollamaEmbed, ollamaEmbeddings } from './ollama/embed.js';
import { ollamaGenerate } from './ollama/generate.js';
import { OLLAMA_VERSION, running, show, tags } from './ollama/models.js';
import { parseChat, parseGenerate } from './ollama/request.js';
import { embed } from './openai/embedding.js';
import { CHAT, COMPLETION, generate } from './openai/generate.js';
import { modelCards, unknownModel } from './openai/models.js';
import { detokenize, tokenize, tokenizerInfo } from './openai/tokenizer.js';
import type { AppSettings, ServeParts } from './parts.js';
import { PLAYGROUND, playgroundRoutes } from './playground/routes.js';
import { respond } from './responses/respond.js';

export interface RoutesOptions {
  settings: AppSettings;
  /** Seconds since 1970, of the server's start. */
  created: number;
  /** Throws HttpError 503 while the model is loading. */
  parts(): ServeParts;
  /** Throws HttpError 503 once the server is stopping. */
  whileRunning: Middleware;
}

/**
 * The handler of all routes.
 *
 * @throws HttpError 404 for an unknown path, 405 with Allow for a method it does not have, and what the routes throw
 */
export function routes(options: RoutesOptions): Handler {
  const { settings, parts, whileRunning } = options;
  const whileLoaded: Middleware = (call, next) => {
    parts();
    return next(call);
  };
  const around = ({ isPublic = false, always = false }: Route) =>
    compose(...(isPublic ? [] : [settings.guard.requireKey]), whileRunning, ...(always ? [] : [whileLoaded]));
  const table = tableOf(options);

  return dispatch(table, around, (pathname) => unknownPath(pathname, table));
}

/** A failure as the API that a path is of tells it. */
export function failureBody(pathname: string, failure: HttpError): object {
  return pathname.startsWith('/api/') ? ollamaError(failure) : failure.body;
}

function tableOf({ settings, created, parts }: RoutesOptions): RouteTable {
  const { guard, metrics } = settings;
  const { bodyBytes } = settings.limits;
  const health: Route = { name: 'health', isPublic: true, GET: () => Response.json({ status: 'ok' }) };
  const completion = (kind: typeof CHAT): Handler =>
    withJson(bodyBytes, (call, body) => generate(kind, body, call, parts(), settings));
  const ollama = (parse: typeof parseChat | typeof parseGenerate): Handler =>
    withJson(bodyBytes, (call, body) => ollamaGenerate(parse, body, call, parts(), settings));
  return {
    '/health': health,
    '/v1/health': health,
    '/v1/models': {
      name: 'models',
      isPublic: true,
      GET: ({ request }) =>
        Response.json({ object: 'list', data: modelCards(parts(), created, guard.isAuthorised(request)) }),
    },
    '/v1/models/*': {
      name: 'models',
      GET: ({ param }) => {
        const card = modelCards(parts(), created, true).find(({ id }) => id === param);
        if (card === undefined) throw unknownModel(param);
        return Response.json(card);
      },
    },
    '/v1/crayon': { name: 'crayon', GET: () => Response.json(crayonFacts(parts(), settings)) },
    '/v1/chat/completions': { name: 'chat', POST: completion(CHAT) },
    '/v1/completions': { name: 'completions', POST: completion(COMPLETION) },
    '/v1/responses': {
      name: 'responses',
      POST: withJson(bodyBytes, (call, body) => respond(body, call, parts(), settings)),
    },
    '/v1/embeddings': {
      name: 'embeddings',
      POST: withJson(bodyBytes, (call, body) => embed(body, call, parts())),
    },
    '/api/chat': { name: 'ollama-chat', POST: ollama(parseChat) },
    '/api/generate': { name: 'ollama-generate', POST: ollama(parseGenerate) },
    '/api/tags': {
      name: 'ollama-models',
      isPublic: true,
      GET: ({ request }) => Response.json(tags(parts(), created, guard.isAuthorised(request))),
    },
    '/api/ps': { name: 'ollama-models', GET: () => Response.json(running(parts(), created)) },
    '/api/show': { name: 'ollama-models', POST: withJson(bodyBytes, (_, body) => show(body, parts(), created)) },
    '/api/version': {
      name: 'ollama-models',
      isPublic: true,
      GET: () => Response.json({ version: OLLAMA_VERSION, crayon: CRAYON_VERSION }),
    },
    '/api/embed': {
      name: 'ollama-embeddings',
      POST: withJson(bodyBytes, (call, body) => ollamaEmbed(body, call, parts())),
    },
    '/api/embeddings': {
      name: 'ollama-embeddings',
      POST: withJson(bodyBytes, (call, body) => ollamaEmbeddings(body, call, parts())),
    },
    '/tokenizer_info': { name: 'tokenizer', GET: () => tokenizerInfo(parts()) },
    '/tokenize': { name: 'tokenizer', POST: withJson(bodyBytes, (call, body) => tokenize(body, call, parts())) },
    '/detokenize': { name: 'tokenizer', POST: withJson(bodyBytes, (call, body) => detokenize(body, call, parts())) },
    '/metrics': {
      name: 'metrics',
      always: true,
      GET: async () => new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
    },
    '/lora-adapters': {
      name: 'lora-adapters',
      GET: () => Response.json(parts().adapters.list()),
      POST: withJsonList(bodyBytes, (_, list) => {
        setAdapterScales(list, parts().adapters);
        return Response.json({ success: true });
      }),
    },
    '/v1/customizations': {
      name: 'customizations',
      GET: () => listCustomizations(parts()),
      POST: withJson(bodyBytes, (call, body) => createCustomization(body, call, parts(), settings)),
    },
    '/v1/customizations/*': {
      name: 'customizations',
      GET: ({ param }) => showCustomization(param, parts()),
      DELETE: ({ param }) => deleteCustomization(param, parts()),
    },
    '/v1/customizations/*/rollback': {
      name: 'customizations',
      POST: (call) => rollBackCustomization(call, parts()),
    },
    // Ollama's own answer, by which its clients see that a server is there.
    '/': { name: 'ollama-models', isPublic: true, always: true, GET: () => new Response('Ollama is running') },
    ...playgroundRoutes(settings.playground ?? null),
  };
}

/** APIs that clients look for and this server does not have, by the beginning of their paths; and what it has instead. */
const ELSEWHERE: ReadonlyArray<readonly [begins: RegExp, instead: string]> = [
  [/^\/v1\/responses\//, 'responses are not kept: send the whole conversation to POST /v1/responses'],
  [
    /^\/v1\/(assistants|threads|conversations)\b/,
    'conversations are not kept: send all messages to POST /v1/chat/completions',
  ],
  [/^\/v1\/messages\b/, "Anthropic's API is not served: use POST /v1/chat/completions"],
  [/^\/(v1\/engines\/.*|completions?|infill)$/, 'use POST /v1/completions or POST /v1/chat/completions'],
  [/^\/api\/(pull|push|create|copy|delete|blobs)\b/, 'this server has the models that it was started with'],
  [/^\/(props|slots)$/, 'use GET /v1/models'],
  [/^\/embeddings?$/, 'use POST /v1/embeddings'],
  [
    /^\/v1\/(audio|images|moderations|files|uploads|batches|fine_tuning|vector_stores|rerank|realtime)\b/,
    'this server has no such API',
  ],
];

/** 404, with what was meant where that can be seen: another API's path, a base URL without its /v1 or with it twice, a slash too much. */
function unknownPath(pathname: string, table: RouteTable): HttpError {
  const meant = [pathname.replace(/\/+$/, ''), `/v1${pathname}`, pathname.replace(/^(\/v1)+/, '/v1')].find(
    (path) => findRoute(table, path) !== null,
  );
  const paths = Object.keys(table).filter((path) => path !== '/' && table[path]!.name !== PLAYGROUND); // `/` begins every path
  const near = meant ?? nearestName(pathname, paths);
  const instead = ELSEWHERE.find(([begins]) => begins.test(pathname))?.[1] ?? (near && `did you mean ${near}`);
  const help = instead === undefined ? '' : `; ${instead}`;
  return new HttpError(404, `Unknown path: ${pathname.slice(0, 100)}${help}.`, { code: 'unknown_url' });
}

/**
 * Reads a request's JSON field by field. Every field must be asked for: what nobody asked for is refused by name, so that
 * no parameter is silently ignored. `null` is as good as absent, as in OpenAI's API.
 */

import { nearestName } from '../../core/format.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { badField } from '../http/error.js';

export class RequestFields {
  readonly #body: JsonObject;
  readonly #where: string;
  readonly #asked = new Set<string>();

  /** @param where path of this object within the request, e.g. `messages[0]`; empty for the request itself */
  constructor(body: JsonObject, where = '') {
    this.#body = body;
    this.#where = where;
  }

  /** @throws HttpError for what is no object; `expected` says what it should be */
  static of(value: unknown, where: string, expected: string): RequestFields {
    if (isJsonObject(value)) return new RequestFields(value, where);
    throw badField(where, `${where} is not ${expected}.`);
  }

  /** The field's path, for errors. */
  path(name: string): string {
    return this.#where === '' ? name : `${this.#where}.${name}`;
  }

  /** The field as it is; undefined when absent or null. */
  take(name: string): unknown {
    this.#asked.add(name);
    const value = Object.hasOwn(this.#body, name) ? this.#body[name] : undefined;
    return value === null ? undefined : value;
  }

  text(name: string): string | undefined {
    const value = this.take(name);
    if (value !== undefined && typeof value !== 'string') throw this.wrong(name, value, 'text');
    return value === undefined ? undefined : checkText(value as string, this.path(name));
  }

  flag(name: string): boolean | undefined {
    const value = this.take(name);
    if (value !== undefined && typeof value !== 'boolean') throw this.wrong(name, value, 'true or false');
    return value as boolean | undefined;
  }

  number(name: string, min: number, max: number): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const isRight = typeof value === 'number' && value >= min && value <= max;
    if (!isRight) throw this.wrong(name, value, `a number from ${min} to ${max}`);
    return value;
  }

  whole(name: string, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const isRight = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
    const upper = max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`;
    if (!isRight) throw this.wrong(name, value, `a whole number from ${min}${upper}`);
    return value as number;
  }

  object(name: string): RequestFields | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (!isJsonObject(value)) throw this.wrong(name, value, 'an object');
    return new RequestFields(value, this.path(name));
  }

  /** Fields that change nothing about the answer: taken and dropped. */
  harmless(...names: string[]): void {
    for (const name of names) this.#asked.add(name);
  }

  /** A field that may be sent only with a value that means "not used". */
  only(name: string, isUnused: (value: unknown) => boolean, expected: string): void {
    const value = this.take(name);
    if (value === undefined || isUnused(value)) return;
    throw badField(
      this.path(name),
      `${this.path(name)} is not supported by this server: leave it out, or send ${expected}.`,
      'unsupported_parameter',
    );
  }

  unsupported(...names: string[]): void {
    for (const name of names) {
      if (this.take(name) === undefined) continue;
      throw badField(this.path(name), `${this.path(name)} is not supported by this server.`, 'unsupported_parameter');
    }
  }

  /** @throws HttpError for fields that were not asked for */
  end(): void {
    for (const name of Object.keys(this.#body)) {
      if (this.#asked.has(name) || this.#body[name] === null) continue;
      const near = nearestName(name, [...this.#asked]);
      const path = this.path(name.slice(0, 64));
      const help = near === undefined ? '' : ` Did you mean ${near}?`;
      throw badField(path, `Unrecognized request argument supplied: ${path}.${help}`, 'unknown_parameter');
    }
  }

  wrong(name: string, found: unknown, expected: string): Error {
    const code = found === undefined ? 'missing_required_parameter' : 'invalid_value';
    return badField(this.path(name), `${this.path(name)} is ${kindOf(found)}, expected ${expected}.`, code);
  }
}

/** Short and without content: a prompt must not come back in an error that is logged. */
export function kindOf(found: unknown): string {
  if (found === undefined) return 'missing';
  if (typeof found === 'number' || typeof found === 'boolean') return String(found);
  if (Array.isArray(found)) return `a list of ${found.length}`;
  if (typeof found === 'string')
    return found.length <= 24 ? JSON.stringify(found) : `a text of ${found.length} characters`;
  return found === null ? 'null' : 'an object';
}

/** @throws HttpError for text that no tokenizer can take */
export function checkText(text: string, path: string): string {
  if (text.includes('\0')) throw badField(path, `${path} has a NUL character.`);
  if (/\p{Surrogate}/u.test(text)) throw badField(path, `${path} has half a surrogate pair, which is no character.`);
  return text;
}

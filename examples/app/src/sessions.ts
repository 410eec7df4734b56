/** Who somebody is: JSON web tokens (RFC 7519, HMAC-SHA-256) that can be taken back. */

import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export interface User {
  id: string;
  name: string;
  isAdmin: boolean;
}

export interface Session {
  id: string;
  user: User;
  /** When it ends, in milliseconds since the epoch. */
  expires: number;
}

export class Sessions {
  readonly #secret: string | Buffer;
  readonly #lifetimeMs: number;
  /** Sessions that have been ended before their time, and when they would have ended. */
  readonly #revoked = new Map<string, number>();

  constructor(secret: string | Buffer, lifetimeMs = 3_600_000) {
    this.#secret = secret;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Begins a session; returns it with its token. */
  begin(name: string, isAdmin = false): { session: Session; token: string } {
    const user = { id: randomUUID(), name, isAdmin };
    const session = { id: randomUUID(), user, expires: Date.now() + this.#lifetimeMs };
    const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(session)}`;
    return { session, token: `${head}.${this.#signature(head).toString('base64url')}` };
  }

  /** The session of a token, or `null` where it is not one of ours, has expired or been revoked. */
  read(token: string): Session | null {
    const [header, payload, given = '', ...rest] = token.split('.');
    const expected = this.#signature(`${header}.${payload}`);
    const actual = Buffer.from(given, 'base64url');
    if (rest.length > 0 || actual.length !== expected.length) return null;
    if (payload === undefined || !timingSafeEqual(actual, expected)) return null;
    const session: Session = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return session.expires > Date.now() && !this.#revoked.has(session.id) ? session : null;
  }

  /** The session that a request belongs to, by its cookie or its `Authorization` header. */
  of({ headers }: IncomingMessage): Session | null {
    const cookie = /(?:^|;\s*)session=([^;]+)/.exec(headers.cookie ?? '')?.[1];
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
    return this.read(cookie ?? bearer ?? '');
  }

  end({ id, expires }: Session): void {
    this.#revoked.set(id, expires);
    // Those that are over need not be remembered.
    for (const [each, until] of this.#revoked) if (until < Date.now()) this.#revoked.delete(each);
  }

  #signature(text: string): Buffer {
    return createHmac('sha256', this.#secret).update(text).digest();
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

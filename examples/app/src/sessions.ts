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
    const claims = { jti: session.id, sub: user.id, exp: session.expires / 1000, name, isAdmin };
    const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
    return { session, token: `${signed}.${this.#signatureOf(signed).toString('base64url')}` };
  }

  /** The session that a request belongs to, by its cookie or its `Authorization` header. */
  of({ headers }: IncomingMessage): Session | null {
    const cookie = /(?:^|;\s*)session=([^;]+)/.exec(headers.cookie ?? '')?.[1];
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
    return this.#read(cookie ?? bearer ?? '');
  }

  /** The session of a token, or `null` where it is not one of ours, has expired or been ended. */
  #read(token: string): Session | null {
    const [, signed = '', payload = '', given = ''] =
      /^([\w-]+\.([\w-]+))\.([\w-]+)$/.exec(token) ?? [];
    const [expected, actual] = [this.#signatureOf(signed), Buffer.from(given, 'base64url')];
    if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) return null;
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const { jti: id, sub, exp, name, isAdmin } = claims;
    const isOver = exp * 1000 <= Date.now() || this.#revoked.has(id);
    return isOver ? null : { id, user: { id: sub, name, isAdmin }, expires: exp * 1000 };
  }

  /** Ends a session before its time. */
  end({ id, expires }: Session): void {
    this.#revoked.set(id, expires);
    // Those that are over anyway need not be remembered.
    for (const [each, until] of this.#revoked) if (until < Date.now()) this.#revoked.delete(each);
  }

  #signatureOf(text: string): Buffer {
    return createHmac('sha256', this.#secret).update(text).digest();
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

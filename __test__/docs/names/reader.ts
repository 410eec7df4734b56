/** What a reader's own application would have. */

export interface User {
  id: string;
  name: string;
}

/** Knows the tokens `ada-token` and `bob-token`. */
export async function userOfToken(token: string | null | undefined): Promise<User | undefined> {
  const name = /^(ada|bob)-token$/.exec(token ?? '')?.[1];
  return name === undefined ? undefined : { id: `id-of-${name}`, name };
}

/** The same for the cookie `session`. */
export async function userOfCookie(cookie: string | undefined): Promise<User | undefined> {
  return userOfToken(/(?:^|; )session=([^;]*)/.exec(cookie ?? '')?.[1]);
}

export async function isSignedIn(cookie: string | undefined): Promise<boolean> {
  return (await userOfCookie(cookie)) !== undefined;
}

import { describe, expect, test } from 'vitest';
import { connect, refused } from './support/client.js';
import { answerTo, upgradeStatus } from './support/http.js';
import { upgradeRequest } from './support/raw.js';
import { serve } from './support/server.js';

type Rules = (string | RegExp)[];

/** Asks as a browser of each origin would and returns the statuses; `undefined` sends no header. */
async function statuses(allowOrigins: Rules | undefined, origins: (string | undefined)[]) {
  const { port } = await serve({ allowOrigins });
  const asked = origins.map(async (origin) => [
    origin ?? '(none)',
    await upgradeStatus(port, '/ws', { Origin: origin }),
  ]);
  return Object.fromEntries(await Promise.all(asked));
}

async function expectOrigins(rules: Rules, allowed: string[], denied: (string | undefined)[]) {
  expect(await statuses(rules, [...allowed, ...denied])).toEqual({
    ...Object.fromEntries(allowed.map((origin) => [origin, 101])),
    ...Object.fromEntries(denied.map((origin) => [origin ?? '(none)', 403])),
  });
}

describe('without rules', () => {
  test.each([undefined, []])('%j allows every origin, and a request without one', async (rules) => {
    expect(
      await statuses(rules, ['https://anyone.example', 'null', 'nonsense', '', undefined]),
    ).toEqual({
      'https://anyone.example': 101,
      null: 101,
      nonsense: 101,
      '': 101,
      '(none)': 101,
    });
  });
});

describe('a list that is not empty', () => {
  test.each<[string, Rules]>([
    ['an exact rule', ['https://myapp.com']],
    ['a wildcard', ['http://localhost:*']],
    ['a star alone', ['*']],
    ['a RegExp that matches everything', [/.*/]],
    ['a RegExp that runs in JavaScript', [/^(?!evil)/]],
    ['null', ['null']],
  ])('with %s refuses a request without an Origin, or with an empty one', async (_name, rules) => {
    await expectOrigins(rules, [], [undefined, '']);
  });

  test('lets an origin in that any of its rules allows', async () => {
    await expectOrigins(
      ['https://a.com', 'https://*.b.com', /^https:\/\/c\d\.com$/, /^https:\/\/(?=d)[a-z.]+$/],
      ['https://a.com', 'https://x.b.com', 'https://c1.com', 'https://d.com'],
      ['https://b.com', 'https://c.com', 'https://e.com', 'null'],
    );
  });

  test('answers 403 with a reason, and independent clients see it', async () => {
    const { url } = await serve({ allowOrigins: ['https://myapp.com'] });
    await connect(url(), { origin: 'https://myapp.com' });
    const refusal = await refused(url(), { origin: 'https://evil.com' });
    expect(refusal).toMatchObject({
      status: 403,
      statusText: 'Forbidden',
      headers: { connection: 'close' },
    });
    expect(refusal.body).toBe('header Origin is "https://evil.com": this origin is not allowed');
    expect((await refused(url())).body).toMatch(/^header Origin is missing: /);
  });

  test('refuses a request with two Origin headers', async () => {
    const { port } = await serve({ allowOrigins: ['https://a.com', /^https:\/\/a\.com$/] });
    const request = upgradeRequest('/ws', { Origin: 'https://a.com' });
    const twice = request.replace('Origin:', 'Origin: https://evil.com\r\nOrigin:');
    expect(await answerTo(port, twice)).toMatchObject({ status: 403 });
  });
});

describe('an exact rule', () => {
  test('allows that origin and nothing that only looks like it', async () => {
    await expectOrigins(
      ['http://localhost:3000', 'https://myapp.com'],
      ['http://localhost:3000', 'https://myapp.com'],
      [
        'http://localhost',
        'http://localhost:30000',
        'https://localhost:3000',
        'http://myapp.com',
        'https://myapp.com.evil.com',
        'https://evil.com/https://myapp.com',
        'https://notmyapp.com',
        'https://myappxcom',
        'https://myapp.com:8443',
        'https://myapp.com@evil.com',
        'null',
      ],
    );
  });

  test('is indifferent to case and to a slash at its own end', async () => {
    await expectOrigins(
      ['HTTPS://MyApp.com/'],
      ['https://myapp.com', 'HTTPS://MYAPP.COM'],
      ['https://myapp.com/', 'https://myapp.com//'],
    );
  });

  test('may name the port of its scheme or leave it out, as the origin may', async () => {
    await expectOrigins(
      [
        'https://a.example:443',
        'http://b.example',
        'https://*.c.example:443',
        'http://d.example:8',
      ],
      [
        'https://a.example',
        'https://a.example:443',
        'http://b.example:80',
        'http://b.example',
        'https://x.c.example',
        'http://d.example:8',
      ],
      ['https://a.example:80', 'http://b.example:443', 'http://b.example:', 'http://d.example'],
    );
  });

  test('may be an IPv6 address, an extension or an app', async () => {
    await expectOrigins(
      [
        'http://[0:0:0:0:0:0:0:1]:8080',
        'chrome-extension://abc',
        'capacitor://localhost',
        'file://',
      ],
      ['http://[::1]:8080', 'chrome-extension://abc', 'capacitor://localhost', 'file://'],
      ['http://[::1]', 'http://[::2]:8080', 'chrome-extension://abd', 'file:///', 'null'],
    );
  });

  test('may be null, which only then is allowed', async () => {
    await expectOrigins(['null'], ['null'], ['https://null', 'nulll']);
  });
});

describe('a rule with stars', () => {
  test('for the port allows any port of that host and nothing else', async () => {
    await expectOrigins(
      ['http://localhost:*'],
      ['http://localhost:3000', 'http://localhost:1', 'http://localhost:65535'],
      [
        'http://localhost',
        'http://localhost:',
        'http://localhost:3000.evil.org',
        'http://localhost:abc',
        'http://localhost:-1',
        'http://localhost:123456',
        'http://localhost:1@evil',
        'http://localhost:1@evil.com:80',
        'http://localhost:1/evil',
        'http://localhost:1:2',
        'http://localhost:3000\\@evil.com',
        'http://localhost:1?x',
        'http://localhost:1#x',
        'http://localhost:1 x',
        'http://localhost.evil.com:3000',
        'http://evil.com/http://localhost:3000',
        'https://localhost:3000',
      ],
    );
  });

  test('for subdomains stays within the host', async () => {
    await expectOrigins(
      ['https://*.example.com'],
      ['https://a.example.com', 'https://a.b-c.example.com', 'https://x_y.example.com'],
      [
        'https://example.com',
        'https://.example.com',
        'https://evil.com/.example.com',
        'https://evil.com:80/.example.com',
        'https://evil.com?.example.com',
        'https://evil.com#.example.com',
        'https://evil.com\\.example.com',
        'https://user@a.example.com',
        'https://evilexample.com',
        'https://a.exampleXcom',
        'https://a.example.com.evil.com',
        'https://a.example.com:8080',
        'http://a.example.com',
      ],
    );
  });

  test('may have several', async () => {
    await expectOrigins(
      ['*://*.example.com:*'],
      ['https://a.example.com:1', 'http://b.example.com:8080'],
      ['https://a.example.com', 'https://evil.com/a.example.com:1', '://a.example.com:1'],
    );
  });

  test('alone allows every origin', async () => {
    await expectOrigins(['*'], ['https://anyone.example', 'null'], [undefined]);
  });

  test('takes the other characters literally', async () => {
    await expectOrigins(
      ['https://*.a+b.(c).com'],
      ['https://x.a+b.(c).com'],
      ['https://x.aab.c.com', 'https://xxa+bx(c)xcom'],
    );
  });
});

describe('a RegExp', () => {
  test('of the reference allows subdomains', async () => {
    await expectOrigins(
      [/^https:\/\/.*\.mycompany\.com$/],
      ['https://app.mycompany.com', 'https://a.b.mycompany.com'],
      ['https://mycompany.com', 'http://app.mycompany.com', 'https://app.mycompany.com.evil.com'],
    );
  });

  test('keeps its meaning: without anchors a part is enough, and case matters', async () => {
    await expectOrigins(
      [/localhost/],
      ['http://localhost:1', 'http://localhost.evil.com'],
      ['http://LOCALHOST:1'],
    );
  });

  test('keeps its flag i', async () => {
    await expectOrigins(
      [/^https:\/\/app\.example\.com$/i],
      ['https://APP.example.COM'],
      ['https://bpp.example.com'],
    );
  });

  test.each<[string, RegExp]>([
    ['g', /^https:\/\/[a-z]+\.example\.com$/g],
    ['y', /^https:\/\/[a-z]+\.example\.com$/y],
    ['gy', /https:\/\/[a-z]+\.example\.com/gy],
    ['g with look-ahead', /^https:\/\/(?!evil)[a-z]+\.example\.com$/g],
    ['y with look-ahead', /^https:\/\/(?!evil)[a-z]+\.example\.com$/y],
    ['gy with look-ahead', /https:\/\/(?!evil)[a-z]+\.example\.com/gy],
    ['dgimsuy', /^https:\/\/[a-z]+\.example\.com$/dgimsuy],
  ])('with the flags %s answers many requests in a row alike', async (_flags, pattern) => {
    const { port } = await serve({ allowOrigins: [pattern] });
    const seen: number[] = [];
    // Several matches in a row: a miss would begin anew.
    for (let count = 0; count < 10; count++) {
      for (const host of ['app.example.com', 'app.example.com', 'app.example.com', 'evil.com']) {
        seen.push(await upgradeStatus(port, '/ws', { Origin: `https://${host}` }));
      }
    }
    expect(seen).toEqual(Array.from({ length: 10 }, () => [101, 101, 101, 403]).flat());
  });

  test('with the flag y matches at the start only', async () => {
    await expectOrigins([/app/y], ['app.example.com'], ['https://app.example.com']);
  });

  test('answers alike whatever its lastIndex is, which stays as it was', async () => {
    const pattern = /^https:\/\/(?!evil)[a-z]+\.com$/g;
    pattern.lastIndex = 7;
    const { port } = await serve({ allowOrigins: [pattern] });
    expect(await upgradeStatus(port, '/ws', { Origin: 'https://a.com' })).toBe(101);
    pattern.lastIndex = 3;
    expect(await upgradeStatus(port, '/ws', { Origin: 'https://a.com' })).toBe(101);
    expect(pattern.lastIndex).toBe(3);
  });

  test.each<[string, RegExp, string[], string[]]>([
    [
      'a look-ahead',
      /^https:\/\/(?!evil\.)[a-z]+\.example\.com$/,
      ['https://app.example.com'],
      ['https://evil.example.com'],
    ],
    [
      'a look-behind',
      /(?<!evil)\.example\.com$/,
      ['https://app.example.com'],
      ['https://evil.example.com'],
    ],
    [
      'a back-reference',
      /^https:\/\/(\w+)\.\1\.com$/,
      ['https://app.app.com'],
      ['https://app.other.com'],
    ],
    [
      'a look-ahead and the flag i',
      /^https:\/\/(?=APP)[a-z.]+$/i,
      ['https://app.com', 'https://APP.COM'],
      ['https://other.com'],
    ],
    ['the flag u', /^https:\/\/\p{L}+\.com$/u, ['https://app.com'], ['https://4.com']],
  ])(
    'with %s, which the regex crate cannot express, works all the same',
    async (_name, pattern, allowed, denied) => {
      await expectOrigins([pattern], allowed, denied);
    },
  );

  test('means in the engine what it means in JavaScript', async () => {
    const patterns = [
      /^https:\/\/[a-z0-9-]{1,10}\.example\.(com|org)$/,
      /^https?:\/\/localhost(:\d+)?$/,
      /^https:\/\/(?:app|www)\.[^./]+\.com$/,
      /\bexample\b/,
      /^.{20,25}$/,
      /[\w.]+:\d{4}$/m,
      /\.example\.com$|^null$/,
      /^https:\/\/\x61pp\.example\.com$/,
    ];
    const origins = [
      'https://app.example.com',
      'https://app.example.org',
      'https://toolongtoolong.example.com',
      'https://www.a.com',
      'https://www.a.b.com',
      'http://localhost',
      'https://localhost:3000',
      'http://localhost:3000.evil.com',
      'null',
      'https://my-example.com',
      'https://myexample.com',
    ];
    for (const pattern of patterns) {
      const expected = origins.map((origin) => [origin, pattern.test(origin) ? 101 : 403]);
      expect(await statuses([pattern], origins), String(pattern)).toEqual(
        Object.fromEntries(expected),
      );
    }
  });

  test('that would take exponential time is no way to stop the server', async () => {
    const { port } = await serve({ allowOrigins: [/^(a+)+$/] });
    const origin = `${'a'.repeat(5_000)}!`;
    expect(await upgradeStatus(port, '/ws', { Origin: origin })).toBe(403);
  });
});

/** The host of the examples and tests has the shape of NextRush, surprises included. */

import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from '../examples/host/index.js';
import { script } from './support/process.js';
import { portOf } from './support/server.js';

type App = ReturnType<typeof createApp>;

/** Makes an application that listens until the test is over. */
async function serve(setup: (app: App) => void) {
  const app = createApp();
  setup(app);
  const server = app.listen(0);
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await app.eventSystem.shutdown();
  });
  const port = await portOf(server);
  return (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

const posted = (body: string, type?: string): RequestInit => ({
  method: 'POST',
  headers: type === undefined ? {} : { 'content-type': type },
  body,
});

/** Errors of a request go to stderr. */
let printed: ReturnType<typeof vi.spyOn>;
beforeEach(() => {
  printed = vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => printed.mockRestore());

describe('a body', () => {
  const answerWithBody = (app: App) =>
    app.post('/', ({ res, body }) => res.json({ type: typeof body, body }));

  test('is not parsed unless the application was told to', async () => {
    const request = await serve(answerWithBody);
    const response = await request('/', posted('{"a":1}', 'application/json'));
    expect(await response.json()).toEqual({ type: 'undefined' });
  });

  test.each([
    ['application/json', '{"a":1}', { a: 1 }],
    ['application/json; charset=utf-8', '{"a":1}', { a: 1 }],
    ['application/json', '', null],
    ['application/x-www-form-urlencoded', 'a=1&b=2', { a: '1', b: '2' }],
    ['text/plain', 'hello', 'hello'],
    ['application/octet-stream', '', { type: 'Buffer', data: [] }],
  ])('of type %s is parsed by json(), whatever its name says: %s', async (type, text, body) => {
    const request = await serve((app) => answerWithBody(app.use(app.json())));
    expect(await (await request('/', posted(text, type))).json()).toMatchObject({ body });
  });

  test('that is no JSON is a 500, and a 400 with an exception filter', async () => {
    const bare = await serve((app) => answerWithBody(app.use(app.json())));
    const response = await bare('/', posted('{', 'application/json'));
    expect([response.status, await response.text()]).toEqual([500, 'Internal Server Error']);
    const filtered = await serve((app) =>
      answerWithBody(app.use(app.exceptionFilter()).use(app.json())),
    );
    expect((await filtered('/', posted('{', 'application/json'))).status).toBe(400);
  });
});

describe('middleware', () => {
  test('is through before the route is called', async () => {
    const order: string[] = [];
    const request = await serve((app) => {
      app.use(async (_ctx, next) => {
        order.push('in');
        await next();
        order.push('out');
      });
      app.get('/', (ctx) => {
        order.push('route');
        ctx.res.send('');
      });
    });
    await request('/');
    expect(order).toEqual(['in', 'out', 'route']);
  });

  test('that answers without next() does not keep the route from being called', async () => {
    const route = vi.fn((ctx) => ctx.res.json({ secret: 1 }));
    const request = await serve((app) => {
      app.use((ctx) => ctx.res.status(401).json({ error: 'no' }));
      app.get('/', route);
    });
    const response = await request('/');
    expect([response.status, await response.json()]).toEqual([401, { error: 'no' }]);
    expect(route).toHaveBeenCalledOnce();
  });

  test('that neither answers nor calls next() leaves the answer to the router', async () => {
    const request = await serve((app) => app.use(() => {}));
    const response = await request('/nowhere');
    expect([response.status, await response.json()]).toEqual([404, { error: 'Not Found' }]);
  });

  test('that is not a function is ignored', async () => {
    const request = await serve((app) => {
      const use = app.use.bind(app) as (value: unknown) => App;
      use({ name: 'a plugin', install() {} });
      use(undefined).get('/', (ctx) => ctx.res.send('served'));
    });
    expect(await (await request('/')).text()).toBe('served');
  });

  test('that throws is a 500 and a line on stderr', async () => {
    const request = await serve((app) => {
      app.use(() => {
        throw new Error('oops');
      });
    });
    const response = await request('/');
    expect([response.status, await response.text()]).toEqual([500, 'Internal Server Error']);
    expect(printed).toHaveBeenCalledWith(
      'Request handling error:',
      expect.objectContaining({ message: 'oops' }),
    );
  });
});

describe('the router', () => {
  test.each([
    ['/users/7', { id: '7' }],
    ['/users/7/', { id: '7' }],
    ['//users//7//', { id: '7' }],
    ['/users/a%20b', { id: 'a%20b' }],
    ['/users/me', { me: true }],
    ['/files/a/b', { '*': 'a/b' }],
    ['/USERS/7', { error: 'Not Found' }],
    ['/users', { error: 'Not Found' }],
  ])('%s', async (path, answer) => {
    const request = await serve((app) => {
      app.get('/users/:id', ({ res, params }) => res.json(params));
      app.get('/users/me', ({ res }) => res.json({ me: true }));
      app.get('/files/*', ({ res, params }) => res.json(params));
    });
    expect(await (await request(path)).json()).toEqual(answer);
  });
});

test('the contexts of a process are one pool, and only the fields of the framework are reset', async () => {
  type Marked = Record<string, unknown>;
  const first = await serve((app) => {
    app.get('/', (ctx) => {
      Object.assign(ctx, { mark: 'left behind' });
      ctx.state.user = 'Ada';
      ctx.res.send('');
    });
  });
  const second = await serve((app) => {
    app.get('/', (ctx) =>
      ctx.res.json({ mark: (ctx as unknown as Marked).mark, state: ctx.state }),
    );
  });
  await first('/');
  expect(await (await second('/')).json()).toEqual({ mark: 'left behind', state: {} });
});

test('the fields of the framework are gone when the request is through', async () => {
  let kept: Record<string, unknown> | undefined;
  const request = await serve((app) => {
    app.get('/', (ctx) => {
      kept = ctx as unknown as Record<string, unknown>;
      ctx.res.send('');
    });
  });
  await request('/');
  await vi.waitFor(() => expect(kept).toMatchObject({ req: undefined, headers: undefined }));
});

describe('the process of an application', () => {
  const start = `const { createApp } = await import('./examples/host/index.js');
    const app = createApp();
    const server = app.listen(0);
    await new Promise((resolve) => server.once('listening', resolve));
    process.on('exit', () => console.log('the end'));`;

  test('does not end by server.close() or shutdown()', async () => {
    const { line } = script(
      `${start} await app.shutdown();
      const isTimer = (name) => name === 'Timeout';
      const look = () => console.log(process.getActiveResourcesInfo().filter(isTimer).length);
      setTimeout(look, 3500).unref();`,
      { module: true },
    );
    expect(await line()).toBe('1');
  });

  test('ends three seconds after shutdown() with eventSystem.shutdown()', async () => {
    const { line, exited } = script(
      `${start} await app.shutdown(); await app.eventSystem.shutdown();
      setTimeout(() => console.log('still here'), 2000).unref();`,
      { module: true },
    );
    expect([await line(), await line()]).toEqual(['still here', 'the end']);
    expect(await exited).toMatchObject({ code: 0, stderr: '' });
  });

  test('ends at once with server.close() and eventSystem.shutdown()', async () => {
    const { line } = script(
      `${start} server.close(); await app.eventSystem.shutdown();
      setTimeout(() => console.log('still here'), 2000).unref();`,
      { module: true },
    );
    expect(await line()).toBe('the end');
  });
});

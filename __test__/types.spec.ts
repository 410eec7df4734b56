import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createProgram,
  diagnosticsOf,
  framework,
  packageRoot,
  reference as referencePaths,
  sourcesIn,
  suppliedNames,
} from './types/compile.js';
import {
  type Completion,
  moduleName,
  moduleSource,
  readSnippets,
  referenceText,
} from './types/reference.js';

const installedApp = 'declare const app: typeof wsApp;';
const takenForInstalled = '`app` is the application after the plugin was installed on it';

/**
 * One entry for each TypeScript snippet of the reference, in its order. What is not listed here as
 * supplied or completed compiles exactly as the document has it.
 */
const reference: Completion[] = [
  { starts: "import { createApp, WebSocketPlugin, withWebSocket } from 'nextrush';" },
  {
    starts: 'constructor(options?: WebSocketPluginOptions)',
    kind: 'constructor',
    because: 'a signature without its class',
    after: 'const documented: typeof Documented = WebSocketPlugin;',
    supplied: ['WebSocketPlugin', 'WebSocketPluginOptions'],
  },
  { starts: 'const wsPlugin = new WebSocketPlugin({', supplied: ['WebSocketPlugin'] },
  {
    starts: 'interface WebSocketPluginOptions {',
    because: 'a redeclaration, compared with ours: the documented members are the same in both',
    after: `
      type Shipped = import('nextrush').WebSocketPluginOptions;
      const same: Same<Pick<Shipped, keyof WebSocketPluginOptions>, WebSocketPluginOptions> = true;`,
    supplied: ['IncomingMessage', 'Same'],
  },
  ...['// Single path', '// Ping every 15 seconds', '// Close connection if no pong within'].map(
    optionObjects,
  ),
  ...['// Limit to 500 connections', '// 64KB message limit', '// Specific origins'].map(
    optionObjects,
  ),
  {
    ...optionObjects('// Custom authentication'),
    supplied: ['WebSocketPluginOptions', 'verifyJWT'],
  },
  { starts: "import { withWebSocket } from 'nextrush';", supplied: ['app', 'handler'] },
  {
    starts: 'app.ws(path: string, handler: WSHandler): Application',
    kind: 'method',
    because: 'a signature without its interface',
    after: "const documented: Documented = {} as import('nextrush').WebSocketApplication;",
    supplied: ['Application', 'WSHandler'],
  },
  {
    starts: 'type WSHandler = (',
    because: 'a redeclaration, compared with ours: the two are the same',
    after: "const same: Same<import('nextrush').WSHandler, WSHandler> = true;",
    supplied: ['Same', 'WSConnection'],
  },
  {
    starts: '// Chat room handler',
    supplied: ['WSConnection', 'sendPendingNotifications', 'wsApp'],
  },
  {
    starts: 'app.wsUse(middleware: WSMiddleware): Application',
    kind: 'method',
    because: 'a signature without its interface',
    after: "const documented: Documented = {} as import('nextrush').WebSocketApplication;",
    supplied: ['Application', 'WSMiddleware'],
  },
  {
    starts: 'type WSMiddleware = (',
    because: 'a redeclaration, compared with ours: the two are the same',
    after: "const same: Same<import('nextrush').WSMiddleware, WSMiddleware> = true;",
    supplied: ['IncomingMessage', 'Same', 'WSConnection'],
  },
  {
    starts: '// Authentication middleware',
    supplied: ['IncomingMessage', 'WSConnection', 'verifyJWT', 'wsApp'],
  },
  {
    starts: 'app.wsBroadcast(message: string, room?: string): Application',
    kind: 'method',
    because: 'a signature without its interface',
    after: "const documented: Documented = {} as import('nextrush').WebSocketApplication;",
    supplied: ['Application'],
  },
  {
    starts: '// Broadcast to all connections',
    because: takenForInstalled,
    before: installedApp,
    supplied: ['wsApp'],
  },
  {
    starts: 'interface WSConnection {',
    because:
      'a redeclaration, compared with ours: it has the same members, and `broadcast`, which the ' +
      'document uses elsewhere',
    after: `
      type Shipped = import('nextrush').WSConnection;
      const same: Same<Pick<Shipped, keyof WSConnection>, Pick<WSConnection, keyof WSConnection>> = true;
      const more: Same<Exclude<keyof Shipped, keyof WSConnection>, 'broadcast'> = true;`,
    supplied: ['Same'],
  },
  { starts: '// Text message', supplied: ['socket'] },
  { starts: '// Normal closure', supplied: ['socket'] },
  { starts: '// Join rooms', supplied: ['socket', 'userId'] },
  { starts: '// In a WebSocket handler', supplied: ['WSConnection', 'app', 'wsApp'] },
  {
    starts: 'socket.onMessage(data => {',
    supplied: ['handleChatMessage', 'handleGameMove', 'socket'],
  },
  { starts: 'socket.onClose((code, reason) => {', supplied: ['removeUserSession', 'socket'] },
  {
    starts: '// Enhanced context when plugin is installed',
    because: 'a redeclaration, compared with ours: ours is one, with a richer connection',
    after: `
      type Added = 'isWebSocket' | 'ws' | 'wsRooms';
      type Shipped = import('nextrush').WSContext;
      const documented: Pick<WSContext, Added> = {} as Shipped;`,
    supplied: ['Context', 'WSConnection', 'WSRoomManager', 'app'],
  },
  {
    starts: "import { createApp, WebSocketPlugin, withWebSocket } from 'nextrush';",
    supplied: ['IncomingMessage', 'findSocketByUserId', 'generateMessageId', 'verifyJWT'],
  },
  {
    starts: "import { createApp, WebSocketPlugin, withWebSocket } from 'nextrush';",
    supplied: ['createOrder'],
  },
  {
    starts: "import { createApp, WebSocketPlugin, withWebSocket } from 'nextrush';",
    supplied: ['applyMove', 'checkWinner', 'initializeBoard', 'validateMove'],
  },
  { starts: "import { createApp, WebSocketPlugin, withWebSocket } from 'nextrush';" },
  {
    starts: 'import type {\n  WebSocketPlugin,',
    supplied: ['IncomingMessage', 'app', 'validateToken'],
  },
  { starts: '// Monitor connection counts', supplied: ['WebSocketPlugin'] },
  {
    starts: '// Efficient message handling',
    supplied: ['largeDataSet', 'processBulkUpdate', 'socket'],
  },
  {
    starts: '// Efficient room broadcasting',
    because: takenForInstalled,
    before: installedApp,
    supplied: ['extractUserId', 'userRole', 'wsApp'],
  },
  { starts: 'const wsPlugin = new WebSocketPlugin({', supplied: ['WebSocketPlugin'] },
  { starts: 'const wsPlugin = new WebSocketPlugin({', supplied: ['WebSocketPlugin', 'jwt'] },
  { starts: "import { z } from 'zod';", supplied: ['handleMessage', 'socket', 'zod'] },
];

function optionObjects(starts: string): Completion {
  return {
    starts,
    kind: 'options',
    because: 'options objects without an assignment',
    supplied: ['WebSocketPluginOptions'],
  };
}

/** The client of NATS takes declarations for granted that come with those of a browser. */
const isOurs = (diagnostic: string) => !diagnostic.startsWith('node_modules/nats/');

describe('TypeScript', () => {
  const snippets = readSnippets();
  const modules = new Map(
    snippets.map((snippet, index) => [
      moduleName(snippet),
      moduleSource(snippet, reference[index] ?? { starts: '' }),
    ]),
  );
  let program: ReturnType<typeof createProgram>;
  let diagnostics: string[];

  beforeAll(() => {
    const files = [...sourcesIn('fixtures'), ...sourcesIn('cases')];
    program = createProgram(files, modules, { paths: referencePaths });
    diagnostics = diagnosticsOf(program);
  }, 120_000);

  const about = (path: string) => diagnostics.filter((text) => text.includes(path));

  describe('reference', () => {
    it('is the document as it was handed to us', () => {
      expect(createHash('sha256').update(referenceText).digest('hex')).toBe(
        'd9a242417b55607d727b61fcc30fca97c2f6900a901fbbe7a20cdbd844975a5d',
      );
    });

    it('has as many snippets as this file knows of', () => {
      expect(snippets).toHaveLength(39);
      expect(reference).toHaveLength(39);
    });

    for (const snippet of snippets) {
      const { starts, because, supplied = [] } = reference[snippet.number - 1] ?? { starts: '-' };
      const how = because ? `compiles, completed (${because})` : 'compiles as it stands';
      it(`snippet ${snippet.number} (${snippet.heading}, line ${snippet.line}) ${how}`, () => {
        expect(snippet.code.slice(0, starts.length)).toBe(starts);
        expect(about(moduleName(snippet))).toEqual([]);
        expect(suppliedNames(program, moduleName(snippet))).toEqual(supplied);
      });
    }
  });

  it.each(sourcesIn('cases').map((path) => path.replace(/.*\/cases\//, 'cases/')))(
    '%s holds',
    (path) => {
      expect(about(path)).toEqual([]);
    },
  );

  describe.each([
    ['with NextRush', 'with-nextrush', framework],
    ['without NextRush', 'without-nextrush', {}],
  ])('%s', (_, folder, paths) => {
    const compile = (files: string[], options: object) =>
      diagnosticsOf(createProgram(files, new Map(), { ...options, paths })).filter(isOurs);

    it('everything compiles, the strictest way', { timeout: 120_000 }, () => {
      const strictest = { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
      const files = [...sourcesIn(folder), ...sourcesIn('cases')];
      expect(compile(files, strictest)).toEqual([]);
    });

    it('applications compile without a look at declarations', { timeout: 120_000 }, () => {
      expect(compile(sourcesIn(folder), { skipLibCheck: true })).toEqual([]);
    });
  });

  describe('examples', () => {
    const folder = join(packageRoot, 'examples');
    const files = readdirSync(folder).filter((name) => name.endsWith('.js'));
    let complaints: string[];

    beforeAll(() => {
      // They are JavaScript: their own functions say nothing of their parameters.
      const options = { allowJs: true, checkJs: true, noImplicitAny: false };
      const paths = files.map((name) => join(folder, name));
      complaints = diagnosticsOf(createProgram(paths, new Map(), options));
    }, 120_000);

    it.each(files)('%s compiles', (name) => {
      expect(complaints.filter((text) => text.startsWith(`examples/${name}`))).toEqual([]);
    });

    it('have nothing else to complain of', () => {
      expect(complaints).toEqual([]);
    });
  });

  it('has nothing else to complain of, in the shipped declarations least of all', () => {
    expect(diagnostics.filter(isOurs)).toEqual([]);
  });
});

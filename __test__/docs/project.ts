/**
 * A project as a reader would have one: a folder of its own with `nextrush-websocket`, `nextrush`
 * and the other packages in `node_modules`. Code blocks become files in it, are type-checked there,
 * and run there.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { onTestFinished } from 'vitest';
import type { ClientOptions } from 'ws';
import { freePort } from '../../scripts/free-port.mjs';
import { makeCertificate } from '../support/certificate.js';
import { type Client, connect, open, refused } from '../support/client.js';
import { queue } from '../support/events.js';
import { type Block, root } from './markdown.js';

const here = import.meta.dirname;
const preload = pathToFileURL(join(here, 'preload.mjs')).href;

/** Modules with the names that a block may use without declaring them. */
const suppliers = readdirSync(join(here, 'names')).map((file) => {
  const text = readFileSync(join(here, 'names', file), 'utf8');
  const exported = [...text.matchAll(/^export (?:async )?(?:class|const|function) (\w+)/gm)];
  return {
    file,
    text,
    from: `./${file.replace(/ts$/, 'js')}`,
    names: exported.map(([, n = '']) => n),
  };
});

const packages = [{ from: 'nextrush-websocket', names: ['WebSocketPlugin', 'withWebSocket'] }];

const common: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  skipLibCheck: true,
};

/** How the blocks of a language are checked, and what `createApp` is declared to return there. */
const languages = {
  ts: {
    options: { ...common, paths: { nextrush: ['__test__/types/fixtures/nextrush-shape.ts'] } },
    files: [] as string[],
  },
  js: {
    options: {
      ...common,
      allowJs: true,
      checkJs: true,
      strict: false,
      paths: { nextrush: ['examples/host/index.d.ts'] },
    },
    files: [join(here, 'javascript.d.ts')],
  },
};

type Language = keyof typeof languages;

export const isCode = ({ language }: Block): boolean => language in languages;

export class Project {
  /** Where the programs run. */
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'docs-')));
  #sources = join(this.folder, 'src');
  #files = new Map<Block, string>();

  constructor(blocks: Block[]) {
    const modules = join(this.folder, 'node_modules');
    for (const folder of [this.#sources, modules, join(modules, 'nextrush')]) {
      mkdirSync(folder, { recursive: true });
    }
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    symlinkSync(root, join(modules, 'nextrush-websocket'));
    writeFileSync(join(this.folder, 'package.json'), '{ "type": "module", "private": true }');
    const host = pathToFileURL(join(root, 'examples/host/index.js')).href;
    writeFileSync(
      join(modules, 'nextrush/package.json'),
      '{ "type": "module", "exports": "./index.js" }',
    );
    writeFileSync(join(modules, 'nextrush/index.js'), `export * from '${host}';`);

    const { cert, key } = makeCertificate();
    writeFileSync(join(this.folder, 'cert.pem'), cert);
    writeFileSync(join(this.folder, 'key.pem'), key);

    for (const { file, text } of suppliers) this.#write(file, text);
    for (const block of blocks.filter(isCode)) {
      const name = fileNameOf(block);
      if (existsSync(join(this.#sources, name))) throw new Error(`there are two blocks ${name}`);
      this.#files.set(block, this.#write(name, withSuppliedNames(block.code, name)));
    }
  }

  /** Writes a source and, for TypeScript, what it compiles to beside it. */
  #write(name: string, source: string): string {
    const path = join(this.#sources, name);
    writeFileSync(path, source);
    if (name.endsWith('.ts')) {
      const { outputText } = ts.transpileModule(source, {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
      });
      writeFileSync(path.replace(/ts$/, 'js'), outputText);
    }
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  /** What the compiler has to say, by block; none is an empty list. */
  diagnostics(): Map<Block, string[]> {
    const found = new Map<Block, string[]>();
    for (const language of Object.keys(languages) as Language[]) {
      const { options, files } = languages[language];
      const blocks = [...this.#files].filter(([block]) => block.language === language);
      const supplied = suppliers.map(({ file }) => join(this.#sources, file));
      const program = ts.createProgram([...files, ...supplied, ...blocks.map(([, path]) => path)], {
        ...options,
        baseUrl: root,
        typeRoots: [join(root, 'node_modules/@types')],
      });
      for (const [block, path] of blocks) {
        const source = program.getSourceFile(path);
        found.set(block, ts.getPreEmitDiagnostics(program, source).map(readable(block)));
      }
    }
    return found;
  }

  /** The file that Node runs for a block. */
  programOf(block: Block): string {
    const path = this.#files.get(block);
    if (path === undefined) throw new Error(`${block.title} is no code`);
    return path.replace(/ts$/, 'js');
  }

  /**
   * Runs a block, and resolves when its port accepts connections, it has printed something, or it
   * has ended. Killed after the test.
   *
   * @param port that the block listens on; where something listens there, the block is a client
   * @param env what its environment has besides
   */
  async run(block: Block, port?: number, env: NodeJS.ProcessEnv = {}): Promise<Run> {
    return this.start(['--import', preload, this.programOf(block)], port, env);
  }

  /** The same for any command line of Node. */
  async start(command: string[], given?: number, env: NodeJS.ProcessEnv = {}): Promise<Run> {
    const port = given ?? (await freePort());
    const child = spawn(process.execPath, command, {
      cwd: this.folder,
      env: { ...process.env, ...env, DOCS_PORT: String(port) },
      stdio: 'pipe',
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    const lines = queue<string>();
    createInterface({ input: child.stdout }).on('line', lines.push);
    let ended = false;
    const exited = once(child, 'close').then(([code, signal]) => {
      ended = true;
      return { code, signal, stderr };
    });
    while (!ended && lines.waiting.length === 0 && !(await accepts(port))) await wait(20);
    return {
      port,
      url: (path) => `ws://127.0.0.1:${port}${path}`,
      http: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
      open: (path, options) => open(`ws://127.0.0.1:${port}${path}`, options),
      connect: (path, options) => connect(`ws://127.0.0.1:${port}${path}`, options),
      refused: (path, options) => refused(`ws://127.0.0.1:${port}${path}`, options),
      line: () => lines.next(),
      stderr: () => stderr,
      forgetStderr: () => {
        stderr = '';
      },
      signal: (signal) => void child.kill(signal),
      ended: () => ended,
      exited,
    };
  }
}

/** A program of the documentation that runs. */
export interface Run {
  port: number;
  url(path: string): string;
  http(path: string, init?: RequestInit): Promise<Response>;
  open(path: string, options?: ClientOptions): Client;
  connect(path: string, options?: ClientOptions): Promise<Client>;
  refused(path: string, options?: ClientOptions): ReturnType<typeof refused>;
  /** The next line on stdout. */
  line(): Promise<string>;
  stderr(): string;
  /** Has been looked at. Whatever else is on stderr after the test is a failure. */
  forgetStderr(): void;
  signal(signal: NodeJS.Signals): void;
  ended(): boolean;
  exited: Promise<{ code: number | null; signal: string | null; stderr: string }>;
}

/** A block whose first line is a comment with a file name becomes that file. */
function fileNameOf({ file, line, language, code }: Block): string {
  const named = /^\/\/ ([\w.-]+\.[cm]?[jt]s)\n/.exec(code)?.[1];
  if (named) return named;
  const extension = language === 'js' && /\brequire\(/.test(code) ? 'cjs' : language;
  return `${file.replace(/\W/g, '-')}-line-${line}.${extension}`;
}

/** Imports, on the first line, what the code uses without declaring it. */
function withSuppliedNames(code: string, name: string): string {
  const source = ts.createSourceFile(name, code, ts.ScriptTarget.ES2022, true);
  const used = new Set<string>();
  const declared = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isDeclared =
        (ts.isVariableDeclaration(parent) ||
          ts.isParameter(parent) ||
          ts.isBindingElement(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isImportSpecifier(parent) ||
          ts.isImportClause(parent)) &&
        parent.name === node;
      const isMember =
        (ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent)) &&
        parent.name === node;
      if (isDeclared) declared.add(node.text);
      else if (!isMember) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const imports = [...packages, ...suppliers]
    .map(({ from, names }) => ({
      from,
      names: names.filter((name) => used.has(name) && !declared.has(name)),
    }))
    .filter(({ names }) => names.length > 0)
    .map(({ from, names }) => `import { ${names.join(', ')} } from '${from}'; `);
  return imports.join('') + code;
}

const readable = (block: Block) => (diagnostic: ts.Diagnostic) => {
  const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n');
  const { line } = diagnostic.file?.getLineAndCharacterOfPosition(diagnostic.start ?? 0) ?? {};
  return `${block.file}:${block.line + (line ?? 0)}: ${text}`;
};

/** Whether something listens on a port. */
export async function accepts(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

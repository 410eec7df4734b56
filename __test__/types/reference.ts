/**
 * The TypeScript snippets of the reference, each made into a module of its own.
 *
 * Most are modules or fragments of one as they stand. Three kinds are not, and are completed by
 * rule, never by hand:
 *
 * - *Option objects.* `{ maxConnections: 500; }` stands for an options object (its semicolon is an
 *   artefact of a formatter that took it for a block with a label). Each top-level block becomes
 *   a `WebSocketPluginOptions` with the same properties.
 * - *Signatures.* `app.ws(path: string, handler: WSHandler): Application` is put into a class or
 *   an interface, and what we ship has to be assignable to that.
 * - *Redeclarations.* `interface WSConnection { … }` compiles as it stands, but says nothing about
 *   our own; a check that compares the two is added after it.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** One ```typescript block of the reference. */
export interface Snippet {
  /** Counted from 1, in the order of the document. */
  number: number;
  /** Line of the document on which its code begins. */
  line: number;
  /** The closest heading before it. */
  heading: string;
  /** Its code, unchanged. */
  code: string;
}

/** How a snippet becomes a module. */
export interface Completion {
  /** How the snippet starts: ties the entry to the document. */
  starts: string;
  /** What it is; `code` stands as it is. */
  kind?: 'code' | 'options' | 'constructor' | 'method';
  /** Why the snippet is not a module as it stands. */
  because?: string;
  /** Declarations before the code, on one line. */
  before?: string;
  /** Checks after the code. */
  after?: string;
  /** Names that the snippet uses without declaring or importing them. */
  supplied?: string[];
}

/** The reference, as it was handed to us. No formatter may touch it. */
export const referenceText = readFileSync(
  join(import.meta.dirname, 'websocket-plugin-api.md'),
  'utf8',
).replaceAll('\r\n', '\n');

/** All TypeScript blocks of the reference. */
export function readSnippets(): Snippet[] {
  const text = referenceText;
  const snippets: Snippet[] = [];
  for (const block of text.matchAll(/^```typescript\n(.*?)^```$/gms)) {
    const before = text.slice(0, block.index).split('\n');
    snippets.push({
      number: snippets.length + 1,
      line: before.length + 1,
      heading: before.findLast((line) => line.startsWith('#'))?.replace(/^#+ /, '') ?? '',
      code: block[1] ?? '',
    });
  }
  return snippets;
}

/** File name of the module that a snippet becomes. */
export function moduleName(snippet: Snippet): string {
  return `snippet-${String(snippet.number).padStart(2, '0')}-line-${snippet.line}.ts`;
}

/** Source of the module that a snippet becomes. */
export function moduleSource(snippet: Snippet, completion: Completion): string {
  const { kind = 'code', before = '', after = '' } = completion;
  return [before, bodyOf(snippet.code, kind), after, 'export {};'].join('\n');
}

function bodyOf(code: string, kind: NonNullable<Completion['kind']>): string {
  switch (kind) {
    case 'code':
      return code;
    case 'options':
      return optionObjects(code);
    case 'constructor':
      return `declare class Documented { ${code} }`;
    case 'method':
      return `interface Documented { ${code.replace(/^app\./, '')} }`;
  }
}

/** Turns each top-level block of labels into an options object. */
function optionObjects(code: string): string {
  const source = ts.createSourceFile('snippet.ts', code, ts.ScriptTarget.ES2022, true);
  return source.statements
    .map((block, index) => {
      if (!ts.isBlock(block)) throw new Error(`not an option object: ${block.getText(source)}`);
      const properties = block.statements.map((statement) => {
        if (!ts.isLabeledStatement(statement) || !ts.isExpressionStatement(statement.statement)) {
          throw new Error(`not an option: ${statement.getText(source)}`);
        }
        return `${statement.label.text}: ${statement.statement.expression.getText(source)}`;
      });
      return `const options${index}: WebSocketPluginOptions = { ${properties.join(', ')} };`;
    })
    .join('\n');
}

/** What the code says of itself: the members of its types, and the texts of errors. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from './markdown.js';

/** A member of an interface or class of `types/`. */
export interface Member {
  name: string;
  /** Its `@default`. */
  default: string | undefined;
}

/** All that `types/` declares. */
const declarations = readdirSync(join(root, 'types')).flatMap((name) => {
  const text = readFileSync(join(root, 'types', name), 'utf8');
  return [...ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true).statements];
});

/** The public members that `types/` declares for an interface or class, each name once. */
export function membersOf(declaration: string): Member[] {
  const found = declarations.find(
    (statement): statement is ts.InterfaceDeclaration | ts.ClassDeclaration =>
      (ts.isInterfaceDeclaration(statement) || ts.isClassDeclaration(statement)) &&
      statement.name?.text === declaration,
  );
  if (!found) throw new Error(`types/ declares no ${declaration}`);
  const members = new Map<string, Member>();
  for (const member of found.members) {
    const { name } = member;
    if (name === undefined || !(ts.isIdentifier(name) || ts.isStringLiteral(name))) continue;
    const tag = ts.getJSDocTags(member).find(({ tagName }) => tagName.text === 'default');
    members.set(name.text, {
      name: name.text,
      default: tag && ts.getTextOfJSDocComment(tag.comment)?.trim(),
    });
  }
  return [...members.values()];
}

/** The names that `index.d.ts` exports. */
export function exportedNames(): string[] {
  const text = readFileSync(join(root, 'index.d.ts'), 'utf8');
  const listed = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(
    ([, names = '']) => names.match(/\w+/g) ?? [],
  );
  const functions = [...text.matchAll(/^export declare function (\w+)/gm)];
  return [...new Set([...listed, ...functions.map(([, name = '']) => name)])];
}

/** The strings of a union type of `types/`. */
export function valuesOf(type: string): string[] {
  const found = declarations.find(
    (statement): statement is ts.TypeAliasDeclaration =>
      ts.isTypeAliasDeclaration(statement) && statement.name.text === type,
  );
  if (!found) throw new Error(`types/ declares no ${type}`);
  return [...found.type.getText().matchAll(/\| '(\w+)'/g)].map(([, value = '']) => value);
}

/** Literals with less text of their own than this would match anything. */
const LEAST_TEXT = 8;

/**
 * Whether a literal of the code can have produced a message. What is put in at run time, `{}` in
 * Rust and `${}` in JavaScript, stands for any text; in the message `…` does.
 */
export function isInCode(message: string): boolean {
  literals ??= ['lib', 'src'].flatMap((folder) => literalsBelow(join(root, folder)));
  return literals.some((literal) => literal.test(message));
}

let literals: RegExp[] | undefined;

function literalsBelow(path: string): RegExp[] {
  if (statSync(path).isDirectory()) {
    return readdirSync(path).flatMap((name) => literalsBelow(join(path, name)));
  }
  // In Rust, a backslash at the end of a line leaves out the white space that follows.
  const text = readFileSync(path, 'utf8').replace(/\\\n\s*/g, '');
  return text.split('\n').flatMap((line) =>
    [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`/g)].flatMap(
      ([, ...quoted]) => {
        const parts = quoted
          .join('')
          .replace(/\\(.)/g, '$1')
          .split(/\$?\{[^}]*\}/);
        if (parts.join('').length < LEAST_TEXT) return [];
        return [new RegExp(`^${parts.map(escaped).join('.*')}$`)];
      },
    ),
  );
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

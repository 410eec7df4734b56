/**
 * Type-checks given sources together with files of this folder, in one program and in memory:
 * nothing is written, and a failure names the module and its line.
 */

import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

/** Root of the package. */
export const packageRoot = resolve(import.meta.dirname, '../..');

const typesFolder = slashed(join(packageRoot, '__test__/types'));

/** A path as the compiler writes it, on Windows as well. */
function slashed(path: string): string {
  return path.replaceAll('\\', '/');
}

const defaults: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2022.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  // The shipped declarations are themselves under test.
  skipLibCheck: false,
  baseUrl: packageRoot,
};

/** What `nextrush` is: this package in the place of its own plugin, as the reference has it. */
export const reference = {
  nextrush: ['__test__/types/fixtures/nextrush.ts'],
  zod: ['__test__/types/fixtures/zod.d.ts'],
};
/** What `nextrush` is: the framework, beside this package. */
export const framework = { nextrush: ['__test__/types/fixtures/nextrush-shape.ts'] };

/** Paths of the sources in a folder of `__test__/types`. */
export function sourcesIn(folder: string): string[] {
  return readdirSync(join(typesFolder, folder))
    .filter((name) => /\.[cm]?ts$/.test(name))
    .map((name) => slashed(join(typesFolder, folder, name)));
}

/** Files on disk, which all programs share: parsing them takes most of the time. */
const parsed = new Map<string, ts.SourceFile | undefined>();

/**
 * Makes a program of files on disk and of modules that exist only here.
 *
 * @param files Absolute paths of files on disk.
 * @param modules Source text by file name; the names are placed beside the reference.
 * @param overrides Options that differ from those of all type tests.
 */
export function createProgram(
  files: string[],
  modules = new Map<string, string>(),
  overrides: ts.CompilerOptions = {},
): ts.Program {
  const virtual = new Map([...modules].map(([name, text]) => [modulePath(name), text]));
  const options = { ...defaults, ...overrides };
  const host = ts.createCompilerHost(options, true);
  const { fileExists, getSourceFile, readFile } = host;
  host.getCurrentDirectory = () => packageRoot;
  host.fileExists = (path) => virtual.has(path) || fileExists(path);
  host.readFile = (path) => virtual.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...how) => {
    if (virtual.has(path)) return getSourceFile(path, ...how);
    if (!parsed.has(path)) parsed.set(path, getSourceFile(path, ...how));
    return parsed.get(path);
  };
  return ts.createProgram([...files, ...virtual.keys()], options, host);
}

/** The path that a module of {@link createProgram} has in the program. */
export function modulePath(name: string): string {
  return slashed(join(typesFolder, name));
}

/** What the compiler has to say about a program, as readable text; none is an empty list. */
export function diagnosticsOf(program: ts.Program): string[] {
  return ts.getPreEmitDiagnostics(program).map((diagnostic) =>
    ts
      .formatDiagnostic(diagnostic, {
        getCanonicalFileName: (path) => path,
        getCurrentDirectory: () => packageRoot,
        getNewLine: () => '\n',
      })
      .trim(),
  );
}

/** Names in a module that it takes from `fixtures/reference-names.d.ts`, and stub packages. */
export function suppliedNames(program: ts.Program, name: string): string[] {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(modulePath(name));
  if (!source) throw new Error(`${name} is not in the program`);
  const supplied = new Set<string>();
  const visit = (node: ts.Node): void => {
    const isMember = ts.isPropertyAccessExpression(node.parent) && node.parent.name === node;
    if (ts.isIdentifier(node) && !isMember) {
      const declaredIn = checker.getSymbolAtLocation(node)?.declarations?.[0]?.getSourceFile();
      if (declaredIn?.fileName.endsWith('fixtures/reference-names.d.ts')) supplied.add(node.text);
    }
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      if (node.moduleSpecifier.text === 'zod') supplied.add('zod');
    }
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(source, visit);
  return [...supplied].sort();
}

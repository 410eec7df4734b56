/** Reads the documentation: its fenced code blocks, its headings and its links. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** Root of the package. */
export const root = resolve(import.meta.dirname, '../..');

/** One fenced block. */
export interface Block {
  /** Path of the document from the root. */
  file: string;
  /** Line on which the code begins. */
  line: number;
  /** `file > closest heading`, with ` (2)` and so on from the second block under it on. */
  title: string;
  /** What stands behind the opening fence. */
  language: string;
  code: string;
}

interface Line {
  number: number;
  text: string;
  /** In a fenced block, or one of its fences. */
  fenced: boolean;
}

function linesOf(file: string): Line[] {
  let fence = false;
  return readFileSync(join(root, file), 'utf8')
    .split('\n')
    .map((text, index) => {
      const isFence = /^ *```/.test(text);
      const fenced = fence || isFence;
      if (isFence) fence = !fence;
      return { number: index + 1, text, fenced };
    });
}

const heading = /^#+ (.*)$/;

/** All fenced blocks of a document, in its order. */
export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  const counts = new Map<string, number>();
  let title = '';
  let block: Block | undefined;
  for (const { number, text, fenced } of linesOf(file)) {
    if (!fenced) {
      title = heading.exec(text)?.[1] ?? title;
    } else if (!text.startsWith('```') && text.trimStart().startsWith('```')) {
      throw new Error(`${file}:${number}: a block must not be indented, or no test sees it`);
    } else if (!text.startsWith('```')) {
      if (block) block.code += `${text}\n`;
    } else if (block) {
      blocks.push(block);
      block = undefined;
    } else {
      const count = (counts.get(title) ?? 0) + 1;
      counts.set(title, count);
      const counted = count > 1 ? `${title} (${count})` : title;
      const language = text.slice(3).trim();
      block = { file, line: number + 1, title: `${file} > ${counted}`, language, code: '' };
    }
  }
  if (block) throw new Error(`${file}:${block.line}: a block is not closed`);
  return blocks;
}

/** What GitHub makes of the headings of a document: the part of a URL behind `#`. */
export function anchorsOf(file: string): Set<string> {
  const anchors = new Set<string>();
  for (const { text, fenced } of linesOf(file)) {
    const words = fenced ? undefined : heading.exec(text)?.[1];
    if (words === undefined) continue;
    const plain = words.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count += 1) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

/** Links of a document to files of the repository and to headings that lead nowhere. */
export function deadLinksOf(file: string): string[] {
  const dead: string[] = [];
  for (const { number, text, fenced } of linesOf(file)) {
    if (fenced) continue;
    const prose = text.replace(/`[^`]*`/g, '');
    for (const [, target = ''] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const linked = path === '' ? file : join(dirname(file), path);
      const known =
        existsSync(join(root, linked)) && (anchor === undefined || anchorsOf(linked).has(anchor));
      if (!known) dead.push(`${file}:${number}: ${target}`);
    }
  }
  return dead;
}

/** The rows of all tables of a document, each as its cells without backslashes before pipes. */
export function tableRowsOf(file: string): string[][] {
  return linesOf(file)
    .filter(({ text, fenced }) => !fenced && text.startsWith('|'))
    .map(({ text }) =>
      text
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    );
}

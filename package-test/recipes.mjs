/** The recipes of docs/guide/bundlers.md, as they stand there. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './command.mjs';

/**
 * Of each heading with something to run, what is below it: `files` to write, by their name, and the
 * `commands` of its first block of shell commands, the last of which starts the bundle.
 */
export function readRecipes() {
  const page = readFileSync(path.join(root, 'docs', 'guide', 'bundlers.md'), 'utf8');
  const recipes = new Map();
  for (const section of page.split(/^#+ /m).slice(1)) {
    const [title, ...lines] = section.split('\n');
    const blocks = lines.join('\n').matchAll(/^```(\w+)\n(.*?)^```$/gms);
    const recipe = { files: {}, commands: undefined };
    for (const [, language, code] of blocks) {
      if (language === 'js') recipe.files[/^\/\/ (\S+)\n/.exec(code)[1]] = code;
      else if (language === 'json') recipe.files['sea-config.json'] = code;
      else recipe.commands ??= code.trim().split('\n');
    }
    if (recipe.commands?.at(-1).includes('dist')) recipes.set(title, recipe);
  }
  return recipes;
}

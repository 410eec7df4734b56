/** What a package is made of, as a CycloneDX document (JSON, 1.6), that machines read. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

const require = createRequire(import.meta.url);

/**
 * The bill of a platform's package: what is in its binary.
 *
 * @param {{ name: string, version: string, license: string }} manifest Of the package.
 * @param {{ crates: import('./crates.mjs').Crate[], dependencies: Map<string, Set<string>> }} inBinary
 * @param {string} rust The version of the Rust compiler, whose standard library is in the binary.
 */
export function billOfBinary(manifest, { crates, dependencies }, rust) {
  const [own, ...others] = dependencies.keys();
  const refOf = (id) => `pkg:cargo/${id.replace(' ', '@')}`;
  const dependsOn = (id) => [...dependencies.get(id)].sort().map(refOf);
  const standardLibrary = component(`pkg:generic/rust-std@${rust}`, {
    ...{ name: 'rust-std', version: rust, license: 'MIT OR Apache-2.0' },
  });
  return bill(
    manifest,
    [
      ...crates.map((crate) => component(refOf(`${crate.name} ${crate.version}`), crate)),
      standardLibrary,
    ],
    [...dependsOn(own), standardLibrary.purl],
    others.sort().map((id) => ({ ref: refOf(id), dependsOn: dependsOn(id) })),
  );
}

/**
 * The bill of the main package, which depends on nothing but one of the platforms' packages.
 *
 * @param {{ name: string, version: string, license: string }} manifest
 * @param {{ name: string, version: string, license: string }[]} platforms The manifests of the others.
 */
export function billOfMain(manifest, platforms) {
  const components = platforms.map((one) => ({
    ...component(refOfPackage(one), one),
    scope: 'optional',
  }));
  return bill(
    manifest,
    components,
    components.map(({ purl }) => purl),
    [],
  );
}

/** A document, the same for the same contents: it has no date and no number. */
function bill(manifest, components, dependsOn, dependencies) {
  const ref = refOfPackage(manifest);
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { lifecycles: [{ phase: 'build' }], component: component(ref, manifest) },
    components,
    dependencies: [{ ref, dependsOn }, ...dependencies],
  };
  demandValid(document);
  return document;
}

function refOfPackage({ name, version }) {
  return `pkg:npm/${name}@${version}`;
}

function component(purl, { name, version, license, checksum, repository }) {
  const url = repository?.url ?? repository;
  return {
    ...{ type: 'library', 'bom-ref': purl, name, version, purl },
    ...(checksum ? { hashes: [{ alg: 'SHA-256', content: checksum }] } : {}),
    licenses: [{ expression: license }],
    ...(url ? { externalReferences: [{ type: 'vcs', url }] } : {}),
  };
}

let validate;

/** Throws where a document is not what the standard's own schema says. */
function demandValid(document) {
  validate ??= validator();
  if (validate(document)) return;
  const [{ instancePath, message }] = validate.errors;
  throw new Error(`the bill of materials is not valid: ${instancePath} ${message}`);
}

function validator() {
  const folder = join(
    dirname(require.resolve('@cyclonedx/cyclonedx-library/package.json')),
    'res/schema',
  );
  const schema = (name) =>
    JSON.parse(readFileSync(join(folder, `${name}.SNAPSHOT.schema.json`), 'utf8'));
  // Two formats of text that nothing here has.
  const formats = { 'iri-reference': true, 'idn-email': true };
  const ajv = new Ajv.default({ strict: false, formats });
  addFormats.default(ajv);
  // By the names that the schema has for them.
  for (const name of ['spdx', 'jsf-0.82']) {
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  }
  return ajv.compile(schema('bom-1.6'));
}

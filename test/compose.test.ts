/** What a file says that nobody runs here: the container set-up and the documents name only what exists. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { parseMigrationInput } from '../src/input.ts';

const root = join(__dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const matches = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, group]) => group ?? '');

describe('the container set-up', () => {
  const compose = read('docker-compose.yml');
  const dockerfile = read('deploy/Dockerfile');

  it('publishes ports on the loopback address only', () => {
    const published = matches(compose, /^\s+- '?([^'\s]*:\d+)'?$/gm);
    expect(published).toHaveLength(3);
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it('checks the health of every service', () => {
    const services = compose.slice(compose.indexOf('\nservices:'), compose.indexOf('\nvolumes:'));
    expect(matches(services, /^ {2}([a-z]+):$/gm)).toEqual(['temporal', 'target', 'worker']);
    expect(matches(services, /^ {4}(healthcheck):$/gm)).toHaveLength(3);
  });

  it('tells of every variable in the example, and holds no secret', () => {
    const example = read('deploy/.env.example');
    for (const name of matches(compose, /\$\{([A-Z_]+)/g)) {
      if (name !== 'TEMPORAL_ADDRESS') expect(example).toMatch(new RegExp(`^(# )?${name}=`, 'm'));
    }
    expect(matches(example, /^([A-Z_]*PASSWORD=.*)$/gm)).toEqual([
      'POSTGRES_PASSWORD=',
      'CROSSFADE_PASSWORD=',
      'APP_PASSWORD=',
    ]);
  });

  it('copies what exists, and lets it into the build', () => {
    const ignored = read('deploy/Dockerfile.dockerignore');
    const copied = matches(dockerfile, /^COPY (?!--from)(.+) \S+$/gm).flatMap((paths) => paths.split(' '));
    expect(copied).toContain('src');
    for (const path of copied) {
      expect(existsSync(join(root, path))).toBe(true);
      expect(ignored).toContain(`\n!${path}\n`);
    }
  });

  it('starts the command that the package has', () => {
    const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> };
    expect(dockerfile).toContain(`ENTRYPOINT ["node", "${bin['crossfade']}"]`);
  });

  it('has scripts that parse', () => {
    execFileSync('bash', ['-n', join(root, 'deploy/postgres/roles.sh')]);
    execFileSync(process.execPath, ['--check', join(root, 'deploy/healthcheck.js')]);
  });
});

describe('the documents', () => {
  it('list every field of the input with its default', () => {
    const [, input = ''] = /\n## Input\n([^]*?)\n### Policies\n/.exec(read('docs/operations.md')) ?? [];
    const documented = new Map(
      [...input.matchAll(/^\| `([a-zA-Z.]+)` +\| `(.+?)` +\|/gm)].map(([, field, value]) => [
        field!,
        JSON.parse(value!) as unknown,
      ]),
    );
    // The policies about blockers have one line together, and a table of their own.
    expect(input).toContain('| `policies`                 | all `"refuse"`');
    const { identifiers, ...blockers } = DEFAULT_INPUT.policies;
    expect(new Set(Object.values(blockers))).toEqual(new Set(['refuse']));
    expect(Object.fromEntries(documented)).toEqual({
      ...flattened({ ...DEFAULT_INPUT, policies: { identifiers } }),
      overrides: {},
    });
  });

  it('show an input that is accepted', () => {
    const shown = matches(read('docs/operations.md'), /'(\{"source".+?\})'/g);
    expect(shown.length).toBeGreaterThan(1);
    for (const input of shown) expect(() => parseMigrationInput(JSON.parse(input))).not.toThrow();
  });

  it('link to files and headings that exist', () => {
    const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter(
      (path) => path.endsWith('.md'),
    );
    const broken = documents.flatMap((path) =>
      matches(read(path), /\]\((?!https?:)([^)]+\.md(?:#[^)]+)?|#[^)]+)\)/g).filter((link) => {
        const [file = '', heading] = link.split('#');
        const target = file === '' ? path : join(path, '..', file);
        if (!existsSync(join(root, target))) return true;
        return heading !== undefined && !anchors(read(target)).includes(heading);
      }),
    );
    expect(broken).toEqual([]);
  });
});

/** Anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): string[] {
  return matches(text, /^#+ (.+)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function flattened(value: object, path = ''): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, item]: [string, unknown]) => {
      const below = path === '' ? name : `${path}.${name}`;
      const nested = typeof item === 'object' && item !== null && !Array.isArray(item);
      return nested ? Object.entries(flattened(item, below)) : [[below, item]];
    }),
  );
}

/** Bundles a Worker as wrangler does: one ES module, Node's modules left to nodejs_compat. */
import { builtinModules } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';

const BUILTIN = new RegExp(
  `^(?:node:)?(?:${builtinModules.filter((name) => !name.startsWith('_')).join('|')})$`,
);
/** Of the sources or of the compiled code, whichever this is. */
const ROUTER = fileURLToPath(
  new URL(`../src/workers/index${extname(import.meta.filename)}`, import.meta.url),
);

/** CommonJS packages call require, which an ES module has not: each becomes an import. */
const nodeModules: Plugin = {
  name: 'node-modules',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: BUILTIN }, ({ path, kind }) => {
      const name = path.startsWith('node:') ? path : `node:${path}`;
      return kind === 'require-call' ? { path: name, namespace: 'required' } : { path: name, external: true };
    });
    onResolve({ filter: /^cloudflare:/ }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => ({
      contents: `import found from '${path}'; module.exports = found;`,
      loader: 'js',
    }));
  },
};

export interface Bundle {
  code: string;
  metafile: Metafile;
}

/** @param entry of a Worker that imports "crossfade/workers": a file, or source text */
export async function bundleWorker(
  entry: { file: string } | { text: string },
  minify = false,
): Promise<Bundle> {
  const options: BuildOptions = {
    ...('file' in entry
      ? { entryPoints: [entry.file] }
      : { stdin: { contents: entry.text, resolveDir: import.meta.dirname, loader: 'ts' } }),
    bundle: true,
    format: 'esm',
    target: 'es2024',
    platform: 'neutral',
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
    alias: { 'crossfade/workers': ROUTER },
    plugins: [nodeModules],
    minify,
    metafile: true,
    write: false,
    logLevel: 'error',
  };
  const { outputFiles, metafile } = await build(options);
  return { code: outputFiles![0]!.text, metafile: metafile! };
}

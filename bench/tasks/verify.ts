/** Full verification alone. */
import type { Verdict } from '../../src/contract.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { verifyDatabases } from '../../src/engine/verify.ts';
import { serve } from './serve.ts';

serve<Endpoints, Verdict>((endpoints) => verifyDatabases({ ...endpoints, mode: 'full', sampleRows: 100 }));

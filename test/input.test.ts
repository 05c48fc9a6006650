import { DEFAULT_INPUT } from '../src/contract.ts';
import { CrossfadeError } from '../src/errors.ts';
import { parseMigrationInput, parseRollbackInput, parseVerifyInput } from '../src/input.ts';

function refusal(raw: unknown): string {
  try {
    parseMigrationInput(raw);
  } catch (error) {
    expect(error).toBeInstanceOf(CrossfadeError);
    expect(error).toMatchObject({ code: 'InvalidInput', exit: 2, retryable: false });
    const { message } = error as CrossfadeError;
    expect(message).not.toContain('\n');
    return message;
  }
  throw new Error(`accepted ${JSON.stringify(raw)}`);
}

describe('parseMigrationInput', () => {
  it.each([[undefined], [null], [{}]])('takes the defaults for %p', (raw) => {
    expect(parseMigrationInput(raw)).toEqual(DEFAULT_INPUT);
  });

  it('returns values of its own', () => {
    const input = parseMigrationInput({});
    input.shift.stages.push(1);
    input.gates.minSamples = 0;
    expect(parseMigrationInput({})).toEqual(DEFAULT_INPUT);
    expect(DEFAULT_INPUT.shift.stages).toEqual([10, 25, 50, 75, 100]);
  });

  it('accepts what it returns', () => {
    expect(parseMigrationInput(parseMigrationInput({}))).toEqual(DEFAULT_INPUT);
  });

  it('fills in what a nested object leaves out', () => {
    const input = parseMigrationInput({
      source: 'orders',
      copy: { parallel: 4 },
      shift: { stages: [1, 100] },
    });
    expect(input).toEqual({
      ...DEFAULT_INPUT,
      source: 'orders',
      copy: { ...DEFAULT_INPUT.copy, parallel: 4 },
      shift: { ...DEFAULT_INPUT.shift, stages: [1, 100] },
    });
  });

  it.each([
    ['5m', 300_000],
    ['10s', 10_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    [1_234, 1_234],
  ])('takes the duration %p as %d ms', (given, ms) => {
    expect(parseMigrationInput({ shift: { stageWaitMs: given } }).shift.stageWaitMs).toBe(ms);
  });

  it('lets a soak be nothing at all, but no stage', () => {
    expect(parseMigrationInput({ soakMs: 0 }).soakMs).toBe(0);
    expect(refusal({ shift: { stageWaitMs: 0 } })).toContain('"shift.stageWaitMs" is 0');
  });

  it.each<[unknown, string]>([
    [[{}], 'the input is a list ([{}]): it must be one JSON object'],
    ['{}', 'the input is the text "{}": it must be one JSON object'],
    [5, 'the input is 5: it must be one JSON object'],
    [{ copy: [] }, 'input field "copy" is an empty list: it must be one JSON object'],
    [{ copy: null }, 'input field "copy" is null'],
    [{ copy: { batchrows: 5 } }, 'the input has an unknown field "copy.batchrows": is "batchRows" meant?'],
    [{ speed: 5 }, 'the input has an unknown field "speed": known are source, target,'],
    [
      { copy: { batchRows: '1000' } },
      'input field "copy.batchRows" is the text "1000": it must be a whole number from 1',
    ],
    [{ copy: { batchRows: 0 } }, 'input field "copy.batchRows" is 0'],
    [{ copy: { parallel: 1.5 } }, 'input field "copy.parallel" is 1.5'],
    [
      { shift: { stages: [10, 120] } },
      'input field "shift.stages[1]" is 120: it must be a whole percentage from 11 to 100',
    ],
    [
      { shift: { stages: [50, 50] } },
      'input field "shift.stages[1]" is 50: it must be a whole percentage from 51',
    ],
    [{ shift: { stages: [0] } }, 'input field "shift.stages[0]" is 0'],
    [{ shift: { stages: [] } }, 'input field "shift.stages" is an empty list'],
    [{ shift: { stages: 50 } }, 'input field "shift.stages" is 50: it must be a list of percentages'],
    [
      { shift: { stageWaitMs: '5 parsecs' } },
      'input field "shift.stageWaitMs" is the text "5 parsecs": it must be a positive duration',
    ],
    [
      { cutover: { maxPauseMs: -1 } },
      'input field "cutover.maxPauseMs" is -1: it must be a positive duration',
    ],
    [
      { gates: { maxErrorRate: 1.1 } },
      'input field "gates.maxErrorRate" is 1.1: it must be a number from 0 to 1',
    ],
    [{ gates: { maxErrorRate: null } }, 'input field "gates.maxErrorRate" is null'],
    [
      { shift: { onBreach: 'panic' } },
      'input field "shift.onBreach" is the text "panic": it must be "hold" or "rollback"',
    ],
    [
      { shift: { approval: 'yes' } },
      'input field "shift.approval" is the text "yes": it must be true or false',
    ],
    [{ source: '' }, 'input field "source" is the text "": it must be the name of a connection'],
    [{ source: 7 }, 'input field "source" is 7'],
  ])('refuses %j', (raw, message) => {
    expect(refusal(raw)).toContain(message);
  });

  it('keeps a URL with a password out of its message', () => {
    const message = refusal({ target: 'postgres://user:hunter2@host/db' });
    expect(message).toContain('input field "target" looks like a URL');
    expect(message).not.toContain('hunter2');
  });

  it('shortens what it shows', () => {
    expect(refusal({ source: 'x'.repeat(10_000) }).length).toBeLessThan(250);
    expect(refusal({ ['y'.repeat(10_000)]: 1 }).length).toBeLessThan(300);
  });
});

describe('parseVerifyInput and parseRollbackInput', () => {
  it('take defaults and refuse what is not theirs', () => {
    expect(parseVerifyInput(undefined)).toEqual({
      source: 'source',
      target: 'target',
      mode: 'full',
      sampleRows: 100,
      repair: false,
    });
    expect(parseVerifyInput({ mode: 'sample' }).mode).toBe('sample');
    expect(() => parseVerifyInput({ soakMs: 1 })).toThrow('unknown field "soakMs"');
    expect(parseRollbackInput({ source: 'orders' })).toEqual({
      source: 'orders',
      target: 'target',
      targetAfterRollback: DEFAULT_INPUT.targetAfterRollback,
    });
    expect(() => parseRollbackInput({ targetAfterRollback: 'burn' })).toThrow('"drop" or "keep"');
  });
});

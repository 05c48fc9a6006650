/** A frame with a title and sections. */
import { fit, visibleLength, type Paint } from './format.ts';

/**
 * Draws sections of lines in one frame, separated by rules. Lines longer than the frame are cut.
 * @param width cells of the whole frame
 */
export function box(title: string, right: string, sections: string[][], width: number, paint: Paint): string {
  const inner = width - 4;
  const edge = (text: string): string => paint('dim', text);
  const head = spreadRule(title, right, width, edge);
  const rule = edge(`├${'─'.repeat(width - 2)}┤`);
  const body = sections
    .filter((section) => section.length > 0)
    .map((section) => section.map((line) => `${edge('│')} ${fit(line, inner)} ${edge('│')}`).join('\n'))
    .join(`\n${rule}\n`);
  return [head, body, edge(`╰${'─'.repeat(width - 2)}╯`)].join('\n');
}

function spreadRule(title: string, right: string, width: number, edge: (text: string) => string): string {
  const room = width - 9 - visibleLength(right);
  const head = visibleLength(title) > room ? fit(title, room) : title;
  const fill = room + 1 - visibleLength(head);
  return `${edge('╭─')} ${head} ${edge('─'.repeat(fill))} ${right} ${edge('─╮')}`;
}

/** `label` in a column of its own, so that values stand below each other. */
export function labelled(label: string, value: string, paint: Paint): string {
  return `${paint('dim', fit(label, 12))} ${value}`;
}

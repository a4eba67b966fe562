// What must hold for the hooks of `notify`.

import type { Finding } from './positions.ts';
import type { FileDraft } from './shape.ts';

export function checkHooks(hooks: NonNullable<FileDraft['notify']>): Finding[] {
  return hooks.flatMap(({ exec, webhook }, index): Finding[] => {
    const path = ['notify', index];
    if ((exec === undefined) === (webhook === undefined)) {
      return [{ path, message: 'a hook is either an "exec" or a "webhook"' }];
    }
    if (webhook !== undefined && !URL.canParse(webhook)) {
      return [{ path: [...path, 'webhook'], message: `"${webhook}" is no address of a web server` }];
    }
    const [program = '/'] = exec ?? [];
    if (program.startsWith('/')) return [];
    const hint = 'write where the program lies';
    return [{ path: [...path, 'exec'], message: `"${program}" is no absolute path`, hint }];
  });
}

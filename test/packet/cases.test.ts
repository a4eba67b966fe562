// One frame, one verdict, one reason, at most one frame out: the tables of cases over every engine.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerCases } from './answer-cases.ts';
import type { PacketCase } from './cases.ts';
import { engines } from './engines.ts';
import { buildFrame, hex } from './frame.ts';
import { refusalCases } from './refusal-cases.ts';
import { refusedCases } from './refused-cases.ts';
import { openStage, OUTSIDE } from './stage.ts';

const tables: Record<string, readonly PacketCase[]> = {
  'what fairlead answers': answerCases,
  ...refusedCases,
  ...refusalCases,
};

for (const engine of engines) {
  for (const [title, cases] of Object.entries(tables)) {
    describe(`${engine.name}: ${title}`, () => {
      for (const one of cases.filter(({ send = {}, frame }) => engine.takes(send, octetsOf(frame)))) {
        test(one.name, (t) => {
          const stage = openStage(t, engine);
          stage.configure(one.services, one.configure);
          one.before?.(stage);
          const outcome = stage.send(one.frame, one.send);
          assert.equal(outcome.said, one.said);
          if (one.out === undefined) {
            if (!one.said.startsWith('forwarded')) assert.equal(outcome.frame, null);
            return;
          }
          const expected = one.out instanceof Uint8Array ? one.out : buildFrame(one.out);
          assert.equal(hex(outcome.frame), hex(expected));
          assert.equal(outcome.via, one.via ?? OUTSIDE);
        });
      }
    });
  }
}

function octetsOf(frame: PacketCase['frame']): Uint8Array {
  return frame instanceof Uint8Array ? frame : buildFrame(frame);
}

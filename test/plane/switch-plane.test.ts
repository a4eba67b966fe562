import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { makeSwitchPlane } from '../../src/plane/switch-plane.ts';

function make() {
  const [first, second] = [makeMemoryPlane(smallCounts(4096, 1), 1), makeMemoryPlane(smallCounts(8192, 3), 3)];
  return { first, second, plane: makeSwitchPlane(first) };
}

test('what has become another plane reads, commits and counts as that one', () => {
  const { first, second, plane } = make();
  const section = plane.section('header');
  assert.equal(section, first.section('header'));
  assert.equal(plane.become(second), first);
  assert.equal(plane.section('header'), second.section('header'));
  assert.deepEqual([plane.counts.flows, plane.workers], [8192, 3]);
  assert.equal(plane.commit(new ArrayBuffer(0)), 1);
  assert.equal(second.commit(new ArrayBuffer(0)), 2);
  assert.equal(first.commit(new ArrayBuffer(0)), 1);
});

test('the plane before stays open, for whoever ends it', () => {
  const { second, plane } = make();
  const before = plane.become(second);
  assert.equal(before.section('header').byteLength > 0, true);
  before.close();
  assert.throws(() => before.section('header'), TypeError);
  assert.equal(plane.section('header').byteLength > 0, true);
});

test('who listens is told of the next plane’s events, however often it changes', () => {
  const { first, second, plane } = make();
  const heard: string[] = [];
  plane.watch(({ link, tableFull }) => heard.push(`${link} ${tableFull}`));
  first.emit({ link: true });
  plane.become(second);
  second.emit({ tableFull: true });
  plane.become(first);
  first.emit({ link: true });
  assert.deepEqual(heard, ['true false', 'false true', 'true false']);
});

test('without a listener it changes as well', () => {
  const { second, plane } = make();
  plane.become(second);
  assert.doesNotThrow(() => second.emit({ link: true }));
});

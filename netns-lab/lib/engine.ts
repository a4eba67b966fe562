// The engines, and which scenario is played on which: what a scenario says nothing about is played on every one.

/** `xdp-generic` is xdp behind a driver that has none, here in spite of the driver. */
export const engines = ['packet', 'tc', 'xdp', 'xdp-generic'] as const;
export type Engine = (typeof engines)[number];

export const everyEngine: readonly Engine[] = ['packet', 'tc', 'xdp'];

/** One scenario of each theme; the programs are those of xdp, so the rest would prove the same again. */
export const everyEngineAndMode: readonly Engine[] = engines;

/** What only programs that outlive their process can show. */
export const kernelEngines: readonly Engine[] = ['tc', 'xdp'];

/** Played once: it ends before an engine starts, or names the engines itself. */
export const noEngine: readonly Engine[] = [];

export function isEngine(name: string): name is Engine {
  return (engines as readonly string[]).includes(name);
}

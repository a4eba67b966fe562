// Which engine the labs run: FAIRLEAD_ENGINE=tc npm run lab.

export const engines = ['packet', 'tc', 'xdp', 'xdp-generic'] as const;
export type Engine = (typeof engines)[number];

const wanted = process.env.FAIRLEAD_ENGINE ?? 'packet';

if (!engines.some((name) => name === wanted)) {
  throw new Error(`FAIRLEAD_ENGINE is ${wanted}; there are ${engines.join(', ')}`);
}

export const engine = wanted as Engine;

// What a row of the table of single frames is: services, perhaps frames that come before, one frame, what is said of it,
// and the frame that leaves, if one does.

import type { FrameSpec } from './frame.ts';
import type { ConfigureOptions, SendOptions, Stage } from './stage.ts';

export interface PacketCase {
  /** A sentence. */
  readonly name: string;
  readonly services: string;
  readonly configure?: ConfigureOptions;
  /** What happens before the frame comes. */
  readonly before?: (stage: Stage) => void;
  readonly frame: FrameSpec | Uint8Array;
  readonly send?: SendOptions;
  readonly said: string;
  readonly out?: FrameSpec | Uint8Array;
  readonly via?: number;
}

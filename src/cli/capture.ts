// fairlead capture: each frame as it came in and as it left, and why. On the terminal a line a frame; with -w a pcapng
// file that Wireshark and tcpdump read, where the decision is the packet's comment. Ends with --limit, --for or Ctrl-C.

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import type { CaptureView } from '../admin/capture.ts';
import type { StatusView } from '../admin/views.ts';
import { FairleadError } from '../base/errors.ts';
import { pcapngHead, pcapngPacket } from '../base/pcapng.ts';
import { parseDuration } from '../config/duration.ts';
import { type CommonOptions, contextOf, withCommon } from './common.ts';

interface CaptureOptions extends CommonOptions {
  readonly write?: string;
  readonly limit: number;
  readonly for?: number;
}

export function captureCommand(): Command {
  const command = new Command('capture')
    .description('show each frame before and after, with its decision')
    .argument('[service]', 'only frames of this service')
    .option('-w, --write <file>', 'write a pcapng file instead')
    .option('--limit <n>', 'end after so many frames', parseLimit, Number.POSITIVE_INFINITY)
    .option('--for <duration>', 'end after this time, such as 10s', parseTime);
  return withCommon(command).action(async (service: string | undefined, options: CaptureOptions) => {
    const { client, format } = contextOf(options);
    const lines = client.lines('/v1/capture', { service });
    const sink = options.write === undefined ? textSink(format === 'json') : await fileSink(options, options.write);
    const endsAtMs = Date.now() + (options.for ?? Number.POSITIVE_INFINITY);
    let frames = 0;
    const stop = async (): Promise<void> => {
      await sink.close(frames);
      process.exit(0);
    };
    process.once('SIGINT', () => void stop());
    process.once('SIGTERM', () => void stop());
    const timer = options.for === undefined ? undefined : setTimeout(() => void stop(), endsAtMs - Date.now());
    for await (const line of lines) {
      if (line === '') continue;
      await sink.put(JSON.parse(line) as CaptureView, line);
      if (++frames >= options.limit) break;
    }
    clearTimeout(timer);
    await sink.close(frames);
  });
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1) throw new InvalidArgumentError('a limit is a number of 1 or more');
  return limit;
}

function parseTime(text: string): number {
  const parsed = parseDuration(text);
  if (parsed === null) throw new InvalidArgumentError('a duration is a number and a unit, such as 500ms, 10s or 1m');
  return parsed;
}

interface Sink {
  put(view: CaptureView, line: string): Promise<void>;
  close(frames: number): Promise<void>;
}

function textSink(isJson: boolean): Sink {
  return {
    put: async (view, line) => {
      if (!process.stdout.write(`${isJson ? line : formatSample(view)}\n`)) await once(process.stdout, 'drain');
    },
    close: async () => {},
  };
}

export function formatSample(view: CaptureView): string {
  const way = view.out === null ? view.interface : `${view.interface} → ${view.out}`;
  const whose = view.service === null ? '' : `  ${view.service}${view.server === null ? '' : `/${view.server}`}`;
  const time = new Date(view.atMs).toISOString().slice(11, 23);
  return `${time}  ${way.padEnd(14)} ${String(view.before.length).padStart(5)}  ${view.verdict}: ${view.reason}${whose}`;
}

async function fileSink(options: CaptureOptions, path: string): Promise<Sink> {
  const { client } = contextOf(options);
  const { interfaces } = await client.get<StatusView>('/v1/status');
  const names = interfaces.map(({ name }) => name);
  const file = await openFile(path);
  file.write(pcapngHead(names));
  return {
    put: async (view) => {
      const octets = packetsOf(view, names);
      if (!file.write(octets)) await once(file, 'drain');
    },
    close: async (frames) => {
      file.end();
      await once(file, 'close');
      process.stderr.write(`${frames} frames, each as it came and as it left, are in ${path}\n`);
    },
  };
}

async function openFile(path: string): Promise<WriteStream> {
  const file = createWriteStream(path, { mode: 0o600 });
  try {
    await once(file, 'open');
  } catch (error) {
    throw new FairleadError('failed', `cannot write ${path}: ${(error as Error).message}`, { cause: error });
  }
  return file;
}

/** The frame as it came, and behind it, if something left, as it left. */
export function packetsOf(view: CaptureView, names: readonly string[]): Uint8Array {
  const atNs = BigInt(Math.round(view.atMs * 1e6));
  const whose = view.service === null ? '' : `, ${view.service}${view.server === null ? '' : `/${view.server}`}`;
  const comment = `${view.verdict}: ${view.reason}${whose}`;
  const packet = (frame: CaptureView['before'], name: string, direction: 'in' | 'out'): Uint8Array =>
    pcapngPacket({
      interfaceId: Math.max(0, names.indexOf(name)),
      atNs,
      direction,
      length: frame.length,
      data: Buffer.from(frame.base64, 'base64'),
      comment,
    });
  const came = packet(view.before, view.interface, 'in');
  if (view.after === null || view.out === null) return came;
  return new Uint8Array(Buffer.concat([came, packet(view.after, view.out, 'out')]));
}

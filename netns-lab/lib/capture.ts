// What passed a link: tcpdump into files, read back with tcpdump's own filters. Evidence captures run in a small ring, so
// that a long scenario does not fill the disk; a proof gets a capture of its own that keeps everything.
// Listen at the far end of the balancer's cables: what an engine sends past the queueing layer, no tap on the balancer sees.
import { existsSync } from 'node:fs';
import type { Background } from './background.ts';
import type { Host } from './host.ts';
import type { Port } from './lab.ts';

// Enough for every header and the lab's small datagrams, little enough to keep bulk transfers cheap.
const snapLength = 192;

export class Capture {
  readonly files: readonly string[];
  private readonly host: Host;
  private readonly tcpdump: Background;

  constructor(host: Host, files: readonly string[], tcpdump: Background) {
    this.host = host;
    this.files = files;
    this.tcpdump = tcpdump;
  }

  /** The frames so far that a pcap filter takes, one line each: addresses, flags, sequence numbers, IP identification. */
  async frames(filter = ''): Promise<string[]> {
    const present = this.files.filter((file) => existsSync(file));
    // The last frame may be half written while tcpdump runs; tcpdump then prints all before it and complains.
    const texts = await Promise.all(
      present.map(
        async (file) => (await this.host.attempt(`tcpdump -r ${file} -nn -e -S -v -t '${filter}' 2>/dev/null`)).stdout,
      ),
    );
    // With -v a frame takes several lines; all but its first are indented, also the empty one that ends an HTTP header
    // (which tcpdump shows or not by the ports of the frame, among which full-nat may choose those of other protocols).
    return texts
      .flatMap((text) => text.split(/\n(?=\S)/).map((frame) => frame.replaceAll(/\s+/g, ' ').trim()))
      .filter(Boolean);
  }

  async count(filter = ''): Promise<number> {
    return (await this.frames(filter)).length;
  }

  async stop(): Promise<void> {
    await this.tcpdump.stop('SIGINT');
  }
}

function listen(host: Host, device: string, name: string, extra: string): Promise<Background> {
  // -U and --immediate-mode: what was seen is in the file at once. -Z root: tcpdump must not lose its rights to the folder.
  const options = `-i ${device} -s ${snapLength} -U --immediate-mode -Z root -n ${extra}`;
  const ready = (process: Background) => process.output().includes('listening on');
  return host.start(name, `tcpdump ${options}`, { ready });
}

/** Keeps every frame on `device` that passes `filter`, from now on. */
export async function capture({ host, device }: Port, filter = ''): Promise<Capture> {
  const name = `capture-${device}-${performance.now().toFixed(0)}`;
  const file = host.file(`${name}.pcap`);
  // 16 MiB to wait in: a proof must not miss a frame because tcpdump was not let run for a while.
  return new Capture(host, [file], await listen(host, device, name, `-B 16384 -w ${file} '${filter}'`));
}

/** Keeps the last few megabytes of every frame on `device`. */
export async function captureRing({ host, device }: Port): Promise<Capture> {
  const file = host.file(`${device}.pcap`);
  return new Capture(
    host,
    [`${file}0`, `${file}1`],
    await listen(host, device, `ring-${device}`, `-w ${file} -C 4 -W 2`),
  );
}

// What the real servers run: nginx for TCP (who am I, a big file, a slow one, a place to upload to) and a datagram server.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Background } from './background.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';

export const webPort = 8080;
export const udpPort = 5353;
export const bigBytes = 10 * 1024 * 1024;

const udpServer = join(import.meta.dirname, '..', 'programs', 'udp-server.ts');

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

let noise: { content: Buffer; sha256: string } | null = null;

/** The 10 MB of noise that servers offer as /big and clients upload: the same in all labs, in a file of each. */
export function bigFile(lab: Lab): { path: string; sha256: string } {
  if (noise === null) {
    const content = randomBytes(bigBytes);
    noise = { content, sha256: sha256(content) };
  }
  const path = join(lab.directory, 'noise', 'big');
  if (!existsSync(path)) {
    mkdirSync(join(lab.directory, 'noise'));
    writeFileSync(path, noise.content);
  }
  return { path, sha256: noise.sha256 };
}

function nginxConfig(name: string, folder: string, noise: string): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((it) => `${it}_temp_path ${folder}/temp;`)
    .join(' ');
  // Backlogs and keep-alive limits are far above what a lab asks for: an error must never be the server's own.
  return `user root;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${folder}/nginx.pid;
error_log stderr notice;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_max_body_size 1g;
  ${temp}
  server {
    listen ${webPort} backlog=16384;
    listen [::]:${webPort} backlog=16384;
    # For services that keep the port of the client.
    listen 80;
    listen 8000-8009;
    listen [::]:80;
    listen [::]:8000-8009;
    add_header X-Server ${name} always;
    # The server's name and whom it sees as its client.
    location = / { return 200 "${name} $remote_addr $remote_port\\n"; }
    location = /status { stub_status; }
    location = /big { alias ${noise}; }
    # /slow?rate=200k: the big file at a rate, to hold a connection open for a while.
    location = /slow { alias ${noise}; set $limit_rate $arg_rate; }
    location /upload/ { root ${folder}; dav_methods PUT; }
  }
}
`;
}

export class WebServer {
  readonly host: Host;
  readonly name: string;
  readonly folder: string;
  nginx: Background | null = null;

  constructor(host: Host, folder: string) {
    this.host = host;
    this.name = host.name;
    this.folder = folder;
  }

  async start(): Promise<void> {
    const line = `nginx -p ${this.folder} -c ${this.folder}/nginx.conf -e stderr -g 'daemon off;'`;
    const ready = async () =>
      (await this.host.attempt(`curl -s -o ${this.folder}/ready 127.0.0.1:${webPort}/`)).code === 0;
    this.nginx = await this.host.start('nginx', line, { ready });
  }

  async stop(): Promise<void> {
    await this.nginx?.stop();
  }

  /** Requests served so far, this question not counted. */
  async requests(): Promise<number> {
    const status = await this.host.run(`curl -s 127.0.0.1:${webPort}/status`);
    return Number(/\n\s*\d+ \d+ (\d+)/.exec(status)?.[1] ?? Number.NaN) - ++this.asked;
  }
  private asked = 0;

  upload(name: string): Buffer {
    return readFileSync(join(this.folder, 'upload', name));
  }
}

/** Starts nginx on a host; gives it once it answers. */
export async function startWebServer(lab: Lab, host: Host): Promise<WebServer> {
  const folder = join(lab.directory, `nginx-${host.name}`);
  mkdirSync(join(folder, 'upload'), { recursive: true });
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(host.name, folder, bigFile(lab).path));
  const server = new WebServer(host, folder);
  await server.start();
  return server;
}

/** Starts the datagram server on a host, for all of its addresses or for those given. */
export function startUdpServer(host: Host, ...addresses: string[]): Promise<Background> {
  const sockets = addresses.length === 0 ? 2 : addresses.length;
  const ready = (process: Background) => process.output().split('listening on').length === sockets + 1;
  const line = `${process.execPath} ${udpServer} ${host.name} ${udpPort} ${addresses.join(' ')}`;
  return host.start(['udp-server', ...addresses].join('-'), line, { ready });
}

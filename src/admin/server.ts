// The daemon's door: HTTP over a Unix socket. Routes look and ask; every decision is the controller's.

import { Readable } from 'node:stream';
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import type { Clock } from '../base/clock.ts';
import { type ErrorCode, FairleadError } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import type { Controller } from '../control/controller.ts';
import type { Engine } from '../control/engine.ts';
import type { Events } from '../control/events.ts';
import { tryPaths } from '../control/path-trials.ts';
import type { TryPath } from '../health/path-trial.ts';
import { findServer, notFound, type OverrideChange } from '../control/overrides.ts';
import { makeCapture } from './capture.ts';
import { streamFlows } from './flow-stream.ts';
import {
  drainBody,
  eventsQuery,
  flowsQuery,
  handoverBody,
  parseInput,
  serverParameters,
  serversQuery,
  weightBody,
} from './input.ts';
import type { RateMeter } from './rate-meter.ts';
import { clearSocket, permitSocket } from './socket.ts';
import { streamStickies } from './sticky-stream.ts';
import { viewChecks } from './check-views.ts';
import { streamEvents } from './event-stream.ts';
import { formatMetrics, type Gauges } from './metrics.ts';
import { viewDrops, viewServers, viewServices, viewStatus } from './views.ts';

export interface AdminOptions {
  readonly engine: Engine;
  readonly controller: Controller;
  readonly meter: RateMeter;
  readonly events: Events;
  /** What neither plane nor controller knows: the checks' own load, the hooks' queues. */
  readonly gauges: () => Gauges;
  readonly clock: Clock;
  readonly tryPath: TryPath;
  /** Reads the file anew. */
  readonly reload: () => ReturnType<Controller['reload']>;
  /** Ends the daemon and removes all it made; called once the answer is out. */
  readonly down: () => void;
  /** Reaches the successor that listens there; what it gives is called once the answer is out, and hands over to it. */
  readonly handOver: (successor: string) => Promise<() => void>;
}

export interface AdminServer {
  close(): Promise<void>;
}

/** Listens on the configured socket. Throws `refused` when somebody else does. */
export async function openAdmin(
  control: Pick<Config['control'], 'socket' | 'group'>,
  options: AdminOptions,
): Promise<AdminServer> {
  await clearSocket(control.socket);
  // Kept-alive connections of clients that look now and then must not hold up the end.
  const server = fastify({ forceCloseConnections: true });
  addErrors(server);
  addViews(server, options);
  addActions(server, options);
  await server.listen({ path: control.socket });
  try {
    permitSocket(control.socket, control.group);
  } catch (error) {
    await server.close();
    throw error;
  }
  return { close: () => server.close() };
}

function addViews(server: FastifyInstance, options: AdminOptions): void {
  const { engine, controller, meter, events, gauges, clock } = options;
  const { plane } = engine;
  server.get('/v1/status', () =>
    viewStatus(plane, controller.state(), { engine: engine.state(), rates: meter.rates() }),
  );
  server.get('/v1/services', () => viewServices(controller.state()));
  server.get('/v1/servers', (request) => {
    const { service } = parseInput(serversQuery, request.query);
    requireService(controller, service);
    return viewServers(plane, controller.state(), service);
  });
  server.get('/v1/checks', (request) => {
    const { service } = parseInput(serversQuery, request.query);
    requireService(controller, service);
    return viewChecks(controller.state(), clock.nowMs(), service);
  });
  server.get('/v1/events', (request, reply) => {
    const lines = streamEvents(events, parseInput(eventsQuery, request.query));
    return reply.type('application/x-ndjson').send(lines);
  });
  server.get('/v1/metrics', (_request, reply) => {
    const families = formatMetrics(plane, controller.state(), gauges());
    return reply.type('text/plain; version=0.0.4').send(Readable.from(families, { objectMode: false }));
  });
  server.get('/v1/flows', (request, reply) => {
    const lines = streamFlows(plane, controller.state(), parseInput(flowsQuery, request.query));
    return reply.type('application/x-ndjson').send(Readable.from(lines, { objectMode: false }));
  });
  server.get('/v1/stickies', (request, reply) => {
    const stickies = streamStickies(plane, controller.state(), parseInput(flowsQuery, request.query));
    return reply.type('application/x-ndjson').send(Readable.from(stickies, { objectMode: false }));
  });
  server.get('/v1/paths', (request) => {
    const { service } = parseInput(serversQuery, request.query);
    requireService(controller, service);
    return tryPaths(plane, controller.state(), options.tryPath, service);
  });
  server.get('/v1/drops', () => viewDrops(plane));
  const capture = makeCapture(plane, () => controller.state());
  server.get('/v1/capture', (request, reply) => {
    const { service } = parseInput(serversQuery, request.query);
    return reply.type('application/x-ndjson').send(Readable.from(capture.stream(service), { objectMode: false }));
  });
}

/** Throws not-found; without a name there is nothing to find. */
function requireService(controller: Controller, service: string | undefined): void {
  const { services } = controller.state().config;
  if (service !== undefined && !services.some(({ name }) => name === service)) {
    throw notFound('service', service, services);
  }
}

function addActions(server: FastifyInstance, options: AdminOptions): void {
  const { controller, reload, down, handOver } = options;
  const { plane } = options.engine;
  server.post('/v1/reload', () => reload());
  server.post('/v1/down', (_request, reply) => {
    reply.raw.once('finish', down);
    return { ending: true };
  });
  server.post('/v1/handover', async (request, reply) => {
    const { successor } = parseInput(handoverBody, request.body);
    reply.raw.once('finish', await handOver(successor));
    return { handingOver: true };
  });
  const change = (action: string, changeOf: (body: unknown) => OverrideChange): void => {
    server.post(`/v1/services/:service/servers/:server/${action}`, (request) => {
      const { service, server: name } = parseInput(serverParameters, request.params);
      const { config } = controller.state();
      findServer(config, service, name);
      controller.override(service, name, changeOf(request.body));
      return viewServers(plane, controller.state(), service).find((view) => view.server === name);
    });
  };
  change('drain', (body) => {
    const { deadlineMs } = parseInput(drainBody, body);
    return { admin: 'drained', ...(deadlineMs === undefined ? {} : { deadlineMs }) };
  });
  change('maintenance', () => ({ admin: 'maintenance' }));
  change('enable', () => ({ admin: 'enabled' }));
  change('weight', (body) => parseInput(weightBody, body));
}

const STATUS: Record<ErrorCode, number> = {
  failed: 500,
  usage: 400,
  config: 422,
  unreachable: 503,
  'not-found': 404,
  timeout: 504,
  refused: 409,
};

function addErrors(server: FastifyInstance): void {
  const answer = (reply: FastifyReply, { code, message, mend }: FairleadError): FastifyReply =>
    reply.status(STATUS[code]).send({ error: { code, message, ...(mend === undefined ? {} : { mend }) } });
  server.setErrorHandler((error, _request, reply) => {
    if (error instanceof FairleadError) return answer(reply, error);
    const { message, statusCode = 500 } = error as Error & { statusCode?: number };
    // What fastify itself refuses (a body that is no JSON) is the caller's mistake.
    return answer(reply, new FairleadError(statusCode < 500 ? 'usage' : 'failed', message));
  });
  server.setNotFoundHandler((request, reply) =>
    answer(reply, new FairleadError('usage', `the control socket knows no ${request.method} ${request.url}`)),
  );
}

// The driver of BullMQ for the referee: tests/bench/README.md has the contract.
//
//     node driver.js produce|work|versions ...
//
// BullMQ creates its connections with ioredis, its default client. Node cannot
// map memory, so a counter is written to its file at each task by pwrite.
'use strict';

const childProcess = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const timers = require('node:timers/promises');
const { parseArgs } = require('node:util');

const { Queue, Worker } = require('bullmq');

const QUEUE = 'bench';
const SLOTS_BYTES = 4096;
// How long a worker that is told to stop waits for the tasks that it runs.
const STOP_MS = 8000;

// Options of the worker.
const SETTINGS = {
  default: {},
  best: { removeOnComplete: { count: 0 } },
};

function fail(error) {
  process.stderr.write(`bullmq driver: ${error.message}\n`);
  process.exit(1);
}

function monotonicNs() {
  return process.hrtime.bigint();
}

function cpuSeconds() {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
}

function connection(url) {
  const parsed = new URL(url);
  return {
    host: parsed.hostname,
    port: Number(parsed.port || 6379),
    db: Number(parsed.pathname.slice(1) || 0),
  };
}

function readOptions(args) {
  const text = { type: 'string' };
  const { values } = parseArgs({
    args,
    options: {
      url: { ...text, default: 'redis://127.0.0.1:6379/0' },
      handler: { ...text, default: 'noop' },
      setting: { ...text, default: 'default' },
      count: { ...text, default: '0' },
      batch: { ...text, default: '1' },
      payload: { ...text, default: '200' },
      'delay-ms': { ...text, default: '0' },
      'spread-ms': { ...text, default: '0' },
      rate: { ...text, default: '0' },
      concurrency: { ...text, default: '1' },
      processes: { ...text, default: '1' },
    },
  });
  const numbers = ['count', 'batch', 'payload', 'delay-ms', 'spread-ms', 'rate',
    'concurrency', 'processes'];
  for (const name of numbers) {
    values[name] = Number(values[name]);
    if (!(values[name] >= 0)) {
      throw new Error(`${name}: a number of 0 at least`);
    }
  }
  if (values.batch < 1) {
    throw new Error(`batch ${values.batch}: 1 at least`);
  }
  if (!Object.hasOwn(SETTINGS, values.setting)) {
    throw new Error(`setting ${values.setting}: default or best`);
  }
  if (!Object.hasOwn(HANDLERS, values.handler)) {
    throw new Error(`handler ${values.handler}: not one of this driver`);
  }
  return values;
}

// ---- produce ----------------------------------------------------------------

// A payload whose JSON has exactly so many bytes, if its fields fit. A number
// holds the monotonic clock's nanoseconds exactly for 104 days of uptime.
function payload(options, n, stampNs) {
  const made = stampNs === undefined ? { n, pad: '' }
    : { n, t: Number(stampNs), pad: '' };
  const missing = options.payload - JSON.stringify(made).length;
  made.pad = 'x'.repeat(Math.max(missing, 0));
  return made;
}

function makeJob(options, n) {
  const delay = options['delay-ms'] + n * options['spread-ms'] / options.count;
  const stamped = options.handler === 'stamp' || options.handler === 'hold';
  const due = stamped ? monotonicNs() + BigInt(Math.round(delay * 1e6))
    : undefined;
  // Delays are whole milliseconds.
  const opts = delay > 0 ? { delay: Math.round(delay) } : {};
  return { name: options.handler, data: payload(options, n, due), opts };
}

async function enqueueAll(queue, options) {
  const { count, batch, rate } = options;
  const startMs = performance.now();
  for (let n = 0; n < count; n += batch) {
    if (rate > 0) {
      const waitMs = startMs + n / rate * 1000 - performance.now();
      await (waitMs > 0 ? timers.setTimeout(waitMs) : undefined);
    }
    if (batch === 1) {
      const job = makeJob(options, n);
      await queue.add(job.name, job.data, job.opts);
    } else {
      const jobs = [];
      for (let i = n; i < Math.min(n + batch, count); i++) {
        jobs.push(makeJob(options, i));
      }
      await queue.addBulk(jobs);
    }
  }
}

async function produce(options) {
  const queue = new Queue(QUEUE, { connection: connection(options.url) });
  await queue.waitUntilReady();
  const startMs = performance.now();
  const startCpu = cpuSeconds();
  await enqueueAll(queue, options);
  console.log(JSON.stringify({
    count: options.count,
    wall_s: (performance.now() - startMs) / 1000,
    cpu_s: cpuSeconds() - startCpu,
  }));
  await queue.close();
}

// ---- work -------------------------------------------------------------------

let count = () => {};
let stamps;

function openCounter() {
  const folder = process.env.BENCH_COUNTERS;
  if (!folder) {
    return;
  }
  const file = fs.openSync(path.join(folder, String(process.pid)), 'w');
  fs.ftruncateSync(file, SLOTS_BYTES);
  const slot = new BigUint64Array(1);
  const bytes = Buffer.from(slot.buffer);
  count = () => {
    slot[0] += 1n;
    fs.writeSync(file, bytes, 0, 8, 0);
  };
}

function openStamps() {
  if (process.env.BENCH_STAMPS) {
    stamps = fs.openSync(process.env.BENCH_STAMPS, 'a');
  }
}

function stamp(job) {
  const startedNs = monotonicNs();
  if (stamps !== undefined) {
    fs.writeSync(stamps, `${job.data.t} ${startedNs}\n`);
  }
}

// BullMQ's processors are async functions: there is no other natural form.
const HANDLERS = {
  noop: async () => {
    count();
  },
  sleep: async () => {
    count();
    await timers.setTimeout(1);
  },
  cpu: async () => {
    count();
    const start = process.cpuUsage();
    let used;
    do {
      used = process.cpuUsage(start);
    } while (used.user + used.system < 1000);
  },
  stamp: async (job) => {
    stamp(job);
    count();
  },
  hold: async (job) => {
    stamp(job);
    count();
    await timers.setTimeout(60000);
  },
};

async function workHere(options) {
  openCounter();
  openStamps();
  const worker = new Worker(QUEUE, HANDLERS[options.handler], {
    connection: connection(options.url),
    concurrency: options.concurrency,
    ...SETTINGS[options.setting],
  });
  worker.on('error', (error) => process.stderr.write(`${error.message}\n`));
  const stop = async () => {
    setTimeout(() => process.exit(0), STOP_MS).unref();
    await worker.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  await worker.waitUntilReady();
  if (process.send) {
    // A child must not outlive a parent that was killed.
    process.on('disconnect', () => process.exit(1));
    process.send('ready');
  } else {
    console.log('ready');
  }
}

async function supervise(options, args) {
  const children = [];
  process.on('SIGTERM', () => {
    children.forEach((child) => child.kill('SIGTERM'));
  });
  const ready = [];
  for (let i = 0; i < options.processes; i++) {
    // The later flag counts.
    const child = childProcess.fork(__filename,
      ['work', ...args, '--processes', '1']);
    children.push(child);
    ready.push(new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', () => reject(new Error('a worker process ended')));
    }));
  }
  await Promise.all(ready);
  console.log('ready');
}

function versions() {
  console.log(JSON.stringify({
    name: 'bullmq',
    version: require('bullmq/package.json').version,
    runtime: `node ${process.version}, ioredis ${
      require('ioredis/package.json').version}`,
    settings: {
      default: {
        removeOnComplete: 'none: completed jobs stay in Redis',
      },
      best: {
        removeOnComplete:
          '{ count: 0 } (docs.bullmq.io: Auto-removal of jobs)',
      },
    },
    notes: 'addBulk for a batch; a counter is written by pwrite at each task, '
      + 'about 1 us of the worker\'s CPU, since node maps no memory; '
      + 'lockDuration and stalledInterval stay at 30 s, as the documentation '
      + 'advises (Stalled jobs); best keeps nothing of a completed job and '
      + 'drops no guarantee',
    handlers: Object.keys(HANDLERS),
  }));
}

async function main() {
  const [verb, ...args] = process.argv.slice(2);
  if (verb === 'produce') {
    await produce(readOptions(args));
  } else if (verb === 'work') {
    const options = readOptions(args);
    await (options.processes > 1 ? supervise(options, args)
      : workHere(options));
  } else if (verb === 'versions') {
    versions();
  } else {
    throw new Error(`verb ${verb}: produce, work or versions`);
  }
}

main().catch(fail);

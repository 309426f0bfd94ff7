// Closed loop on BullMQ: each client adds a job and waits until a worker has completed it.
// Usage: node bullmq_loop.mjs FOLDER_OF_NODE_MODULES REDIS_PORT CLIENTS SECONDS
// Prints the line that the other generators print.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [folder, port, clients, seconds] = process.argv.slice(2);
const { Queue, Worker } = createRequire(resolve(folder, 'x.js'))('bullmq');
const connection = { host: '127.0.0.1', port: Number(port) };
const body = { m: 'm'.repeat(92) }; // 100 bytes as JSON
const queue = new Queue('bench', { connection });
const done = new Map();
// As many jobs at a time as clients: the worker fetches the next job with the completion of the last.
const worker = new Worker('bench', async () => 0, {
  connection: { ...connection, maxRetriesPerRequest: null },
  concurrency: Number(clients),
});
worker.on('error', (error) => console.error(String(error)));
worker.on('completed', (job) => {
  const told = done.get(job.name);
  done.delete(job.name);
  if (told) told();
});
await worker.waitUntilReady();

const times = [];
const from = performance.now() + 1000;
const until = from + Number(seconds) * 1000;
async function work(client) {
  for (let n = 0; ; n += 1) {
    const begun = performance.now();
    if (begun >= until) return;
    const name = `${client}-${n}`;
    const completed = new Promise((tell) => done.set(name, tell));
    await queue.add(name, body, { removeOnComplete: true });
    await completed;
    const ended = performance.now();
    if (begun >= from && ended <= until) times.push(ended - begun);
  }
}
await Promise.all(Array.from({ length: Number(clients) }, (_, client) => work(client)));
times.sort((a, b) => a - b);
const at = (share) => (times[Math.floor((times.length - 1) * share)] ?? 0).toFixed(2);
console.log(
  `bullmq clients=${clients} ops/s=${(times.length / Number(seconds)).toFixed(0)} p50=${at(0.5)}ms p99=${at(0.99)}ms`,
);
process.exit(0);

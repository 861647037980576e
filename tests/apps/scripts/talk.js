// Node's ways to use sockets: talk.js net|http|cluster|workers serve|talk PORT.
const cluster = require('cluster');
const crypto = require('crypto');
const http = require('http');
const net = require('net');
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');

const HOST = '127.0.0.1';
const [way, role, port] = isMainThread ? process.argv.slice(2) : workerData;

// The test has seen what it waits for, and says so on standard input.
let ending = false;
if (isMainThread && role === 'talk') process.stdin.once('data', () => { ending = true; });

function pattern(size, seed) {
  const block = crypto.createHash('sha256').update(String(seed)).digest();
  return Buffer.alloc(size, block);
}

function digest(bytes) {
  return `${bytes.length} ${crypto.createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`;
}

function echo() {
  // pipe() waits for room, and ends what it writes to with what it reads from.
  net.createServer({ allowHalfOpen: true }, (one) => one.pipe(one)).listen(port, HOST);
}

function serveHttp() {
  http.createServer((request, response) => {
    if (request.method === 'GET') {
      // In chunks, as they come.
      for (let i = 0; i < 20; i++) response.write(`chunk ${i} of ${request.url}\n`);
      response.end();
    } else {
      request.pipe(response);
    }
  }).listen(port, HOST);
}

// Reads exactly so much.
function exactly(one, size) {
  return new Promise((resolve, reject) => {
    const parts = [];
    let left = size;
    const more = (part) => {
      parts.push(part);
      left -= part.length;
      if (left <= 0) {
        one.off('data', more);
        one.off('error', reject);
        resolve(Buffer.concat(parts));
      }
    };
    one.on('data', more);
    one.on('error', reject);
  });
}

async function talkNet(count, say, isOver) {
  const ones = [];
  for (let i = 0; i < count; i++) {
    const one = net.connect(port, HOST);
    await new Promise((resolve) => one.on('connect', resolve));
    ones.push(one);
  }
  do {
    for (const one of ones) {
      const back = exactly(one, 100);
      one.write(pattern(100, 1));
      await back;
    }
    // Lets standard input be heard.
    await new Promise(setImmediate);
  } while (!isOver());
  for (const [i, one] of ones.entries()) {
    const back = exactly(one, 4000000);
    one.write(pattern(4000000, i));
    say(`net ${digest(await back)}`);
    // Half of it stays open.
    const rest = exactly(one, 5);
    one.end('there');
    say(`last ${await rest}`);
    await new Promise((resolve) => one.on('end', resolve));
  }
}

function request(agent, method, path, body) {
  return new Promise((resolve, reject) => {
    const asked = http.request({ agent, host: HOST, port, method, path }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve(`${response.statusCode} ${digest(Buffer.concat(parts))}`));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

async function talkHttp() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  do {
    await Promise.all([1, 2, 3, 4].map((i) => request(agent, 'GET', `/${i}`)));
  } while (!ending);
  for (const size of [0, 1, 1000, 100000, 5000000]) {
    console.log('post', await request(agent, 'POST', '/', pattern(size, size)));
  }
  const many = [];
  for (let i = 0; i < 400; i++) many.push(request(agent, i % 2 ? 'GET' : 'POST', `/${i}`, i % 2 ? '' : pattern(i, i)));
  for (const one of await Promise.all(many)) console.log('many', one);
  agent.destroy();
}

// As many threads with an event loop each.
async function talkWorkers() {
  const workers = [];
  const over = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 3; i++) {
    workers.push(new Worker(__filename, { workerData: [way, role, port, over] }));
  }
  const said = workers.map((worker) => new Promise((resolve, reject) => {
    const lines = [];
    worker.on('message', (line) => lines.push(line));
    worker.on('error', reject);
    worker.on('exit', () => resolve(lines));
  }));
  while (!ending) await new Promise((resolve) => setTimeout(resolve, 10));
  Atomics.store(over, 0, 1);
  for (const lines of await Promise.all(said)) console.log(lines.join('\n'));
}

async function main() {
  if (!isMainThread) {
    const over = workerData[3];
    await talkNet(2, (line) => parentPort.postMessage(line), () => Atomics.load(over, 0) === 1);
  } else if (role === 'serve' && way === 'cluster' && cluster.isPrimary) {
    for (let i = 0; i < 2; i++) cluster.fork();
    process.on('SIGTERM', () => { for (const id in cluster.workers) cluster.workers[id].kill(); process.exit(0); });
  } else if (role === 'serve') {
    (way === 'http' || way === 'cluster' ? serveHttp : echo)();
  } else if (way === 'workers') {
    await talkWorkers();
  } else if (way === 'net') {
    await talkNet(4, (line) => console.log(line), () => ending);
  } else {
    await talkHttp();
  }
  if (isMainThread && role === 'talk') process.stdin.destroy();
}

main().catch((error) => { console.error(error); process.exit(1); });
